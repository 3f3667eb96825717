"""What FFmpeg attaches to a decoded frame, such as its display matrix."""

from fractions import Fraction

from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

_LAST_KNOWN = max(kind.value for kind in Type)
_LAST = 31  # AV_FRAME_DATA_EXIF of FFmpeg 8


def attached(frame: VideoFrame, kind: Type) -> bytes | None:
    """The first side data of a kind, in FFmpeg's layout; None without.

    The first is what the file says where a message in the bitstream says something else. PyAV 18.1 raises ValueError
    for all side data when an entry has a type that it does not know, such as EXIF in Motion JPEG or the view of
    stereoscopic HEVC; a filter takes such entries away.
    """
    try:
        entries = list(frame.side_data)
    except ValueError:
        entries = list(_known_only(frame).side_data)
    return next((bytes(entry) for entry in entries if entry.type is kind), None)


def _known_only(frame: VideoFrame) -> VideoFrame:
    graph = Graph()
    steps = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))]
    steps += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in range(_LAST_KNOWN + 1, _LAST + 1)]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    graph.push(frame)
    known = graph.pull()
    assert isinstance(known, VideoFrame)
    return known
