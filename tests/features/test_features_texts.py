"""Catalog rows without a usable video: title-only items, and quarantined videos indexed by their text."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_rows import feature_row, feature_table
from rayreel.catalog.read import read_catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.encoders.text_weights import TextWeights, weights_in
from rayreel.failures import Reason
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import BlockReport, Throughput
from rayreel.features.retrying import quarantined_catalog
from rayreel.features.rows import quarantine_row, todo_rows
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.features.texts import means_of, parts_of, text_vectors, written_fields
from rayreel.media.config import Limits, SamplingConfig
from rayreel.release.embed import embed_table
from rayreel.release.rows import part_embeddings, videos
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower

ENCODERS = EncodersConfig(random_weights=True, device="cpu")
KEY = EncoderKey(
    identities=encoder_identities(ENCODERS, Path("unused")),
    dims={Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384},
    frame_size=224,
    sampling=SamplingConfig(frames=1, audio_windows=1, audio_window_s=0.2),
)
CSV = """video_id,uri,title
good,good.mp4,a red corner
broken,broken.mp4,torn
missing,missing.mp4,gone
title,,surf at dawn
silent,broken.mp4,
nothing,,
"""
OFF, ON = ExtractConfig(), ExtractConfig(text_fallback=True)


class PipelineHere(Pipeline):
    """The stages of extraction, one after the other in this process."""

    def throughput(self) -> Throughput:
        return Throughput()

    def run(
        self,
        todo: Sequence[CatalogVideo],
        versions: dict[str, str],
        store: FeatureStore,
        spoken: pa.Table | None = None,
    ) -> Iterator[BlockReport]:
        if todo:
            block = todo_rows(todo, [versions[video.video_id] for video in todo])
            decoded = DecodeVideos(KEY.sampling, self.limits, KEY.frame_size)(block)
            encoded = EncodeVideos(self.encoders, KEY, self.cache)(decoded)
            (report,) = StoreRows(store)(encoded).to_pylist(maps_as_pydicts="strict")
            yield BlockReport(**report)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(Storage(tmp_path / "storage"), KEY)


@pytest.fixture
def films(film: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a catalog of two videos that can be decoded or not, and rows without a video."""
    film("good.mp4", frames=4)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "catalog.csv").write_text(CSV)
    return tmp_path


def run(films: Path, store: FeatureStore, config: ExtractConfig, *, retry: bool = False) -> ExtractReport:
    catalog = read_catalog(films / "catalog.csv")
    pipeline = PipelineHere(ENCODERS, Limits(), config, films)
    report = extract(catalog, store, pipeline, retry_quarantined=retry)
    assert report.rows == report.extracted + report.quarantined + report.unchanged
    return report


def present(store: FeatureStore) -> dict[str, list[str]]:
    """Return the modalities of each current row."""
    rows = store.read()
    valid = {modality.value: rows[modality.value].is_valid().to_pylist() for modality in Modality}
    ids = rows["video_id"].to_pylist()
    return {name: [m for m in valid if valid[m][row]] for row, name in enumerate(ids)}


def reasons(store: FeatureStore) -> dict[str, str]:
    rows = store.quarantined()
    return dict(zip(rows["video_id"].to_pylist(), rows["reason"].to_pylist(), strict=True))


def test_a_row_without_a_uri_is_a_title_only_item_and_failed_videos_are_left_out(
    films: Path, store: FeatureStore
) -> None:
    report = run(films, store, OFF)
    assert (report.extracted, report.without_video, report.text_fallback) == (2, 1, 0)
    assert report.reasons == Counter(unreadable=2, missing_file=1, invalid_row=1)
    assert present(store) == {"good": ["visual", "audio", "text"], "title": ["text"]}


def test_with_the_fallback_failed_videos_are_indexed_by_text_and_stay_in_quarantine(
    films: Path, store: FeatureStore
) -> None:
    report = run(films, store, ON)
    assert (report.extracted, report.without_video, report.text_fallback) == (2, 1, 2)
    assert report.reasons == Counter(unreadable=2, missing_file=1, invalid_row=1)
    expected = {"broken": ["text"], "good": ["visual", "audio", "text"], "missing": ["text"], "title": ["text"]}
    assert present(store) == expected
    failed = {"broken": "unreadable", "silent": "unreadable", "missing": "missing_file", "nothing": "invalid_row"}
    assert reasons(store) == failed
    again = run(films, store, ON)
    assert (again.unchanged, again.quarantined, again.text_fallback) == (6, 0, 0)
    assert present(store) == expected and reasons(store) == failed


