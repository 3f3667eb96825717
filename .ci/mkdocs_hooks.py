"""Pages of the site that lie outside docs/, where a code hosting site expects them."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "k8s/README.md": "kubernetes.md",
    "k8s/SIZING.md": "sizing.md",
}
_LINK = re.compile(r"\]\(([^)#\s]+\.md)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401
    """Let links to these pages, and from them to docs/, lead to the site's pages."""
    sources = {built: source for source, built in PAGES.items()}
    here = ROOT / sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_the_site(link: re.Match[str]) -> str:
        target = (here.parent / link[1]).resolve()
        if not target.is_relative_to(ROOT):
            return link[0]
        path = str(target.relative_to(ROOT))
        return f"]({PAGES.get(path, path.removeprefix('docs/'))}{link[2] or ''})"

    return _LINK.sub(on_the_site, markdown)
