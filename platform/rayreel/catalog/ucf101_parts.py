"""Download chosen clips of UCF101 from a zip file on the web, without the rest of it."""

import shutil
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayreel.catalog.download import DownloadFailed, RemoteFile, WrongFile
from rayreel.catalog.subset import Subset
from rayreel.catalog.ucf101 import clip_name
from rayreel.catalog.unzip import UNREADABLE, extract_member
from rayreel.redact import public_address
from rayreel.remote.address import scheme_of
from rayreel.remote.bounds import Bounds
from rayreel.remote.config import ReadLimits
from rayreel.remote.ranges import SCHEMES, RangeFailed, RangeReader, open_zip

# UCF101's largest clip has 3 MB, and the directory of all clips 2 MB. One part is read into memory at a time.
_MOST_BYTES = 256 << 20


def fetch_clips(
    source: RemoteFile,
    folder: Path,
    subset: Subset,
    limits: ReadLimits,
    *,
    listed: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write the chosen clips to `folder`/Class/v_Class_gNN_cMM.avi and return their names `Class/v_Class_gNN_cMM`.

    `source` is a zip file: an http(s) URL, or a path. Clips that exist are checked and kept, so that an interrupted
    download continues. Only clips in `listed` are taken, if there are any. `progress` is called with the number of
    finished clips and of all. Raises DownloadFailed, WrongFile, PartTaken and CatalogError.
    """
    with _opened(source, limits) as archive:
        members = {name: member for member in archive.infolist() if (name := clip_name(member.filename))}
        chosen = subset.choose(name for name in members if not listed or name in listed)
        paths = {name: folder / f"{name}{Path(members[name].filename).suffix}" for name in chosen}
        _check_sizes(members[name] for name in chosen)
        _check_space(folder, sum(members[name].file_size for name in chosen if not paths[name].exists()))
        for number, name in enumerate(chosen, start=1):
            extract_member(archive, members[name], paths[name])
            progress(number, len(chosen))
    return chosen


@contextmanager
def _opened(source: RemoteFile, limits: ReadLimits) -> Iterator[zipfile.ZipFile]:
    """Open the archive; its errors, also while it is read, are raised as DownloadFailed or WrongFile."""
    name, reader = public_address(source.url), RangeReader(source.url, limits, _bounds(), source.size)
    try:
        with open_zip(reader) if scheme_of(source.url) in SCHEMES else zipfile.ZipFile(source.url) as archive:
            yield archive
    except RangeFailed as error:
        raise DownloadFailed(f"{error}. {_remedy(name)}") from error
    except UNREADABLE as error:
        raise WrongFile(f"{name} is damaged or not a zip file: {error}. {_remedy(name)}") from error
    except OSError as error:
        problem = f"{error.filename or name}: {error.strerror or error}"
        raise DownloadFailed(f"{problem}. Check --archive, the folder and its free space.") from error


def _bounds() -> Bounds:
    return Bounds(_MOST_BYTES, "for one part of a zip file")


def _check_sizes(members: Iterable[zipfile.ZipInfo]) -> None:
    """Raise BadZipFile before the first download if a member is too large for a clip."""
    for member in members:
        if max(member.file_size, member.compress_size) > _MOST_BYTES:
            raise zipfile.BadZipFile(f"{member.filename} has {member.file_size:,} bytes, the limit is {_MOST_BYTES:,}")


def _check_space(folder: Path, needed: int) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DownloadFailed(
            f"The chosen clips need {needed / 1e9:.1f} GB, but {existing} has {free / 1e9:.1f} GB free. Free disk "
            "space, or choose fewer with --max-classes and --max-clips."
        )


def _remedy(name: str) -> str:
    return (
        "Finished clips are kept: try again later, or pass another zip file of the clips with --archive, such as "
        f"{name} downloaded in a browser or on another machine."
    )
