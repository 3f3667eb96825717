"""The choice of keyframes and targets before decoding."""

import math

import pytest

from rayreel.media.config import SamplingConfig
from rayreel.media.plan import Group, ahead, choose, near_s, target_times


def test_targets_are_the_centres_of_equal_parts() -> None:
    assert target_times(SamplingConfig(frames=4), 8.0) == [1.0, 3.0, 5.0, 7.0]


@pytest.mark.parametrize(
    ("duration_s", "times_s"),
    [(9.0, [0.0, 2.5, 5.0, 7.5]), (7.5, [0.0, 2.5, 5.0]), (60.0, [0.0, 2.5, 5.0, 7.5]), (0.4, [0.0]), (0.0, [0.0])],
)
def test_at_a_fixed_interval_targets_are_its_multiples_up_to_the_cap(duration_s: float, times_s: list[float]) -> None:
    assert target_times(SamplingConfig(frames=4, frame_interval_s=2.5), duration_s) == times_s


def test_at_a_fixed_interval_the_duration_does_not_change_how_near_a_keyframe_is() -> None:
    sampling = SamplingConfig(frame_interval_s=0.4, mode="auto")
    assert near_s(sampling, 3600.0) == near_s(sampling, 1.0) == pytest.approx(0.3)


def test_exact_decodes_up_to_every_target_from_its_keyframe() -> None:
    chosen = choose([1.0, 3.0, 5.0, 7.0], [0.0, 3.0, 4.0], near_s=-1.0)
    assert chosen == {0: Group((1.0,)), 1: Group((3.0,)), 2: Group((5.0, 7.0))}


def test_keyframe_takes_the_nearest_one_on_either_side() -> None:
    chosen = choose([1.0, 3.0, 5.0, 7.0], [0.0, 1.8, 3.1, 6.9, 7.9], near_s=math.inf)
    assert {k: group for k, group in chosen.items() if group.keyframe} == chosen
    assert sorted(chosen) == [1, 2, 3]


def test_a_near_keyframe_replaces_a_target_and_a_far_target_is_decoded() -> None:
    chosen = choose([1.0, 3.0, 5.0, 7.0], [0.0, 3.2, 5.0], near_s=0.5)
    before = Group(keyframe=True, keyframe_too=True)
    assert chosen == {0: Group((0.5,), reach_s=1.0), 1: before, 2: Group((5.0, 6.5), reach_s=7.0)}


def test_targets_before_a_far_one_in_its_group_are_exact_at_no_cost() -> None:
    assert choose([1.0, 3.0, 5.0], [0.9], near_s=0.5) == {0: Group((1.0, 3.0, 4.5), reach_s=5.0)}


def test_the_last_target_of_a_group_is_never_moved_before_its_keyframe() -> None:
    assert choose([5.0], [0.0, 4.4], near_s=0.55) == {1: Group((4.45,), reach_s=5.0)}
    assert choose([5.0], [0.0, 4.0], near_s=0.9) == {1: Group((4.1,), reach_s=5.0)}


def test_a_keyframe_taken_for_a_later_target_reaches_up_to_it() -> None:
    assert choose([3.0], [0.0, 2.8], near_s=0.5) == {1: Group(keyframe=True, reach_s=3.0)}


def test_a_barred_target_takes_no_later_keyframe() -> None:
    times_s, keyframes_s = [1.0, 3.0, 5.0], [0.0, 3.4, 5.0]
    assert list(ahead(times_s, keyframes_s, near_s=0.5)) == [(1, 1)]
    chosen = choose(times_s, keyframes_s, near_s=0.5, barred_s=[3.0])
    assert chosen == {0: Group((1.0, 2.5), reach_s=3.0), 2: Group(keyframe=True, reach_s=5.0)}


def test_a_keyframe_hidden_by_an_edit_list_is_never_taken() -> None:
    assert choose([0.2, 0.6], [-0.1], near_s=math.inf) == {0: Group((0.2, 0.6))}


@pytest.mark.parametrize(("duration_s", "frames", "near"), [(8.0, 8, 0.75), (3600.0, 8, 1.0), (0.8, 8, 0.075)])
def test_a_keyframe_is_near_within_three_quarters_of_a_step_and_one_second(
    duration_s: float, frames: int, near: float
) -> None:
    assert near_s(SamplingConfig(frames=frames, mode="auto"), duration_s) == pytest.approx(near)


def test_the_default_is_auto_with_single_frames() -> None:
    assert (SamplingConfig().mode, SamplingConfig().window) == ("auto", 1)
