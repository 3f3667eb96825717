import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import Split, groups_of, named_test, split_groups, split_named

CONFIG = SplitConfig()
GROUPS = [f"file {n}" for n in range(2000)]


def sides(split: Split) -> dict[int, str]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {int(row): name for name, rows in parts.items() for row in rows}


def test_every_row_is_on_exactly_one_side() -> None:
    split = split_groups(GROUPS, CONFIG)
    joined = np.concatenate([split.train, split.validation, split.test])
    assert sorted(joined.tolist()) == list(range(len(GROUPS)))


def test_the_shares_match_the_configuration() -> None:
    split = split_groups(GROUPS, SplitConfig(validation=0.1, test=0.3))
    assert len(split.test) == pytest.approx(600, abs=80)
    assert len(split.validation) == pytest.approx(200, abs=50)


def test_a_group_is_on_one_side() -> None:
    groups = [f"group {n % 40}" for n in range(400)]
    side = sides(split_groups(groups, CONFIG))
    assert all(side[n] == side[n % 40] for n in range(400))
    assert set(side.values()) == {"train", "validation", "test"}


def test_adding_videos_moves_no_other_video() -> None:
    before = sides(split_groups(GROUPS[:500], CONFIG))
    after = sides(split_groups(GROUPS, CONFIG))
    assert {row: after[row] for row in before} == before


def test_the_split_depends_on_the_seed_only() -> None:
    again, other = split_groups(GROUPS, CONFIG), split_groups(GROUPS, SplitConfig(seed=1))
    assert sides(split_groups(GROUPS, CONFIG)) == sides(again) != sides(other)


def test_a_larger_test_share_only_takes_from_the_other_sides() -> None:
    small, large = split_groups(GROUPS, SplitConfig(test=0.1)), split_groups(GROUPS, SplitConfig(test=0.3))
    assert set(small.test) < set(large.test)


def test_nothing_is_held_out_with_shares_of_zero() -> None:
    split = split_groups(GROUPS, SplitConfig(validation=0, test=0))
    assert len(split.train) == len(GROUPS)


def test_videos_of_one_source_are_one_group_and_others_are_separate() -> None:
    matrix = feature_matrix(
        feature_row("a", extra={"source": "x"}),
        feature_row("b", extra={"source": "x"}),
        feature_row("c", extra={"source": ""}),
        feature_row("d", extra={"source": None}),
        feature_row("e"),
        feature_row("f", extra={"source": 0}),
        feature_row("g", extra={"source": 0}),
    )
    groups = groups_of(matrix, CONFIG)
    assert groups[0] == groups[1]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 5


def test_copies_of_one_file_are_one_group() -> None:
    matrix = feature_matrix(feature_row("a", content_hash="same"), feature_row("b", content_hash="same"))
    assert len(set(groups_of(matrix, CONFIG))) == 1


def test_items_without_a_file_are_separate_groups() -> None:
    texts = [feature_row(name, frames=0, windows=0, content_hash=None, uri="") for name in "abc"]
    groups = groups_of(feature_matrix(*texts, feature_row("d")), CONFIG).to_pylist()
    assert len(set(groups)) == 4 and None not in groups


def test_a_source_named_like_a_file_hash_is_not_that_file() -> None:
    matrix = feature_matrix(feature_row("a", extra={"source": "sha-b"}), feature_row("b"))
    assert len(set(groups_of(matrix, CONFIG))) == 2


def test_videos_can_be_grouped_by_a_catalog_column() -> None:
    rows = [feature_row("a", title="t"), feature_row("b", title="t"), feature_row("c", title="u")]
    first, second, third = groups_of(feature_matrix(*rows), SplitConfig(group_by="title")).to_pylist()
    assert first == second != third


def test_sources_that_share_a_file_are_one_group() -> None:
    rows = [
        feature_row("a", extra={"source": "x"}, content_hash="one"),
        feature_row("b", extra={"source": "y"}, content_hash="one"),
        feature_row("c", extra={"source": "y"}, content_hash="two"),
        feature_row("d", content_hash="two"),
        feature_row("e", extra={"source": "z"}),
    ]
    first, second, third, fourth, other = groups_of(feature_matrix(*rows), CONFIG).to_pylist()
    assert first == second == third == fourth == "group y" != other


def test_no_source_or_file_is_on_two_sides_with_random_duplicates() -> None:
    rng = np.random.default_rng(0)
    sources, files = rng.integers(0, 60, 300), rng.integers(0, 250, 300)
    rows = [
        feature_row(f"v{n}", extra={"source": str(s)} if s < 50 else {}, content_hash=f"f{f}")
        for n, (s, f) in enumerate(zip(sources, files, strict=True))
    ]
    side = sides(split_groups(groups_of(feature_matrix(*rows), CONFIG), SplitConfig(validation=0.3, test=0.3)))
    for kinds, known in ((sources, sources < 50), (files, files >= 0)):
        for kind in np.unique(kinds[known]):
            assert len({side[int(row)] for row in np.flatnonzero((kinds == kind) & known)}) == 1
    assert set(side.values()) == {"train", "validation", "test"}


def test_the_videos_that_the_catalog_names_are_the_test_part() -> None:
    rows = [
        feature_row(f"v{n}", extra={"source": f"s{n // 2}", "split": "test" if n < 20 else "train"}) for n in range(120)
    ]
    matrix = feature_matrix(*rows)
    split = split_named(groups_of(matrix, CONFIG), named_test(matrix), CONFIG)
    assert split.test.tolist() == list(range(20))
    assert len(split.train) + len(split.validation) == 100 and len(split.validation)
    assert not {row // 2 for row in split.train} & {row // 2 for row in split.validation}


@pytest.mark.parametrize("extra", [{}, {"split": "train"}, {"split": ""}, {"note": '"split"'}])
def test_without_named_test_videos_the_split_is_by_group(extra: dict[str, str]) -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", extra=extra) for n in range(50)))
    groups = groups_of(matrix, CONFIG)
    assert sides(split_named(groups, named_test(matrix), CONFIG)) == sides(split_groups(groups, CONFIG))
