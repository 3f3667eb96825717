"""Posters and contact sheets."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayreel.media.clip import Clip, MediaFacts
from rayreel.media.pictures import MAX_BYTES, PictureKind, Pictures, media_type, pictures_of
from rayreel.storage import Storage

SIZE = 64
FORMS = ("jpeg", "webp")


def gradient() -> np.ndarray:
    return np.tile(np.linspace(0, 255, SIZE, dtype=np.uint8)[:, None, None], (1, SIZE, 3))


def flat(level: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), level, np.uint8)


def clip_of(*frames: np.ndarray, content_hash: str = "ab" * 32) -> Clip:
    return Clip(np.stack(frames), None, MediaFacts(1.0, SIZE, SIZE, 25.0, has_audio=False), content_hash)


def image(content: bytes | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("form", FORMS)
def test_the_poster_is_the_frame_with_content_and_not_a_black_one(form: str) -> None:
    title = flat(0)
    title[20:30, 10:50] = 255
    made = pictures_of(np.stack([flat(0), title, gradient(), flat(255)]), form)  # type: ignore[arg-type]
    poster = np.asarray(image(made[PictureKind.POSTER]).convert("RGB"), float)
    assert np.abs(poster - gradient()).mean() < 4


@pytest.mark.parametrize("form", FORMS)
def test_a_sheet_has_up_to_eight_frames_in_time_order(form: str) -> None:
    frames = np.stack([flat(level) for level in range(0, 240, 12)])
    sheet = image(pictures_of(frames, form)[PictureKind.SHEET])  # type: ignore[arg-type]
    assert sheet.size == (8 * SIZE // 2, SIZE // 2)
    levels = np.asarray(sheet.convert("L"), float).reshape(SIZE // 2, 8, -1).mean(axis=(0, 2))
    assert (np.diff(levels) > 0).all() and levels[0] < 12 and levels[-1] > 216
    assert image(pictures_of(frames[:1], form)[PictureKind.SHEET]).size == (SIZE // 2, SIZE // 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_even_pictures_of_noise_fit_into_their_limits(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    made = pictures_of(noise, form)  # type: ignore[arg-type]
    assert all(len(content) <= MAX_BYTES[kind] for kind, content in made.items())
    assert {media_type(content) for content in made.values()} == {f"image/{form}"}


def test_pictures_are_kept_by_content_and_written_once(tmp_path: Path) -> None:
    pictures = Pictures(Storage(tmp_path))
    pictures.keep([clip_of(gradient())])
    first = pictures.read("ab" * 32, PictureKind.POSTER)
    pictures.keep([clip_of(flat(9))])
    assert pictures.read("ab" * 32, PictureKind.POSTER) == first
    pictures.forget("ab" * 32)
    assert pictures.read("ab" * 32, PictureKind.POSTER) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_incomplete_picture_is_not_shown(tmp_path: Path) -> None:
    pictures = Pictures(Storage(tmp_path))
    pictures.keep([clip_of(gradient())])
    (path,) = tmp_path.rglob("*.pictures")
    path.write_bytes(path.read_bytes()[:-9])
    assert pictures.read("ab" * 32, PictureKind.SHEET) is None


def test_a_name_that_is_no_hash_never_becomes_a_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a hash"):
        Pictures(Storage(tmp_path)).read("../../etc/passwd", PictureKind.SHEET)


def test_only_the_first_frame_of_each_window_is_in_the_sheet(tmp_path: Path) -> None:
    pictures = Pictures(Storage(tmp_path))
    pictures.keep([clip_of(flat(0), flat(0), flat(200), flat(200))], window=2)
    assert image(pictures.read("ab" * 32, PictureKind.SHEET)).size == (2 * SIZE // 2, SIZE // 2)
