"""The twelve categories of the sample set: the average look, motion and sound of each."""

from dataclasses import dataclass

from rayreel.catalog.sample.clip import RGB, Band, Chord, Grains, Look, Motion, SampleSound
from rayreel.catalog.sample.words import WORDS, ThemeWords


@dataclass(frozen=True, slots=True)
class Theme:
    """A category: its words, and the look, motion and sound that its clips vary.

    `also_like`: other categories whose look and motion some of its clips have.
    """

    name: str
    also_like: tuple[str, ...]
    words: ThemeWords
    look: Look
    motion: Motion
    sound: SampleSound


SILENCE = SampleSound(
    Band((100, 200), level=0, swell_hz=1), Grains((100, 100), seconds=0.1, level=0, per_second=1), Chord()
)


def _palette(colours: str) -> tuple[RGB, ...]:
    return tuple((code[0], code[1], code[2]) for code in map(bytes.fromhex, colours.split()))


THEMES = (
    Theme(
        "ocean_waves",
        ("snowfall", "sunset_drone"),
        WORDS["ocean_waves"],
        Look("sea", _palette("bcdee8 145c8c e6f6f8 fafafa"), ("gull",), count=5, size=0.07, texture=0.1),
        Motion("flap", 0.12, ripple=0.030),
        SampleSound(
            Band((60, 900), level=1.0, swell_hz=0.5), Grains((1500, 2100), seconds=0.25, level=0.06, per_second=0.6)
        ),
    ),
    Theme(
        "city_traffic",
        ("fireworks", "sunset_drone"),
        WORDS["city_traffic"],
        Look(
            "skyline",
            _palette("0c0e2c 3a265c ffce6e ff3c32 fff0c8 ffaa3c"),
            ("glow",),
            count=14,
            size=0.055,
            texture=0.04,
        ),
        Motion("traffic", 0.55, pan=0.05),
        SampleSound(
            Band((80, 400), level=0.7, swell_hz=1.1),
            Grains((440, 415), seconds=0.35, level=0.3, per_second=0.8, noise=0.05, answer=1.25),
            Chord((62, 93, 124), level=0.5),
        ),
    ),
    Theme(
        "fireworks",
        ("city_traffic", "ocean_waves"),
        WORDS["fireworks"],
        Look(
            "night",
            _palette("080618 281038 06050c ff5a78 ffd25a 6edcff be82ff"),
            ("glow", "spark"),
            count=150,
            size=0.028,
            texture=0.03,
        ),
        Motion("burst", 0.42),
        SampleSound(
            Band((40, 160), level=0.15, swell_hz=0.4),
            Grains((150, 45), seconds=0.55, level=1.0, per_second=2.2, noise=0.55, answer=2.5),
        ),
    ),
    Theme(
        "snowfall",
        ("forest_birds", "city_traffic"),
        WORDS["snowfall"],
        Look("pines", _palette("7892b2 bacadc f8fafd ffffff"), ("flake", "glow"), count=75, size=0.022, texture=0.03),
        Motion("fall", 0.25),
        SampleSound(
            Band((500, 1100), level=0.5, swell_hz=0.3),
            Grains((2637, 2637), seconds=0.7, level=0.35, per_second=1.2, answer=1.33),
            Chord((880, 1320), level=0.12),
        ),
    ),
    Theme(
        "cooking",
        ("drum_lesson", "chess"),
        WORDS["cooking"],
        Look(
            "pan",
            _palette("b07a4a 2c2828 d69634 ce2e20 569632 f6e2aa f0ba32"),
            ("disc", "ring", "box"),
            count=26,
            size=0.06,
            texture=0.1,
        ),
        Motion("simmer", 0.9),
        SampleSound(
            Band((3500, 9000), level=0.9, swell_hz=3.0),
            Grains((2400, 1800), seconds=0.03, level=0.7, per_second=14.0, noise=0.8),
        ),
    ),
    Theme(
        "football",
        ("forest_birds", "drum_lesson"),
        WORDS["football"],
        Look(
            "pitch",
            _palette("408e3a 54a646 f0f6ee d6282e fafafa 1e3caa"),
            ("player",),
            count=13,
            size=0.06,
            texture=0.05,
        ),
        Motion("roam", 0.35, pan=0.16),
        SampleSound(
            Band((300, 1400), level=0.8, swell_hz=1.6),
            Grains((2850, 2900), seconds=0.3, level=0.5, per_second=0.9, noise=0.1, answer=1.02),
        ),
    ),
    Theme(
        "forest_birds",
        ("snowfall", "football"),
        WORDS["forest_birds"],
        Look(
            "forest",
            _palette("bad078 2e5c2c 3a2a1c c85028 3c4682 ecd696"),
            ("bird",),
            count=7,
            size=0.085,
            texture=0.22,
        ),
        Motion("flap", 0.30, pan=0.04),
        SampleSound(
            Band((200, 700), level=0.12, swell_hz=0.4),
            Grains((3400, 4700), seconds=0.13, level=1.0, per_second=5.0, answer=1.22),
        ),
    ),
    Theme(
        "drum_lesson",
        ("cooking", "fireworks"),
        WORDS["drum_lesson"],
        Look(
            "stage", _palette("240e14 96222c fabe5a f6eede e6b046 d83c34"), ("drum",), count=4, size=0.15, texture=0.05
        ),
        Motion("beat", 2.2),
        SampleSound(
            Band((5000, 9000), level=0.03, swell_hz=2.0),
            Grains((190, 55), seconds=0.16, level=1.0, per_second=4.4, noise=0.25, regular=True, answer=5.0),
        ),
    ),
    Theme(
        "deep_space",
        ("fireworks", "aquarium"),
        WORDS["deep_space"],
        Look(
            "nebula",
            _palette("060616 5c288c 3c82be ffffff b4d2ff ffdcbe"),
            ("glow", "spark"),
            count=90,
            size=0.017,
            texture=0.45,
        ),
        Motion("zoom", 0.35),
        SampleSound(
            Band((30, 120), level=0.4, swell_hz=0.2),
            Grains((1200, 600), seconds=0.9, level=0.06, per_second=0.5),
            Chord((55, 82.5, 110.4, 165.7), level=1.0),
        ),
    ),
    Theme(
        "chess",
        ("cooking", "forest_birds"),
        WORDS["chess"],
        Look(
            "board",
            _palette("eedcb8 966440 5a3822 221e1e fcf6e8"),
            ("pawn", "rook", "bishop"),
            count=9,
            size=0.085,
            texture=0.06,
        ),
        Motion("step", 0.8),
        SampleSound(
            Band((90, 200), level=0.03, swell_hz=0.3),
            Grains((1150, 900), seconds=0.05, level=1.0, per_second=2.0, noise=0.15, regular=True, answer=0.8),
        ),
    ),
    Theme(
        "aquarium",
        ("ocean_waves", "deep_space"),
        WORDS["aquarium"],
        Look(
            "water",
            _palette("46ced6 0a5480 228260 ff8c1e ffd63c e8468c"),
            ("fish",),
            count=11,
            size=0.085,
            texture=0.08,
        ),
        Motion("swim", 0.22, ripple=0.008),
        SampleSound(
            Band((100, 300), level=0.3, swell_hz=0.5),
            Grains((420, 1250), seconds=0.08, level=1.0, per_second=7.0, answer=1.4),
        ),
    ),
    Theme(
        "sunset_drone",
        ("ocean_waves", "city_traffic"),
        WORDS["sunset_drone"],
        Look("hills", _palette("603478 ff9848 36183a ffc496 ff9682"), ("cloud",), count=6, size=0.16, texture=0.04),
        Motion("swim", 0.05, pan=0.14),
        SampleSound(
            Band((100, 400), level=0.05, swell_hz=0.3),
            Grains((440, 440), seconds=0.6, level=0.35, per_second=2.5, regular=True, answer=1.5),
            Chord((220, 277.2, 329.6, 415.3), level=1.0),
        ),
    ),
)
