"""A release's rows: embeddings and metadata of every video in append-only Parquet parts; the last part wins."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from rayreel.encoders.encoder import Modality
from rayreel.features.schema import ENRICHED, SPOKEN
from rayreel.parts import NumberedParts, number_of, set_aside
from rayreel.speech.transcript import SpokenSegment, Transcript
from rayreel.storage import BrokenFile, Storage
from rayreel.tower.config import Smoothing

# Of a smoothed release, `embedding` is averaged with the vectors of the videos `nearest`, and `own` is the video's own.
# `text` is the column for full-text search, so the embedding of the text modality needs another name.
PART_COLUMNS = {Modality.VISUAL: "visual", Modality.AUDIO: "audio", Modality.TEXT: "text_part"}
# The mean of the encoder's own vectors. Parts of earlier versions do not have these columns.
SPACE_COLUMNS = {modality: f"raw_{modality}" for modality in Modality}
# What is said, with its times. Parts of earlier versions do not have these columns.
SAID = pa.schema([SPOKEN.field(name) for name in ("spoken_language", "segments")])
# What a language model wrote. Parts of earlier versions do not have these columns.
WRITTEN = pa.schema([ENRICHED.field(name) for name in ("summary", "topics", "rewritten_title")])
ROWS = pa.schema(
    [
        ("video_id", pa.string()),
        ("version", pa.string()),
        ("deleted", pa.bool_()),
        ("embedding", pa.list_(pa.float32())),
        ("own", pa.list_(pa.float32())),
        ("nearest", pa.list_(pa.string())),
        *((name, pa.list_(pa.float16())) for name in (*PART_COLUMNS.values(), *SPACE_COLUMNS.values())),
        ("title", pa.string()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("uri", pa.string()),
        ("text", pa.string()),
        ("extra", pa.string()),
        ("created_at", pa.float64()),
        ("duration_s", pa.float32()),
        ("content_hash", pa.string()),
        *SAID,
        *WRITTEN,
    ]
)
# Files of fewer rows are merged: 2,000 rows of 512 floats, three parts and the encoders' vectors are about 20 MB.
ROWS_PER_PART = 2000


@dataclass(frozen=True, slots=True)
class VideoRow:
    """Metadata of a video, for results and filters.

    `created_at` is in seconds since 1970. `content_hash` is the file's SHA-256; None without a video, and in releases
    made before it was kept. `summary`, `topics` and `rewritten_title` are a language model's.
    """

    video_id: str
    version: str
    title: str
    description: str
    category: str
    tags: tuple[str, ...]
    uri: str
    extra: dict[str, Any]
    created_at: float | None
    duration_s: float | None
    content_hash: str | None = None
    summary: str = ""
    topics: tuple[str, ...] = ()
    rewritten_title: str = ""

    @property
    def has_video(self) -> bool:
        """Whether there is a video, or only a text."""
        return bool(self.uri)

    def fields(self) -> dict[str, Any]:
        """Return all fields by name, for filters."""
        return {name: getattr(self, name) for name in self.__slots__}


def tombstones(video_ids: Iterable[str]) -> pa.Table:
    """Return rows that mark videos as deleted."""
    return pa.Table.from_pylist([{"video_id": video_id, "deleted": True} for video_id in video_ids], schema=ROWS)


def videos(rows: pa.Table) -> list[VideoRow]:
    """Return the metadata of rows (not tombstones), in their order."""
    columns = {name: rows[name].to_pylist() for name in VideoRow.__slots__}
    for name in ("tags", "topics"):
        columns[name] = [tuple(some or ()) for some in columns[name]]
    for name in ("summary", "rewritten_title"):
        columns[name] = [text or "" for text in columns[name]]
    columns["extra"] = [json.loads(extra or "{}") for extra in columns["extra"]]
    return [VideoRow(*values) for values in zip(*columns.values(), strict=True)]


def said_text(rows: pa.Table) -> list[str]:
    """Return all that is said in each video of rows with the columns of SAID."""
    return [" ".join(segment["text"] for segment in segments or ()) for segments in rows["segments"].to_pylist()]


def transcript_of(said: pa.Table, row: int) -> Transcript:
    """Return what is said in the video of a row of SAID."""
    segments = said["segments"][row].as_py() or ()
    return Transcript(
        said["spoken_language"][row].as_py(),
        tuple(SpokenSegment(round(s["start_s"], 3), round(s["end_s"], 3), s["text"]) for s in segments),
    )


def embeddings(rows: pa.Table) -> NDArray[np.float32]:
    """Return the embeddings of rows (not tombstones), [N, D]."""
    if not rows.num_rows:
        return np.empty((0, 0), np.float32)
    values = np.asarray(rows["embedding"].combine_chunks().flatten(), np.float32)
    return values.reshape(rows.num_rows, -1)


def own_embeddings(rows: pa.Table) -> NDArray[np.float32]:
    """Return the embeddings of rows (not tombstones) before smoothing, [N, D]."""
    return embeddings(pa.table({"embedding": pc.coalesce(rows["own"], rows["embedding"])}))


Masked = tuple[NDArray[np.float16], NDArray[np.bool_]]
"""Vectors [N, D], zero if absent, and the mask [N]."""


def part_embeddings(rows: pa.Table, modality: Modality) -> Masked:
    """Return embeddings of one modality alone: unit vectors."""
    return _masked(rows[PART_COLUMNS[modality]], len(rows["embedding"][0]) if rows.num_rows else 0)


def space_vectors(rows: pa.Table, modality: Modality, dim: int | None = None) -> Masked:
    """Return the mean of the encoder's own vectors; `dim`: their width, by default that of the rows, 0 without any."""
    column = rows[SPACE_COLUMNS[modality]]
    if dim is None:
        dim = pc.max(pc.list_value_length(column)).as_py() or 0
    return _masked(column, dim)


