"""The map of a release: positions, colourings, page and picture."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from live_case import Release, at
from rayreel.encoders.encoder import Modality
from rayreel.recommendation.config import Layout
from rayreel.recommendation.layout import LayoutUnavailable, lay_out
from rayreel.recommendation.map import VideoMap, map_of
from rayreel.recommendation.map_page import page, picture
from rayreel.release.rows import PART_COLUMNS
from release_rows import release_row

KINDS = {"sea": 0.0, "sky": 120.0}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Ten videos of each of two kinds, far apart; a copy; one without a category and without sound."""
    videos = [
        release_row(f"{kind}{n}", embedding=at(degrees + 3 * n), category=kind, title=f"{kind} </script> {n}")
        for kind, degrees in KINDS.items()
        for n in range(10)
    ]
    videos.append(release_row("sea0 copy", embedding=at(0.1), category="sea", title="copy"))
    videos.append(release_row("odd", embedding=at(240), category="", title="odd", sound=False))
    return Release(tmp_path_factory.mktemp("map"), videos, neighbours=4)


@pytest.fixture(scope="module")
def made(release: Release) -> VideoMap:
    """The copy is in the test part, its original and all others in train; "odd" was added later."""
    parts = {row.video_id: "train" for row in release.live.page("", 100)} | {"sea0 copy": "test"}
    del parts["odd"]
    return map_of(release.live, Layout.PCA, lambda _: None, parts)


@pytest.mark.parametrize(("layout", "axes"), [(Layout.PCA, 2), (Layout.PCA, 3), (Layout.TSNE, 2)])
def test_videos_that_are_alike_lie_together(release: Release, layout: Layout, axes: int) -> None:
    made = map_of(release.live, layout, lambda _: None)
    places, kinds = (made.planes, made.solids)[axes - 2]["fused"], np.array(made.groups["category"])
    assert places.shape == (22, axes)
    assert np.abs(places).max() == pytest.approx(1)
    sea, sky = places[kinds == "sea"], places[kinds == "sky"]
    within = max(np.linalg.norm(group - group.mean(0), axis=1).mean() for group in (sea, sky))
    assert np.linalg.norm(sea.mean(0) - sky.mean(0)) > 2 * within


def test_the_same_release_gives_the_same_map(release: Release, made: VideoMap) -> None:
    np.testing.assert_array_equal(
        made.planes["fused"], map_of(release.live, Layout.PCA, lambda _: None).planes["fused"]
    )


def marked(made: VideoMap, group: str) -> set[str]:
    return {i for i, kind in zip(made.ids, made.groups[group], strict=True) if kind == "yes"}


def test_copies_stand_out_and_those_on_another_side_of_the_split_are_leaks(made: VideoMap) -> None:
    near = marked(made, "near-duplicate")
    assert {"sea0", "sea0 copy"} <= near and "odd" not in near
    copies = dict(zip(made.ids, made.copies, strict=True))
    assert copies["sea0 copy"] == "sea0" and copies["odd"] == ""
    assert {"sea0", "sea0 copy"} <= marked(made, "leak between splits")
    assert not any(name.startswith(("sky", "odd")) for name in marked(made, "leak between splits"))
    assert dict(zip(made.ids, made.groups["split"], strict=True))["odd"] == "added later"


def test_without_a_split_there_are_no_leaks_to_show(release: Release) -> None:
    assert set(map_of(release.live, Layout.PCA, lambda _: None).groups) == {"category", "cluster", "near-duplicate"}


def test_each_video_has_the_ndcg_of_its_own_query(made: VideoMap) -> None:
    found = dict(zip(made.ids, made.ndcg.tolist(), strict=True))
    assert found["sky5"] > 0.9 and np.isnan(found["odd"])  # no other video has the category of "odd"


def test_a_video_without_a_modality_is_absent_from_its_space_only(made: VideoMap) -> None:
    place = made.ids.index("odd")
    assert (
        PART_COLUMNS[Modality.AUDIO]
        and np.isnan(made.planes["audio"][place]).all()
        and np.isnan(made.solids["audio"][place]).all()
    )
    assert not np.isnan(made.planes["fused"][place]).any()


def test_the_page_is_whole_and_titles_cannot_end_its_script(made: VideoMap) -> None:
    html = page(made)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert data["ids"].split("\n") == made.ids
    assert data["titles"].split("\n")[made.ids.index("sea1")] == "sea </script> 1"
    codes = np.frombuffer(base64.b64decode(data["groups"]["category"]["of"]), "<u4")
    assert [data["groups"]["category"]["names"][code] for code in codes] == made.groups["category"]
    x_N, y_N = (np.frombuffer(base64.b64decode(axis), "<f4") for axis in data["spaces"]["2-D"]["audio"])
    np.testing.assert_array_equal(np.stack([x_N, y_N], axis=1), made.planes["audio"])
    own = html.replace(get_plotlyjs(), "")
    assert "{{" not in own and "http" not in own


def test_the_picture_is_a_png_with_points(made: VideoMap) -> None:
    image = Image.open(io.BytesIO(picture(made)))
    assert image.format == "PNG" and len(set(image.convert("RGB").getdata())) > 50


def test_too_few_videos_are_no_map() -> None:
    with pytest.raises(LayoutUnavailable, match="at least 4"):
        lay_out(np.eye(3, dtype=np.float32), Layout.PCA)
