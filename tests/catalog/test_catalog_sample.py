from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.manifest import read_manifest
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.interactions import simulate_interactions, write_interactions
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.catalog.sample.themes import THEMES
from rayreel.catalog.video import CatalogVideo

CONFIG = SampleConfig()
CLIPS = plan_sample(CONFIG)
EASY = plan_sample(SampleConfig(clips=120, categories=12, easy=True))
LOOK_OF = {theme.look.backdrop: theme.name for theme in THEMES}


def views_of(table: pa.Table, column: str) -> dict[str, list[Any]]:
    """Return a column's values by user, in table order."""
    views: dict[str, list[Any]] = {}
    for row in table.to_pylist():
        views.setdefault(row["user_id"], []).append(row[column])
    return views


def favourites(categories: list[str]) -> tuple[int, float]:
    """Return how many categories make up 70% of the views, and the share of the three most watched ones."""
    counts = [count for _, count in Counter(categories).most_common()]
    needed = next(n for n in range(1, len(counts) + 1) if sum(counts[:n]) >= 0.7 * len(categories))
    return needed, sum(counts[:3]) / len(categories)


def test_the_plan_depends_only_on_the_seed() -> None:
    assert plan_sample(CONFIG) == CLIPS
    other = plan_sample(CONFIG.model_copy(update={"seed": 1}))
    assert all(a.look != b.look and a.seed != b.seed for a, b in zip(CLIPS, other, strict=True))


def test_a_larger_set_starts_with_the_smaller_one() -> None:
    assert plan_sample(SampleConfig(clips=30)) == CLIPS[:30]


def test_clips_are_distributed_evenly_over_the_categories() -> None:
    assert set(Counter(clip.category for clip in CLIPS).values()) == {20}
    assert {clip.category for clip in plan_sample(SampleConfig(clips=9, categories=3))} == {t.name for t in THEMES[:3]}


def test_ids_files_and_seeds_are_unique() -> None:
    for field in ("video_id", "file", "seed"):
        assert len({getattr(clip, field) for clip in CLIPS}) == len(CLIPS), field


def test_titles_of_an_easy_set_are_unique() -> None:
    assert len({clip.title for clip in EASY}) == len(EASY)


def test_lengths_stay_within_bounds_and_differ() -> None:
    lengths = {clip.seconds for clip in CLIPS}
    assert min(lengths) >= 2.0
    assert max(lengths) <= 3.0
    assert len(lengths) > 20


def test_frames_are_landscape_square_or_portrait_with_even_sides() -> None:
    sizes = {(clip.look.width, clip.look.height) for clip in CLIPS}
    assert {(w > h) - (w < h) for w, h in sizes} == {-1, 0, 1}
    assert all(w % 2 == 0 and h % 2 == 0 for w, h in sizes)


def test_no_title_contains_the_name_of_its_category() -> None:
    assert not [c.title for c in CLIPS if c.category.replace("_", " ") in c.title.lower()]


def test_titles_share_about_a_quarter_of_their_words_between_categories() -> None:
    stop = {"the", "a", "an", "of", "in", "on", "and", "at", "for", "from", "with", "to", "over", "by"}
    words = [(word.strip("(),:").lower(), clip.category) for clip in EASY for word in clip.title.split()]
    categories: dict[str, set[str]] = {}
    for word, category in words:
        categories.setdefault(word, set()).add(category)
    content = [word for word, _ in words if word not in stop]
    assert 0.2 <= sum(len(categories[word]) > 1 for word in content) / len(content) <= 0.4


def test_clips_of_a_category_in_an_easy_set_are_similar_but_never_identical() -> None:
    for theme in THEMES:
        clips = [clip for clip in EASY if clip.category == theme.name]
        assert {clip.look.backdrop for clip in clips} == {theme.look.backdrop}
        assert {clip.motion.kind for clip in clips} == {theme.motion.kind}
        assert len({clip.look.palette for clip in clips}) == len({clip.sound for clip in clips}) == len(clips)


def test_a_category_has_three_looks_and_shares_two_of_them() -> None:
    for theme in THEMES[: CONFIG.categories]:
        looks = Counter(LOOK_OF[clip.look.backdrop] for clip in CLIPS if clip.category == theme.name)
        assert set(looks) == {theme.name, *theme.also_like}
        assert looks[theme.name] <= 0.7 * looks.total()


def test_a_look_does_not_reveal_the_category() -> None:
    looks: dict[str, Counter[str]] = {}
    for clip in CLIPS:
        looks.setdefault(clip.look.backdrop, Counter())[clip.category] += 1
    assert sum(max(categories.values()) for categories in looks.values()) / len(CLIPS) < 0.7


