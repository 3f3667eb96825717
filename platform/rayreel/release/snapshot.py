"""A snapshot: a release's rows as arrays, with every video's exact neighbours. Replicas keep it in memory."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.index.postings import Postings
from rayreel.index.vocabulary import Vocabulary
from rayreel.parts import parquet_bytes, read_part
from rayreel.release.config import WordsConfig
from rayreel.release.lexicon import DEFAULT_WEIGHT, documents, vocabulary, word_weight
from rayreel.release.neighbours import exact_neighbours
from rayreel.release.rows import (
    ROWS,
    SAID,
    Masked,
    ReleaseRows,
    VideoRow,
    embeddings,
    part_embeddings,
    space_vectors,
    videos,
)
from rayreel.release.users import read_user_tower
from rayreel.storage import BrokenFile, Storage
from rayreel.tower.user import UserTower

log = logging.getLogger(__name__)

POINTER = "snapshot.json"
POSTINGS = ("hashes_T", "starts_T", "places_P", "counts_P")
VOCABULARY = "vocabulary.parquet"
# Unreferenced snapshots older than this are deleted: writing one never takes a day.
ABANDONED_S = 86_400.0
# Metadata and transcripts, which are read from disk as they are.
_KEPT = (*VideoRow.__slots__, *SAID.names)


class NoSnapshot(RayreelError):
    """A release without a snapshot to serve from."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """N videos of a release, ordered by video_id, as they were after the part `upto`.

    embeddings_ND: float32 unit vectors. parts[m]: float16 [N, D], embeddings of one modality alone, unit
    vectors where present[m] (bool [N]) and zeros elsewhere. spaces[m]: the means of the encoder's own vectors,
    likewise, for the modalities of `release.spaces`. neighbours_NK: row numbers of the nearest other videos,
    best first, and scores_NK their cosines; exact, K = min(config, N - 1). postings: the words of each video as `words`
    says; vocabulary: all of them; word_weight: how much they count beside the cosine. said: a row of SAID for each
    video. users: the user tower, if it has one. Arrays are mapped from disk, read-only.
    """

    version: int
    name: str
    upto: str
    ids: list[str]
    place: dict[str, int]
    rows: list[VideoRow]
    embeddings_ND: NDArray[np.float32]
    parts: dict[Modality, NDArray[np.float16]]
    present: dict[Modality, NDArray[np.bool_]]
    spaces: dict[Modality, Masked]
    neighbours_NK: NDArray[np.int32]
    scores_NK: NDArray[np.float32]
    postings: Postings
    vocabulary: Vocabulary
    words: WordsConfig
    word_weight: float
    said: pa.Table
    users: UserTower | None = None

    def __len__(self) -> int:
        return len(self.ids)


def write_snapshot(
    storage: Storage,
    rows: ReleaseRows,
    neighbours: int,
    spaces: Collection[Modality] = (),
    words: WordsConfig = WordsConfig(),  # noqa: B008 - frozen
) -> str:
    """Write a snapshot of the current rows with `neighbours` per video and point to it; returns its name.

    `spaces` are the modalities whose encoders' own vectors it keeps; `words`, how words are searched.

    The pointer is replaced last, so readers see the old snapshot or the new one. Memory: the rows and 256 MB. Raises
    NoSnapshot if there are no rows.
    """
    now = rows.read()
    if not now.rows.num_rows:
        raise NoSnapshot(f"Release {rows.version} has no rows below {rows.folder}. Embed its videos first.")
    name = f"snapshot-{uuid.uuid4().hex[:12]}"
    folder = f"{rows.folder}/snapshots/{name}"
    vectors_ND = embeddings(now.rows)
    nearest_NK, scores_NK = exact_neighbours(vectors_ND, neighbours)
    arrays: dict[str, NDArray[Any]] = {"embeddings": vectors_ND, "neighbours": nearest_NK, "scores": scores_NK}
    for modality in Modality:
        arrays[modality.value], arrays[f"has_{modality.value}"] = part_embeddings(now.rows, modality)
    for modality in spaces:
        arrays[f"raw_{modality}"], arrays[f"has_raw_{modality}"] = space_vectors(now.rows, modality)
        if lacking := int((arrays[f"has_{modality}"] & ~arrays[f"has_raw_{modality}"]).sum()):
            log.warning(
                "%d videos of release %d are not in the space %s: an earlier version of rayreel embedded them. "
                "Train and promote again.",
                lacking,
                rows.version,
                modality,
            )
    postings = Postings.of(documents(now.rows, words))
    arrays |= {name: getattr(postings, name) for name in POSTINGS}
    for key, array in arrays.items():
        _write_array(storage, f"{folder}/{key}.npy", array)
    storage.write(f"{folder}/rows.parquet", parquet_bytes(now.rows.select(list(_KEPT))))
    storage.write(f"{folder}/{VOCABULARY}", parquet_bytes(_table_of(vocabulary(now.rows, words))))
    searched = {**words.model_dump(), "word_weight": word_weight(now.rows, postings, words)}
    pointer = {"name": name, "upto": now.last, "videos": len(vectors_ND), "spaces": sorted(spaces), **searched}
    storage.write(f"{folder}/{POINTER}", json.dumps(pointer).encode())
    _replace_pointer(storage, rows.folder, pointer)
    return name


def snapshot_pointer(storage: Storage, version: int) -> dict[str, Any] | None:
    """Return name, upto (its last part), videos (their number) and spaces of a release's snapshot, if there is one.

    If the pointer is broken, returns the copy kept inside the newest snapshot. Raises BrokenFile if there is none.
    """
    folder = storage.path("releases", f"v{version}")
    try:
        return storage.read_json(f"{folder}/{POINTER}")
    except BrokenFile as broken:
        log.error("%s", broken)
        copies = _own_pointers(storage, folder)
        if not copies:
            raise
        return copies[-1]


def kept_versions(storage: Storage) -> list[int]:
    """Return the versions that have a snapshot below the storage root: built, and not dropped since."""
    folders = (name for name in storage.folders(storage.path("releases")) if name[1:].isdigit() and name[0] == "v")
    found = (int(name[1:]) for name in folders if storage.exists(storage.path("releases", name, POINTER)))
    return sorted(found)


# A missing snapshot was replaced twice after the pointer was read: read the pointer again.
@retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)
def load_snapshot(storage: Storage, version: int, cache_dir: Path) -> Snapshot:
    """Map a release's snapshot into memory; from an object store it is copied into `cache_dir` first, once.

    Falls back to an older snapshot if it is broken. Raises NoSnapshot before the first, BrokenFile if none is readable.
    """
    pointer = snapshot_pointer(storage, version)
    if pointer is None:
        raise NoSnapshot(
            f"Release {version} has no snapshot below {storage.root}. "
            f"Run `rayreel index --version {version} --snapshot`."
        )
    try:
        return _load(storage, version, pointer, cache_dir)
    except BrokenFile as broken:
        log.error("%s", broken)
        if not storage.is_local:  # only the local copy may be broken: drop it, and copy the snapshot again
            shutil.rmtree(broken.path.rpartition("/")[0], ignore_errors=True)
        for other in reversed(_own_pointers(storage, storage.path("releases", f"v{version}"))):
            try:
                return _load(storage, version, other, cache_dir)
            except FileNotFoundError:  # deleted in the meantime
                continue
            except BrokenFile as also_broken:
                log.error("%s", also_broken)
        raise


def spaces_of(pointer: dict[str, Any]) -> list[Modality]:
    """Return the modalities whose spaces a snapshot has, in a fixed order."""
    return [modality for modality in Modality if modality in pointer.get("spaces", ())]


def snapshot_damage(storage: Storage, version: int, cache_dir: Path) -> BrokenFile | None:
    """Return the damage of a release's pointer or its snapshot; None if both are readable or there is none."""
    try:
        pointer = storage.read_json(storage.path("releases", f"v{version}", POINTER))
        if pointer is not None:
            _load(storage, version, pointer, cache_dir)
    except BrokenFile as broken:
        return broken
    return None


