"""Where the weights of an encoder are, or could be had from, without downloading them."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub import checkpoint_here, repo_or_folder
from rayreel.encoders.locate import READ_TIMEOUT_S, located_here
from rayreel.encoders.registry import checkpoint_of, spec_of
from rayreel.encoders.weights import HubRepo, NetworkWeights, OpenClipName, Package

NO_WEIGHTS, TRAINED = "needs no weights", "trained here"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether an encoder's weights are here (`folder`), or which source has them; else what each source answered."""

    folder: Path | None = None
    source: str = ""
    problem: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the encoder can be used without a download."""
        return self.folder is not None or self.source in {NO_WEIGHTS, TRAINED}

    @property
    def reachable(self) -> bool:
        """Whether the encoder can be used on this machine."""
        return bool(self.folder or self.source)

    @property
    def where(self) -> str:
        """The folder, the source, or the problem."""
        return str(self.folder) if self.folder else self.source or self.problem


def reach(modality: Modality, name: str, config: EncodersConfig, cache_dir: Path) -> Reach:
    """Look for an encoder's weights: first here, then at their sources, each asked with a short timeout."""
    checkpoint = checkpoint_of(modality, name)
    if checkpoint is not None:
        return _of_checkpoint(checkpoint, config, cache_dir)
    spec = spec_of(modality, name)
    if spec is None or spec.weights is None:
        return Reach(source=TRAINED if spec is None else NO_WEIGHTS)
    if (folder := located_here(spec.weights, config.weights_dir, cache_dir)) is not None:
        return Reach(folder)
    return _first(_probes(spec.weights))


def _of_checkpoint(checkpoint: HubRepo | OpenClipName | Path, config: EncodersConfig, cache_dir: Path) -> Reach:
    if (folder := checkpoint_here(checkpoint, config.weights_dir, cache_dir)) is not None:
        return Reach(folder)
    place = repo_or_folder(checkpoint, cache_dir)
    if isinstance(place, Path):
        return Reach(problem=f"{checkpoint} is not a complete checkpoint")
    return _first(iter([_hub(place)]))


def _first(probes: Iterator[tuple[str, str | None]]) -> Reach:
    """Return the first source that answers; `probes` are sources with their problem, or None."""
    problems = []
    for source, problem in probes:
        if problem is None:
            return Reach(source=source)
        problems.append(f"{source}: {problem}")
    return Reach(problem="; ".join(problems))


def _probes(weights: NetworkWeights) -> Iterator[tuple[str, str | None]]:
    if weights.url is not None:
        url = weights.url()
        yield url, _asked(url)
    if weights.repo is not None:
        yield _hub(weights.repo)
    if weights.package is not None:
        yield f"pip {weights.package.name}", _indexed(weights.package)


def _hub(repo: HubRepo) -> tuple[str, str | None]:
    from huggingface_hub import constants, hf_hub_url

    label = f"Hugging Face {repo.repo_id}"
    if constants.HF_HUB_OFFLINE:
        return label, "HF_HUB_OFFLINE is set"
    return label, _asked(hf_hub_url(repo.repo_id, "config.json", revision=repo.revision))


def _asked(url: str) -> str | None:
    try:
        httpx.head(url, timeout=READ_TIMEOUT_S, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def _indexed(package: Package) -> str | None:
    """Ask the user's package index for the version. Nothing is downloaded."""
    command = [sys.executable, "-m", "pip", "index", "versions", package.name, "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--retries=0", f"--timeout={READ_TIMEOUT_S:g}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip index failed"])[-1]
    found = [version.strip() for version in done.stdout.partition("Available versions:")[2].split("\n")[0].split(",")]
    return None if package.version in found else f"the index has {', '.join(found)}, not {package.version}"