def test_the_fallback_can_be_switched_on_and_off_later(films: Path, store: FeatureStore) -> None:
    run(films, store, OFF)
    report = run(films, store, ON)
    assert (report.unchanged, report.text_fallback) == (6, 2)
    assert present(store).keys() == {"broken", "good", "missing", "title"}
    run(films, store, OFF)
    assert present(store).keys() == {"good", "title"}


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_a_video_that_can_be_read_later_replaces_its_text(
    films: Path, store: FeatureStore, film: Callable[..., Path], name: str
) -> None:
    run(films, store, ON)
    film(f"{name}.mp4", frames=4)
    report = run(films, store, ON)
    assert report.extracted >= 1 and report.text_fallback == 0
    assert present(store)[name] == ["visual", "audio", "text"] and name not in reasons(store)
    rows = store.read(["video_id", "uri"])
    assert rows["video_id"].to_pylist().count(name) == 1
    assert rows.to_pylist()[rows["video_id"].to_pylist().index(name)]["uri"] == str(films / f"{name}.mp4")


def test_a_failed_video_is_retried_although_its_text_is_indexed(films: Path, store: FeatureStore) -> None:
    run(films, store, ON)
    report = run(films, store, ON, retry=True)
    assert report.reasons == Counter(unreadable=2) and report.text_fallback == 0
    assert present(store)["broken"] == ["text"]


def test_quarantined_videos_are_tried_again_with_the_columns_of_their_catalog(
    films: Path, store: FeatureStore, film: Callable[..., Path]
) -> None:
    run(films, store, OFF)
    waiting = quarantined_catalog(store)
    assert {video.video_id: video.title for video in waiting.videos} == {
        "broken": "torn",
        "missing": "gone",
        "silent": "",
    }, "the invalid row cannot be tried again"
    assert [video.video_id for video in quarantined_catalog(store, ["missing", "good"]).videos] == ["missing"]
    film("missing.mp4", frames=4)
    pipeline = PipelineHere(ENCODERS, Limits(), OFF, films)
    report = extract(waiting, store, pipeline, retry_quarantined=True, adding=True)
    assert (report.extracted, report.reasons) == (1, Counter(unreadable=2))
    decoded = ["visual", "audio", "text"]
    assert present(store) == {"good": decoded, "missing": decoded, "title": ["text"]}
    assert reasons(store) == {"broken": "unreadable", "silent": "unreadable", "nothing": "invalid_row"}


def test_a_duplicate_and_a_forbidden_address_are_not_tried_again(films: Path, store: FeatureStore) -> None:
    (films / "catalog.csv").write_text("video_id,uri,title\ngood,good.mp4,a\ngood,good.mp4,b\nno,no.mp4,c\n")
    limits = Limits(allowed_roots=(films / "elsewhere",))
    catalog = read_catalog(films / "catalog.csv", limits)
    extract(catalog, store, PipelineHere(ENCODERS, limits, OFF, films))
    assert set(reasons(store).values()) >= {"path_not_allowed"} and not quarantined_catalog(store).videos


def test_quarantine_from_before_its_rows_had_titles_is_shown_and_not_tried_again(store: FeatureStore) -> None:
    store.set_catalog([("old", "1")])
    row = quarantine_row("old", "/old.mp4", "1", "decode", Reason.UNREADABLE, "cut short")
    store.write_part(store.quarantine, pa.Table.from_pylist([row]))
    assert reasons(store) == {"old": "unreadable"} and not quarantined_catalog(store).videos


def test_a_duplicate_id_does_not_index_the_text_of_a_good_video(films: Path, store: FeatureStore) -> None:
    (films / "catalog.csv").write_text("video_id,uri,title\ngood,good.mp4,a\ngood,good.mp4,b\n")
    report = run(films, store, ON)
    assert (report.extracted, report.text_fallback, report.reasons) == (1, 0, Counter(duplicate_id=1))
    assert present(store) == {"good": ["visual", "audio", "text"]}


def test_a_catalog_of_failures_is_usable_only_with_the_fallback(films: Path, store: FeatureStore) -> None:
    (films / "catalog.csv").write_text("video_id,uri,title\nbroken,broken.mp4,torn\n")
    assert run(films, store, OFF).nothing_usable
    (films / "catalog.csv").write_text("video_id,uri,title\nmissing,missing.mp4,gone\n")
    assert not run(films, store, ON).nothing_usable


