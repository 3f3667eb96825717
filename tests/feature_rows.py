"""Synthetic feature rows: small vectors, with any modality optionally absent."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import feature_schema
from rayreel.media.config import SamplingConfig

DIMS = {Modality.VISUAL: 12, Modality.AUDIO: 6, Modality.TEXT: 8}
KEY = EncoderKey(
    identities={modality: f"{modality.value}_net@0123456789ab+crop" for modality in Modality},
    dims=DIMS,
    frame_size=32,
    sampling=SamplingConfig(),
)


def feature_row(
    video_id: str,
    *,
    frames: int = 3,
    windows: int = 2,
    text: bool = True,
    centre: dict[Modality, np.ndarray] | None = None,
    spread: float = 1.0,
    **columns: object,
) -> dict[str, Any]:
    """Return a row with this many random vectors around `centre`; 0 or False leaves a modality out."""
    rng = np.random.default_rng(list(video_id.encode()))
    centre = centre or {modality: np.zeros(dim) for modality, dim in DIMS.items()}
    vectors = {
        modality: list((centre[modality] + spread * rng.normal(size=(count, DIMS[modality]))).astype(np.float16))
        for modality, count in zip(Modality, (frames, windows, int(text)), strict=True)
    }
    return {
        "video_id": video_id,
        "uri": f"/films/{video_id}.mp4",
        "title": f"film {video_id}",
        "description": "",
        "category": "",
        "tags": [],
        "extra": json.dumps(columns.pop("extra", {})),
        "version": "1",
        "content_hash": f"sha-{video_id}",
        "has_audio": windows > 0,
        "visual": vectors[Modality.VISUAL] or None,
        "audio": vectors[Modality.AUDIO] or None,
        "text": vectors[Modality.TEXT] or None,
        "encoder_key": str(KEY),
    } | columns


def feature_table(*rows: dict[str, Any]) -> pa.Table:
    """Return the rows as `FeatureStore.read` would."""
    return pa.Table.from_pylist(list(rows), schema=feature_schema(DIMS))


def feature_matrix(*rows: dict[str, Any]) -> FeatureMatrix:
    """Return the rows as arrays."""
    return FeatureMatrix.from_table(feature_table(*rows))


def clusters(categories: int = 4, each: int = 25, spread: float = 0.3, **columns: Any) -> FeatureMatrix:  # noqa: ANN401
    """Return videos with the features of every modality around the centre of their category."""
    return FeatureMatrix.from_table(clusters_table(categories, each, spread, **columns))


def clusters_table(categories: int = 4, each: int = 25, spread: float = 0.3, **columns: Any) -> pa.Table:  # noqa: ANN401
    """Return the rows of `clusters` as `FeatureStore.read` would."""
    rng = np.random.default_rng(0)
    centres = [{m: 2 * rng.normal(size=dim) for m, dim in DIMS.items()} for _ in range(categories)]
    return feature_table(
        *(
            feature_row(
                f"v{n:03}", centre=centres[n % categories], spread=spread, category=f"c{n % categories}", **columns
            )
            for n in range(categories * each)
        )
    )
