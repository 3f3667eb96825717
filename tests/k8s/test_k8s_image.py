"""The steps of the image without Docker: the wheel, its installation, a job."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from films import write_film
from k8s_manifests import ROOT, pods
from rendering import build

pytestmark = pytest.mark.slow

DOCKERFILE = (ROOT / "k8s" / "Dockerfile").read_text()
STEPS = ROOT / "k8s" / "image.sh"


def instructions(word: str) -> Iterator[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    yield from (line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(f"{word} "))


def copied() -> list[str]:
    """Return the files that COPY takes from the context."""
    taken = []
    for line in instructions("COPY"):
        words = [word for word in shlex.split(line) if not word.startswith("--chown")]
        if not any(word.startswith("--from") for word in words):
            taken += words[:-1]
    return taken


def sent(path: str) -> bool:
    """Whether .dockerignore allows a file in the context. The last matching line decides."""
    result = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
        bare = pattern.removeprefix("**/")
        names = [Path(parent).name for parent in parents] if pattern != bare else parents
        if any(fnmatch.fnmatch(name, bare) for name in names):
            result = line.startswith("!")
    return result


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from only the files of the context."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "platform", "serve_apps", "k8s/image.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ["pyproject.toml", "README.md", "LICENSE", *listed.stdout.split()]:
        if (ROOT / name).exists() and sent(name):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)  # with its mode: haproxy is executable
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", str(STEPS), "wheel", str(source), str(out)]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = out.glob("rayreel-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed, for PYTHONPATH."""
    target = tmp_path_factory.mktemp("target")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True)
    return target


def test_copied_files_exist_and_are_in_the_context() -> None:
    assert copied()
    for name in copied():
        assert (ROOT / name).exists(), name
        assert sent(name), name


@pytest.mark.parametrize("name", [".git/config", ".venv/bin/python", "storage/mlflow/mlflow.db", "tests/films.py"])
def test_unneeded_files_are_not_in_the_context(name: str) -> None:
    assert not sent(name)
    assert not sent("platform/rayreel/__pycache__/errors.cpython-311.pyc")


def test_the_wheel_has_the_package_and_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "platform" / "rayreel").rglob("*.py"):
        assert str(path.relative_to(ROOT / "platform")) in names
    assert "serve_apps/config.yaml" in names
    assert not any(name.startswith(("tests/", "jobs/", "k8s/")) for name in names)


