"""The documentation names only what exists, and everything that users meet."""

import ast
import importlib
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from benchmarks.run import app as benchmarks
from command_options import options_of
from rayreel.cli.described import setting_lines
from rayreel.cli.main import app
from rayreel.failures import Reason

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "k8s" / "README.md"]
COMMAND = re.compile(
    r"(?:(?:^|&& |\d )rayreel ([a-z][a-z-]*)|\bjobs/([a-z_]+)\.py|\b(benchmarks)/run\.py)((?: [^#|;&]*)?)"
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
SETTING = re.compile(r"^[a-z_]+(\.[a-z_]+)+$")
VARIABLE = re.compile(r"\bRAYREEL_[A-Z_]+[A-Z]\b")
FILE = re.compile(r"\.(py|json|yaml|csv|mp4)$")
OTHER_OPTIONS = {"--kubeconfig", "--context", "--namespace", "--strict"}  # of k8s/submit.py and mypy
# Read by the programs that start a process, before there are settings.
OTHER_VARIABLES = {"RAYREEL_LOG", "RAYREEL_PART__KEY", "RAYREEL_GIT_COMMIT"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)


def code_of(page: Path) -> Iterator[str]:
    """The contents of code spans and, line by line, of code blocks."""
    for block in re.findall(r"```\w*\n(.*?)```", text_of(page), re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", prose_of(page))


SETTINGS = {line.name for line in setting_lines()}
PARTS = {name.rpartition(".")[0] for name in SETTINGS if "." in name}
CODE = [(page.name, line) for page in PAGES for line in code_of(page)]


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of every command and, for a group, of all its commands."""
    commands = typer.main.get_group(app).commands.items()
    return {name: options_of(*getattr(command, "commands", {name: command}).values()) for name, command in commands} | {
        "benchmarks": options_of(typer.main.get_command(benchmarks))
    }


def test_every_relative_link_leads_to_a_file_and_its_heading() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page))]
    assert not [(page.name, link) for page, link in links if "://" not in link and not is_there(page, *link.split("#"))]


def is_there(page: Path, path: str, heading: str = "") -> bool:
    target = page.parent / path if path else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as MkDocs and code hosting sites make them."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_command_has_the_options_it_is_shown_with(options: dict[str, set[str]]) -> None:
    wrong = []
    for page, line in CODE:
        for verb, job, script, words in COMMAND.findall(line.removeprefix("$ ")):
            known = options.get(verb or script or job.replace("_", "-"))
            wrong += [] if known and set(OPTION.findall(words)) <= known else [(page, line)]
    assert not wrong


def test_every_option_in_a_sentence_belongs_to_a_command(options: dict[str, set[str]]) -> None:
    known = set().union(*options.values()) | OTHER_OPTIONS
    spans = [span for page in DOCS for span in re.findall(r"`(--[^`\n]+)`", prose_of(page))]
    assert {option for span in spans for option in OPTION.findall(span)} <= known


def test_every_setting_exists() -> None:
    named = {name for _, code in CODE for name in re.findall(r"--set ['\"]?([a-z_.]+)=", code)}
    spans = {re.sub(r"[=<].*", "", code) for _, code in CODE}
    named |= {name for name in spans if SETTING.match(name) and name.partition(".")[0] in PARTS}
    assert {name for name in named if not FILE.search(name)} - SETTINGS - PARTS - {"part.key"} == set()


def test_every_variable_of_a_setting_exists() -> None:
    known = {f"RAYREEL_{name.replace('.', '__').upper()}" for name in SETTINGS} | OTHER_VARIABLES
    assert {name for page in PAGES for name in VARIABLE.findall(text_of(page))} <= known


def test_the_configuration_page_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / ".ci" / "settings_page.py"))["page"]
    assert text_of(ROOT / "docs" / "configuration.md") == page(), "run `make docs`"


def test_every_route_is_documented_with_its_scope() -> None:
    routes = importlib.import_module("serve_apps.api")
    scope_of = importlib.import_module("serve_apps.scopes").scope_of
    routers = [routes.recommend.router, routes.embed.router, routes.videos.router, routes.videos.jobs]
    routers += [routes.events.router, routes.users.router, routes.transcripts.router]
    routers += [routes.pictures.router, routes.releases.router, routes.experiments.router]
    routers += [routes.operation.router]
    expected = set()
    for route in (route for router in routers for route in router.routes):
        for method in route.methods:
            scope = scope_of(method, route.path)
            expected.add((method, route.path.replace(":path", ""), scope.name.lower() if scope else None))
    rows = re.findall(r"^\| `(\w+) (/\S+)` \| (\w+) \|", text_of(ROOT / "docs" / "http-api.md"), re.MULTILINE)
    shown = {(method, path, scope if scope in {"read", "write", "admin"} else None) for method, path, scope in rows}
    assert shown == expected


@pytest.fixture(scope="module")
def sources() -> list[ast.Module]:
    """What a user may run, but benchmarks."""
    paths = [path for folder in ("platform", "serve_apps", "k8s") for path in (ROOT / folder).rglob("*.py")]
    return [ast.parse(text_of(path)) for path in paths]


def error_classes(sources: list[ast.Module]) -> set[str]:
    """Names of all public subclasses of RayreelError."""
    bases: dict[str, set[str]] = {}
    for node in (node for tree in sources for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        bases.setdefault(node.name, set()).update(ast.unparse(base) for base in node.bases)
    found = {"RayreelError"}
    while more := {name for name, own in bases.items() if own & found} - found:
        found |= more
    return {name for name in found if not name.startswith("_")}


def test_every_error_is_in_the_troubleshooting_page_and_no_other(sources: list[ast.Module]) -> None:
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == error_classes(sources)


def test_the_words_of_every_message_in_the_troubleshooting_page_are_in_the_code(sources: list[ast.Module]) -> None:
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    messages = re.findall(r"^\| `\w+`[^|:]*: (.+?) \|", page, re.MULTILINE)
    parts = {part.strip(" `") for message in messages for part in re.split("…|; ", message)} - {""}
    texts = {node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    code = "\n".join(text for text in texts if isinstance(text, str))
    assert {part for part in parts if part not in code} == set()


def test_every_reason_of_quarantine_is_documented() -> None:
    shown = re.findall(r"^\| `(\w+)` \|", text_of(ROOT / "docs" / "catalogs.md"), re.MULTILINE)
    assert {reason.value for reason in Reason} <= set(shown)


def test_python_examples_import_what_exists() -> None:
    blocks = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)]
    imports = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
    for node in (node for node in imports if str(node.module).startswith("rayreel")):
        exec(compile(ast.Module([node], []), "docs", "exec"), {})


def test_every_function_named_in_the_python_reference_exists() -> None:
    text = text_of(ROOT / "docs" / "python-api.md")
    client = importlib.import_module("rayreel.client").Client
    for cell in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE):
        module = None
        for path in re.findall(r"`([\w.]+)", cell):
            owner, _, name = path.rpartition(".")
            module = importlib.import_module(owner) if owner else module
            assert hasattr(module or client, name), path


def test_the_readme_is_an_introduction() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= 150
