"""Convert decoded frames to small RGB pictures with the colours that a viewer sees."""

import struct
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, VideoReformatter
from numpy.typing import NDArray

from rayreel.failures import Reason
from rayreel.media.refusal import RefusedMedia
from rayreel.media.sidedata import attached
from rayreel.media.tonemap import is_standard, to_standard

# Matrices by their numbers in ITU-T H.273, table 4: those that the scaler supports; those that name no matrix
# (identity, which is invalid for YUV, unspecified, reserved, derived from the primaries); names of the others.
_KNOWN = frozenset({1, 4, 5, 6, 7, 9})
_UNSPECIFIED = frozenset({0, 2, 3, 12})
_NAMES = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "SMPTE ST 2085", 14: "ICtCp", 15: "IPT-C2"}
_BY_PRIMARIES = {
    int(ColorPrimaries.BT709): Colorspace.ITU709,
    int(ColorPrimaries.BT470BG): Colorspace.ITU601,
    int(ColorPrimaries.SMPTE170M): Colorspace.ITU601,
    int(ColorPrimaries.BT2020): Colorspace.BT2020,
}
_SD = (1279, 576)  # unspecified colours of larger pictures are taken as BT.709, as in mpv


class SmallRgb:
    """Scales frames to 8-bit BT.709 RGB from any matrix and range, including high dynamic range and wide gamuts.

    Transparent parts are blended over black. Alpha is ignored where it is zero throughout, as some recorders write it.
    """

    def __init__(self) -> None:
        # One scaler for all frames, on one thread: starting a thread per core costs more than the scaling.
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Return uint8 RGB [height, width, 3]. Raises RefusedMedia for colours that cannot be converted."""
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
    """Return the YUV matrix for a frame that does not name one; None if the scaler can use the frame's own."""
    if frame.colorspace not in _KNOWN | _UNSPECIFIED:
        name = _NAMES.get(frame.colorspace, f"matrix {frame.colorspace}")
        raise RefusedMedia(Reason.UNSUPPORTED_CODEC, f"unsupported colours: {name}; convert the video to BT.709")
    if frame.format.components[0].bits > 8 and _is_dolby_vision_5(frame):
        raise RefusedMedia(
            Reason.UNSUPPORTED_CODEC, "unsupported colours: Dolby Vision profile 5; convert the video to BT.709"
        )
    if frame.colorspace in _KNOWN:
        return None
    is_sd = frame.width <= _SD[0] and frame.height <= _SD[1]
    return _BY_PRIMARIES.get(frame.color_primaries, Colorspace.ITU601 if is_sd else Colorspace.ITU709)


def _is_dolby_vision_5(frame: VideoFrame) -> bool:
    """Whether the colours are IPT, which no other field declares. Decoded as YUV they would be purple and green.

    The data is FFmpeg's AVDOVIMetadata, which starts with the offset of its AVDOVIRpuDataHeader. Byte 4 of the header
    is the RPU profile, 0 for profiles 4 and 5; byte 10 is the full-range flag, which only profile 5 sets.
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
