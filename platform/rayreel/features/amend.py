"""Amendments: what was added or deleted beside the catalog, one video at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from tenacity import retry, retry_if_exception_type, stop_after_attempt

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
# Every read of the store reads all amendments: a few files in a millisecond, a thousand in a second.
FILES = 64


@dataclass(frozen=True, slots=True)
class Amendments:
    """The last amendment of each video, at `catalog/amendments`. It holds through later catalogs, until the next one.

    It belongs to the storage root, as the catalog does: a deleted video stays deleted under other encoders. Files are
    numbered, and numbers decide which amendment is the last; `at` is for people, as clocks of two machines differ.
    """

    storage: Storage

    @property
    def parts(self) -> NumberedParts:
        """One file per amendment, until they are merged."""
        return NumberedParts(self.storage, self.folder)

    @property
    def folder(self) -> str:
        """Where the files are."""
        return self.storage.path("catalog", "amendments")

    def add(self, added: Sequence[tuple[str, str]], deleted: Iterable[str]) -> None:
        """Make these (video_id, version) current and those ids not, at once."""
        now = datetime.now(UTC)
        rows = [{"video_id": i, "version": version, "deleted": False, "at": now} for i, version in added]
        rows += [{"video_id": i, "version": None, "deleted": True, "at": now} for i in deleted]
        if rows:
            self.parts.add(pa.Table.from_pylist(rows, schema=AMENDMENTS))
        if len(self.parts.names()) > FILES:
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
        """Merge all files into one. Killed at any point, no amendment is lost: repeated ones change nothing."""
        names, words = self._last_words()
        if names:
            self.parts.merge(names, words)

    # A file that is gone was merged since the folder was listed: it is listed again.
    @retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)
    def _last_words(self) -> tuple[list[str], pa.Table]:
        """All files, and the last amendment of each video."""
        names = self.parts.names()
        read = [(number_of(name), self.parts.read(name)) for name in names]
        # Files written before parts were numbered are ordered by their time.
        tables = [table for _, table in sorted(read, key=lambda part: (part[0], part[1]["at"][0].as_py()))]
        said = pa.concat_tables([AMENDMENTS.empty_table(), *tables])
        place = {video_id: row for row, video_id in enumerate(said["video_id"].to_pylist())}
        return names, said.take(pa.array(place.values(), pa.int64()))
