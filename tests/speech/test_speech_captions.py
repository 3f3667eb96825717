from rayreel.speech.captions import read_captions, sub_rip, web_vtt
from rayreel.speech.transcript import SpokenSegment

SAID = [
    SpokenSegment(0.0, 2.5, "Hello <b>there</b>"),
    SpokenSegment(3599.9996, 3661.0, "The  tide is\n\nrising --> now"),
    SpokenSegment(3700.0, 3701.0, "The end"),
]


def test_web_vtt_has_times_and_text_that_cannot_be_read_as_markup() -> None:
    assert web_vtt(SAID[:2]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nHello &lt;b&gt;there&lt;/b&gt;\n\n"
        "01:00:00.000 --> 01:01:01.000\nThe tide is rising --&gt; now\n"
    )
    assert web_vtt([]) == "WEBVTT\n"


def test_sub_rip_has_numbers_and_times_with_commas() -> None:
    assert sub_rip(SAID[2:]) == "1\n01:01:40,000 --> 01:01:41,000\nThe end\n"
    assert sub_rip(SAID).splitlines()[4:6] == ["2", "01:00:00,000 --> 01:01:01,000"]


def test_captions_are_read_as_they_are_written() -> None:
    for written in (web_vtt(SAID), sub_rip(SAID)):
        found = read_captions(written)
        assert [round(segment.start_s, 3) for segment in found] == [0, 3600, 3700]
        assert found[0].end_s == 2.5 and found[2].text == "The end"
    assert read_captions(web_vtt(SAID))[0].text == "Hello <b>there</b>"


def test_captions_of_sites_lose_markup_settings_and_lines_that_roll() -> None:
    rolling = """WEBVTT
Kind: captions

NOTE made by hand

00:01.000 --> 00:02.000 align:start position:0%
<c>the</c><00:01.500><c> tide</c>

tide-2
00:02.000 --> 00:03.000
the tide
is rising

00:04.000 --> 00:05.000
"""
    assert read_captions(rolling) == (SpokenSegment(1, 2, "the tide"), SpokenSegment(2, 3, "is rising"))
    assert read_captions("no captions") == ()
