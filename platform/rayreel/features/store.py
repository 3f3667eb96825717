"""The feature store: Parquet files below the storage root, one folder per encoder key."""

import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayreel.errors import RayreelError
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE, feature_schema
from rayreel.storage import Storage

VERSIONS = pa.schema([("video_id", pa.string()), ("version", pa.string())])


class NoFeatures(RayreelError):
    """There is nothing to train on, evaluate or index yet."""


class FeatureStore:
    """Features and quarantine of one encoder key.

    Files are only ever added. Which rows count is decided by the current catalog, a small table of (video_id,
    version): a video that changed or left the catalog stays on disk and out of every read, and comes back for free.
    """

    def __init__(self, storage: Storage, key: EncoderKey) -> None:
        self.storage = storage
        self.key = key
        self.schema = feature_schema(key.dims)
        self._features = storage.path("features", str(key))
        self._quarantine = storage.path("quarantine", str(key))
        self._catalog = storage.path("catalog", "current.parquet")

    def create(self) -> None:
        """Make the store's folder and write down which encoders its rows come from."""
        self.storage.write(f"{self._features}/encoders.json", self.key.model_dump_json(indent=2).encode())

    def set_catalog(self, rows: Sequence[tuple[str, str]]) -> None:
        """Make these (video_id, version) the current catalog: what `read` gives from now on."""
        table = pa.table({"video_id": [r[0] for r in rows], "version": [r[1] for r in rows]}, schema=VERSIONS)
        self.storage.write(self._catalog, _parquet(table))

    def add(self, features: pa.Table, quarantined: pa.Table) -> None:
        """Add finished rows; each file appears whole or not at all."""
        for folder, table, schema in (
            (self._features, features, self.schema),
            (self._quarantine, quarantined, QUARANTINE),
        ):
            if table.num_rows:
                self.storage.write(f"{folder}/part-{uuid.uuid4().hex}.parquet", _parquet(table.cast(schema)))

    def done(self) -> set[tuple[str, str]]:
        """(video_id, version) of every video that has been through extraction, with success or without."""
        return {
            (row["video_id"], row["version"])
            for folder in (self._features, self._quarantine)
            for table in self._tables(folder, list(VERSIONS.names))
            for row in table.to_pylist()
        }

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The current catalog's feature rows, ordered by video_id. Raises NoFeatures when there are none."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, *VERSIONS.names]))
        tables = list(self._tables(self._features, wanted))
        table = _distinct(self._current(pa.concat_tables(tables))) if tables else None
        if not table:
            raise NoFeatures(
                f"No features of the current catalog at {self._features}. Run jobs/extract.py --catalog …; "
                f"if it has run, {self._quarantine} says what is wrong with the videos."
            )
        return table if columns is None else table.select(list(columns))

    def quarantined(self) -> pa.Table:
        """The current catalog's quarantine rows, ordered by video_id."""
        tables = list(self._tables(self._quarantine, None))
        return _distinct(self._current(pa.concat_tables(tables))) if tables else QUARANTINE.empty_table()

    def fingerprint(self) -> str:
        """Changes when any current row changes (16 hex digits): says what a tower was trained on."""
        rows = self.read(["video_id", "version", "content_hash"])
        digest = hashlib.blake2b(str(self.key).encode(), digest_size=8)
        digest.update(json.dumps(rows.to_pydict()).encode())
        return digest.hexdigest()

    def _current(self, table: pa.Table) -> pa.Table:
        catalog = self.storage.read(self._catalog)
        if catalog is None:
            raise NoFeatures(f"No catalog at {self._catalog}. Run jobs/extract.py --catalog … first.")
        current = pq.read_table(io.BytesIO(catalog))
        pairs = pc.binary_join_element_wise(current["video_id"], current["version"], "\0")
        return table.filter(
            pc.is_in(pc.binary_join_element_wise(table["video_id"], table["version"], "\0"), value_set=pairs)
        )

    def _tables(self, folder: str, columns: list[str] | None) -> Iterator[pa.Table]:
        for path in self.storage.files(folder, ".parquet"):
            yield pq.read_table(path, filesystem=self.storage.filesystem, columns=columns)


def open_store(storage: Storage, name: str) -> FeatureStore:
    """The store of this key name. Raises NoFeatures, naming the stores there are."""
    text = storage.read(storage.path("features", name, "encoders.json"))
    if text is None:
        others = ", ".join(storage.folders(storage.path("features"))) or "none"
        raise NoFeatures(
            f"No features of {name} below {storage.root} (there: {others}). "
            "Run jobs/extract.py --catalog … with these encoders, or choose the others with --set encoders.preset=…"
        )
    return FeatureStore(storage, EncoderKey.model_validate_json(text))


def _distinct(table: pa.Table) -> pa.Table:
    """Every (video_id, version) once, ordered: a task that Ray ran twice may have written the same rows twice."""
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in VERSIONS.names])
    ordered = table.take(order)
    rows = list(zip(*(ordered[name].to_pylist() for name in VERSIONS.names), strict=True))
    firsts = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1]]
    return ordered if len(firsts) == len(rows) else ordered.take(firsts)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
