"""Transcripts as subtitles, and subtitles as transcripts: WebVTT and SubRip."""

import html
import re
from collections.abc import Iterable

from rayreel.speech.transcript import SpokenSegment

_MOMENT = r"(?:(\d+):)?(\d\d?):(\d\d)[.,](\d{3})"
_TIMES = re.compile(rf"\s*{_MOMENT}\s+-->\s+{_MOMENT}")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")


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


def read_captions(text: str) -> tuple[SpokenSegment, ...]:
    r"""Return the segments of WebVTT or SubRip, in order of time; without markup and lines that a cue repeats.

    Live captions show the line before once more in each cue.

    >>> read_captions("1\n00:00:01,500 --> 00:00:03,000\n<i>Fish</i> &amp; chips\n")
    (SpokenSegment(start_s=1.5, end_s=3.0, text='Fish & chips'),)
    """
    found, shown = list[SpokenSegment](), list[str]()
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = block.split("\n")
        at = next((number for number, line in enumerate(lines) if _TIMES.match(line)), None)
        if at is None:
            continue
        start_s, end_s = _seconds(lines[at])
        cue = [html.unescape(_MARKUP.sub("", line)).strip() for line in lines[at + 1 :]]
        new = [line for line in cue if line and line not in shown]
        shown = cue
        if new:
            found.append(SpokenSegment(start_s, max(start_s, end_s), " ".join(new)))
    return tuple(sorted(found, key=lambda segment: segment.start_s))


def _seconds(line: str) -> tuple[float, float]:
    times = _TIMES.match(line)
    assert times is not None, "the line was matched"
    parts = [int(part or 0) for part in times.groups()]
    start_s, end_s = (
        hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
        for hours, minutes, seconds, milliseconds in (parts[:4], parts[4:])
    )
    return start_s, end_s


def _time(seconds: float, mark: str) -> str:
    total = round(1000 * seconds)
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}{mark}{total % 1000:03}"


def _line(text: str) -> str:
    """One line: an empty one would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """Escape what WebVTT reads as markup or as the arrow between times."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
