"""Read the side data of a decoded frame, such as its display matrix."""

from fractions import Fraction
from typing import cast

from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

# Numbers in AVFrameSideDataType of FFmpeg 8: LCEVC, view ID, 3D reference displays, EXIF.
_UNKNOWN_TO_PYAV = (28, 29, 30, 31)


def attached(frame: VideoFrame, kind: Type) -> bytes | None:
    """Return the first side data of a kind, in FFmpeg's layout; None without.

    If the container and the bitstream disagree, the container's entry is the first. PyAV 18.1 raises ValueError for all
    side data if an entry has a type that it does not know, such as EXIF in Motion JPEG or the view ID of stereoscopic
    HEVC. A filter removes such entries.
    """
    try:
        found = frame.side_data
    except ValueError:
        found = _known_only(frame).side_data
    entries = cast(SideDataContainer, found)  # PyAV's stub has another class
    return next((bytes(entry) for entry in entries if entry.type is kind), None)


def _known_only(frame: VideoFrame) -> VideoFrame:
    graph = Graph()
    steps = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))]
    steps += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in _UNKNOWN_TO_PYAV]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    graph.push(frame)
    known = graph.pull()
    assert isinstance(known, VideoFrame)
    return known
