"""The words that texts have: for searches by the beginning of a word, and for words with a typing error."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rayreel.index.config import Language
from rayreel.index.words import whole_words

# Titles have no longer words, only addresses and the like.
_LONGEST = 32
_BITS = 32


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

        An edit changes at most two letters of the set of letters, which leaves few words to compare.
        """
        titled, lengths_T, letters_T = self._titled
        close_T = np.abs(lengths_T - len(word)) <= most_edits
        close_T &= np.bitwise_count(letters_T ^ _letters([word])[0]) <= 2 * most_edits
        found = (
            Near(edits(word, self.words[at], most_edits), -int(self.titles_V[at]), self.words[at])
            for at in titled[close_T].tolist()
        )
        return min((near for near in found if near.edits <= most_edits), default=None)

    @cached_property
    def _titled(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
        """Places, lengths and sets of letters of the words of titles."""
        lengths_V = np.asarray([len(word) for word in self.words], np.int64)
        titled = np.flatnonzero((self.titles_V > 0) & (lengths_V <= _LONGEST))
        return titled, lengths_V[titled], _letters([self.words[at] for at in titled.tolist()])


def edits(one: str, other: str, most: int | None = None) -> int:
    """Return the fewest letters to insert, delete, replace or swap with the next, to make one word of the other.

    A number above `most` may be too low, which saves most of the work for words that differ much.
    Source: Damerau 1964, A Technique for Computer Detection and Correction of Spelling Errors, as optimal string
    alignment: no letter is edited twice.

    >>> edits("chess", "ches"), edits("opening", "openign"), edits("waves", "wolves")
    (1, 1, 2)
    """
    before, last = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            fewest = min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                fewest = min(fewest, before[j - 1] + 1)
            row.append(fewest)
        if most is not None and min(row) > most and min(last) > most:
            return most + 1
        before, last = last, row
    return last[-1]


def _letters(words: list[str]) -> NDArray[np.uint32]:
    """The set of letters of each word, as bits; letters may share one."""
    codes_WL = np.asarray(words or [""], np.str_).view(np.uint32).reshape(max(len(words), 1), -1)
    bits_WL = np.where(codes_WL, np.left_shift(np.uint32(1), codes_WL % _BITS), np.uint32(0))
    found_W: NDArray[np.uint32] = np.bitwise_or.reduce(bits_WL, axis=1)[: len(words)]
    return found_W
