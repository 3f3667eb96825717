"""The words of a text, as a search by words compares them: without stop words, endings and case."""

import re
import unicodedata
from functools import cache, lru_cache

import snowballstemmer
from bm25s import stopwords

from rayreel.index.config import Language

_WORD = re.compile(r"[^\W_]+")
# Scripts written without spaces: Thai, Lao, kana and Chinese characters. Their words are not known: pairs of
# neighbouring characters stand for them, as in Lucene's CJK analyzer.
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+)")


def words(text: str, language: Language = "english") -> list[str]:
    """Return the words of a text in order: folded to lower case, without stop words, cut to their stems.

    Stemming is Snowball's (Porter 2001). A language without stop words and stems, `none`, keeps every word. Chinese,
    Japanese, Thai and Lao are split into pairs of characters.

    >>> words("The dogs are running in CAFÉS")
    ['dog', 'run', 'café']
    >>> words("ocean_waves 日本語")
    ['ocean', 'wave', '日本', '本語']
    """
    return [stem(word, language) for word in whole_words(text, language)]


def whole_words(text: str, language: Language = "english") -> list[str]:
    """Return the words of a text as `words` does, with their endings.

    >>> whole_words("The dogs are running")
    ['dogs', 'running']
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    stop = _stop_words(language)
    found = (word for run in _WORD.findall(folded) for part in _UNSPACED.split(run) for word in _split(part))
    return [word for word in found if word not in stop]


def is_spaced(word: str) -> bool:
    """Whether a word is of a script that separates words."""
    return not _UNSPACED.search(word)


def _split(part: str) -> list[str]:
    if len(part) < 2 or not _UNSPACED.match(part):
        return [part] if part else []
    return [part[at : at + 2] for at in range(len(part) - 1)]


@cache
def _stop_words(language: Language) -> frozenset[str]:
    if language == "none":
        return frozenset()
    # Lucene's 33 English words miss most function words.
    name = "EN_PLUS" if language == "english" else language.upper()
    return frozenset(getattr(stopwords, f"STOPWORDS_{name}"))


@lru_cache(1 << 16)
def stem(word: str, language: Language) -> str:
    """Return the stem of a word, as `words` does."""
    return word if language == "none" else str(_stemmer(language).stemWord(word))


@cache
def _stemmer(language: Language) -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer(language)
