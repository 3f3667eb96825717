import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import checkpoints
from rayreel.catalog import columns
from rayreel.catalog.columns import to_videos
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities, load_encoders
from rayreel.features import schema
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.report import EXTRACTED, REPORT, BlockReport
from rayreel.features.rows import DECODED, todo_rows
from rayreel.features.schema import feature_schema
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.media.config import Limits, SamplingConfig
from rayreel.storage import Storage

ENCODERS = EncodersConfig(random_weights=True, device="cpu")
KEY = EncoderKey(
    identities=encoder_identities(ENCODERS, Path("unused")),
    dims={Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384},
    frame_size=224,
    sampling=SamplingConfig(frames=2, audio_windows=2, audio_window_s=0.2),
)
DECODE = DecodeVideos(KEY.sampling, Limits(), KEY.frame_size)


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> EncodeVideos:
    return EncodeVideos(ENCODERS, KEY, tmp_path_factory.mktemp("weights"))


@pytest.fixture
def videos(film: Callable[..., Path], tmp_path: Path) -> list[CatalogVideo]:
    """Four videos: good, missing, silent and untitled, broken."""
    film("good.mp4", frames=12, fps=12)
    film("silent.mp4", frames=12, fps=12, tone_hz=None)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    return [
        CatalogVideo(video_id="good", uri=str(tmp_path / "good.mp4"), title="A red corner", extra={"source": "x"}),
        CatalogVideo(video_id="missing", uri=str(tmp_path / "missing.mp4"), title="Gone"),
        CatalogVideo(video_id="silent", uri=str(tmp_path / "silent.mp4")),
        CatalogVideo(video_id="broken", uri=str(tmp_path / "broken.mp4"), title="Torn"),
    ]


def todo(*videos: CatalogVideo) -> pa.Table:
    return todo_rows(videos, [f"version of {video.video_id}" for video in videos])


def report_of(written: pa.Table) -> BlockReport:
    (row,) = written.to_pylist(maps_as_pydicts="strict")
    return BlockReport(**row)


def test_decoding_returns_one_row_per_video_in_order_with_failures_as_values(videos: list[CatalogVideo]) -> None:
    rows = DECODE(todo(*videos))
    timing = [("decode_s", pa.float64()), ("decoded_at", pa.float64()), ("decode_cost_s", pa.float64())]
    assert rows.schema.equals(pa.schema([*todo().schema, *DECODED, *timing]))
    assert to_videos(rows) == videos
    assert rows["reason"].to_pylist() == [None, "missing_file", None, "unreadable"]
    assert rows["n_frames"].to_pylist() == [2, None, 2, None]
    assert rows["n_windows"].to_pylist() == [2, None, 0, None]
    assert "missing.mp4" in rows["detail"][1].as_py()


def test_a_batch_of_good_failed_and_silent_videos_keeps_order_and_nulls(
    encode: EncodeVideos, videos: list[CatalogVideo]
) -> None:
    rows = encode(DECODE(todo(*videos)))
    assert rows["video_id"].to_pylist() == ["good", "missing", "silent", "broken"]
    assert rows["version"].to_pylist()[2] == "version of silent"
    assert rows["reason"].to_pylist() == [None, "missing_file", None, "unreadable"]
    assert rows["visual"].is_valid().to_pylist() == [True, False, True, False]
    assert rows["audio"].is_valid().to_pylist() == [True, False, False, False]
    assert rows["text"].is_valid().to_pylist() == [True, False, False, False]
    assert rows["has_audio"].to_pylist() == [True, None, False, None]


def test_an_item_without_a_video_has_only_a_text(encode: EncodeVideos, videos: list[CatalogVideo]) -> None:
    rows = encode(DECODE(todo(CatalogVideo(video_id="title", title="Surf"), videos[0])))
    title, _ = rows.to_pylist()
    assert title["reason"] is None and len(title["text"]) == 1
    absent = ("visual", "audio", "content_hash", "duration_s", "width", "height", "fps", "has_audio")
    assert [name for name in absent if title[name] is not None] == []
    assert rows["visual"].is_valid().to_pylist() == [False, True]
    alone = encode(DECODE(todo(CatalogVideo(video_id="title", title="Surf")))).to_pylist()[0]
    np.testing.assert_allclose(alone["text"], title["text"], atol=2e-3)


def test_encoded_rows_have_the_catalog_columns_and_the_encoder_key(
    encode: EncodeVideos, videos: list[CatalogVideo]
) -> None:
    rows = encode(DECODE(todo(*videos)))
    features = rows.select(feature_schema(KEY.dims).names)
    assert features.schema.equals(feature_schema(KEY.dims))
    good = features.drop_columns([modality.value for modality in Modality]).to_pylist()[0]
    assert (good["title"], good["extra"], good["width"], good["fps"]) == ("A red corner", '{"source": "x"}', 160, 12.0)
    assert good["encoder_key"] == str(KEY)
    assert len(good["content_hash"]) == 64
    features.validate(full=True)


def test_a_videos_vectors_do_not_depend_on_its_neighbours(encode: EncodeVideos, videos: list[CatalogVideo]) -> None:
    good, _, silent, broken = videos
    together = FeatureMatrix.from_table(encode(DECODE(todo(broken, silent, good))))
    alone = FeatureMatrix.from_table(encode(DECODE(todo(good))))
    for modality in Modality:
        mine, _ = together.vectors[modality].padded(np.array([2]))
        expected, _ = alone.vectors[modality].padded(np.array([0]))
        np.testing.assert_allclose(mine, expected, atol=2e-3, rtol=2e-3)


