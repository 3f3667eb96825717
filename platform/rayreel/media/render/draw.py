"""Draw one clip of the sample set: a still backdrop that pans or ripples, with sprites moving over it."""

from collections.abc import Iterator

import numpy as np

from rayreel.catalog.sample.clip import FRAME_RATE, SampleClip
from rayreel.media.render.arrays import Picture
from rayreel.media.render.backdrop import make_view, paint_backdrop
from rayreel.media.render.sprites import blend, make_stamps, place_sprites


def draw(clip: SampleClip) -> Iterator[Picture]:
    """Yield the clip's frames, [height, width, 3] uint8 RGB."""
    look, motion, rng = clip.look, clip.motion, np.random.default_rng(clip.seed)
    w, h, frames = look.width, look.height, round(clip.seconds * FRAME_RATE)
    t = np.arange(frames) / FRAME_RATE
    stamps = make_stamps(look)
    margin = max(len(stamp) for stamp in stamps)
    shift = np.round((motion.pan * t - min(0.0, motion.pan * clip.seconds)) * h).astype(int)
    canvas = paint_backdrop(look, margin, int(shift.max()), rng)
    view = make_view(canvas, margin, look, motion.ripple)
    sprites = place_sprites(look, motion, t, margin, rng)
    for k in range(frames):
        picture = view(float(t[k]), int(shift[k]))
        wings_down = motion.kind == "flap" and int(t[k] * 6) % 2
        blend(picture, [stamp[::-1] for stamp in stamps] if wings_down else stamps, sprites, k)
        yield np.ascontiguousarray(picture[margin : margin + h, margin : margin + w])
