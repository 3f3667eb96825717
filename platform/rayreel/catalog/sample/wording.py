"""The words of a clip of the sample set: of its category, of no category, or of another one."""

import itertools
from random import Random
from typing import NamedTuple

from rayreel.catalog.sample.shares import Shares
from rayreel.catalog.sample.themes import THEMES, Theme
from rayreel.catalog.sample.words import MISLEADING_TITLES, SENTENCES, TAGS, TITLES, VAGUE_TITLES


class Wording(NamedTuple):
    """Title, description and tags."""

    title: str
    description: str
    tags: tuple[str, ...]


def choose_words(theme: Theme, number: int, seed: int, shares: Shares) -> Wording:
    """Return the words of clip `number` of a category. Only the words of its own category describe the clip."""
    rng = Random(f"{seed}/{theme.name}/words/{number}")
    drawn, sentence = rng.random(), _any(rng, SENTENCES)
    if drawn < shares.own_words:
        tags = (*rng.sample(theme.words.tags.split("|"), 3), _any(rng, TAGS))
        return Wording(_title(theme, number, seed), f"{_any(rng, theme.words.sentences)} {sentence}", tags)
    vague = drawn < shares.own_words + shares.vague_words
    title = _any(rng, VAGUE_TITLES).format(rng.randint(2, 99)) if vague else _misleading(theme, rng)
    return Wording(title, sentence, tuple(rng.sample(TAGS.split("|"), 2)))


def _any(rng: Random, alternatives: str) -> str:
    return rng.choice(alternatives.split("|"))


def _title(theme: Theme, number: int, seed: int) -> str:
    """Return the title of a clip. Every combination of subject and detail is used once before any is repeated."""
    pairs = list(itertools.product(theme.words.subjects.split("|"), theme.words.details.split("|")))
    rng = Random(f"{seed}/{theme.name}/titles/{number // len(pairs)}")
    rng.shuffle(pairs)
    form = _any(Random(f"{seed}/{theme.name}/title/{number}"), TITLES)
    return _capitalised(form.format(*pairs[number % len(pairs)]))


def _misleading(theme: Theme, rng: Random) -> str:
    other = rng.choice([each for each in THEMES if each is not theme]).words
    return _capitalised(_any(rng, MISLEADING_TITLES).format(_any(rng, other.subjects), _any(rng, other.details)))


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