def test_frames_are_decoded_at_the_size_that_the_checkpoint_wants(videos: list[CatalogVideo], tmp_path: Path) -> None:
    checkpoints.siglip(tmp_path / "siglip")
    config = EncodersConfig(visual=str(tmp_path / "siglip"), text=str(tmp_path / "siglip"), device="cpu")
    key = EncoderKey.of(load_encoders(config, tmp_path), KEY.sampling)
    assert (key.frame_size, key.dims[Modality.VISUAL], key.dims[Modality.TEXT]) == (48, 16, 16)
    assert re.fullmatch(r"siglip\+log_mel\+siglip-[0-9a-f]{12}", str(key))
    rows = EncodeVideos(config, key, tmp_path)(DecodeVideos(key.sampling, Limits(), key.frame_size)(todo(videos[0])))
    assert [len(row or ()) for row in (rows["visual"][0].as_py(), rows["text"][0].as_py())] == [2, 1]


def test_a_batch_of_failures_passes_through_encoding(encode: EncodeVideos, videos: list[CatalogVideo]) -> None:
    rows = encode(DECODE(todo(videos[1], videos[3])))
    assert rows["reason"].to_pylist() == ["missing_file", "unreadable"]
    assert rows["visual"].null_count == rows["audio"].null_count == rows["text"].null_count == 2


def test_an_empty_block_passes_through_encoding(encode: EncodeVideos) -> None:
    assert encode(DECODE(todo())).num_rows == 0


def test_storing_an_empty_block_writes_nothing(encode: EncodeVideos, tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path / "storage"), KEY)
    written = StoreRows(store)(encode(DECODE(todo())))
    assert written.num_rows == 0 and written.schema.equals(REPORT)
    assert not list(tmp_path.rglob("*.parquet"))


def test_storing_counts_every_row_once_and_separates_good_rows_from_failures(
    encode: EncodeVideos, videos: list[CatalogVideo], tmp_path: Path
) -> None:
    store = FeatureStore(Storage(tmp_path / "storage"), KEY)
    written = StoreRows(store)(encode(DECODE(todo(*videos))))
    report = report_of(written)
    assert report.outcomes == {EXTRACTED: 2, "missing_file": 1, "unreadable": 1}
    assert report.videos == 4 and report.frames == 4
    assert report.decode_s > 0 and report.encode_s > 0 and report.waited_s >= 0
    assert report.encode_cost_s > 0
    assert 0 < report_of(StoreRows(store)(encode(DECODE(todo(*videos))))).decode_cost_s < 60
    store.set_catalog([(video.video_id, f"version of {video.video_id}") for video in videos])
    assert store.read(["video_id"])["video_id"].to_pylist() == ["good", "silent"]
    assert store.quarantined().select(["video_id", "stage", "reason"]).to_pylist() == [
        {"video_id": "broken", "stage": "decode", "reason": "unreadable"},
        {"video_id": "missing", "stage": "decode", "reason": "missing_file"},
    ]


def test_a_full_disk_is_reported_instead_of_outcomes(
    encode: EncodeVideos, videos: list[CatalogVideo], small_disk: Path
) -> None:
    store = FeatureStore(Storage(small_disk / "storage"), KEY)
    rows = encode(DECODE(todo(*videos)))
    (small_disk / "another file").write_bytes(bytes((1 << 20) - 8192))
    report = report_of(StoreRows(store)(rows))
    assert report.outcomes == {} and re.search(r"part-.*the disk is full\. [\d,]+ bytes are free", report.storage_full)
    assert not list(small_disk.rglob("*.partial"))


def test_vectors_are_stored_exactly(encode: EncodeVideos, videos: list[CatalogVideo], tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path / "storage"), KEY)
    rows = encode(DECODE(todo(*videos)))
    StoreRows(store)(rows)
    store.set_catalog([("silent", "version of silent"), ("good", "version of good")])
    before, after = FeatureMatrix.from_table(rows), FeatureMatrix.from_table(store.read())
    for modality in Modality:
        np.testing.assert_array_equal(after.vectors[modality].values, before.vectors[modality].values)


class Dubbed(CatalogVideo):
    """A catalog row with one more field."""

    language: str = ""


def test_a_new_field_of_the_catalog_reaches_the_store_and_older_files_stay_readable(
    encode: EncodeVideos, videos: list[CatalogVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = videos[0], Dubbed(**videos[2].model_dump(), language="fr")
    StoreRows(FeatureStore(Storage(tmp_path / "storage"), KEY))(encode(DECODE(todo(old))))
    for module in (columns, schema):
        monkeypatch.setattr(module, "CATALOG", columns.catalog_schema(Dubbed))
    store = FeatureStore(Storage(tmp_path / "storage"), KEY)
    StoreRows(store)(encode(DECODE(todo(new))))
    store.set_catalog([(video.video_id, f"version of {video.video_id}") for video in (old, new)])
    rows = store.read()
    assert rows.schema.equals(feature_schema(KEY.dims))
    assert rows["title"].to_pylist() == ["A red corner", ""] and rows["language"].to_pylist() == [None, "fr"]
    assert store.read(["language"])["language"].to_pylist() == [None, "fr"]


def test_the_decode_and_store_stages_can_be_pickled(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    assert pickle.loads(pickle.dumps(DECODE)) == DECODE
    assert pickle.loads(pickle.dumps(StoreRows(store))).store.key == KEY


@pytest.mark.parametrize("module", ["decoding", "storing"])
def test_decode_and_store_workers_do_not_import_network_libraries(module: str) -> None:
    program = f"import sys, rayreel.features.{module}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
