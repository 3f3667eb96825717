"""Words that docstrings, comments and pages avoid, and what to write instead."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    r"\banew\b": "again",
    r"\bwhoever\b": "the caller, anyone who",
    r"\b(?:some|no|every)body\b": "someone, no one, everyone",
    r"\b(?:he|his|him|himself|she|hers?)\b": "they",
    r"\btold\b": "reported, passed",
    r"\bhears?\b": "receives",
    r"\bnone that\b": "no … that",
    r"\bso many\b": "the number",
    r"\bgo(?:es)? on\b": "continue",
    r"\b(?:shut|let) in\b": "confined, admitted",
    r"\bthat counts\b": "valid",
    r"\bRaises nothing\b": "leave it out",
    r"\bbehind it\b": "after it",
    r"\bas it was\b": "unchanged",
    r"\bin vain\b": "without success",
    r"\b(?:whence|thereof|wherein|hereby|therein)\b": "plain words",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in INSTEAD))
CODE = sorted(
    path
    for folder in ("platform", "serve_apps", "jobs", "benchmarks", "k8s", "tests", ".ci")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("k8s/**/*.md")])


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield comments and docstrings with their line numbers; all lines of a page."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def test_prose_is_plain() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match.group()!r}; write {list(INSTEAD.values())[match.lastindex - 1]!r}"
        for path in (*CODE, *PAGES)
        if path != Path(__file__)
        for line, text in prose(path)
        for match in PATTERN.finditer(text)
        if match.lastindex
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("text", "avoided"), [("It is told anew.", ["told", "anew"]), ("He et al. 2016", [])])
def test_the_words_are_found(text: str, avoided: list[str]) -> None:
    assert [match.group() for match in PATTERN.finditer(text)] == avoided
