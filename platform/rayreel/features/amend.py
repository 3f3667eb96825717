"""Amendments: videos added or deleted individually, in addition to the catalog."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from rayreel.parts import NumberedParts, number_of
from rayreel.storage import Storage

AMENDMENTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("version", pa.string()),
        ("deleted", pa.bool_()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
# Every read of the store reads all amendments: a few files take a millisecond, a thousand take a second.
FILES = 64


@dataclass(frozen=True, slots=True)
class Amendments:
    """The latest amendment of each video, at `catalog/amendments`. It overrides later catalogs until the next one.

    Amendments belong to the storage root, like the catalog: a deleted video stays deleted under other encoders. Files
    are numbered, and the numbers decide which amendment is the latest; `at` is informational, as clocks differ.
    """

    storage: Storage

    @property
    def parts(self) -> NumberedParts:
        """One file per amendment, until they are merged."""
        return NumberedParts(self.storage, self.folder)

    @property
    def folder(self) -> str:
        """Folder of the files."""
        return self.storage.path("catalog", "amendments")

    def add(self, added: Sequence[tuple[str, str]], deleted: Iterable[str]) -> None:
        """Atomically make the `added` (video_id, version) current and remove the `deleted` ids."""
        now = datetime.now(UTC)
        rows = [{"video_id": i, "version": version, "deleted": False, "at": now} for i, version in added]
        rows += [{"video_id": i, "version": None, "deleted": True, "at": now} for i in deleted]
        if rows:
            self.parts.add(pa.Table.from_pylist(rows, schema=AMENDMENTS))
        if len(self.parts.names()) > FILES:
            self.compact()

    def read(self) -> dict[str, str | None]:
        """Return for each amended video_id the version added last, or None if it was deleted since."""
        return {row["video_id"]: row["version"] for row in self._latest()[1].to_pylist()}

    def applied(self, catalog: pa.Table) -> pa.Table:
        """Return a catalog's rows (video_id, version) with the amendments applied."""
        _, latest = self._latest()
        if not latest.num_rows:
            return catalog
        kept = catalog.filter(pc.invert(pc.is_in(catalog["video_id"], value_set=latest["video_id"].combine_chunks())))
        return pa.concat_tables([kept, latest.filter(pc.invert(latest["deleted"])).select(catalog.column_names)])

    def compact(self) -> None:
        """Merge all files into one. If the process is killed, no amendment is lost: duplicates change nothing."""
        names, latest = self._latest()
        if names:
            self.parts.merge(names, latest)

    # A missing file was merged after the folder was listed: list it again. Writers may merge many times in a row.
    @retry(
        retry=retry_if_exception_type(FileNotFoundError),
        stop=stop_after_attempt(20),
        wait=wait_random(0, 0.1),
        reraise=True,
    )
    def _latest(self) -> tuple[list[str], pa.Table]:
        """The names of all files, and the latest amendment of each video."""
        names = self.parts.names()
        read = [(number_of(name), self.parts.read(name)) for name in names]
        # Files from before parts were numbered are ordered by time.
        tables = [table for _, table in sorted(read, key=lambda part: (part[0], part[1]["at"][0].as_py()))]
        amendments = pa.concat_tables([AMENDMENTS.empty_table(), *tables])
        last_row = {video_id: row for row, video_id in enumerate(amendments["video_id"].to_pylist())}
        return names, amendments.take(pa.array(last_row.values(), pa.int64()))
