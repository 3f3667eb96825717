"""Pictures beside results in terminals that can show them: kitty's protocol or sixel, which iTerm2 has as well."""

import atexit
import io
import logging
import os
import select
import sys
import termios
import time
import tty
from functools import cache
from typing import TYPE_CHECKING

from rich.console import RenderableType

from rayreel.cli.output import console, json_mode

if TYPE_CHECKING:
    from textual_image.renderable import SixelImage, TGPImage

# Height of a picture in lines.
LINES = 3
_STATUS, _OK = "\x1b[5n", b"\x1b[0n"
# textual-image waits 0.1 s for each of its answers. A later one would appear at the prompt.
_FAST_S, _WAIT_S = 0.08, 0.5


@cache
def picture_type() -> "type[TGPImage | SixelImage] | None":
    """Return what draws pictures in this terminal; None if it cannot show any, or if the output is not for people.

    Asks the terminal, once.
    """
    if not (_is_for_people() and _answers()):
        return None
    logging.getLogger("textual_image").setLevel(logging.ERROR)  # the size of a character is not known everywhere
    from textual_image import renderable  # asks for both protocols when it is imported

    if renderable.Image is renderable.TGPImage and console.color_system != "truecolor":
        return None  # its pictures are named by colours that others would change
    return renderable.Image if renderable.Image in {renderable.SixelImage, renderable.TGPImage} else None


def thumbnail(picture: bytes | None) -> RenderableType:
    """Return a small picture for the terminal, or nothing for None."""
    draw = picture_type()
    return draw(io.BytesIO(picture), width="auto", height=LINES) if draw and picture else ""


def _is_for_people() -> bool:
    """Whether both input and output are this terminal's, in the foreground, and colours are wanted."""
    if json_mode.stream is not None or not console.is_terminal or console.is_dumb_terminal or console.no_color:
        return False
    if sys.__stdin__ is None or sys.__stdout__ is None or not (sys.__stdin__.isatty() and sys.__stdout__.isatty()):
        return False
    has_size = os.get_terminal_size(sys.__stdout__.fileno()).columns > 0  # textual-image divides by it
    return has_size and os.tcgetpgrp(sys.__stdin__.fileno()) == os.getpgrp()  # a job in the background would be stopped


def _answers() -> bool:
    """Whether the terminal answers fast enough to be asked what it can show."""
    assert sys.__stdin__ is not None and sys.__stdout__ is not None
    terminal = sys.__stdin__.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSANOW)
    try:
        sys.__stdout__.write(_STATUS)
        sys.__stdout__.flush()
        asked = time.monotonic()
        if select.select([terminal], [], [], _WAIT_S)[0]:
            return os.read(terminal, 4096).endswith(_OK) and time.monotonic() - asked < _FAST_S
        atexit.register(termios.tcflush, terminal, termios.TCIFLUSH)
        return False
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
