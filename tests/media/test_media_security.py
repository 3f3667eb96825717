"""Malicious files: each becomes a rejected video in a short time."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder

FilmMaker = Callable[..., Path]
SECRET = "correct horse battery staple"
SOON_S = 10  # a decoder that hangs would take minutes
NO_ENTRY = (Reason.CONTAINER_NOT_ALLOWED, Reason.UNREADABLE)


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(max_memory_bytes=512 << 20) as running:
        yield running


@pytest.fixture
def take(decoder: IsolatedDecoder, tmp_path: Path) -> Callable[..., Clip | Rejected]:
    """A function that decodes a file and asserts that it is fast and does not crash."""

    def taken(path: Path, **limits: float) -> Clip | Rejected:
        began = time.monotonic()
        outcome = decoder.decode(str(path), SamplingConfig(), 64, Limits(**limits))
        assert time.monotonic() - began < SOON_S
        assert not isinstance(outcome, Rejected) or outcome.reason is not Reason.DECODER_CRASH, outcome
        return outcome

    return taken


Take = Callable[..., Clip | Rejected]


def reason(outcome: Clip | Rejected) -> Reason | None:
    return outcome.reason if isinstance(outcome, Rejected) else None


SCRIPTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n",
    "hls over concat": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nconcat:http://127.0.0.1:9/head|{url}\n",
    "hls with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:2,\nfilm.mp4\n#EXT-X-ENDLIST\n',
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="0"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{url}"/></svg>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "rtsp redirect": "RTSPtext\nrtsp://127.0.0.1:9/live\n",
    "address": "{url}",
    "subtitles": "1\n00:00:00,000 --> 00:00:02,000\n{url}\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("victim", ["secret.txt", "secret.mp4"])
def test_a_script_named_mp4_opens_and_reveals_nothing(
    take: Take, film: FilmMaker, tmp_path: Path, name: str, victim: str
) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    target = film("secret.mp4") if victim == "secret.mp4" else tmp_path / victim
    (path := tmp_path / "innocent.mp4").write_text(SCRIPTS[name].format(url=f"file://{target}", path=target))
    opened = target.stat().st_atime_ns
    outcome = take(path)
    assert reason(outcome) in NO_ENTRY
    assert isinstance(outcome, Rejected) and SECRET not in outcome.detail
    assert target.stat().st_atime_ns == opened


def test_a_film_cannot_take_samples_from_another_file(take: Take, film: FilmMaker, tmp_path: Path) -> None:
    secret = film("secret.mov", tone_hz=None)
    data = bytearray(secret.read_bytes())
    at = data.index(b"url \0\0\0\1")
    data[at : at + 4], data[at + 7] = b"alis", 0  # an alias without the flag "in this file"
    media = data.index(b"mdat")
    data[media + 4 : data.index(b"moov") - 4] = bytes(data.index(b"moov") - media - 8)
    (path := tmp_path / "innocent.mov").write_bytes(data)
    outcome = take(path)
    assert isinstance(outcome, Rejected) or outcome.frames.std() < 1


@pytest.mark.parametrize("codec", ["png", "mjpeg", "bmp"])
def test_a_picture_named_mp4_is_not_a_video(take: Take, tmp_path: Path, codec: str) -> None:
    with av.open(tmp_path / "picture", "w", format="image2") as out:
        stream = out.add_stream(codec, rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        stream.pix_fmt = {"mjpeg": "yuvj420p", "bmp": "bgr24"}.get(codec, "rgb24")
        out.mux(stream.encode(av.VideoFrame(64, 64, stream.pix_fmt)))
        out.mux(stream.encode(None))
    assert reason(take((tmp_path / "picture").rename(tmp_path / "innocent.mp4"))) in NO_ENTRY


def test_pictures_of_a_rare_codec_are_refused_by_name(take: Take, tmp_path: Path) -> None:
    rare = tmp_path / "rare.avi"
    with av.open(rare, "w") as out:
        stream = out.add_stream("cljr", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv411p"
        out.mux(stream.encode(black(stream)))
        out.mux(stream.encode(None))
    outcome = take(rare)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNSUPPORTED_CODEC and "cljr" in outcome.detail


def write_tracks(path: Path, codecs: list[str]) -> Path:
    """Write black pictures and one audio track per codec."""
    with av.open(path, "w") as out:
        video, tracks = add_pictures(out), []
        for codec in codecs:
            tracks.append(out.add_stream(codec, rate=8000, layout="mono"))
        for track in tracks:
            assert isinstance(track, av.AudioStream)
            samples = (8000 * np.sin(np.arange(8000) / 5)).astype(np.int16)
            tone = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            tone.sample_rate = 8000
            size = track.codec_context.frame_size or 0
            form = track.format.name if track.format is not None else "s16"
            resampler = av.AudioResampler(format=form, layout="mono", rate=8000, frame_size=size)
            for piece in (*resampler.resample(tone), *resampler.resample(None)):
                out.mux(track.encode(piece))
            out.mux(track.encode(None))
        mux_pictures(out, video, 25)
    return path


def test_sound_of_a_rare_codec_is_refused_by_name_and_not_treated_as_silence(take: Take, tmp_path: Path) -> None:
    outcome = take(write_tracks(tmp_path / "rare.mkv", ["real_144"]))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNSUPPORTED_CODEC
    assert "real_144" in outcome.detail and "audio" in outcome.detail


def test_sound_is_taken_from_the_track_that_can_be_decoded(take: Take, tmp_path: Path) -> None:
    outcome = take(write_tracks(tmp_path / "two.mkv", ["real_144", "pcm_s16le"]))
    assert isinstance(outcome, Clip) and outcome.facts.has_audio
    assert outcome.windows is not None and np.abs(outcome.windows).max() > 0.1


def add_pictures(out: OutputContainer, size: tuple[int, int] = (64, 64)) -> VideoStream:
    """Add a stream of MPEG-4, which compresses black pictures a thousandfold."""
    stream = out.add_stream("mpeg4", rate=25)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream


def black(stream: VideoStream, number: int = 0) -> av.VideoFrame:
    frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts = number
    return frame


def mux_pictures(out: OutputContainer, stream: VideoStream, frames: int) -> None:
    for number in range(frames):
        out.mux(stream.encode(black(stream, number)))
    out.mux(stream.encode(None))


def plain_film(path: Path, size: tuple[int, int], frames: int = 2) -> Path:
    with av.open(path, "w") as out:
        mux_pictures(out, add_pictures(out, size), frames)
    return path


@pytest.mark.parametrize("name", ["bomb.mp4", "bomb.mkv", "bomb.avi"])
def test_a_small_file_of_huge_frames_is_refused_by_its_declared_size(take: Take, tmp_path: Path, name: str) -> None:
    bomb = plain_film(tmp_path / name, (8000, 6000))
    assert bomb.stat().st_size < 1_000_000
    assert reason(take(bomb)) is Reason.TOO_LARGE


def test_frames_larger_than_memory_do_not_crash_if_the_limits_allow_them(take: Take, tmp_path: Path) -> None:
    with IsolatedDecoder(max_memory_bytes=128 << 20) as small:
        bomb = str(plain_film(tmp_path / "bomb.mkv", (8000, 6000)))
        outcome = small.decode(bomb, SamplingConfig(), 64, Limits(max_pixels=1 << 30))
    assert reason(outcome) in {Reason.TOO_LARGE, Reason.UNREADABLE}


@pytest.mark.parametrize("name", ["lying.mp4", "lying.mkv"])
def test_a_header_that_lies_about_the_size_of_frames_ends_soon(
    take: Take, film: FilmMaker, tmp_path: Path, name: str
) -> None:
    path = film(name, size=(64, 64), frames=5)
    data = bytearray(path.read_bytes())
    if name.endswith("mp4"):
        at = data.index(b"avc1", data.index(b"stsd")) + 28
        data[at : at + 4] = struct.pack(">HH", 65535, 65535)
    else:
        at = data.index(b"\xb0\x81\x40\xba\x81\x40")  # PixelWidth and PixelHeight, one byte each
        data[at : at + 6] = b"\xb0\x81\xff\xba\x81\xff"
    path.write_bytes(data)
    outcome = take(path)
    assert isinstance(outcome, Rejected) or outcome.frames.shape[1:] == (64, 64, 3)


def set_in_boxes(path: Path, boxes: dict[bytes, int], value: int) -> Path:
    """Overwrite the 32-bit number at an offset after the name of each box of a kind."""
    data = bytearray(path.read_bytes())
    for name, offset in boxes.items():
        at = data.find(name)
        while at >= 0:
            struct.pack_into(">I", data, at + 4 + offset, value)
            at = data.find(name, at + 4)
    path.write_bytes(data)
    return path


def test_a_huge_declared_duration_is_too_long_or_ignored(take: Take, film: FilmMaker) -> None:
    lying = set_in_boxes(film(frames=10), {b"mvhd": 16, b"mdhd": 16, b"tkhd": 20}, 0xFFFFFFF0)
    outcome = take(lying)
    assert reason(outcome) is Reason.TOO_LONG or (isinstance(outcome, Clip) and outcome.facts.duration_s < 10)


def test_a_film_that_is_really_long_is_too_long(take: Take, film: FilmMaker) -> None:
    assert reason(take(film(fps=1, frames=20, tone_hz=None), max_duration_s=10)) is Reason.TOO_LONG


@pytest.mark.parametrize("box", [b"stsz", b"stts", b"stsc", b"stco", b"ctts"])
def test_a_table_that_declares_billions_of_entries_ends_soon(take: Take, film: FilmMaker, box: bytes) -> None:
    outcome = take(set_in_boxes(film(frames=10), {box: 8 if box == b"stsz" else 4}, 0x7FFFFFFF))
    assert isinstance(outcome, Rejected) or 1 <= len(outcome.frames) <= 8


def test_a_thousand_streams_are_too_many(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        video = add_pictures(out)
        for _ in range(999):  # FFmpeg itself neither writes nor reads more than a thousand
            sound = out.add_stream("pcm_u8", rate=8000, layout="mono")
            sound.format = "u8"
            sound.codec_context.open()
        mux_pictures(out, video, 1)
    assert reason(take(path)) is Reason.TOO_LARGE


def test_a_gigantic_number_of_tiny_frames_ends_at_the_deadline(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        stream = out.add_stream("rawvideo", rate=1000)
        stream.width = stream.height = 2
        stream.pix_fmt = "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((2, 2), np.uint8), format="gray")
        for number in range(150_000):
            frame.pts = number
            out.mux(stream.encode(frame))
    outcome = take(path, timeout_s=0.1)
    assert isinstance(outcome, Clip) or reason(outcome) is Reason.TIMEOUT


def test_subtitles_change_nothing(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        video, words = add_pictures(out), out.add_stream("srt")
        words.codec_context.subtitle_header = b""
        packet = av.Packet(SECRET.encode())
        packet.stream, packet.pts, packet.dts, packet.duration = words, 0, 0, 100
        out.mux(packet)
        mux_pictures(out, video, 10)
    assert SECRET.encode() in path.read_bytes()
    assert isinstance(take(path), Clip)


def test_an_attached_file_is_not_extracted(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as out:
        video = add_pictures(out)
        out.add_attachment("../owned.txt", "text/plain", SECRET.encode())
        mux_pictures(out, video, 10)
    assert isinstance(take(path), Clip)
    assert [file.name for file in tmp_path.rglob("*")] == ["film.mkv"]
    assert not (tmp_path.parent / "owned.txt").exists()


def make_empty(path: Path) -> None:
    path.touch()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/stdin")


@pytest.mark.parametrize("make", [make_empty, make_folder, make_pipe, make_zeros, make_terminal])
def test_special_files_are_unreadable_at_once(take: Take, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(path := tmp_path / "x.mp4")
    assert reason(take(path)) is Reason.UNREADABLE


def test_a_gigabyte_of_nothing_is_unreadable(take: Take, tmp_path: Path) -> None:
    with (path := tmp_path / "x.mp4").open("wb") as file:
        file.truncate(1 << 30)
    assert reason(take(path)) is Reason.UNREADABLE


def test_a_link_out_of_the_allowed_folders_is_not_decoded(film: FilmMaker, tmp_path: Path) -> None:
    (folder := tmp_path / "videos").mkdir()
    (link := folder / "innocent.mp4").symlink_to(film("secret.mp4"))
    (folder / "good.mp4").write_bytes(link.read_bytes())
    with IsolatedDecoder(allowed_roots=[folder]) as guarded:
        outcome = guarded.decode(str(link), SamplingConfig(), 64, Limits())
        assert reason(outcome) is Reason.PATH_NOT_ALLOWED and "secret" not in str(outcome)
        assert isinstance(guarded.decode(str(folder / "good.mp4"), SamplingConfig(), 64, Limits()), Clip)
