"""Checkpoints of the Hugging Face hub: find and download them by name or folder."""

import logging
import shutil
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from rayreel.encoders.hub_files import CARD, Format, files_of, format_of, licence_of, problem_of
from rayreel.encoders.locate import READ_TIMEOUT_S, remember, sha256_of
from rayreel.encoders.open_clip_names import repo_of
from rayreel.encoders.weights import HubRepo, OpenClipName, UnreachableWeights

log = logging.getLogger(__name__)


def repo_or_folder(source: HubRepo | OpenClipName | Path, cache_dir: Path) -> HubRepo | Path:
    """Return the source of a checkpoint, with the repository of a name of open_clip's. Raises RayreelError.

    It is cached, because importing open_clip takes seconds.
    """
    if not isinstance(source, OpenClipName):
        return source
    memo = cache_dir / "hub" / f"open_clip--{source.model}--{source.pretrained}.repo"
    repo_id = memo.read_text() if memo.is_file() else remember(memo, repo_of(source))
    return HubRepo(repo_id, source.revision, "open_clip")


def checkpoint_folder(source: HubRepo | Path, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return the folder with a checkpoint: the folder itself, `weights_dir/<name>`, the cache, or a new download.

    A revision that is not a commit, or none (`main`), is resolved at the first download. The cache keeps that commit,
    so that later runs use the same files. Hugging Face's own cache is not used: it may have part of a checkpoint, and
    the missing files would change vectors without an error. Raises UnreachableWeights.
    """
    form = format_of(source)
    if isinstance(source, Path):
        return _checked(source, form)
    home, wanted = _home(source, cache_dir), source.revision or "main"
    places = _places(source, weights_dir, cache_dir)
    problems = {place: problem_of(folder, form) for place, folder in places.items()}
    for place, problem in problems.items():
        if problem is None:
            return places[place]
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".lock"):
        revision = _pinned(home, wanted)
        if problem_of(home / revision, form) is None:  # another process was faster
            return home / revision
        try:
            folder = _checked(_download(source.repo_id, revision, form, home, cache_dir), form)
        except OSError as error:
            problems["Hugging Face"] = " ".join(str(error).split())[:300] or type(error).__name__
            raise UnreachableWeights(_message(source, wanted, problems)) from None
        _pin(home, wanted).write_text(folder.name)
        return folder


def checkpoint_here(source: HubRepo | OpenClipName | Path, weights_dir: Path | None, cache_dir: Path) -> Path | None:
    """Return the folder that `checkpoint_folder` would return without a download; None if there is none."""
    place = repo_or_folder(source, cache_dir)
    folders = [place] if isinstance(place, Path) else _places(place, weights_dir, cache_dir).values()
    return next((folder for folder in folders if problem_of(folder, format_of(place)) is None), None)


def _home(repo: HubRepo, cache_dir: Path) -> Path:
    """Return the folder of a repository in the cache. Those of different formats may not share one."""
    form = "" if repo.form == "transformers" else f"--{repo.form}"
    return cache_dir / "hub" / (repo.repo_id.replace("/", "--") + form)


def _places(repo: HubRepo, weights_dir: Path | None, cache_dir: Path) -> dict[str, Path]:
    home = _home(repo, cache_dir)
    places = {"cache": home / _pinned(home, repo.revision or "main")}
    if weights_dir is None:
        return places
    return {"encoders.weights_dir": weights_dir / repo.repo_id.split("/")[1], **places}


def _checked(folder: Path, form: Format) -> Path:
    problem = problem_of(folder, form)
    if problem is not None:
        raise UnreachableWeights(f"{folder} is not a complete checkpoint: {problem}. Copy all its files there.")
    return folder


def _pinned(home: Path, revision: str) -> str:
    """Return the commit of a revision that was downloaded before, else the revision."""
    return _pin(home, revision).read_text() if _pin(home, revision).is_file() else revision


def _pin(home: Path, revision: str) -> Path:
    return home / f"{quote(revision, safe='')}.commit"


def _download(repo_id: str, revision: str, form: Format, home: Path, cache_dir: Path) -> Path:
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
    names, part = files_of(files, form), home / f"{facts.sha}.part"
    snapshot_download(
        repo_id, revision=facts.sha, local_dir=part, allow_patterns=[*names, CARD], endpoint=constants.ENDPOINT
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
