"""Pictures beside results: in terminals that show them, in others, and where the output is not for people."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

import pytest
from PIL import Image

# What a terminal sends: to which question, and the answer.
Answers = Mapping[re.Pattern[bytes], bytes]
STATUS = {re.compile(rb"\x1b\[5n"): b"\x1b[0n"}
SIXEL = {re.compile(rb"\x1b\[c"): b"\x1b[?62;4;22c"}
NO_SIXEL = {re.compile(rb"\x1b\[c"): b"\x1b[?62;22c"}
KITTY = {re.compile(rb"\x1b_Gi=(\d+)[^\x1b]*a=q[^\x1b]*\x1b\\"): b"\x1b_Gi=\\1;OK\x1b\\\\"}
# How a picture begins in each protocol; those of questions do not contain it.
KITTY_PICTURE, SIXEL_PICTURE = "f=100,", "\x1bP"

SHOW = """
import sys
from rayreel.cli.output import console, print_json
from rayreel.cli.results import results_table
from rayreel.client.messages import Result

if "--json" in sys.argv:
    print_json(True)
results = [
    Result(video_id="waves", score=0.9, title="Waves at dawn", category="ocean"),
    Result(video_id="text", score=0.8, title="No film", category=""),
]
poster = bytes.fromhex(sys.argv[1])
console.print(results_table("Similar", results, poster=lambda video: poster if video.video_id == "waves" else None))
"""


def poster() -> str:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(out, "jpeg")
    return out.getvalue().hex()


def shown(
    answers: Answers, *words: str, delay_s: float = 0, columns: int = 100, variables: Mapping[str, str] | None = None
) -> tuple[str, bytes]:
    """Print results in a terminal with these answers; return what it shows and what is left to read at the prompt."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    child = subprocess.Popen(
        [sys.executable, "-c", SHOW, poster(), *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment
        | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "100", "LINES": "40"}
        | dict(variables or {}),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - nothing runs beside it in the child
    )
    seen, answered, due = b"", 0, list[tuple[float, bytes]]()
    while child.poll() is None or select.select([ours], [], [], 0.05)[0]:
        if select.select([ours], [], [], 0.01)[0]:
            seen += os.read(ours, 65536)
        for question, answer in answers.items():
            if found := question.search(seen, answered):
                answered = found.end()
                due.append((time.monotonic() + delay_s, found.expand(answer)))
        while due and due[0][0] <= time.monotonic():
            os.write(ours, due.pop(0)[1])
    state = termios.tcgetattr(theirs)
    assert state[3] & termios.ECHO and state[3] & termios.ICANON, "the terminal is as it was"
    os.set_blocking(theirs, False)
    state[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(theirs, termios.TCSANOW, state)
    left = os.read(theirs, 4096) if select.select([theirs], [], [], 0)[0] else b""
    os.close(ours)
    os.close(theirs)
    assert child.returncode == 0, seen.decode(errors="replace")
    return seen.decode("latin1"), left


@pytest.mark.parametrize(
    ("answers", "picture", "other"),
    [
        (STATUS | SIXEL, SIXEL_PICTURE, KITTY_PICTURE),
        (STATUS | NO_SIXEL | KITTY, KITTY_PICTURE, SIXEL_PICTURE),
    ],
    ids=["sixel", "kitty"],
)
def test_a_terminal_that_can_shows_a_picture_beside_its_result(answers: Answers, picture: str, other: str) -> None:
    tries = (shown(answers) for _ in range(5))  # on a busy machine, this terminal may be too slow
    out, left = next(found for found in tries if picture in found[0])
    assert other not in out and "Waves at dawn" in out and "No film" in out
    assert not left


def test_a_terminal_without_pictures_shows_the_table_only() -> None:
    out, left = shown(STATUS | NO_SIXEL)
    assert "Waves at dawn" in out and SIXEL_PICTURE not in out and not left
    assert "\u2584".encode().decode("latin1") not in out, "no picture of half blocks either"


def test_kitty_without_all_colours_shows_none() -> None:
    out, left = shown(STATUS | NO_SIXEL | KITTY, variables={"COLORTERM": ""})
    assert "Waves at dawn" in out and KITTY_PICTURE not in out and not left


def test_a_terminal_that_never_answers_is_asked_once_and_not_waited_for() -> None:
    out, left = shown({})
    assert out.count("\x1b[5n") == 1 and "\x1b[c" not in out and "\x1b_G" not in out
    assert "Waves at dawn" in out and not left


def test_a_late_answer_does_not_appear_at_the_prompt() -> None:
    out, left = shown(STATUS | SIXEL, delay_s=0.15)
    assert "Waves at dawn" in out and SIXEL_PICTURE not in out and not left


def test_a_terminal_without_a_size_is_not_asked() -> None:
    out, _ = shown(STATUS | SIXEL, columns=0)
    assert "Waves at dawn" in out and "\x1b[5n" not in out


@pytest.mark.parametrize(
    ("words", "variables"),
    [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--json",), {})],
    ids=["NO_COLOR", "dumb", "json"],
)
def test_the_terminal_is_not_asked_where_no_picture_is_wanted(
    words: tuple[str, ...], variables: dict[str, str]
) -> None:
    out, _ = shown(STATUS | SIXEL, *words, variables=variables)
    assert "Waves at dawn" in out and "\x1b[5n" not in out and SIXEL_PICTURE not in out


def test_a_pipe_gets_neither_questions_nor_pictures() -> None:
    command = [sys.executable, "-c", SHOW, poster()]
    environment = os.environ | {"FORCE_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"Waves at dawn" in done.stdout and b"\x1b[5n" not in done.stdout and b"\x1bP" not in done.stdout
