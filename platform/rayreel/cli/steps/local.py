"""The promoted release in this process, without a service: its videos, queries by file, and all neighbours."""

from functools import partial
from pathlib import Path

import pyarrow as pa

from rayreel.catalog.folder import read_video
from rayreel.catalog.problem import RowProblem
from rayreel.catalog.video import CatalogVideo
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.encoder import Modality, WordEncoders
from rayreel.encoders.load import load_word_encoders
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.rows import todo_rows
from rayreel.features.store import FeatureStore, open_store
from rayreel.index.connect import connect
from rayreel.index.search import VideoIndex
from rayreel.recommendation.local import IndexOnDemand, LocalRelease, load_promoted
from rayreel.recommendation.query import BadQuery
from rayreel.recommendation.reranking import Score
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.tower.embed import QueryVectors
from rayreel.training.tracking import use_tracking

_LOCAL: dict[str, tuple[Settings, LocalRelease]] = {}


def local_release(settings: Settings) -> LocalRelease:
    """Return the release that was promoted last, with all changes since. Cached, one per storage root."""
    use_tracking(settings.place)
    root = settings.place.root
    known_settings, known = _LOCAL.get(root, (None, None))
    live = load_promoted(settings.place, settings.release.snapshot_cache, known.live if known else None)
    if known is None or known_settings != settings or known.version.number != live.version:
        index = IndexOnDemand(partial(_connect, settings))
        version, encoders = registry.resolve(str(live.version)), partial(_word_encoders, settings)
        reranker = partial(_reranker, settings)
        known = LocalRelease(version, live, index, settings.recommend, encoders, reranker)
        _LOCAL[root] = settings, known
    known.live = live
    return known


def _connect(settings: Settings) -> VideoIndex:
    use_ray()  # for Milvus Lite
    return VideoIndex(connect(settings.index, settings.milvus_dir), settings.index)


def _word_encoders(settings: Settings, version: Version) -> WordEncoders:
    own = settings.of_release(version)
    return load_word_encoders(own.encoders, own.weights_cache)


def _reranker(settings: Settings) -> Score:
    from rayreel.encoders.compute import device_named
    from rayreel.encoders.cross_encoder import load_cross_encoder

    name, encoders = settings.recommend.reranker, settings.encoders
    assert name is not None, "requests were checked"
    return load_cross_encoder(name, encoders.weights_dir, settings.weights_cache, device_named(encoders.device)).score


def query_video(file: Path) -> CatalogVideo:
    """Return a video file that is a query, described as one of a folder is. Raises BadQuery if it cannot be one."""
    video = read_video(file.resolve(), file.resolve().parent)
    if isinstance(video, RowProblem):
        raise BadQuery(f"{file} cannot be used as a query: {video.detail}")
    return video


def encode_video(settings: Settings, release: LocalRelease, video: CatalogVideo) -> QueryVectors:
    """Return the vectors of a video for a query of a release.

    Raises BadQuery if its file cannot be used, and OtherEncoders.
    """
    store = open_store(settings.place, release.version.encoder_key)
    return video_vectors(settings.of_release(release.version), store, video)


def video_vectors(settings: Settings, store: FeatureStore, video: CatalogVideo) -> QueryVectors:
    """Return the vectors of a video, encoded as extraction does: [n, D] for each modality, n = 0 for absent ones.

    Raises BadQuery if its file cannot be used.
    """
    rows = _features_of(settings, store, video)
    if reason := rows["reason"][0].as_py():
        raise BadQuery(f"{video.uri} cannot be used as a query: {reason}: {rows['detail'][0].as_py()}")
    vectors = FeatureMatrix.from_table(rows).vectors
    return {m: vectors[m].values.astype("float32") for m in Modality}


def _features_of(settings: Settings, store: FeatureStore, video: CatalogVideo) -> pa.Table:
    key = store.key
    decoded = DecodeVideos(key.sampling, settings.limits, key.frame_size)(todo_rows([video], [""]))
    return EncodeVideos(settings.encoders, key, settings.weights_cache)(decoded)
