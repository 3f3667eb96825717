"""Transcripts as subtitles: WebVTT and SubRip."""

from collections.abc import Iterable

from rayreel.speech.transcript import SpokenSegment


def web_vtt(segments: Iterable[SpokenSegment]) -> str:
    """Return the segments as WebVTT (W3C).

    >>> print(web_vtt([SpokenSegment(61.5, 63, "Fish & chips")]))
    WEBVTT
    <BLANKLINE>
    00:01:01.500 --> 00:01:03.000
    Fish &amp; chips
    <BLANKLINE>
    """
    cues = [f"{_time(s.start_s, '.')} --> {_time(s.end_s, '.')}\n{_escaped(_line(s.text))}\n" for s in segments]
    return "\n".join(["WEBVTT\n", *cues])


def sub_rip(segments: Iterable[SpokenSegment]) -> str:
    """Return the segments as SubRip (.srt)."""
    return "\n".join(
        f"{number}\n{_time(s.start_s, ',')} --> {_time(s.end_s, ',')}\n{_line(s.text)}\n"
        for number, s in enumerate(segments, 1)
    )


def _time(seconds: float, mark: str) -> str:
    total = round(1000 * seconds)
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}{mark}{total % 1000:03}"


def _line(text: str) -> str:
    """One line: an empty one would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """Escape what WebVTT reads as markup or as the arrow between times."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