def test_the_installed_wheel_adds_a_catalog_from_any_working_directory(installed: Path, tmp_path: Path) -> None:
    """The job that the service starts needs only the installed package."""
    job = [sys.executable, "-P", "-m", "serve_apps.add_catalog", "--catalog", "none.csv", "--storage", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(job, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "none.csv" in done.stdout, done.stdout + done.stderr


def test_the_installed_wheel_has_the_command_line_and_what_it_deploys(installed: Path, tmp_path: Path) -> None:
    env, program = {**os.environ, "PYTHONPATH": str(installed)}, str(installed / "bin" / "rayreel")

    def rayreel(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert "extract" in rayreel("--help").stdout
    failed = rayreel("extract", "--catalog", "none.csv", "--storage", str(tmp_path), "--json")
    assert failed.returncode == 1 and "none.csv" in json.loads(failed.stdout)["error"]["message"], failed.stderr
    made = rayreel("keys", "create", "me", "--storage", str(tmp_path))
    assert made.returncode == 0 and made.stdout.startswith("rr_"), made.stderr
    assert (installed / "serve_apps" / "config.yaml").exists()
    assert os.access(installed / "rayreel" / "compat" / "haproxy", os.X_OK)


def test_the_image_runs_as_a_user_and_is_built_from_pinned_parts() -> None:
    assert list(instructions("USER"))[-1] == "1000"
    ray = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert ray is not None
    assert next(iter(instructions("ARG"))) == f"RAY_IMAGE=rayproject/ray:{ray[1]}-py311-cpu"
    assert "constraints.txt" in next(line for line in instructions("RUN") if " install " in line and "image.sh" in line)


def test_every_step_of_the_image_is_a_step_of_the_script() -> None:
    script = STEPS.read_text()
    steps = [re.search(r"image\.sh (\w+)", line) for line in instructions("RUN")]
    assert (
        {step[1] for step in steps if step}
        == {"wheel", "install", "weights"}
        == set(re.findall(r"^(\w+)\(\)", script, re.M)) - {"pin"}
    )
    subprocess.run(["sh", "-n", str(STEPS)], check=True)


def test_a_folder_is_never_mistaken_for_a_package_of_the_index(tmp_path: Path) -> None:
    """`pip wheel source` would fetch a package of that name from the index; the step passes a path, or fails."""
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "source").mkdir()
    command, env = ["sh", str(STEPS), "wheel", "source", "out"], {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    printed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert printed.split()[-1] == str(tmp_path / "source")
    (tmp_path / "source").rmdir()
    missing = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert missing.returncode != 0
    assert "pip" not in missing.stdout


def test_pin_fails_if_the_overlay_cannot_be_rendered(tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(STEPS), "pin", "overlay"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""


def test_pin_lists_a_digest_for_every_image_that_has_only_a_tag(tmp_path: Path) -> None:
    """A fake `docker` answers for the registry, and kustomize accepts the printed list."""
    digest = "sha256:" + "0" * 64
    (tmp_path / "docker").write_text(f'#!/bin/sh\ntest "$1 $2 $3" = "buildx imagetools inspect" && echo {digest}\n')
    (tmp_path / "docker").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    overlay = ROOT / "k8s" / "overlays" / "local"
    command, env = ["sh", str(STEPS), "pin", str(overlay)], {**os.environ, "PATH": path}
    printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    pinned = yaml.safe_load(printed)["images"]
    assert {entry["name"] for entry in pinned} == {"rayreel", "milvusdb/milvus"}
    kustomization = {"resources": [os.path.relpath(overlay, tmp_path)], "images": pinned}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    images = {container["image"] for pod in pods(list(build(tmp_path))) for container in pod.containers}
    assert images and all("@sha256:" in image for image in images)


def test_a_mounted_folder_is_left_alone(tmp_path: Path) -> None:
    subprocess.run(["sh", str(STEPS), "weights", "/no/python", "mount", str(tmp_path)], check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_clean_environment_runs_a_job_and_extracts_a_video(wheel: Path, tmp_path: Path) -> None:
    """Installs torch and Ray from scratch, which takes minutes and gigabytes."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = ["sh", str(STEPS), "install", python, str(wheel.parent), str(ROOT / "constraints.txt")]
    subprocess.run(install, check=True)
    home = tmp_path / "opt"
    home.mkdir()
    subprocess.run(["cp", "-r", str(ROOT / "jobs"), str(ROOT / "k8s"), str(home)], check=True)
    weights = home / "weights"
    subprocess.run(["sh", str(STEPS), "weights", python, "bake", str(weights)], check=True, cwd=home)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RAYREEL_ENCODERS__CACHE_DIR": str(weights)}
    for job in ("extract", "train", "evaluate", "promote", "index"):
        subprocess.run([python, f"jobs/{job}.py", "--help"], cwd=home, env=env, check=True, capture_output=True)
    subprocess.run([python, "k8s/submit.py", "train", "--overlay", "gpu", "--dry-run"], cwd=home, env=env, check=True)
    (tmp_path / "videos").mkdir()
    write_film(tmp_path / "videos" / "film.mp4")
    extract = [python, "jobs/extract.py", "--catalog", str(tmp_path / "videos"), "--storage", str(tmp_path / "storage")]
    done = subprocess.run(extract, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"extracted +│ 1 ", done.stdout)
    again = [str(tmp_path / "venv" / "bin" / "rayreel"), *extract[2:], "--json"]
    found = subprocess.run(again, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["unchanged"] == 1 and "Next:  rayreel train" in found.stderr
    add = [python, "-P", "-m", "serve_apps.add_catalog", "--catalog", str(tmp_path / "videos")]
    added = subprocess.run(
        [*add, "--storage", str(tmp_path / "other")], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "1 extracted" in added.stdout and "No release serves yet" in added.stdout, added.stdout + added.stderr
