import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_case import Release, at, explanation, pinned
from rayreel.encoders.encoder import Modality
from rayreel.recommendation.query import BadQuery, Options, unit, weighted_query
from rayreel.recommendation.recommend import by_id, by_id_fast, by_vector
from release_rows import DIM, release_row


def test_an_embedding_of_any_length_becomes_a_unit_query() -> None:
    for scale in (1e-5, 1.0, 1e6):
        np.testing.assert_allclose(unit((scale * at(30)).tolist(), DIM), at(30), atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [[1.0] * (DIM - 1), [0.0] * DIM, [float("nan")] * DIM, [float("inf"), *[0.0] * 7], [[1.0]]]
)
def test_an_embedding_without_a_direction_is_rejected(wrong: list[float]) -> None:
    with pytest.raises(BadQuery, match="embedding"):
        unit(wrong, DIM)


def test_weights_mix_the_parts_that_are_present() -> None:
    parts = {Modality.VISUAL: at(0), Modality.TEXT: at(90)}
    mixed = weighted_query(parts, {Modality.VISUAL: 0.7, Modality.TEXT: 0.3, Modality.AUDIO: 5.0})
    expected = 0.7 * at(0) + 0.3 * at(90)
    np.testing.assert_allclose(mixed, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(weighted_query(parts, {Modality.TEXT: 0.01}), at(90), atol=1e-6)
    assert mixed.dtype == np.float32


def test_weights_that_leave_nothing_are_rejected() -> None:
    for parts in ({Modality.VISUAL: at(0)}, {}, {Modality.AUDIO: at(0), Modality.TEXT: at(180)}):
        with pytest.raises(BadQuery, match="weight"):
            weighted_query(parts, {Modality.AUDIO: 0.5, Modality.TEXT: 0.5})


def parted(name: str, degrees: float, visual: float, text: float | None) -> dict[str, Any]:
    part = None if text is None else at(text).astype(np.float16)
    return release_row(name, embedding=at(degrees), visual=at(visual).astype(np.float16), audio=None, text_part=part)


def test_weights_query_by_the_parts_of_a_video_instead_of_its_embedding(tmp_path: Path) -> None:
    rows = [parted("query", 45, 0, 90), parted("a", 10, 0, 0), parted("b", 80, 0, 0), parted("c", 45, 0, 0)]
    release = Release(tmp_path, rows, neighbours=3)
    weighted = {Modality.VISUAL: 1.0}, {Modality.TEXT: 1.0}, None
    answers = [by_id(pinned(release.live), "query", Options(1, weights=weights)) for weights in weighted]
    assert [answer.results[0].video_id for answer in answers] == ["a", "b", "c"]
    assert by_id_fast(release.live, "query", Options(weights=weighted[0])) is None


def test_an_explanation_compares_the_query_with_each_part_of_the_result(tmp_path: Path) -> None:
    release = Release(tmp_path, [parted("query", 30, 0, 60), parted("a", 40, 70, None)], neighbours=3)
    release.put(parted("b", 50, 20, 110))
    answer = by_id_fast(release.refresh(), "query", Options(explain=True))
    assert answer is not None
    why = {found.video_id: explanation(found) for found in answer.results}
    assert (why["a"].stage, why["b"].stage) == ("neighbours", "overlay")
    assert why["a"].modalities == pytest.approx({Modality.VISUAL: np.cos(np.deg2rad(40))}, abs=1e-3)
    turned = {Modality.VISUAL: np.cos(np.deg2rad(10)), Modality.TEXT: np.cos(np.deg2rad(80))}
    assert why["b"].modalities == pytest.approx(turned, abs=1e-3)
    found = by_vector(pinned(release.live), at(0), Options(explain=True)).results
    assert {explanation(result).stage for result in found} == {"index", "overlay"}


def test_results_have_metadata_and_no_explanation_by_default(tmp_path: Path) -> None:
    release = Release(tmp_path, [release_row("a"), release_row("b", tags=["x", "y"], extra={"views": 3})], neighbours=3)
    answer = by_id_fast(release.live, "a", Options())
    assert answer is not None
    assert answer.release == 1
    [found] = answer.results
    assert (found.title, found.category, found.tags, found.extra) == ("film b", "c", ("x", "y"), {"views": 3})
    assert found.explanation is None
    assert json.dumps(found.extra)
