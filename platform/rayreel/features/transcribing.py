"""The stage of extraction between decoding and encoding: recognise speech, in actors with the model."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.failures import Rejected
from rayreel.features.rows import timed, waited
from rayreel.features.schema import SPOKEN
from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.speech.transcriber import Transcriber
from rayreel.speech.transcript import Transcript


class TranscribeVideos:
    """Transcribes the sound of decoded rows. Batches are made of stretches of speech, not of videos."""

    def __init__(self, load: Callable[[], Transcriber], key: str, *, on_gpu: bool = False) -> None:
        self.transcriber, self.key = load(), key
        self._cost_s = time.time if on_gpu else time.process_time

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace the sound by the columns of SPOKEN; add times and `sound_s`. Failures pass through and are added."""
        started, cost_s = time.time(), self._cost_s()
        tracks = tracks_of(block)
        with_sound = [track for track in tracks if track is not None]
        outcomes = iter(self.transcriber.transcribe(with_sound))
        found = [Transcript() if track is None else next(outcomes) for track in tracks]
        rows = spoken_rows(block.drop_columns(["track"]), found, self.key)
        sound_s = sum(map(len, with_sound)) / AUDIO_RATE_HZ / max(1, block.num_rows)
        now = time.time()
        times = {"speech_waited_s": waited(block, started), "transcribe_s": now - started, "transcribed_at": now}
        return timed(rows, sound_s=sound_s, transcribe_cost_s=self._cost_s() - cost_s, **times)


def tracks_of(block: pa.Table) -> list[NDArray[np.int16] | None]:
    """Return the sound of every row of a block, int16 [samples]; None without sound and for failed rows."""
    good = block["reason"].is_null().to_pylist()
    cells = block["track"].combine_chunks()
    return [
        np.frombuffer(cell.as_buffer(), np.int16) if ok and cell.is_valid else None
        for cell, ok in zip(cells, good, strict=True)
    ]


def spoken_rows(rows: pa.Table, found: Sequence[Transcript | Rejected], key: str) -> pa.Table:
    """Return the rows with the columns of SPOKEN. Rows whose sound failed get the reason and keep nothing else."""
    spoken = [spoken_row(outcome, key) for outcome in found]
    for name, column in zip(SPOKEN.names, pa.Table.from_pylist(spoken, schema=SPOKEN).columns, strict=True):
        rows = rows.append_column(SPOKEN.field(name), column)
    failed = {place: outcome for place, outcome in enumerate(found) if isinstance(outcome, Rejected)}
    if not failed:
        return rows
    reasons, details = rows["reason"].to_pylist(), rows["detail"].to_pylist()
    for place, outcome in failed.items():
        reasons[place], details[place] = outcome.reason.value, outcome.detail
    for name, values in (("reason", reasons), ("detail", details)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return rows


def spoken_row(outcome: Transcript | Rejected, key: str) -> dict[str, object]:
    """Return the values of SPOKEN of one video; nothing for one whose sound failed."""
    if isinstance(outcome, Rejected):
        return {}
    segments = [{"start_s": s.start_s, "end_s": s.end_s, "text": s.text} for s in outcome.segments]
    return {
        "transcript": outcome.text or None,
        "spoken_language": outcome.language,
        "segments": segments or None,
        "speech": key,
    }
