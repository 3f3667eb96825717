"""Decoded frames as small RGB pictures, with the colours that a viewer sees."""

import struct
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, VideoReformatter
from numpy.typing import NDArray

from rayreel.failures import Reason
from rayreel.media.refusal import Refused
from rayreel.media.sidedata import attached
from rayreel.media.tonemap import is_standard, to_standard

# Matrices by their numbers in ITU-T H.273, table 4: those that the scaler knows; those that say nothing (identity,
# which no YUV has, unspecified, reserved, derived from the primaries); names of others.
_KNOWN = frozenset({1, 4, 5, 6, 7, 9})
_UNSAID = frozenset({0, 2, 3, 12})
_NAMES = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "SMPTE ST 2085", 14: "ICtCp", 15: "IPT-C2"}
_BY_PRIMARIES = {
    int(ColorPrimaries.BT709): Colorspace.ITU709,
    int(ColorPrimaries.BT470BG): Colorspace.ITU601,
    int(ColorPrimaries.SMPTE170M): Colorspace.ITU601,
    int(ColorPrimaries.BT2020): Colorspace.BT2020,
}
_SD = (1279, 576)  # where nothing says so, larger pictures are BT.709, as mpv takes them


class SmallRgb:
    """Scales frames to 8-bit BT.709 RGB, from any matrix and range, high dynamic range and wide gamuts.

    Transparent parts are shown over black. A picture without any opaque part is shown as if it had no alpha: recorders
    exist that leave it at zero.
    """

    def __init__(self) -> None:
        # One for all frames, on one thread: setting up a scaler with a thread per core costs more than scaling.
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """uint8 RGB [height, width, 3]. Raises Refused for colours that cannot be converted."""
        matrix = _matrix_to_assume(frame) if _is_yuv(frame.format) else None
        standard = is_standard(frame.color_trc, frame.color_primaries)
        alpha = any(component.is_alpha for component in frame.format.components)
        form = ("rgba" if alpha else "rgb24") if standard else ("rgba64le" if alpha else "rgb48le")
        small = self._scaler.reformat(frame, width, height, form, src_colorspace=matrix, threads=1)
        pixels: NDArray[Any] = small.to_ndarray()
        rgb = pixels[..., :3]
        picture = rgb if standard else to_standard(rgb, frame.color_trc, frame.color_primaries)
        return _over_black(picture, pixels[..., 3]) if alpha else picture


def _is_yuv(form: VideoFormat) -> bool:
    return len(form.components) >= 3 and not form.is_rgb and not form.name.startswith("xyz")


def _matrix_to_assume(frame: VideoFrame) -> Colorspace | None:
    """The matrix between YUV and RGB of a frame that does not name one; None where the scaler reads the frame's own."""
    if frame.colorspace not in _KNOWN | _UNSAID:
        name = _NAMES.get(frame.colorspace, f"matrix {frame.colorspace}")
        raise Refused(Reason.UNSUPPORTED_CODEC, f"its colours are {name}; convert it to BT.709")
    if frame.format.components[0].bits > 8 and _is_dolby_vision_5(frame):
        raise Refused(Reason.UNSUPPORTED_CODEC, "its colours are Dolby Vision's own (profile 5); convert it to BT.709")
    if frame.colorspace in _KNOWN:
        return None
    is_sd = frame.width <= _SD[0] and frame.height <= _SD[1]
    return _BY_PRIMARIES.get(frame.color_primaries, Colorspace.ITU601 if is_sd else Colorspace.ITU709)


def _is_dolby_vision_5(frame: VideoFrame) -> bool:
    """Whether its colours are IPT, which nothing else in the file says: they would come out purple and green.

    The data is FFmpeg's AVDOVIMetadata. It begins with where its header is, an AVDOVIRpuDataHeader: byte 4 is the
    profile of the metadata, 0 with profiles 4 and 5, and byte 10 the flag of full range, which is profile 5's alone.
    """
    metadata = attached(frame, Type.DOVI_METADATA)
    if metadata is None:
        return False
    header = metadata[struct.unpack_from("N", metadata)[0] :]
    return header[4] == 0 and header[10] == 1


def _over_black(rgb: NDArray[np.uint8], alpha: NDArray[Any]) -> NDArray[np.uint8]:
    most = np.iinfo(alpha.dtype).max
    if alpha.min() == most or not alpha.any():
        return rgb
    return np.round(rgb * (alpha[..., None] / np.float32(most))).astype(np.uint8)