def test_a_release_has_text_alone_as_an_item_without_a_video(films: Path, store: FeatureStore) -> None:
    run(films, store, ON)
    rows = embed_table(VideoTower(TowerConfig(dim=16), KEY.dims), store.read())
    assert {row.video_id: row.has_video for row in videos(rows)} == {
        "broken": False,
        "good": True,
        "missing": False,
        "title": False,
    }
    whole_ND, (text_ND, present_N) = np.array(rows["embedding"].to_pylist()), part_embeddings(rows, Modality.TEXT)
    np.testing.assert_allclose(whole_ND[[0, 2, 3]], text_ND[[0, 2, 3]], atol=2e-3)
    assert present_N.all() and not part_embeddings(rows, Modality.VISUAL)[1][[0, 2, 3]].any()
    sighted = embed_table(VideoTower(TowerConfig(dim=16, modalities=(Modality.VISUAL,)), KEY.dims), store.read())
    assert len(FeatureMatrix.from_table(store.read())) == 4 and sighted["video_id"].to_pylist() in ([], ["good"])


class Letters:
    """A text encoder whose vectors are counts of the letters a to d."""

    identity, dim = "letters", 4

    def encode(self, texts: list[str], *, query: bool = False) -> np.ndarray:
        del query
        return np.array([[text.count(letter) for letter in "abcd"] for text in texts], np.float32).reshape(-1, 4)

    def knows(self, word: str) -> bool:
        return bool(word)


def test_weights_give_one_vector_of_the_fields_that_a_video_has() -> None:
    rows = feature_table(
        feature_row("all", title="aaaa", description="bbbb", tags=["cc", "cc"], transcript="dddd"),
        feature_row("title", title="aaaa"),
        feature_row("described", title="", summary="dd", topics=["d"], rewritten_title="d"),
        feature_row("nothing", title=""),
    )
    weights = TextWeights(title=2, description=0, tags=1, transcript=1, summary=0.5)
    vectors, counts = text_vectors(Letters(), rows, weights)
    assert counts == [1, 1, 1, 0]
    np.testing.assert_allclose(vectors, [[2, 0, 1, 1], [4, 0, 0, 0], [0, 0, 0, 4]])
    unweighted, counts = text_vectors(Letters(), rows)
    assert counts == [2, 1, 0, 0] and unweighted[1].tolist() == [0, 0, 0, 4]


def test_a_long_text_counts_as_much_as_its_field() -> None:
    long = " ".join(["b" * 20 + "."] * 100)
    (vector,), _ = text_vectors(Letters(), feature_table(feature_row("x", title="a", transcript=long)), TextWeights())
    once, _ = text_vectors(Letters(), feature_table(feature_row("x", title="", transcript=long)))
    np.testing.assert_allclose(vector, (np.array([1, 0, 0, 0]) + once[0]) / 2, rtol=1e-6)


def test_weights_are_part_of_the_encoder_key_and_can_be_read_from_it() -> None:
    weights = TextWeights(title=1, transcript=0.25, summary=1 / 3)
    weighted = ENCODERS.model_copy(update={"text_weights": weights})
    named = encoder_identities(weighted, Path("unused"))
    assert weights_in(named[Modality.TEXT]) == weights and weights_in(KEY.identities[Modality.TEXT]) is None
    assert {m for m in Modality if named[m] != KEY.identities[m]} == {Modality.TEXT}
    words = EncodersConfig(preset="words", text_weights=weights)
    assert weights_in(encoder_identities(words, Path("unused"))[Modality.TEXT]) == weights
    with pytest.raises(ValueError, match="positive"):
        TextWeights(title=0, description=0, tags=0, transcript=0)


def test_a_video_that_is_added_later_gets_the_same_weighted_text() -> None:
    video = CatalogVideo(video_id="x", title="a", description="bb. " * 200, tags=("c", "d d"))
    weights = TextWeights(title=2, description=0.5)
    expected, _ = text_vectors(Letters(), todo_rows([video], ["1"]), weights)
    parts = parts_of(written_fields(video), weights)
    np.testing.assert_array_equal(means_of(Letters().encode([text for _, text in parts]), [parts]), expected)
