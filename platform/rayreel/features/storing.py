"""The last stage of extraction: write finished rows to the store and to quarantine."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.columns import CATALOG
from rayreel.durable import StorageFull
from rayreel.failures import Reason
from rayreel.features.report import EXTRACTED, REPORT, SPEECH_TIMES, TIMES, BlockReport
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore


@dataclass(frozen=True, slots=True)
class StoreRows:
    """Writes good rows to the feature store and failures to quarantine, block by block; a killed run keeps them."""

    store: FeatureStore

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write encoded rows and return one row of REPORT, a BlockReport.

        A full disk is part of the report, since an exception would come with the tracebacks of every Ray process.
        """
        if not block.num_rows:
            return REPORT.empty_table()
        good, spoken = pc.is_null(block["reason"]), "transcribe_s" in block.column_names
        features, bad = block.filter(good), block.filter(pc.invert(good))
        outcomes, full = Counter({EXTRACTED: features.num_rows}) + Counter(bad["reason"].to_pylist()), ""
        try:
            self.store.add(features.select(self.store.schema.names), quarantine_rows(bad))
        except StorageFull as error:
            outcomes, full = Counter(), str(error)
        report = BlockReport(
            outcomes=outcomes,
            frames=pc.sum(block["n_frames"]).as_py() or 0,
            storage_full=full,
            sound_s=pc.sum(block["sound_s"]).as_py() if spoken else 0.0,
            **{name: block[name][0].as_py() for name in (*TIMES, *(SPEECH_TIMES if spoken else ()))},
        )
        return pa.Table.from_pylist([report.model_dump()], schema=REPORT)


def quarantine_rows(bad: pa.Table) -> pa.Table:
    """Return decoded rows that failed as rows of QUARANTINE."""
    columns = {name: bad[name] for name in (*CATALOG.names, "version", "reason", "detail")}
    speech = Reason.NOT_TRANSCRIBED.value
    stages = ["speech" if reason == speech else "decode" for reason in bad["reason"].to_pylist()]
    columns["stage"] = pa.array(stages, pa.string())
    columns["at"] = pa.array([datetime.now(UTC)] * bad.num_rows, pa.timestamp("us", tz="UTC"))
    return pa.table([columns[name] for name in QUARANTINE.names], schema=QUARANTINE)
