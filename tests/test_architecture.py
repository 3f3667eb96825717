"""Rules on imports, printing and docstrings that span the whole package."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import rayreel
import serve_apps
from scheduling import LONGEST

PACKAGE = Path(rayreel.__file__).parent
# In the order of the data flow: each part may import the parts before it, none after it. `cli` and `api` are on top.
PARTS = (
    "remote",
    "catalog",
    "media",
    "encoders",
    "speech",
    "features",
    "enrichment",
    "tower",
    "evaluation",
    "training",
    "index",
    "release",
    "client",
    "events",
    "recommendation",
    "experiments",
    "access",
    "simulation",
    "monitoring",
)
FOR_ALL = {"compat", "deadline", "durable", "errors", "failures", "parts", "placement", "redact", "storage"}
ONLY_IN = {
    "av": {"media"},
    "openai": {"enrichment"},
    "mlflow": {"training", "release"},
    "pymilvus": {"index", "compat"},
}
# Internals of other libraries, which only `compat` may use: private and generated modules and names, and those of
# which nothing that we use is documented.
INTERNAL = re.compile(r"(^|\.)(_[a-z]\w*|generated|grpc_gen)(\.|$)|^(milvus_lite|ray\.dashboard)(\.|$)")
OWN = ("rayreel.", "serve_apps.", "benchmarks.")
# Public in spite of the underscore.
PUBLIC = {"_asdict", "_exit", "_replace"}
ON_TOP = {"cli", "api", "__main__"}
# The commands and the Python API may import the service's code, never the other way round.
SERVE_APPS = Path(serve_apps.__file__).parent
ROOT = SERVE_APPS.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
OTHERS = [path for folder in ("serve_apps", "jobs", "k8s", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
OURS = sorted(path for path in [*MODULES, *OTHERS] if path.parent != PACKAGE / "compat")
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]


def part_of(path: Path) -> str:
    """Return `features` for features/store.py, `settings` for settings.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of all imports in a module, at any level."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the package, never a dot"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_parts(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("rayreel.")}


def private_names(path: Path) -> Iterator[str]:
    """Yield the private attributes that a module uses and does not define."""
    nodes = list(ast.walk(tree_of(path)))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)]
    defined |= {
        node.attr for node in attributes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    yield from (node.attr for node in attributes if node.attr not in defined | PUBLIC)


def public(path: Path) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the module, its public functions and classes, and their public methods."""
    tree = tree_of(path)
    yield tree
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            waiting += node.body if isinstance(node, ast.ClassDef) else []


def test_every_folder_is_a_known_part() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= {*PARTS, "cli", "compat"}


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_follow_the_data_flow(path: Path) -> None:
    part = part_of(path)
    if part in PARTS:
        allowed = set(PARTS[: PARTS.index(part) + 1]) | FOR_ALL
    else:
        allowed = set(PARTS) | FOR_ALL if part == "settings" or part in ON_TOP else FOR_ALL
        allowed = {"compat"} if part == "compat" else allowed
        allowed |= {"cli", "ray_access", "settings", "__version__"} if part in ON_TOP else set()
        allowed |= {"api"} if part == "__init__" else set()
    assert own_parts(path) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_the_command_line_imports_the_service(path: Path) -> None:
    assert part_of(path) in ON_TOP or not any(name.split(".")[0] == "serve_apps" for name in imports(path))


def test_the_service_does_not_import_the_command_line() -> None:
    found = [path.name for path in SERVE_APPS.rglob("*.py") if "cli" in own_parts(path)]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_third_party_libraries_are_imported_only_by_their_parts(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    forbidden = {library for library, parts in ONLY_IN.items() if library in used and part_of(path) not in parts}
    assert not forbidden


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_compat_uses_the_internals_of_other_libraries(path: Path) -> None:
    imported = {name for name in imports(path) if INTERNAL.search(name) and not name.startswith(OWN)}
    assert not imported | set(private_names(path)), "move this into rayreel/compat, with a test in tests/compat"


def test_the_internals_that_compat_uses_are_found() -> None:
    paths = sorted((PACKAGE / "compat").glob("*.py"))
    found = {name for path in paths for name in imports(path) if INTERNAL.search(name)}
    assert {"ray._raylet", "ray._private.ray_constants", "ray.core.generated.gcs_service_pb2"} <= found
    assert {"_start_actor", "_index"} <= {name for path in paths for name in private_names(path)}


def test_libraries_with_internals_in_use_are_pinned_to_a_minor_version() -> None:
    used = {name.split(".")[0] for path in (PACKAGE / "compat").glob("*.py") for name in imports(path)}
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    libraries = {re.split(r"\W", line.replace("-", "_"))[0]: line for line in dependencies}
    assert {"ray", "milvus_lite", "pymilvus"} <= used
    assert not [
        line for name, line in libraries.items() if name in used and not re.search(r"~=\d+\.\d+\.\d+(;|$)", line)
    ]


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_the_library_never_prints(path: Path) -> None:
    calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_everything_public_has_a_docstring(path: Path) -> None:
    undocumented = [getattr(node, "name", "the module") for node in public(path) if not ast.get_docstring(node)]
    assert not undocumented


def test_class_names_are_unique() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for folder in (PACKAGE, SERVE_APPS, ROOT / "benchmarks", ROOT / "k8s"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    repeated = [f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]
    assert not repeated, "\n".join(["Rename all but one of:", *repeated])


def test_platform_is_an_import_root_and_not_a_package() -> None:
    # As a package it would shadow the standard library's module of the same name.
    assert PACKAGE.parent.name == "platform"
    assert not (PACKAGE.parent / "__init__.py").exists()


def test_the_modules_that_tests_are_scheduled_by_exist() -> None:
    assert not [module for module in LONGEST if not (ROOT / module).exists()]
