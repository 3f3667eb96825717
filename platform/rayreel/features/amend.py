"""Amendments: what was added or deleted beside the catalog, one video at a time."""

import io
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from rayreel.storage import Storage

AMENDMENTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("version", pa.string()),
        ("deleted", pa.bool_()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
# Every read of the store reads all amendments: a few files in a millisecond, a thousand in a second.
FILES = 64


@dataclass(frozen=True, slots=True)
class Amendments:
    """The last word on single videos, at `catalog/amendments`: it stands, whatever catalog is set, until the next.

    Not one store's but the root's, as the catalog is: a video that was deleted stays so under other encoders.
    """

    storage: Storage

    @property
    def folder(self) -> str:
        """Where the files are: one per amendment, until they are merged."""
        return self.storage.path("catalog", "amendments")

    def add(self, added: Sequence[tuple[str, str]], deleted: Iterable[str]) -> None:
        """Make these (video_id, version) current and those ids not, at once."""
        now = datetime.now(UTC)
        rows = [{"video_id": i, "version": version, "deleted": False, "at": now} for i, version in added]
        rows += [{"video_id": i, "version": None, "deleted": True, "at": now} for i in deleted]
        if rows:
            self._write(pa.Table.from_pylist(rows, schema=AMENDMENTS))
        if len(self._files()) > FILES:
            self.compact()

    def read(self) -> dict[str, str | None]:
        """video_id → the version that was added last; None where the video was deleted since."""
        return {row["video_id"]: row["version"] for row in self._last_words()[1].to_pylist()}

    def applied(self, catalog: pa.Table) -> pa.Table:
        """A catalog's rows (video_id, version) as amended."""
        _, words = self._last_words()
        if not words.num_rows:
            return catalog
        kept = catalog.filter(pc.invert(pc.is_in(catalog["video_id"], value_set=words["video_id"].combine_chunks())))
        return pa.concat_tables([kept, words.filter(pc.invert(words["deleted"])).select(catalog.column_names)])

    def compact(self) -> None:
        """Merge all files into one. Killed at any point, nothing is lost: what is said twice counts once."""
        files, words = self._last_words()
        self._write(words)
        for path in files:
            with suppress(FileNotFoundError):  # somebody merges the same files
                self.storage.filesystem.delete_file(path)

    # A file that is gone was merged since the folder was listed: it is listed again.
    @retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)
    def _last_words(self) -> tuple[list[str], pa.Table]:
        """All files, and of what they say on a video the last."""
        files = self._files()
        said = pa.concat_tables([AMENDMENTS.empty_table(), *map(self._table, files)])
        said = said.sort_by([("at", "ascending")])
        place = {video_id: row for row, video_id in enumerate(said["video_id"].to_pylist())}
        return files, said.take(pa.array(place.values(), pa.int64()))

    def _files(self) -> list[str]:
        return self.storage.files(self.folder, ".parquet")

    def _table(self, path: str) -> pa.Table:
        return pq.read_table(path, filesystem=self.storage.filesystem, partitioning=None)

    def _write(self, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self.storage.write(f"{self.folder}/amendment-{uuid.uuid4().hex}.parquet", buffer.getvalue())