def _own_pointers(storage: Storage, folder: str) -> list[dict[str, Any]]:
    """The copies of the pointer inside the snapshots, oldest first."""
    found = []
    for name in storage.folders(f"{folder}/snapshots"):
        try:
            found.append(storage.read_json(f"{folder}/snapshots/{name}/{POINTER}"))
        except BrokenFile as broken:
            log.error("%s", broken)
    return sorted((pointer for pointer in found if pointer), key=lambda pointer: str(pointer["upto"]))


def _load(storage: Storage, version: int, pointer: dict[str, Any], cache_dir: Path) -> Snapshot:
    folder = _local(storage, version, pointer, cache_dir)
    table = _rows(folder / "rows.parquet")
    rows = videos(table)
    ids = [row.video_id for row in rows]
    words = WordsConfig.model_validate(pointer)
    return Snapshot(
        version=version,
        name=pointer["name"],
        upto=pointer["upto"],
        ids=ids,
        place={video_id: place for place, video_id in enumerate(ids)},
        rows=rows,
        embeddings_ND=_map(folder, "embeddings"),
        parts={modality: _map(folder, modality.value) for modality in Modality},
        present={modality: _map(folder, f"has_{modality.value}") for modality in Modality},
        spaces={m: (_map(folder, f"raw_{m}"), _map(folder, f"has_raw_{m}")) for m in spaces_of(pointer)},
        neighbours_NK=_map(folder, "neighbours"),
        scores_NK=_map(folder, "scores"),
        postings=_postings(folder, table),
        vocabulary=_vocabulary(folder, table, words),
        words=words,
        word_weight=pointer.get("word_weight", DEFAULT_WEIGHT),
        said=table.select(SAID.names).combine_chunks(),
        users=read_user_tower(storage, version),
    )


