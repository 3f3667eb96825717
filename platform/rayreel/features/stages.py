"""The stages of extraction: decode on CPU tasks, encode on actors that hold the frozen networks, write."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.catalog.video import Video
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.encoders.presets import EncodersConfig
from rayreel.failures import Reason, Rejected
from rayreel.features.key import EncoderKey
from rayreel.features.report import EXTRACTED, BlockReport
from rayreel.features.rows import DECODED, decoded_block, frames_of, windows_of
from rayreel.features.schema import QUARANTINE, catalog_columns, feature_schema
from rayreel.features.store import FeatureStore
from rayreel.media.clip import Clip
from rayreel.media.config import AUDIO_RATE_HZ, Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.isolated import Decode, process_decoder

# What goes on from the encoder beside the feature row: what is wrong with a video, and how long its block took.
PASSING = pa.schema(
    [
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("n_frames", pa.int32()),
        ("decode_s", pa.float64()),
        ("waited_s", pa.float64()),
        ("encode_s", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class DecodeVideos:
    """Catalog rows in, frames and sound or a reason out."""

    sampling: SamplingConfig
    limits: Limits
    frame_size: int
    decode_with: Decode = decode_file

    def __call__(self, block: pa.Table) -> pa.Table:
        """TODO rows → DECODED rows, one for one."""
        started = time.time()
        videos = block["video"].to_pylist()
        rows = decoded_block(videos, block["version"].to_pylist(), [self._decode(video) for video in videos])
        now = time.time()
        for name, seconds in (("decode_s", now - started), ("decoded_at", now)):
            filled = pa.array([seconds] * len(videos), pa.float64())
            rows = rows.set_column(DECODED.get_field_index(name), DECODED.field(name), filled)
        return rows

    def _decode(self, text: str) -> Clip | Rejected:
        uri = json.loads(text)["uri"]
        decoder = process_decoder(self.limits.max_memory_bytes, self.limits.allowed_roots, self.decode_with)
        outcome = decoder.decode(uri, self.sampling, self.frame_size, self.limits)
        if isinstance(outcome, Rejected) and outcome.reason is Reason.DECODER_CRASH:
            # Somebody may have killed the decoder for a reason of their own: a file is to blame the second time.
            outcome = decoder.decode(uri, self.sampling, self.frame_size, self.limits)
        return outcome


class EncodeVideos:
    """Frames, sound and text in, feature vectors out. Batches run over frames, not over videos."""

    def __init__(self, config: EncodersConfig, key: EncoderKey, cache: Path) -> None:
        self.encoders = load_encoders(config, cache)
        self.key = key
        self.samples = round(key.sampling.audio_window_s * AUDIO_RATE_HZ)
        self.schema = pa.schema([*feature_schema(key.dims), *PASSING])

    def __call__(self, block: pa.Table) -> pa.Table:
        """DECODED rows → feature rows with the columns of PASSING behind, one for one; failures pass through."""
        started = time.time()
        videos = [Video.model_validate_json(text) for text in block["video"].to_pylist()]
        dims = self.key.dims
        vectors = {
            Modality.VISUAL: _ragged(
                self.encoders.visual.encode(frames_of(block, self.key.frame_size)),
                block["n_frames"].to_pylist(),
                dims[Modality.VISUAL],
            ),
            Modality.AUDIO: _ragged(
                self.encoders.audio.encode(windows_of(block, self.samples)),
                block["n_windows"].to_pylist(),
                dims[Modality.AUDIO],
            ),
            Modality.TEXT: self._text(videos, block["reason"].is_null().to_pylist()),
        }
        waited_s = started - (pc.max(block["decoded_at"]).as_py() or started)
        for name, seconds in (("waited_s", waited_s), ("encode_s", time.time() - started)):
            block = block.append_column(name, pa.array([seconds] * len(videos), pa.float64()))
        return self._table(block, videos, vectors)

    def _text(self, videos: list[Video], good: list[bool]) -> pa.Array:
        texts = [video.text() if ok else "" for video, ok in zip(videos, good, strict=True)]
        vectors = self.encoders.text.encode([text for text in texts if text])
        return _ragged(vectors, [int(bool(text)) for text in texts], self.key.dims[Modality.TEXT])

    def _table(self, block: pa.Table, videos: list[Video], vectors: dict[Modality, pa.Array]) -> pa.Table:
        catalog = pa.Table.from_pylist([catalog_columns(video) for video in videos], schema=_first(self.schema, 8))
        columns = {name: catalog[name] for name in catalog.column_names}
        columns |= {name: block[name] for name in block.column_names if name in self.schema.names}
        columns |= {modality.value: array for modality, array in vectors.items()}
        columns["transcript"] = pa.nulls(len(videos), pa.string())
        columns["encoder_key"] = pa.array([str(self.key)] * len(videos))
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)


@dataclass(frozen=True, slots=True)
class StoreRows:
    """Good rows to the feature store, the others to quarantine: at once, so that a killed run keeps what is done."""

    store: FeatureStore

    def __call__(self, block: pa.Table) -> pa.Table:
        """Encoded rows in; out comes one row, a BlockReport as JSON, once they are written."""
        if not block.num_rows:
            return pa.table({"report": pa.array([], pa.string())})
        good = pc.is_null(block["reason"])
        features, bad = block.filter(good), block.filter(pc.invert(good))
        self.store.add(features.select(self.store.schema.names), _quarantine(bad))
        report = BlockReport(
            outcomes=Counter({EXTRACTED: features.num_rows}) + Counter(bad["reason"].to_pylist()),
            frames=pc.sum(block["n_frames"]).as_py() or 0,
            **{name: block[name][0].as_py() for name in ("decode_s", "waited_s", "encode_s")},
        )
        return pa.table({"report": [report.model_dump_json()]})


def _quarantine(bad: pa.Table) -> pa.Table:
    columns = {name: bad[name] for name in ("video_id", "uri", "version", "reason", "detail")}
    columns["stage"] = pa.array(["decode"] * bad.num_rows, pa.string())
    columns["at"] = pa.array([datetime.now(UTC)] * bad.num_rows, pa.timestamp("us", tz="UTC"))
    return pa.table([columns[name] for name in QUARANTINE.names], schema=QUARANTINE)


def _first(schema: pa.Schema, count: int) -> pa.Schema:
    return pa.schema([schema.field(i) for i in range(count)])


def _ragged(vectors: NDArray[np.float32], counts: Sequence[int | None], dim: int) -> pa.Array:
    """Vectors [sum of counts, dim] as one list of vectors per video; null where a video has none."""
    inner = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dim)
    offsets = np.concatenate([[0], np.cumsum([count or 0 for count in counts])]).astype(np.int32)
    missing = np.array([not count for count in counts], dtype=bool)
    return pa.ListArray.from_arrays(offsets, inner, mask=pa.array(missing))
