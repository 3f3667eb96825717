"""Files whose clocks wrap, restart or jump, made by cutting and joining files byte by byte."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from films import numbers_of
from rayreel.deadline import Deadline
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.packets import film_in
from rayreel.media.scan import scan

FilmMaker = Callable[..., Path]
WRAP_S = 2**33 / 90_000
CODECS = {".ts": "libx264", ".m2ts": "libx264", ".vob": "mpeg2video", ".mpg": "mpeg2video"}


def shifted(path: Path, by_s: dict[str, float]) -> Path:
    """Write the same packets with later clocks in streams of some kinds."""
    out_path = path.with_stem(path.stem + "_later")
    with av.open(path) as source, av.open(out_path, "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                later = round(by_s.get(packet.stream.type, 0.0) / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return out_path


def part(film: FilmMaker, name: str, first: int, clock_s: float, **options: object) -> Path:
    options = {"frames": 50} | options
    made = film(name, first=first, codec=CODECS[Path(name).suffix], keyframe_every=25, **options)
    return shifted(made, {"video": clock_s, "audio": clock_s})


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    return path


def taken(path: Path, **sampling: object) -> Clip:
    settings = SamplingConfig.model_validate({"frames": 8, "mode": "exact", "audio_window_s": 0.5, **sampling})
    clip = decode_file(path, settings, 64, Limits())
    assert isinstance(clip, Clip), clip
    return clip


@pytest.mark.parametrize("suffix", [".ts", ".vob"])
@pytest.mark.parametrize("clocks_s", [(0, 0), (0, 20_000), (5000, 0), (0, 7), (WRAP_S - 3, WRAP_S / 2)])
def test_joined_recordings_keep_all_their_pictures(film: FilmMaker, suffix: str, clocks_s: tuple[float, ...]) -> None:
    parts = [part(film, f"{n}{suffix}", 50 * n, clock_s, tone_hz=None) for n, clock_s in enumerate(clocks_s)]
    clip = taken(joined(parts[0].with_stem("all"), *parts))
    np.testing.assert_allclose(numbers_of(clip.frames), [6, 18, 31, 43, 56, 68, 81, 93], atol=1)
    assert clip.facts.duration_s == pytest.approx(4.0, abs=0.1)


def test_sound_of_joined_recordings_stays_with_their_pictures(film: FilmMaker) -> None:
    parts = [part(film, f"{n}.ts", 25 * n, 3000.0 * (n == 1), tone_hz=400.0 * (n + 1), frames=25) for n in range(3)]
    clip = taken(joined(parts[0].with_stem("all"), *parts), audio_windows=6)
    assert clip.windows is not None and len(clip.windows) == 6
    pitches = [float(np.abs(np.fft.rfft(w[1600:6400])).argmax()) * 16_000 / 4800 for w in clip.windows]
    np.testing.assert_allclose(pitches, [400, 400, 800, 800, 1200, 1200], atol=20)


def test_many_short_recordings_follow_one_another(film: FilmMaker) -> None:
    parts = [film(f"{n}.ts", frames=13, first=13 * n, keyframe_every=25) for n in range(8)]
    numbers = numbers_of(taken(joined(parts[0].with_stem("all"), *parts), frames=16).frames)
    assert {number // 13 for number in numbers} == set(range(8)) and numbers == sorted(numbers)


@pytest.mark.parametrize("suffix", [".ts", ".vob", ".m2ts"])
@pytest.mark.parametrize("before_s", [0.3, 1.0, 1.9])
def test_a_clock_that_wraps_loses_nothing(film: FilmMaker, suffix: str, before_s: float) -> None:
    clip = taken(part(film, f"a{suffix}", 0, WRAP_S - 1.4 - before_s, tone_hz=None), frames=4)
    np.testing.assert_allclose(numbers_of(clip.frames), [6, 18, 31, 43], atol=1)
    assert clip.facts.duration_s == pytest.approx(2.0, abs=0.1)


def with_sound_later(path: Path, by_s: float) -> Path:
    """Return a TS whose sound has a later clock. Times are changed in place, which keeps the order of the file."""
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        pid, begins = (data[at + 1] & 0x1F) << 8 | data[at + 2], data[at + 1] & 0x40
        body = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        if pid == 0x101 and begins and data[body + 7] & 0x80:
            old = [data[body + 9 + i] for i in range(5)]
            pts = (old[0] >> 1 & 7) << 30 | old[1] << 22 | old[2] >> 1 << 15 | old[3] << 7 | old[4] >> 1
            pts = (pts + round(by_s * 90_000)) % 2**33
            words = (pts >> 30 << 1, pts >> 22, pts >> 15 << 1, pts >> 7, pts << 1)
            marks = (old[0] & 0xF0 | 1, 0, 1, 0, 1)
            data[body + 9 : body + 14] = bytes(word & 0xFF | mark for word, mark in zip(words, marks, strict=True))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("by_s", [WRAP_S - 2.4, 5000.0, -0.7])
def test_a_distant_clock_of_the_sound_loses_neither_pictures_nor_sound(film: FilmMaker, by_s: float) -> None:
    clip = taken(with_sound_later(film("a.ts", frames=50), by_s), frames=4)
    assert numbers_of(clip.frames) == [6, 18, 31, 43] and clip.windows is not None and len(clip.windows) >= 2
    assert clip.facts.duration_s == pytest.approx(2.0, abs=0.5)


def test_pictures_before_the_first_keyframe_of_a_later_recording_are_not_shown(film: FilmMaker, tmp_path: Path) -> None:
    first = film("a.ts", frames=50, tone_hz=None)
    second = film("b.ts", frames=50, first=50, keyframe_every=25, tone_hz=None)
    data = second.read_bytes()
    with av.open(joined(tmp_path / "all.ts", first, second)) as container:
        whole = [packet.pos for packet in container.demux(video=0) if packet.pos]
    cut = data[whole[55] - first.stat().st_size :]  # after five pictures
    (tmp_path / "cut.ts").write_bytes(data[: 3 * 188] + cut)  # the tables, then the middle
    with av.open(joined(tmp_path / "all.ts", first, tmp_path / "cut.ts")) as container:
        samples = scan(film_in(container, container.streams.video[0], Deadline(60))).samples
    hidden = [sample for sample in samples if not sample.shown]
    assert 15 <= len(hidden) <= 20 and not any(sample.keyframe for sample in hidden)


def test_a_live_file_of_two_recordings_is_complete(film: FilmMaker) -> None:
    parts = [film(f"{n}.mkv", frames=50, first=50 * n, live=True, tone_hz=None) for n in range(2)]
    clip = taken(joined(parts[0].with_stem("all"), *parts))
    np.testing.assert_allclose(numbers_of(clip.frames), [6, 18, 31, 43, 56, 68, 81, 93], atol=1)


def test_a_file_without_a_splice_is_scanned_unchanged(film: FilmMaker) -> None:
    path = film("a.ts", frames=50, bframes=2)
    with av.open(path) as container:
        demuxed = [(packet.pts, packet.dts) for packet in container.demux(video=0) if packet.pts is not None]
    with av.open(path) as container:
        found = scan(film_in(container, container.streams.video[0], Deadline(60)))
    assert [(sample.pts, sample.dts) for sample in found.samples] == demuxed and not found.cut
    assert not any(sound.moved for sound in found.sounds.values())