def _postings(folder: Path, table: pa.Table) -> Postings:
    if (folder / f"{POSTINGS[0]}.npy").exists():
        return Postings(table.num_rows, *(_map(folder, name) for name in POSTINGS))
    return Postings.of(documents(table, WordsConfig()))  # written before snapshots had words


def _table_of(found: Vocabulary) -> pa.Table:
    return pa.table({"word": pa.array(found.words, pa.string()), "texts": found.texts_V, "titles": found.titles_V})


def _vocabulary(folder: Path, rows: pa.Table, words: WordsConfig) -> Vocabulary:
    file = folder / VOCABULARY
    if not file.exists():  # written before snapshots had it
        return vocabulary(rows, words)
    table = read_part(Storage(folder), str(file))
    return Vocabulary(table["word"].to_pylist(), table["texts"].to_numpy(), table["titles"].to_numpy())


def _replace_pointer(storage: Storage, folder: str, pointer: dict[str, Any]) -> None:
    """Point to a new snapshot. Keeps the previous one, which a replica may still be loading."""
    former = _former(storage, folder)
    pointer["before"] = [former["name"]] if former else []
    storage.write(f"{folder}/{POINTER}", json.dumps(pointer).encode())
    outdated = set(former.get("before", []))
    for name in set(storage.folders(f"{folder}/snapshots")) - {pointer["name"], *pointer["before"]}:
        # A snapshot that no pointer has named is being written, or was left by a killed process.
        if name in outdated or _is_abandoned(storage, f"{folder}/snapshots/{name}"):
            with suppress(FileNotFoundError):  # deleted by another process
                storage.filesystem.delete_dir(f"{folder}/snapshots/{name}")


def _former(storage: Storage, folder: str) -> dict[str, Any]:
    try:
        return storage.read_json(f"{folder}/{POINTER}") or {}
    except BrokenFile as broken:
        log.error("%s", broken)
        return {}


def _is_abandoned(storage: Storage, folder: str) -> bool:
    files = storage.filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    return bool(files) and all(time.time() - file.mtime_ns / 1e9 > ABANDONED_S for file in files)


def _local(storage: Storage, version: int, pointer: dict[str, Any], cache_dir: Path) -> Path:
    """The snapshot's folder on this machine."""
    source = storage.path("releases", f"v{version}", "snapshots", pointer["name"])
    if storage.is_local:
        return Path(source)
    root = hashlib.blake2b(storage.root.encode(), digest_size=8).hexdigest()
    target = cache_dir / root / f"v{version}" / str(pointer["name"])
    if not target.exists():
        _copy(storage, source, target)
        for other in target.parent.iterdir():
            if other.name not in {pointer["name"], *pointer.get("before", [])} and not other.name.startswith("."):
                shutil.rmtree(other, ignore_errors=True)
    return target


def _copy(storage: Storage, source: str, target: Path) -> None:
    """Copy a folder so that it appears whole, also where several processes of a machine do so at once."""
    if not storage.exists(source):
        raise FileNotFoundError(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    here = pafs.LocalFileSystem()
    pafs.copy_files(source, str(scratch), source_filesystem=storage.filesystem, destination_filesystem=here)
    try:
        scratch.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(scratch)


def _write_array(storage: Storage, path: str, array: NDArray[Any]) -> None:
    array = np.ascontiguousarray(array)
    with storage.writing(path, array.nbytes) as out:
        np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
        out.write(pa.py_buffer(array))


def _rows(file: Path) -> pa.Table:
    """Metadata and transcripts of the videos; columns that the snapshot was made without are null."""
    schema = pa.schema([ROWS.field(name) for name in _KEPT])
    return read_part(Storage(file.parent), str(file), schema=schema)


def _map(folder: Path, name: str) -> NDArray[Any]:
    """An array mapped from disk. Raises BrokenFile if the header is missing or the file shorter than it says."""
    file = folder / f"{name}.npy"
    try:
        return _mapped(file)
    except (ValueError, EOFError) as error:
        raise BrokenFile(str(file), f"{file.stat().st_size:,} bytes, not a complete array ({error})") from error


def _mapped(file: Path) -> NDArray[Any]:
    with file.open("rb") as content:
        np.lib.format.read_magic(content)
        shape, _, _ = np.lib.format.read_array_header_1_0(content)
    # An empty array cannot be mapped.
    array: NDArray[Any] = np.load(file, mmap_mode="r" if all(shape) else None)
    return array