def test_half_of_the_texts_say_nothing_about_the_category_and_some_titles_name_another() -> None:
    own = {theme.name: {*theme.words.subjects.lower().split("|")} for theme in THEMES}
    named = [
        {name for name, subjects in own.items() if any(s in clip.title.lower() for s in subjects)} for clip in CLIPS
    ]
    true = sum(clip.category in names for clip, names in zip(CLIPS, named, strict=True)) / len(CLIPS)
    other = sum(bool(names - {clip.category}) for clip, names in zip(CLIPS, named, strict=True)) / len(CLIPS)
    assert 0.4 <= true <= 0.6
    assert 0.1 <= other <= 0.3


def test_most_clips_have_the_sound_of_their_category_and_some_are_silent() -> None:
    silent = [clip for clip in CLIPS if not (clip.sound.band.level or clip.sound.grains.level)]
    assert 0.1 <= len(silent) / len(CLIPS) <= 0.3
    assert 0 < sum(not clip.sound.music.level for clip in silent) < len(silent)


def test_styles_cross_all_categories() -> None:
    assert len({(clip.category, clip.style) for clip in CLIPS}) == 4 * CONFIG.categories


def test_bounds_in_the_wrong_order_are_rejected_with_a_remedy() -> None:
    with pytest.raises(ValidationError, match="lower min_seconds or raise max_seconds"):
        SampleConfig(min_seconds=5)


def test_most_views_of_a_viewer_are_of_two_or_three_categories() -> None:
    category = {clip.video_id: clip.category for clip in CLIPS}
    seen = views_of(simulate_interactions(CLIPS, CONFIG), "video_id")
    taste = [favourites([category[video] for video in videos]) for videos in seen.values()]
    assert len(seen) == CONFIG.users
    assert sum(needed <= 3 for needed, _ in taste) >= 0.9 * len(taste)
    assert sum(share for _, share in taste) / len(taste) >= 0.8


def test_viewers_follow_a_style_through_all_categories() -> None:
    style = {clip.video_id: clip.style for clip in CLIPS}
    seen = views_of(simulate_interactions(CLIPS, CONFIG), "video_id").values()
    most = [Counter(style[video] for video in videos).most_common(1)[0][1] / len(videos) for videos in seen]
    assert sum(most) / len(most) >= 0.55


def test_few_clips_have_many_views() -> None:
    views = sorted(Counter(simulate_interactions(CLIPS, CONFIG)["video_id"].to_pylist()).values(), reverse=True)
    assert sum(views[: len(CLIPS) // 5]) >= 0.33 * sum(views)


def test_viewers_watch_their_categories_longer_and_rate_them_higher() -> None:
    clip_of = {clip.video_id: clip for clip in CLIPS}
    rows = simulate_interactions(CLIPS, CONFIG).to_pylist()
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["user_id"], Counter())[clip_of[row["video_id"]].category] += 1
    sides: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in rows:
        clip = clip_of[row["video_id"]]
        often = counts[row["user_id"]][clip.category] >= 3
        assert 1 <= row["rating"] <= 5
        assert 0 <= row["dwell_s"] <= clip.seconds + 0.01
        sides[often].append((row["rating"], row["dwell_s"] / clip.seconds))
    means = {often: [sum(column) / len(side) for column in zip(*side, strict=True)] for often, side in sides.items()}
    assert means[True][0] > means[False][0] + 0.8
    assert means[True][1] > means[False][1] + 0.2


def test_views_are_sorted_by_time_follow_all_uploads_and_never_repeat_a_clip() -> None:
    table = simulate_interactions(CLIPS, CONFIG)
    times = table["timestamp"].to_pylist()
    assert table.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert times == sorted(times)
    assert min(times) >= datetime(2026, 1, 1, tzinfo=UTC) > max(clip.created_at for clip in CLIPS)
    assert all(len(set(videos)) == len(videos) for videos in views_of(table, "video_id").values())
    assert 11 <= table.num_rows / CONFIG.users <= 14


def test_the_history_depends_only_on_the_seed() -> None:
    table = simulate_interactions(CLIPS, CONFIG)
    assert simulate_interactions(CLIPS, CONFIG).equals(table)
    assert not simulate_interactions(CLIPS, CONFIG.model_copy(update={"seed": 1})).equals(table)


def test_a_set_of_one_clip_still_has_viewers() -> None:
    config = SampleConfig(clips=1, users=3)
    assert simulate_interactions(plan_sample(config), config)["user_id"].unique().to_pylist()


def test_the_written_catalog_reads_back_as_planned(tmp_path: Path) -> None:
    rows = list(read_manifest(str(write_manifest(CLIPS, tmp_path))))
    assert len(rows) == len(CLIPS)
    for row, clip in zip(rows, CLIPS, strict=True):
        assert isinstance(row, CatalogVideo)
        assert row.uri == str(tmp_path / clip.file)
        for field in ("video_id", "title", "description", "category", "tags", "created_at"):
            assert getattr(row, field) == getattr(clip, field)


def test_the_history_reads_back_as_simulated(tmp_path: Path) -> None:
    table = simulate_interactions(CLIPS, CONFIG)
    assert read_interactions(write_interactions(table, tmp_path)).select(table.column_names).equals(table)
