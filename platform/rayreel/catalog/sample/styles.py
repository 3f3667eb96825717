"""The styles of the sample set: the colour grade and the music that an editor adds, in any category."""

from dataclasses import dataclass

from rayreel.catalog.sample.clip import Chord, ColourGrade


@dataclass(frozen=True, slots=True)
class Style:
    """What the clips of one taste have in common."""

    name: str
    grade: ColourGrade
    music: Chord


STYLES = (
    Style("vivid", ColourGrade(saturation=1.4, light=1.1), Chord((1047, 1319, 1568), level=0.3)),
    Style("faded", ColourGrade(saturation=0.35, light=0.95, warmth=14), Chord((196, 233, 294), level=0.3)),
    Style("cold", ColourGrade(saturation=0.8, light=0.9, warmth=-32), Chord((523, 622, 784), level=0.3)),
    Style("dusk", ColourGrade(saturation=0.9, light=0.6, warmth=24), Chord((110, 131, 165), level=0.3)),
)
