"""What a query by text asks for: words, beginnings of words and phrases."""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from rayreel.index.config import Language
from rayreel.index.words import words

# In this order: words in quotes (5" are inches), the beginning of a word, a word.
_PIECE = re.compile(
    r"""(?<!\w)["“„](?P<phrase>[^"“”„]*)["“”](?!\w)|(?P<beginning>[^\W_]+)\*|(?P<word>[^\W_]+)""",
)


class WordQuery(NamedTuple):
    """The words of a query, without their endings; also those of its phrases, all of which a result must have.

    `text` is what was written, without quotes and asterisks. `beginnings` are those of words with their endings.
    """

    text: str
    words: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()


def plain_query(text: str, language: Language) -> WordQuery:
    """Return a query for the words of a text that is no query itself, such as a title."""
    return WordQuery(text, tuple(words(text, language)))


def parse_query(text: str, language: Language) -> WordQuery:
    """Return what a text asks for: "words in quotes" follow each other, and begin* is the beginning of a word.

    >>> parse_query('chess* in "New York"', "english")
    WordQuery(text='chess in New York', words=('new', 'york'), beginnings=('chess',), phrases=(('new', 'york'),))
    """
    found, beginnings, phrases = list[str](), list[str](), list[tuple[str, ...]]()
    for piece in _PIECE.finditer(text):
        if (beginning := piece["beginning"]) is not None:
            beginnings.append(unicodedata.normalize("NFKC", beginning).casefold())
            continue
        of_piece = words(piece["phrase"] or piece["word"] or "", language)
        found += of_piece
        if piece["phrase"] and of_piece:
            phrases.append(tuple(of_piece))
    return WordQuery(without_syntax(text), tuple(found), tuple(beginnings), tuple(phrases))


def without_syntax(text: str) -> str:
    """Return the text of a query without quotes around phrases and asterisks after beginnings.

    >>> without_syntax('chess* in "New York", 5" wide')
    'chess in New York, 5" wide'
    """
    plain = _PIECE.sub(lambda piece: next(part for part in piece.groups() if part is not None), text).strip()
    return plain or text


def with_words(text: str, replaced: Callable[[str], str]) -> str:
    """Return the text of a query with each word replaced, but not those in quotes and beginnings."""
    return _PIECE.sub(lambda piece: piece[0] if piece["word"] is None else replaced(piece["word"]), text)
