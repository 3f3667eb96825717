"""Features of several encoders for a comparison: decoded together, kept apart, and continued after a kill."""

from pathlib import Path

import numpy as np
import pytest

from films import write_film
from own_encoder import SMALL, write_untrained
from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import named_encoders
from rayreel.features.comparing import Compared, extract_compared, sample_of
from rayreel.features.cost import read_cost
from rayreel.features.matrix import FeatureMatrix
from rayreel.media.config import Limits, SamplingConfig
from rayreel.storage import Storage


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("films")
    for n in range(3):
        write_film(folder / f"{n}.mp4", frames=30, size=(64, 48), first=10 * n)
    (folder / "3.mp4").write_bytes(b"no video")
    return Catalog("films", [CatalogVideo(video_id=f"v{n}", uri=str(folder / f"{n}.mp4")) for n in range(4)])


def compared(root: Path) -> list[Compared]:
    storage, cache = Storage(root), root / "weights"
    if not (root / "encoders").exists():
        write_untrained(storage, "moves")
    config = EncodersConfig(storage=str(root), device="cpu", runtime="torch", threads=1)
    known = named_encoders("moves,log_mel", config, cache)
    sampling = SamplingConfig(frames=2, audio_windows=2, audio_window_s=0.5)
    return [Compared.of(one, config, cache, storage, sampling) for one in known]


def run(root: Path, catalog: Catalog) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    extract_compared(catalog, compared(root), Limits(), lambda done, todo: seen.append((done, todo)))
    return seen


def test_every_encoder_has_a_store_of_its_modality_and_a_measured_cost(catalog: Catalog, tmp_path: Path) -> None:
    assert run(tmp_path, catalog)[-1] == (8, 8)
    moves, log_mel = compared(tmp_path)
    frames, sound = (FeatureMatrix.from_table(one.store.read()).vectors for one in (moves, log_mel))
    assert frames[Modality.VISUAL].values.shape == (6, SMALL.channels[-1]) and not frames[Modality.AUDIO].counts.any()
    assert sound[Modality.AUDIO].counts.tolist() == [2, 2, 2] and not sound[Modality.VISUAL].counts.any()
    for one in (moves, log_mel):
        assert one.store.quarantined()["video_id"].to_pylist() == ["v3"]
        cost = read_cost(one.storage, one.name, "cpu")
        assert cost.videos == 3 and cost.ms_per_video == pytest.approx(1000 * cost.seconds / 3)
    assert moves.sampling.window == SMALL.window and log_mel.sampling.window == 1


def test_a_second_run_and_a_continued_one_encode_only_what_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    some = Catalog(catalog.source, catalog.videos[:2])
    run(tmp_path, some)
    before = [one.store.read().to_pylist() for one in compared(tmp_path)]
    assert run(tmp_path, some) == [(0, 0)], "nothing is decoded again"
    assert run(tmp_path, catalog)[-1] == (4, 4)
    for one, earlier in zip(compared(tmp_path), before, strict=True):
        assert one.store.read().to_pylist()[:2] == earlier
        assert read_cost(one.storage, one.name, "cpu").videos == 3


def test_the_stores_and_the_catalog_of_training_are_untouched(catalog: Catalog, tmp_path: Path) -> None:
    run(tmp_path, Catalog(catalog.source, catalog.videos[:1]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder-features", "encoders"]


def test_the_sample_of_a_smaller_limit_is_part_of_a_larger_one() -> None:
    catalog = Catalog("c", [CatalogVideo(video_id=f"v{n}", uri=f"/{n}.mp4") for n in range(100)])
    small, large = ([video.video_id for video in sample_of(catalog, limit).videos] for limit in (10, 30))
    assert small == large[:10] and sample_of(catalog, None) is catalog
    assert np.unique([int(name[1:]) // 25 for name in large]).tolist() == [0, 1, 2, 3], "from the whole catalog"
