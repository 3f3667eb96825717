"""Side data of frames, including kinds that PyAV does not know."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from PIL import Image

from numbered import numbered_picture, read_number, take
from rayreel.media.sidedata import attached


def photo_film(path: Path, orientation: int) -> Path:
    """Write motion JPEG with the camera's orientation in EXIF."""
    picture = np.rot90(numbered_picture(5)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "jpeg", exif=exif, quality=95)
    with av.open(path, "w") as out:
        video = out.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = picture.shape[1], picture.shape[0], "yuvj420p"
        for number in range(4):
            packet = av.Packet(file.getvalue())
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), video, True
            out.mux(packet)
    return path


def test_a_kind_unknown_to_pyav_hides_no_other(tmp_path: Path) -> None:
    with av.open(photo_film(tmp_path / "film.mkv", 6)) as container:
        frame = next(container.decode(video=0))
    with pytest.raises(ValueError, match="not a valid Type"):  # when this fails, the filter is no longer needed
        list(frame.side_data)
    assert len(attached(frame, Type.DISPLAYMATRIX) or b"") == 36
    assert attached(frame, Type.DOVI_METADATA) is None


def test_pictures_of_a_camera_held_sideways_are_upright(tmp_path: Path) -> None:
    squares = take(photo_film(tmp_path / "film.mkv", 6), mode="exact", frames=2).frames
    assert [read_number(square) for square in squares] == [5, 5]
