"""Transcribe videos whose features exist already: only their sound is decoded, and only texts are encoded again."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.failures import Rejected
from rayreel.features.decoding import DecodeVideos, decoding_timed
from rayreel.features.encoding import with_text_vectors
from rayreel.features.rows import timed, track_cells, waited
from rayreel.features.schema import ENRICHED, SPOKEN
from rayreel.features.store import FeatureStore
from rayreel.features.version import base_of
from rayreel.media.clip import Clip

Pair = tuple[str, str]


def former_rows(store: FeatureStore, wanted: Mapping[str, str]) -> dict[Pair, str]:
    """Return (video_id, former version) -> new version of the rows that differ only in how speech is recognised."""
    former = dict[str, str]()
    for video_id, version in store.done(quarantined=False):
        new = wanted.get(video_id)
        if new is not None and new != version and base_of(new) == base_of(version):
            former[video_id] = max(version, former.get(video_id, ""))
    return {(video_id, version): wanted[video_id] for video_id, version in former.items()}


def located_rows(store: FeatureStore, renamed: Mapping[Pair, str]) -> list[dict[str, Any]]:
    """Return one row per file of the store: its path, and which of its rows get which new version."""
    left, found = dict(renamed), []
    for path in store.storage.files(store.features, ".parquet"):
        table = store.table(path, ["video_id", "version"])
        pairs = set(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True)) & left.keys()
        if pairs:
            here = defaultdict[str, list[str]](list)
            for pair in sorted(pairs):
                for name, value in zip(("video_id", "version", "renamed"), (*pair, left.pop(pair)), strict=True):
                    here[name].append(value)
            found.append({"path": path, **here})
    return found


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Reads the rows of files of the store, with their new versions."""

    store: FeatureStore

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield feature rows without the columns of SPOKEN."""
        for file in block.to_pylist():
            pairs = zip(file["video_id"], file["version"], strict=True)
            renamed = dict(zip(pairs, file["renamed"], strict=True))
            table = self.store.table(file["path"])
            names = zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True)
            versions = [renamed.pop(pair, None) for pair in names]  # a row may be there twice
            table = table.set_column(
                table.schema.get_field_index("version"), "version", pa.array(versions, pa.string())
            )
            rows = table.filter(table["version"].is_valid()).drop_columns([*SPOKEN.names, *ENRICHED.names])
            for field in ENRICHED:  # it was written of another transcript
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
            yield rows


@dataclass(frozen=True, slots=True)
class DecodeTracks:
    """Decodes only the sound of feature rows, and as little as possible of the pictures."""

    decode: DecodeVideos

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Add the columns `track`, `reason` and `detail`."""
        started, own_s = time.time(), time.thread_time()
        sampling = self.decode.sampling.model_copy(update={"frames": 1, "window": 1, "mode": "keyframe"})
        found, cost_s = replace(self.decode, sampling=sampling).clips(rows["uri"].to_pylist())
        rows = rows.append_column("track", track_cells([clip if isinstance(clip, Clip) else None for clip in found]))
        for name in ("reason", "detail"):
            values = [str(getattr(clip, name)) if isinstance(clip, Rejected) else None for clip in found]
            rows = rows.append_column(name, pa.array(values, pa.string()))
        return decoding_timed(rows, started, cost_s + time.thread_time() - own_s)


class EncodeTexts:
    """Encodes the texts of feature rows again, with what is said in their videos."""

    def __init__(self, config: EncodersConfig, cache: Path) -> None:
        # These import torch.
        from rayreel.encoders.compute import device_named
        from rayreel.encoders.load import load_encoder
        from rayreel.encoders.passes import PassMeter

        self._meter, self._on_cpu = PassMeter(), device_named(config.device).type == "cpu"
        self.text_weights = config.text_weights
        self.text = load_encoder(Modality.TEXT, config, cache, meter=self._meter)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Replace the text's vectors."""
        started, cost_s = time.time(), self._cost_s()
        rows = with_text_vectors(rows, self.text, self.text_weights)
        rows = rows.append_column("n_frames", pa.nulls(rows.num_rows, pa.int32()))
        waited_s = waited(rows, started)
        return timed(rows, waited_s=waited_s, encode_s=time.time() - started, encode_cost_s=self._cost_s() - cost_s)

    def _cost_s(self) -> float:
        """As of EncodeVideos."""
        return time.process_time() if self._on_cpu else self._meter.seconds
