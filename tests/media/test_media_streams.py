"""Choice of the main video and audio stream."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.stream import Disposition
from PIL import Image

from films import write_film
from numbered import FPS, numbered_picture, read_number, take, yuv_frame
from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.streams import pick_video

TARGETS = [3, 9, 15, 21]


@dataclass(frozen=True)
class Track:
    """A stream added to a file. Calling it encodes its frames."""

    stream: av.VideoStream | av.AudioStream
    encode: Callable[[], None]

    def __call__(self) -> None:
        self.encode()


def add_film(out: OutputContainer, *, side: int = 128, frames: int = 24, negative: bool = False) -> Track:
    """Add a numbered film to `out`."""
    video = out.add_stream("libx264", rate=FPS, options={"crf": "8", "preset": "ultrafast"})
    video.width, video.height, video.pix_fmt = side, side, "yuv420p"

    def encode() -> None:
        for number in range(frames):
            picture = numbered_picture(number, side)
            out.mux(video.encode(yuv_frame(255 - picture if negative else picture)))
        out.mux(video.encode(None))

    return Track(video, encode)


def add_cover(out: OutputContainer) -> Callable[[], None]:
    """Add cover art: an attachment in Matroska, a separate track in MP4."""
    file = io.BytesIO()
    Image.new("RGB", (600, 600), (200, 0, 100)).save(file, "jpeg")
    if out.format.name == "matroska":
        out.add_attachment("cover.jpg", "image/jpeg", file.getvalue())
        return lambda: None
    cover = out.add_stream("mjpeg", rate=FPS)
    cover.width, cover.height, cover.pix_fmt = 600, 600, "yuvj420p"
    cover.disposition = Disposition.attached_pic

    def encode() -> None:
        packet = av.Packet(file.getvalue())
        packet.pts = packet.dts = 0
        packet.stream, packet.is_keyframe = cover, True
        out.mux(packet)

    return encode


def add_sound(out: OutputContainer, level: float, codec: str = "aac", seconds: float = 1.0) -> Track:
    audio = out.add_stream(codec, rate=48_000, layout="mono")
    assert isinstance(audio, av.AudioStream)

    def encode() -> None:
        tone = level * np.sin(2 * np.pi * 440 * np.arange(int(48_000 * seconds)) / 48_000)
        sound = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
        sound.sample_rate = 48_000
        out.mux(audio.encode(sound))
        out.mux(audio.encode(None))

    return Track(audio, encode)


def numbers(path: Path) -> list[int]:
    return [read_number(square) for square in take(path, mode="exact", frames=4).frames]


def reject(path: Path, **limits: int) -> Rejected:
    rejected = decode_file(path, SamplingConfig(), 64, Limits(**limits))
    assert isinstance(rejected, Rejected)
    return rejected


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_cover_art_is_not_the_film(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        for encode in (add_cover(out), add_film(out).encode):
            encode()
    if name == "film.mp4":
        cover_first(path)
        with av.open(path) as container:
            assert container.streams.video[0].disposition & Disposition.attached_pic
    assert numbers(path) == TARGETS


def cover_first(path: Path) -> None:
    """Move MP4's box of tags, with the cover, before the tracks."""
    data = path.read_bytes()
    at = data.rindex(b"moov") - 4  # the last box of the file
    inside, boxes = data[at + 8 :], []
    while inside:
        size = int.from_bytes(inside[:4], "big")
        boxes.append(inside[:size])
        inside = inside[size:]
    boxes.sort(key=lambda box: (box[4:8] != b"mvhd", box[4:8] != b"udta"))
    path.write_bytes(data[: at + 8] + b"".join(boxes))


