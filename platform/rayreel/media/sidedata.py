"""What FFmpeg attaches to a decoded frame, such as its display matrix."""

from fractions import Fraction

from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

_LAST_KNOWN = max(kind.value for kind in Type)
_LAST = 31  # AV_FRAME_DATA_EXIF of FFmpeg 8


def side_data_of(frame: VideoFrame) -> SideDataContainer:
    """Side data of a frame, by type.

    PyAV 18.1 raises ValueError for all of it when one entry has a type that it does not know: EXIF of Motion JPEG, the
    view of stereoscopic HEVC. A filter takes such entries away first.
    """
    try:
        return frame.side_data
    except ValueError:
        return _known_only(frame).side_data


def _known_only(frame: VideoFrame) -> VideoFrame:
    graph = Graph()
    steps = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))]
    steps += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in range(_LAST_KNOWN + 1, _LAST + 1)]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    graph.push(frame)
    known = graph.pull()
    assert isinstance(known, VideoFrame)
    return known
