from rayreel.speech.captions import sub_rip, web_vtt
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
