"""What the words of a query find in a release: words with typing errors, beginnings of words, phrases."""

from collections.abc import Mapping, Sequence

from rayreel.client.messages import RecommendRequest
from rayreel.index.syntax import WordQuery, with_words, without_syntax
from rayreel.index.words import is_spaced, stem, whole_words, words
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live

# Fewest letters of a word with one error, and with two: shorter words have too many neighbours of another meaning.
ONE_EDIT, TWO_EDITS = 5, 9


def corrections(live: Live, request: RecommendRequest, config: RecommendConfig) -> dict[str, str]:
    """Return the words of a hybrid request by text that no video has, each with the nearest word of the titles.

    The nearest has the fewest edits, then the most titles. Words that are short or have digits are left out.
    """
    found: dict[str, str] = {}
    if request.hybrid and request.text is not None and config.correct_words:
        with_words(request.text, lambda word: found.setdefault(word, _nearest(live, word) or word))
    return {word: nearest for word, nearest in found.items() if nearest != word}


def as_searched(request: RecommendRequest, corrected: Mapping[str, str]) -> tuple[RecommendRequest, str | None]:
    """Return a request with words of its text replaced, and the text that is searched instead if there are any."""
    if not corrected:
        return request, None
    text = with_words(request.text or "", lambda word: corrected.get(word, word))
    return request.model_copy(update={"text": text}), text


def encoded_text(request: RecommendRequest) -> str:
    """Return the text of a request that the encoders read."""
    text = request.text or ""
    return without_syntax(text) if request.hybrid else text


def _nearest(live: Live, written: str) -> str | None:
    language = live.snapshot.words.language
    found = whole_words(written, language)
    if len(found) != 1 or len(found[0]) < ONE_EDIT or not found[0].isalpha() or not is_spaced(found[0]):
        return None
    if live.has_word(stem(found[0], language)):
        return None
    most = 1 if len(found[0]) < TWO_EDITS else 2
    near = [nearest for vocabulary in live.vocabularies if (nearest := vocabulary.nearest(found[0], most)) is not None]
    return min(near).word if near else None


def with_phrases(live: Live, query: WordQuery, places: Sequence[int]) -> list[int]:
    """Return those of the places whose video has all phrases of a query, each within one field."""
    return [place for place in places if _has_phrases(live, place, query.phrases)]


def _has_phrases(live: Live, place: int, phrases: Sequence[tuple[str, ...]]) -> bool:
    row, boosts, language = live.row(place), live.snapshot.words.boosts, live.snapshot.words.language
    fields = (
        (boosts.title, row.title),
        *((boosts.tags, tag) for tag in row.tags),
        (boosts.description, row.description),
        (boosts.transcript, live.transcript(place).text),
        *((boosts.summary, text) for text in (row.summary, row.rewritten_title, *row.topics)),
    )
    texts = [words(text, language) for boost, text in fields if boost and text]
    return all(any(_follows(text, phrase) for text in texts) for phrase in phrases)


def _follows(text: Sequence[str], phrase: tuple[str, ...]) -> bool:
    """Whether the words of a phrase follow each other in a text."""
    return any(tuple(text[at : at + len(phrase)]) == phrase for at in range(len(text) - len(phrase) + 1))
