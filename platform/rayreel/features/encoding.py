"""The second stage of extraction: encode frames, sound and text to feature rows, in actors with the networks."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.catalog.columns import texts_of
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality, TextEncoder
from rayreel.encoders.text_weights import TextWeights
from rayreel.features.key import EncoderKey
from rayreel.features.rows import frames_of, timed, waited, windows_of
from rayreel.features.schema import ENRICHED, SPOKEN, feature_schema
from rayreel.features.texts import text_vectors
from rayreel.media.config import AUDIO_RATE_HZ


class EncodeVideos:
    """Encodes frames, sound and text to feature vectors. Batches are made of frames, not of videos."""

    def __init__(self, config: EncodersConfig, key: EncoderKey, cache: Path, videos: int = 1) -> None:
        """Load the networks for blocks of `videos` videos."""
        # These import torch: only actors need it, and it takes seconds.
        from rayreel.encoders.compute import device_named
        from rayreel.encoders.load import load_encoders

        sampling = key.sampling
        each = {Modality.VISUAL: sampling.frames, Modality.AUDIO: sampling.audio_windows, Modality.TEXT: 1}
        self.encoders = load_encoders(config, cache, {modality: videos * count for modality, count in each.items()})
        self.text_weights = config.text_weights
        self.key, self._on_cpu = key, device_named(config.device).type == "cpu"

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace frames and sound by vectors, and add the times of encoding; failures pass through."""
        started, cost_s, encoders = time.time(), self._cost_s(), self.encoders
        texts, of_row = text_vectors(encoders.text, block, self.text_weights)
        vectors = {
            Modality.VISUAL: encoders.visual.encode(inputs_of(block, Modality.VISUAL, self.key)),
            Modality.AUDIO: encoders.audio.encode(inputs_of(block, Modality.AUDIO, self.key)),
            Modality.TEXT: texts,
        }
        counts = {modality: counts_of(block, modality, encoders.visual.window) for modality in Modality}
        counts[Modality.TEXT] = of_row
        rows, waited_s = encoded_rows(block, vectors, counts, self.key), waited(block, started)
        return timed(rows, waited_s=waited_s, encode_s=time.time() - started, encode_cost_s=self._cost_s() - cost_s)

    def _cost_s(self) -> float:
        """Return the seconds that encoding has cost so far: of a core, or of a GPU for bare passes."""
        return time.process_time() if self._on_cpu else self.encoders.meter.seconds


def inputs_of(block: pa.Table, modality: Modality, key: EncoderKey) -> Any:  # noqa: ANN401 - by modality
    """Return what a modality's encoder takes of a block of decoded rows: frames, windows of sound, or texts."""
    if modality is Modality.VISUAL:
        return frames_of(block, key.frame_size)
    if modality is Modality.AUDIO:
        return windows_of(block, round(key.sampling.audio_window_s * AUDIO_RATE_HZ))
    return [text for text in _texts(block) if text]


def counts_of(block: pa.Table, modality: Modality, window: int) -> list[int]:
    """Return the number of vectors that each row has of a modality; `window` is that of the frame encoder."""
    if modality is Modality.TEXT:
        return [int(bool(text)) for text in _texts(block)]
    frames = modality is Modality.VISUAL
    counts = block["n_frames" if frames else "n_windows"].to_pylist()
    return [(count or 0) // (window if frames else 1) for count in counts]


def _texts(block: pa.Table) -> list[str]:
    good = block["reason"].is_null().to_pylist()
    return [text if ok else "" for text, ok in zip(texts_of(block), good, strict=True)]


def encoded_rows(
    decoded: pa.Table,
    vectors: Mapping[Modality, NDArray[np.float32]],
    counts: Mapping[Modality, Sequence[int]],
    key: EncoderKey,
) -> pa.Table:
    """Return decoded rows with the columns that encoding adds, in place of frames and sound.

    `vectors` are [sum of counts, D] per modality, `counts` the number of vectors of each row.
    """
    media = [name for name in ("frames", "windows", "track") if name in decoded.column_names]
    rows, schema = decoded.drop_columns(media), feature_schema(key.dims)
    for modality in Modality:
        cells = vector_cells(vectors[modality], counts[modality], key.dims[modality])
        rows = rows.append_column(schema.field(modality.value), cells)
    for field in (*SPOKEN, *ENRICHED):
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.append_column("encoder_key", pa.array([str(key)] * rows.num_rows, pa.string()))


def with_text_vectors(rows: pa.Table, encoder: TextEncoder, weights: TextWeights | None) -> pa.Table:
    """Return feature rows with their texts encoded again."""
    vectors, counts = text_vectors(encoder, rows, weights)
    cells = vector_cells(vectors, counts, encoder.dim)
    return rows.set_column(rows.schema.get_field_index("text"), "text", cells)


def vector_cells(vectors: NDArray[np.float32], counts: Sequence[int], dim: int) -> pa.Array:
    """Return vectors [sum of counts, dim] as one list of vectors per video; null for a video without vectors."""
    inner = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dim)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    missing = np.array(counts, dtype=np.int64) == 0
    return pa.ListArray.from_arrays(offsets, inner, mask=pa.array(missing))
