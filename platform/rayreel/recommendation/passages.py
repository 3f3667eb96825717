"""The passage of a video in which the words of a query are said."""

from rayreel.index.config import Language
from rayreel.index.words import words
from rayreel.speech.transcript import SpokenSegment, Transcript


def passage_of(transcript: Transcript, text: str, language: Language) -> SpokenSegment | None:
    """Return the segment with most of the different words of a text, the first of several; None if none has one.

    Words are compared as in a search by words.

    >>> said = Transcript("en", (SpokenSegment(0, 2, "Good morning"), SpokenSegment(2, 5, "The tides are rising")))
    >>> passage_of(said, "when does the tide rise?", "english")
    SpokenSegment(start_s=2, end_s=5, text='The tides are rising')
    """
    asked = set(words(text, language))
    found = [len(asked.intersection(words(segment.text, language))) for segment in transcript.segments]
    most = max(found, default=0)
    return transcript.segments[found.index(most)] if most else None
