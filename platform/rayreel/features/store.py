"""The feature store: Parquet files below the storage root, one folder per encoder key."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from rayreel.errors import RayreelError
from rayreel.features.amend import Amendments
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE, feature_schema
from rayreel.parts import parquet_bytes, read_part, set_aside
from rayreel.storage import BrokenFile, Storage

VERSIONS = pa.schema([("video_id", pa.string()), ("version", pa.string())])

# A missing file was compacted after its folder was listed.
_RELIST = retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)


class NoFeatures(RayreelError):
    """There are no features to train on, evaluate or index."""


class FeatureStore:
    """Features and quarantine of one encoder key.

    Rows are append-only. Which rows are current is decided by the current catalog, a small table of (video_id,
    version), and its amendments. Rows of changed or removed videos stay on disk but are not read, so that restoring
    them is free.

    >>> storage = Storage("demo")
    >>> store = open_store(storage, storage.folders(storage.path("features"))[0])
    >>> store.read(["video_id", "category", "duration_s"]).num_rows, len(store.done()), store.quarantined().num_rows
    (48, 48, 0)
    """

    def __init__(self, storage: Storage, key: EncoderKey) -> None:
        self.storage = storage
        self.key = key
        self.schema = feature_schema(key.dims)
        self.features = storage.path("features", str(key))
        self.quarantine = storage.path("quarantine", str(key))
        self.amendments = Amendments(storage)
        self._catalog = storage.path("catalog", "current.parquet")

    def create(self) -> None:
        """Create the store's folder and write its encoder key."""
        self._write_if_changed(
            f"{self.features}/encoders.json", self.key.model_dump_json(indent=2, exclude_none=True).encode()
        )

    def set_catalog(self, rows: Sequence[tuple[str, str]]) -> None:
        """Make these (video_id, version) the current catalog, which decides what `read` returns."""
        table = pa.table({"video_id": [r[0] for r in rows], "version": [r[1] for r in rows]}, schema=VERSIONS)
        self._write_if_changed(self._catalog, parquet_bytes(table))

    def catalog(self) -> pa.Table:
        """Return the current catalog's (video_id, version) without amendments, empty if unset. Raises BrokenFile."""
        exists = self.storage.exists(self._catalog)
        return read_part(self.storage, self._catalog) if exists else VERSIONS.empty_table()

    def amend(self, added: Sequence[tuple[str, str]] = (), deleted: Iterable[str] = ()) -> None:
        """Make the `added` (video_id, version) current and remove the `deleted` ids, whatever the catalog contains.

        An amendment overrides later catalogs, until the next amendment of the same id.
        """
        self.amendments.add(added, deleted)

    def add(self, features: pa.Table, quarantined: pa.Table) -> None:
        """Write finished rows. Each file is written atomically."""
        for folder, table, schema in (
            (self.features, features, self.schema),
            (self.quarantine, quarantined, QUARANTINE),
        ):
            if table.num_rows:
                self.write_part(folder, table.cast(schema))

    def write_part(self, folder: str, table: pa.Table) -> None:
        """Write a new file into a folder."""
        self.storage.write(f"{folder}/part-{uuid.uuid4().hex}.parquet", parquet_bytes(table))

    @_RELIST
    def done(self, *, quarantined: bool = True) -> set[tuple[str, str]]:
        """Return (video_id, version) of every extracted video and, with `quarantined`, of those that failed.

        Broken files are set aside with an error in the log, so that their videos are extracted again.
        """
        folders = [self.features, self.quarantine] if quarantined else [self.features]
        paths = [path for folder in folders for path in self.storage.files(folder, ".parquet")]
        return {pair for path in paths for pair in self._versions(path)}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the current catalog's feature rows, ordered by video_id. Raises NoFeatures if there are none."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, *VERSIONS.names, "uri"]))
        found = self._read(self.features, wanted)
        table = None if found is None else _whole(distinct(self._current(found)))
        if not table:
            raise NoFeatures(
                f"No features of the current catalog at {self.features}. Run `rayreel extract --catalog …`; "
                f"if you have, see {self.quarantine} for the reasons why videos failed."
            )
        return table if columns is None else table.select(list(columns))

    def quarantined(self) -> pa.Table:
        """Return the current catalog's quarantine rows, ordered by video_id: the latest per video not yet extracted."""
        found = self._read(self.quarantine, None)
        if found is None:
            return QUARANTINE.empty_table()
        rows = self._current(found).sort_by([("at", "descending")])
        extracted = self.done(quarantined=False)
        still_failed = [pair not in extracted for pair in _pairs(rows)]
        return distinct(rows.filter(pa.array(still_failed, pa.bool_())))

    def fingerprint(self) -> str:
        """Return a digest of all current rows, 16 hex digits, to record what a tower was trained on."""
        rows = self.read(["video_id", "version", "content_hash"])
        digest = hashlib.blake2b(str(self.key).encode(), digest_size=8)
        digest.update(json.dumps(rows.to_pydict()).encode())
        return digest.hexdigest()

    def _current(self, table: pa.Table) -> pa.Table:
        current = self.amendments.applied(self.catalog())
        if not current.num_rows and not self.storage.exists(self._catalog):
            raise NoFeatures(f"No catalog at {self._catalog}. Run `rayreel extract --catalog …` first.")
        pairs = pc.binary_join_element_wise(current["video_id"], current["version"], "\0")
        return table.filter(
            pc.is_in(pc.binary_join_element_wise(table["video_id"], table["version"], "\0"), value_set=pairs)
        )

    @_RELIST
    def _read(self, folder: str, columns: list[str] | None) -> pa.Table | None:
        """All rows of a folder."""
        tables = [self.table(path, columns) for path in self.storage.files(folder, ".parquet")]
        return pa.concat_tables(tables) if tables else None

    def _versions(self, path: str) -> list[tuple[str, str]]:
        try:
            return _pairs(self.table(path, list(VERSIONS.names)))
        except BrokenFile as broken:
            set_aside(self.storage, broken)
            return []

    def table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a file; columns that are newer than it are null. Raises BrokenFile."""
        schema = self.schema if path.startswith(f"{self.features}/") else QUARANTINE
        return read_part(self.storage, path, columns, schema)

    def _write_if_changed(self, path: str, content: bytes) -> None:
        if self.storage.read(path) != content:
            self.storage.write(path, content)


def open_store(storage: Storage, name: str) -> FeatureStore:
    """Return the store of this key name. Raises BrokenFile, and NoFeatures with a list of the existing stores."""
    key = storage.read_json(storage.path("features", name, "encoders.json"))
    if key is None:
        others = ", ".join(storage.folders(storage.path("features"))) or "none"
        raise NoFeatures(
            f"No features of {name} below {storage.root} (existing: {others}). "
            "Run `rayreel extract --catalog …` with these encoders, or choose others with --set encoders.preset=…"
        )
    return FeatureStore(storage, EncoderKey.model_validate(key))


def _whole(table: pa.Table) -> pa.Table:
    """Drop the rows of text alone of videos that have been decoded since."""
    alone = pc.is_in(table["uri"], value_set=pa.array([""]))
    decoded = pc.unique(table["video_id"].filter(pc.invert(alone)))
    return table.filter(pc.invert(pc.and_(alone, pc.is_in(table["video_id"], value_set=decoded))))


def distinct(table: pa.Table) -> pa.Table:
    """Return the first row of every (video_id, version), ordered. A task that Ray ran twice wrote its rows twice."""
    numbered = table.append_column("_row", pa.array(range(table.num_rows), pa.int64()))
    order = pc.sort_indices(numbered, sort_keys=[(name, "ascending") for name in (*VERSIONS.names, "_row")])
    ordered = table.take(order)
    rows = _pairs(ordered)
    firsts = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1]]
    return ordered if len(firsts) == len(rows) else ordered.take(firsts)


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(*(table[name].to_pylist() for name in VERSIONS.names), strict=True))