def _masked(column: pa.ChunkedArray, dim: int) -> Masked:
    array = column.combine_chunks()
    present_N = np.asarray(array.is_valid(), bool)
    out_ND = np.zeros((len(array), dim), np.float16)
    if not dim:
        return out_ND, np.zeros(len(array), bool)
    out_ND[present_N] = np.asarray(array.flatten(), np.float16).reshape(-1, dim)
    return out_ND, present_N


@dataclass(frozen=True, slots=True)
class Changes:
    """Merged parts: the latest row of every video, and deleted ids. `last` is the last part read, "" if none."""

    rows: pa.Table
    deleted: set[str]
    last: str

    def __len__(self) -> int:
        return int(self.rows.num_rows) + len(self.deleted)


class ReleaseRows:
    """The rows of one tower version, at `releases/v{N}/rows` below the storage root, as numbered parts.

    An unreadable part is set aside and logged as an error, so that a replica can still start. The next
    `bring_up_to_date` finds its rows missing and embeds them again from the feature store.
    """

    def __init__(self, storage: Storage, version: int) -> None:
        self.storage = storage
        self.version = version
        self.folder = storage.path("releases", f"v{version}")
        self._parts = NumberedParts(storage, f"{self.folder}/rows")
        self._marker = f"{self.folder}/index.json"
        self._smoothing = f"{self.folder}/smoothing.json"

    def add(self, table: pa.Table) -> str:
        """Write one more part, whole, and return its name. Names sort by time."""
        return self._parts.add(table.select(ROWS.names).cast(ROWS))

    def parts(self, after: str = "") -> list[str]:
        """Return the names of the parts after `after`, in order; all by default."""
        return self._parts.names(after)

    def read(self, after: str = "", upto: str | None = None, columns: Sequence[str] | None = None) -> Changes:
        """Read the parts after `after`, up to and including `upto`; rows are ordered by video_id.

        `columns` selects columns of ROWS; all by default. The result has to fit in memory.
        """
        wanted = list(ROWS.names) if columns is None else list(dict.fromkeys(["video_id", "deleted", *columns]))
        names, table = self._read(after, upto, wanted)
        latest = _latest(table)
        gone = latest.filter(latest["deleted"])["video_id"].to_pylist()
        rows = latest.filter(pc.invert(latest["deleted"]))
        return Changes(rows, set(gone), names[-1] if names else after)

    def current(self) -> dict[str, str]:
        """Return the version of every video of the release by video_id."""
        rows = self.read(columns=["version"]).rows
        return dict(zip(rows["video_id"].to_pylist(), rows["version"].to_pylist(), strict=True))

    def marker(self) -> str:
        """Return the last part that the index has, "" if none. Raises BrokenFile."""
        content = self.storage.read_json(self._marker)
        return "" if content is None else str(content["upto"])

    def set_marker(self, name: str) -> None:
        """Record that the index has this part and all before it."""
        self.storage.write(self._marker, json.dumps({"upto": name}).encode())

    def smoothing(self) -> Smoothing:
        """Return how the embeddings are averaged. Raises BrokenFile."""
        return Smoothing.model_validate((self.storage.read_json(self._smoothing) or {}).get("smoothing", {}))

    def smoothed_upto(self) -> str:
        """Return the last part whose rows are averaged, "" if none are. Raises BrokenFile."""
        return str((self.storage.read_json(self._smoothing) or {}).get("upto", ""))

    def set_smoothing(self, smoothing: Smoothing, upto: str) -> None:
        """Record how the embeddings are averaged, and that all rows up to a part are."""
        content = {"smoothing": smoothing.model_dump(), "upto": upto}
        self.storage.write(self._smoothing, json.dumps(content).encode())

    def compact(self, upto: str) -> int:
        """Merge runs of small parts up to and including `upto` into one part each; returns how many parts were merged.

        Safe for concurrent readers and if killed at any point. A merged part takes the number of its last source, so a
        reader that has read up to `upto` has nothing new to read, and one that has read less reads a whole run again.
        """
        merged = 0
        upto_now = [name for name in self.parts() if number_of(name) <= number_of(upto)]
        for run in _runs([(name, len(self._part(name, ["video_id"]))) for name in upto_now]):
            tables = [self._part(name, list(ROWS.names)) for name in run]
            self._parts.merge(run, _latest(pa.concat_tables(tables)))
            merged += len(run)
        return merged

    def drop(self) -> None:
        """Delete everything that belongs to the release below the storage root."""
        if self.storage.exists(self.folder):
            self.storage.filesystem.delete_dir(self.folder)

    # A missing part was merged after the folder was listed: list it again.
    @retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)
    def _read(self, after: str, upto: str | None, columns: list[str]) -> tuple[list[str], pa.Table]:
        names = [name for name in self.parts(after) if upto is None or number_of(name) <= number_of(upto)]
        empty = pa.schema([ROWS.field(name) for name in columns]).empty_table()
        return names, pa.concat_tables([empty, *(self._part(name, columns) for name in names)])

    def _part(self, name: str, columns: list[str]) -> pa.Table:
        """A part's rows; empty if the part is broken, which is then set aside."""
        try:
            return self._parts.read(name, columns, ROWS)
        except BrokenFile as broken:
            set_aside(self.storage, broken)
            return pa.schema([ROWS.field(column) for column in columns]).empty_table()


def _latest(table: pa.Table) -> pa.Table:
    place = {video_id: row for row, video_id in enumerate(table["video_id"].to_pylist())}
    return table.take(pa.array([place[video_id] for video_id in sorted(place)], pa.int64()))


def _runs(parts: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Neighbouring small parts that together make one of at most ROWS_PER_PART rows, two or more at a time."""
    run: list[str] = []
    room = 0
    for name, rows in parts:
        if rows > room or rows * 2 > ROWS_PER_PART:
            if len(run) > 1:
                yield run
            run, room = [], ROWS_PER_PART
        if rows * 2 <= ROWS_PER_PART:
            run.append(name)
            room -= rows
    if len(run) > 1:
        yield run
