"""Encode one clip of the sample set into a file."""

import os
from fractions import Fraction
from pathlib import Path

import av

from rayreel.catalog.sample.clip import FRAME_RATE, SampleClip
from rayreel.media.render.draw import draw
from rayreel.media.render.sound import SAMPLE_RATE, synthesise


def render(clip: SampleClip, path: Path) -> None:
    """Write `clip` to `path` as MP4 (H.264 yuv420p, AAC mono), a keyframe each second. Parent folders are made.

    The same clip gives the same bytes on one machine: one encoder thread, no date and no writer's name in the file.
    The file appears complete or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _encode(clip, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(clip: SampleClip, path: Path) -> None:
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=FRAME_RATE, options={"preset": "superfast", "crf": "25"})
        video.width, video.height, video.pix_fmt = clip.look.width, clip.look.height, "yuv420p"
        audio = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"b": "64k"})
        for stream in (video, audio):
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        video.codec_context.gop_size = FRAME_RATE
        wave = av.AudioFrame.from_ndarray(synthesise(clip)[None], format="fltp", layout="mono")
        wave.sample_rate, wave.time_base, wave.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        out.mux(audio.encode(wave))
        out.mux(audio.encode())
        for number, picture in enumerate(draw(clip)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, FRAME_RATE), number
            out.mux(video.encode(frame))
        out.mux(video.encode())
