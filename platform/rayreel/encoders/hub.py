"""Checkpoints in the format of the Hugging Face hub: find, download and identify them by name or folder."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from rayreel.encoders.config import is_checkpoint, read_json
from rayreel.encoders.locate import READ_TIMEOUT_S, sha256_of
from rayreel.encoders.weights import HubRepo, UnreachableWeights

log = logging.getLogger(__name__)

# The folders of a Sentence-Transformers checkpoint are 1_Pooling, 2_Dense and so on.
_FOLDER = re.compile(r"(?P<folder>(\d+_\w+/)?)(?P<file>[^/]+)")
_SETTINGS = re.compile(r".+\.(json|txt|model)")
_WEIGHTS = tuple(
    re.compile(rf"{name}(-\d+-of-\d+)?\.{kind}") for name, kind in (("model", "safetensors"), ("pytorch_model", "bin"))
)
_CARD = "README.md"


def checkpoint_folder(source: HubRepo | Path, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return the folder with a checkpoint: the folder itself, `weights_dir/<name>`, the cache, or a new download.

    A revision that is not a commit, or none (`main`), is resolved at the first download. The cache keeps that commit,
    so that later runs use the same files. Hugging Face's own cache is not used: it may have part of a checkpoint, and
    the missing files would change vectors without an error. Raises UnreachableWeights.
    """
    if isinstance(source, Path):
        return _checked(source)
    home, wanted = cache_dir / "hub" / source.repo_id.replace("/", "--"), source.revision or "main"
    places = {"cache": home / _pinned(home, wanted)}
    if weights_dir is not None:
        places = {"encoders.weights_dir": weights_dir / source.repo_id.split("/")[1], **places}
    problems = {place: problem_of(folder) for place, folder in places.items()}
    for place, problem in problems.items():
        if problem is None:
            return places[place]
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".lock"):
        revision = _pinned(home, wanted)
        if problem_of(home / revision) is None:  # another process was faster
            return home / revision
        try:
            folder = _checked(_download(source.repo_id, revision, home, cache_dir))
        except OSError as error:
            problems["Hugging Face"] = " ".join(str(error).split())[:300] or type(error).__name__
            raise UnreachableWeights(_message(source, wanted, problems)) from None
        _pin(home, wanted).write_text(folder.name)
        return folder


def _checked(folder: Path) -> Path:
    problem = problem_of(folder)
    if problem is not None:
        raise UnreachableWeights(f"{folder} is not a complete checkpoint: {problem}. Copy all its files there.")
    return folder


def _pinned(home: Path, revision: str) -> str:
    """Return the commit of a revision that was downloaded before, else the revision."""
    return _pin(home, revision).read_text() if _pin(home, revision).is_file() else revision


def _pin(home: Path, revision: str) -> Path:
    return home / f"{quote(revision, safe='')}.commit"


def problem_of(folder: Path) -> str | None:
    """Return why a folder has no complete checkpoint, or None."""
    if not is_checkpoint(folder):
        return f"{folder}/config.json not found, or not that of a transformers checkpoint"
    names = files_of(_names(folder))
    if not any(pattern.fullmatch(Path(name).name) for name in names for pattern in _WEIGHTS):
        return f"{folder} has neither model.safetensors nor pytorch_model.bin"
    for index in folder.glob("*.index.json"):
        shards = set(json.loads(index.read_text())["weight_map"].values())
        if any(shard in names for shard in shards) and (missing := sorted(shards - set(names))):
            return f"{folder}/{missing[0]} not found"
    return None


def files_of(names: Iterable[str]) -> list[str]:
    """Return the files that determine a checkpoint's vectors, of all its files by their path below its folder.

    These are configurations, vocabularies and one set of weights per folder: safetensors, or else pickles, which are
    read without running code.
    """
    found = [match for match in map(_FOLDER.fullmatch, names) if match]
    chosen = [match[0] for match in found if _SETTINGS.fullmatch(match["file"])]
    for folder in {match["folder"] for match in found}:
        kinds = ([m[0] for m in found if m["folder"] == folder and kind.fullmatch(m["file"])] for kind in _WEIGHTS)
        chosen += next(filter(None, kinds), [])
    return sorted(chosen)


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.glob("**/*") if path.is_file()]


def digest_of(folder: Path, cache_dir: Path) -> str:
    """Return the hex sha256 over the names and contents of a checkpoint's files. It does not depend on their source."""
    lines = (f"{name} {sha256_of(folder / name, cache_dir / '.sha256')}\n" for name in files_of(_names(folder)))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def window_of(folder: Path) -> int:
    """Return the consecutive frames per vector of a video network, 1 for image networks."""
    config = read_json(folder / "config.json")
    return int(config.get("frames_per_clip") or config.get("num_frames") or 1)


def has_text_side(folder: Path) -> bool:
    """Whether a checkpoint of pictures or sound embeds words in the same space."""
    return "text_config" in read_json(folder / "config.json") and (folder / "tokenizer_config.json").is_file()


def licence_of(folder: Path) -> str:
    """Return the licence that the checkpoint's card states."""
    from huggingface_hub import metadata_load

    facts = (metadata_load(folder / _CARD) or {}) if (folder / _CARD).is_file() else {}
    licence = facts.get("license")
    return str((facts.get("license_name") if licence == "other" else licence) or licence or "not stated")


def _download(repo_id: str, revision: str, home: Path, cache_dir: Path) -> Path:
    """Download a checkpoint next to its folder, check it, then move it there in one rename. Raises OSError.

    The first request has a short timeout and no retries: without a network this must fail fast. An interrupted
    download is resumed.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HTTPError  # that of httpx or of httpx2, by its version

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        facts = api.model_info(repo_id, revision=revision, timeout=READ_TIMEOUT_S, files_metadata=True)
    except HTTPError as error:
        raise OSError(f"{constants.ENDPOINT}: {type(error).__name__}: {error}") from error
    files = {file.rfilename: file.lfs for file in facts.siblings or []}
    names, part = files_of(files), home / f"{facts.sha}.part"
    snapshot_download(
        repo_id, revision=facts.sha, local_dir=part, allow_patterns=[*names, _CARD], endpoint=constants.ENDPOINT
    )
    for name in names:
        large = files[name]
        if large and sha256_of(part / name, cache_dir / ".sha256") != large.sha256:
            (part / name).unlink()
            raise OSError(f"{name} does not have sha256 {large.sha256}")
    shutil.rmtree(part / ".cache", ignore_errors=True)
    shutil.rmtree(home / str(facts.sha), ignore_errors=True)  # incomplete, or it would not be downloaded
    folder = part.rename(home / str(facts.sha))
    log.info("downloaded %s at commit %s, licence %s", repo_id, facts.sha, licence_of(folder))
    return folder


def _message(repo: HubRepo, revision: str, problems: dict[str, str | None]) -> str:
    tried = "; ".join(f"{place}: {problem}" for place, problem in problems.items())
    name = repo.repo_id.split("/")[1]
    command = f"hf download {repo.repo_id} --revision {revision} --local-dir FOLDER/{name}"
    return (
        f"Checkpoint {repo.repo_id} at revision {revision} not found. Tried {tried}. On a machine that "
        f"reaches the hub, run `{command}`, and copy FOLDER here. Then add --set encoders.weights_dir=FOLDER. "
        "Or choose another encoder."
    )
