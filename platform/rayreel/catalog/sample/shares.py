"""How much the clips of the sample set show of their category."""

from dataclasses import dataclass

from rayreel.catalog.sample.config import SampleConfig


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of clips: with the look, the sound and the words of their category, with vague words, graded, with music.

    The others have the look of another category, no sound of their own, or a title that names another category.
    """

    own_look: float
    own_sound: float
    own_words: float
    vague_words: float
    graded: float
    music: float


_EASY = Shares(own_look=1, own_sound=1, own_words=1, vague_words=0, graded=0, music=0)
_HARD = Shares(own_look=0.4, own_sound=0.8, own_words=0.5, vague_words=0.3, graded=1, music=0.6)


def shares_of(config: SampleConfig) -> Shares:
    """Return the shares of an easy or of a hard set."""
    return _EASY if config.easy else _HARD
