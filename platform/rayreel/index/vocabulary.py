"""The words that texts have: for searches by the beginning of a word, and for words with a typing error."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from rayreel.index.config import Language
from rayreel.index.words import whole_words

# Titles have no longer words, only addresses and the like.
_LONGEST = 32


class Near(NamedTuple):
    """A word near another one, and in how many titles it is. Nearer ones are smaller, then those of more titles."""

    edits: int
    minus_titles: int
    word: str


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V different words with their endings, ascending; how many texts of any field have each, and how many titles."""

    words: list[str]
    texts_V: NDArray[np.int32]
    titles_V: NDArray[np.int32]

    @classmethod
    def of(cls, titles: Iterable[str], others: Iterable[str], language: Language) -> Self:
        """Return the vocabulary of titles and of the other texts that are searched."""
        of_titles, of_others = (
            Counter(word for text in texts for word in set(whole_words(text, language))) for texts in (titles, others)
        )
        found = sorted(of_titles | of_others)
        titles_V = np.asarray([of_titles[word] for word in found], np.int32)
        return cls(found, titles_V + np.asarray([of_others[word] for word in found], np.int32), titles_V)

    def starting(self, beginning: str, most: int) -> list[str]:
        """Return the words that start with a text; if there are more than `most`, the most frequent."""
        first = bisect_left(self.words, beginning)
        last = bisect_left(self.words, beginning + chr(0x10FFFF), first)
        if last - first <= most:
            return self.words[first:last]
        frequent = np.argsort(-self.texts_V[first:last], kind="stable")[:most]
        return [self.words[first + place] for place in frequent.tolist()]

    def nearest(self, word: str, most_edits: int) -> Near | None:
        """Return the nearest word of the titles within `most_edits`; None if there is none.

        An edit inserts, deletes or replaces a letter or swaps it with the next (Damerau 1964, A Technique for Computer
        Detection and Correction of Spelling Errors, as optimal string alignment: no letter is edited twice).
        """
        close = process.extract(word, self._titled, scorer=OSA.distance, score_cutoff=most_edits, limit=None)
        return min((Near(int(edits), -int(self.titles_V[at]), near) for near, edits, at in close), default=None)

    @cached_property
    def _titled(self) -> dict[int, str]:
        """The words of titles by their places."""
        places = np.flatnonzero(self.titles_V > 0).tolist()
        return {at: self.words[at] for at in places if len(self.words[at]) <= _LONGEST}