@pytest.mark.parametrize("name", ["song.mp4", "song.mkv"])
def test_a_song_with_cover_art_is_not_a_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        for encode in (add_sound(out, 0.5), add_cover(out)):
            encode()
    rejected = reject(path)
    assert rejected.reason is Reason.NO_VIDEO_STREAM and "cover art" in rejected.detail


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
@pytest.mark.parametrize("disposition", [Disposition(0), Disposition.timed_thumbnails, Disposition.dependent])
def test_a_track_other_than_the_default_is_not_the_film(tmp_path: Path, name: str, disposition: Disposition) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        small, film = add_film(out, side=256, negative=True), add_film(out)
        small.stream.disposition, film.stream.disposition = disposition, Disposition.default
        for encode in (small, film):
            encode()
    assert numbers(path) == TARGETS


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_the_larger_of_two_equal_tracks_is_the_film(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        parts = add_film(out, side=64, negative=True), add_film(out)
        for encode in parts:
            encode.stream.disposition = Disposition.default
        for encode in parts:
            encode()
    assert numbers(path) == TARGETS


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_film_is_preferred_to_a_poster_of_one_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        poster, film = add_film(out, side=256, frames=1, negative=True), add_film(out)
        poster.stream.disposition = Disposition.default
        for encode in (poster, film):
            encode()
    assert numbers(path) == TARGETS


@pytest.mark.parametrize("name", ["film.mkv", "film.ts"])
def test_a_stream_without_packets_is_skipped(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        add_film(out, side=256)
        add_film(out)()
    with av.open(path) as container:
        assert len(container.streams.video) == 2
        picked = pick_video(container)
        assert picked is not None and picked.index == 1
    assert numbers(path) == TARGETS


def test_attached_fonts_and_data_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        encode = add_film(out)
        for number in range(40):
            out.add_attachment(f"{number}.ttf", "application/x-truetype-font", bytes(2000))
        encode()
    assert numbers(path) == TARGETS


def test_too_many_media_tracks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        for encode in [add_film(out), *(add_sound(out, 0.1) for _ in range(4))]:
            encode()
    assert reject(path, max_streams=4).reason is Reason.TOO_LARGE
    assert not isinstance(decode_file(path, SamplingConfig(), 64, Limits(max_streams=5)), Rejected)


@pytest.mark.parametrize("level", [0.0, 0.001], ids=["silent", "hiss"])
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_track_with_sound_is_preferred_to_a_silent_first_track(tmp_path: Path, name: str, level: float) -> None:
    path = tmp_path / name
    with av.open(path, "w") as out:
        for encode in (add_film(out), add_sound(out, level), add_sound(out, 0.5)):
            encode()
    taken = take(path)
    assert taken.windows is not None and np.abs(taken.windows).max() > 0.3 and taken.facts.has_audio


def test_a_film_that_is_quiet_throughout_keeps_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        for encode in (add_film(out), add_sound(out, 0.001), add_sound(out, 0.0)):
            encode()
    taken = take(path)
    assert taken.windows is not None and 5e-4 < np.abs(taken.windows).max() < 2e-3


def test_the_default_track_is_used_rather_than_a_commentary(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        parts = add_film(out), add_sound(out, 0.2), add_sound(out, 0.5)
        parts[1].stream.disposition = Disposition.comment
        parts[2].stream.disposition = Disposition.default
        for encode in parts:
            encode()
    windows = take(path).windows
    assert windows is not None and np.abs(windows).max() > 0.4


KEY = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb", "encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}


@pytest.mark.parametrize("mode", ["exact", "keyframe", "auto"])
def test_encrypted_pictures_are_refused_rather_than_decoded_as_grey(tmp_path: Path, mode: str) -> None:
    path = write_film(tmp_path / "film.mp4", muxing={"encryption_scheme": "cenc-aes-ctr", **KEY})
    rejected = decode_file(path, SamplingConfig.model_validate({"mode": mode}), 64, Limits())
    assert isinstance(rejected, Rejected)
    assert (
        rejected.reason is Reason.UNSUPPORTED_CODEC and "encrypted" in rejected.detail and "film.mp4" in rejected.detail
    )


def element(identity: str, content: bytes) -> bytes:
    return bytes.fromhex(identity) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def split(data: bytes, at: int) -> tuple[int, int]:
    """Return start and end of the content of the element whose size is at `at`."""
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, at + length + size


def test_encrypted_matroska_is_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", tone_hz=None, muxing={"live": "1"})
    data = path.read_bytes()
    tracks = data.rindex(bytes.fromhex("1654ae6b"), 0, data.index(bytes.fromhex("1f43b675")))  # before the pictures
    begin, end = split(data, tracks + 4)
    begin = data.index(b"\xae\x01", begin)  # after a checksum
    entry_begin, entry_end = split(data, begin + 1)
    encryption = element("5035", element("47e1", b"\5") + element("47e2", b"0123456789abcdef"))
    encodings = element("6d80", element("6240", element("5033", b"\1") + encryption))
    entry = element("ae", data[entry_begin:entry_end] + encodings)
    path.write_bytes(data[:tracks] + element("1654ae6b", entry + data[entry_end:end]) + data[end:])
    rejected = reject(path)
    assert rejected.reason is Reason.UNSUPPORTED_CODEC and "encrypted" in rejected.detail


def test_protected_windows_media_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.asf"
    with av.open(path, "w") as out:
        video = out.add_stream("mpeg4", rate=FPS)
        video.width = video.height = 128
        video.pix_fmt = "yuv420p"
        for number in range(6):
            out.mux(video.encode(yuv_frame(numbered_picture(number))))
        out.mux(video.encode(None))
    assert not isinstance(decode_file(path, SamplingConfig(), 64, Limits()), Rejected)
    data = bytearray(path.read_bytes())
    fields = (b"secret", b"DRM\0", b"0123456789abcdef\0", b"https://example.com/\0")
    content = b"".join(len(field).to_bytes(4, "little") + field for field in fields)
    kind = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")  # Content Encryption Object
    protection = kind + (24 + len(content)).to_bytes(8, "little") + content
    size, count = int.from_bytes(data[16:24], "little"), int.from_bytes(data[24:28], "little")
    data[16:24], data[24:28] = (size + len(protection)).to_bytes(8, "little"), (count + 1).to_bytes(4, "little")
    data[30:30] = protection
    path.write_bytes(data)
    rejected = reject(path)
    assert rejected.reason is Reason.UNSUPPORTED_CODEC and "encrypted" in rejected.detail
