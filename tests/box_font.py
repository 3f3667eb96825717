"""A font of boxes, the only one that a browser of tests has: texts then have the same shape on every machine."""

from collections.abc import Mapping
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

_UNITS = 1000
_CHARACTERS = (range(0x21, 0x300), range(0x2010, 0x2800))
_CONFIG = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def only_boxes(folder: Path) -> Mapping[str, str]:
    """Write the font, and return the environment in which a program sees no other (Linux)."""
    pen = TTGlyphPen(None)
    for move, place in zip("mlll", ((60, 0), (60, 520), (440, 520), (440, 0)), strict=True):
        (pen.moveTo if move == "m" else pen.lineTo)(place)
    pen.closePath()
    box, empty, names = pen.glyph(), TTGlyphPen(None).glyph(), [".notdef", "space", "box"]
    font = FontBuilder(_UNITS, isTTF=True)
    font.setupGlyphOrder(names)
    boxes = {code: "box" for codes in _CHARACTERS for code in codes}
    font.setupCharacterMap(boxes | {0x20: "space", 0xA0: "space"})
    font.setupGlyf({".notdef": box, "space": empty, "box": box})
    font.setupHorizontalMetrics(dict.fromkeys(names, (500, 60)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Boxes", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(folder / "boxes.ttf")
    (folder / "fonts.conf").write_text(_CONFIG.format(folder=folder))
    return {"FONTCONFIG_FILE": str(folder / "fonts.conf")}
