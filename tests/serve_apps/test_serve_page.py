"""The built page is that of its source, and small."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "serve_apps" / "page"


def test_the_built_page_is_that_of_its_source() -> None:
    digest = runpy.run_path(str(ROOT / ".ci" / "page.py"))["digest"]
    assert (BUILT / "source.sha256").read_text().strip() == digest(), "run `make page`"


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in BUILT.rglob("*") if path.is_file()) < 150_000
