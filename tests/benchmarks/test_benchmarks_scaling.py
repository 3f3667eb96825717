import math
from collections.abc import Callable

import numpy as np
import pytest
from simpy import Environment, Event

from benchmarks.scaling.cluster import ClusterConfig
from benchmarks.scaling.costs import Costs, Overhead
from benchmarks.scaling.simulate import cut, simulate
from benchmarks.scaling.simulated import Simulated
from benchmarks.scaling.station import NodeLost, Station
from benchmarks.scaling.sweep import Load, grown, sweep, with_room

PLENTY = 10_000


def equal(decode_s: float, encode_s: float, videos: int = 4, overhead: Overhead | None = None) -> Costs:
    """Blocks that all cost the same."""
    return Costs(videos, np.array([decode_s]), np.array([encode_s]), np.zeros(1), overhead or Overhead())


def uneven(overhead: Overhead | None = None) -> Costs:
    rng = np.random.default_rng(7)
    decode, encode = rng.gamma(2, 0.5, 100), rng.gamma(4, 0.1, 100)
    return Costs(4, decode, encode, np.full(100, 0.01), overhead or Overhead(0.002, 0.01))


def on_gpu(**given: object) -> ClusterConfig:
    """One core that decodes and one GPU that encodes."""
    one = {"cores": 1, "decode_slots": 1, "encoders": 0, "gpus": 1, "blocks_in_flight": PLENTY, "warm_nodes": PLENTY}
    return ClusterConfig.model_validate(one | given)


def rough(**given: object) -> ClusterConfig:
    """A cluster on which everything goes wrong."""
    wrong: dict[str, float] = {"nodes": 6, "cores": 2, "decode_slots": 3, "encoders": 1, "blocks_in_flight": 20}
    wrong |= {"start_s": 1, "autoscale_s": 5, "mtbf_h": 20 / 3600, "replace_s": 4, "straggling": 0.1, "slower": 5}
    return ClusterConfig.model_validate(wrong | given)


# A station


def test_a_lone_task_gets_one_core_however_many_there_are() -> None:
    env = Environment()
    env.run(until=Station(env, cores=8).work(3))
    assert env.now == 3


def test_tasks_share_the_cores_evenly_and_those_that_stay_get_more_when_one_ends() -> None:
    env = Environment()
    station = Station(env, cores=1)
    ended: dict[float, float] = {}

    def note(work: float) -> Callable[[Event], None]:
        return lambda _: ended.update({work: env.now})

    for work in (1, 2, 3):
        station.work(work).callbacks.append(note(work))
    env.run()
    assert ended == pytest.approx({1: 3, 2: 5, 3: 6})


def test_a_task_that_comes_later_slows_the_others_from_then_on() -> None:
    env = Environment()
    station = Station(env, cores=1)
    ended: dict[str, float] = {}
    station.work(2).callbacks.append(lambda _: ended.update(first=env.now))
    env.run(until=1)
    station.work(2).callbacks.append(lambda _: ended.update(second=env.now))
    env.run()
    assert ended == pytest.approx({"first": 3, "second": 4})


def test_a_lost_node_fails_what_runs_there_and_what_comes() -> None:
    env = Environment()
    station = Station(env, cores=1)
    running = station.work(2)
    station.lose()
    for event in (running, station.work(1)):
        with pytest.raises(NodeLost):
            env.run(until=event)


# Conservation


@pytest.mark.parametrize("seed", range(5))
def test_every_video_ends_once_whatever_is_lost(seed: int) -> None:
    found = simulate(rough(), uneven(), cut(1003, 4), seed)
    assert found.lost_nodes > 3 and found.redone_s > 0
    assert set(found.ended) == {1}
    assert found.throughput.videos == found.videos == 1003


def test_every_video_ends_once_where_gpus_are_lost() -> None:
    found = simulate(rough(encoders=0, gpus=3, blocks_in_flight=5), uneven(), cut(1003, 4), seed=3)
    assert found.lost_nodes > 3 and set(found.ended) == {1}


def test_every_video_ends_once_where_the_driver_works_on_nodes_that_are_lost() -> None:
    found = simulate(rough(shared_driver=True), uneven(Overhead(0.05, 0.05)), cut(1003, 4), seed=1)
    assert found.lost_nodes > 3 and set(found.ended) == {1}


def test_blocks_are_even_and_add_up() -> None:
    sizes = cut(1003, 32)
    assert sum(sizes) == 1003 and len(sizes) == 32 and set(sizes) == {31, 32}


# Known in closed form


@pytest.mark.parametrize("nodes", [1, 3, 40])
def test_without_overhead_and_in_perfect_balance_efficiency_is_one(nodes: int) -> None:
    """As many blocks as slots, all alike: every core decodes, then every core encodes."""
    cluster = ClusterConfig(nodes=nodes, cores=4, decode_slots=4, encoders=4, blocks_in_flight=PLENTY, warm_nodes=nodes)
    found = simulate(cluster, equal(3, 1), cut(4 * nodes * 4, 4))
    assert found.seconds == pytest.approx(4)
    assert found.efficiency == pytest.approx(1)


def test_where_decoding_limits_it_is_decoding_that_takes_the_time() -> None:
    found = simulate(on_gpu(), equal(2, 0.5), cut(400, 4))
    assert found.seconds == pytest.approx(100 * 2 + 0.5)  # the last block is encoded after all are decoded
    assert found.limit == "decode" and found.efficiency == pytest.approx(200 / 200.5)


def test_where_encoding_limits_it_is_encoding_that_takes_the_time() -> None:
    found = simulate(on_gpu(blocks_in_flight=5), equal(0.5, 2), cut(400, 4))
    assert found.seconds == pytest.approx(0.5 + 100 * 2)  # the first block is decoded before any is encoded
    assert found.limit == "encode" and found.efficiency == pytest.approx(200 / 200.5)


def test_a_driver_of_its_own_lets_no_more_blocks_through_than_it_can_start() -> None:
    found = simulate(on_gpu(nodes=50, gpus=50), equal(1, 0.5, overhead=Overhead(driver_s=0.25)), cut(4 * 400, 4))
    assert found.seconds == pytest.approx(400 * 0.25 + 1.5)
    assert found.limit == "driver"


def test_a_shared_driver_takes_its_time_from_the_nodes() -> None:
    costs = equal(1, 0.1, overhead=Overhead(driver_s=0.25))
    own, shared = (simulate(on_gpu(shared_driver=shared), costs, cut(400, 4)).seconds for shared in (False, True))
    assert (own, shared) == pytest.approx((100 * 1.25 + 0.1, 100 * 1.25 + 0.1))


def test_overhead_on_the_nodes_costs_its_core_time() -> None:
    found = simulate(on_gpu(), equal(2, 0.5, overhead=Overhead(node_s=0.5)), cut(400, 4))
    assert found.seconds == pytest.approx(100 * 2.5 + 0.5)


def test_one_block_in_flight_undoes_the_overlap_of_the_stages() -> None:
    found = simulate(on_gpu(blocks_in_flight=1), equal(2, 1), cut(400, 4))
    assert found.seconds == pytest.approx(100 * 3) and found.limit == "blocks in flight"


@pytest.mark.parametrize("delay", [0.0, 30.0, 500.0])
def test_waiting_for_all_nodes_costs_exactly_the_wait(delay: float) -> None:
    at_once = simulate(rough(mtbf_h=math.inf, autoscale_s=0), uneven(), cut(400, 4), seed=2)
    later = simulate(rough(mtbf_h=math.inf, autoscale_s=delay, warm_nodes=0), uneven(), cut(400, 4), seed=2)
    assert later.seconds == pytest.approx(at_once.seconds + delay)


def test_half_of_the_nodes_later_cost_half_of_the_wait() -> None:
    two = on_gpu(nodes=2, gpus=2, autoscale_s=100, warm_nodes=1)
    found = simulate(two, equal(1, 0.001), cut(4 * 1000, 4))
    assert found.seconds == pytest.approx((1000 + 100) / 2, abs=1.1)


def test_the_load_time_of_encoders_is_hidden_by_decoding_ahead_as_far_as_there_is_room() -> None:
    alone = simulate(on_gpu(start_s=50, blocks_in_flight=1), equal(1, 1), cut(400, 4))
    ahead = simulate(on_gpu(start_s=50), equal(1, 1), cut(400, 4))
    assert alone.seconds == pytest.approx(50 + 100 * 2 - 1)
    assert ahead.seconds == pytest.approx(50 + 100)


def test_stragglers_cost_what_they_add() -> None:
    calm, slow = (simulate(on_gpu(straggling=s, slower=4), equal(1, 0.01), cut(400, 4)) for s in (0, 1))
    assert slow.seconds == pytest.approx(4 * calm.seconds, rel=0.01)
    assert slow.efficiency == pytest.approx(calm.efficiency / 4, rel=0.01)


def test_a_gpu_that_is_twice_as_fast_encodes_in_half_the_time() -> None:
    slow, fast = (simulate(on_gpu(gpu_speed=speed), equal(0.01, 2), cut(400, 4)) for speed in (1, 2))
    assert fast.seconds == pytest.approx(slow.seconds / 2, rel=0.01)


def test_throughput_is_counted_as_in_a_real_run() -> None:
    found = simulate(on_gpu(), equal(2, 0.5), cut(400, 4))
    assert found.throughput.videos_per_s == pytest.approx(2.0)
    assert found.throughput.limit == "decode"


# Chance


def run(seed: int) -> tuple[float, float, int]:
    found = simulate(rough(), uneven(), cut(800, 4), seed)
    return found.seconds, found.redone_s, found.lost_nodes


def test_one_seed_one_run() -> None:
    assert run(3) == run(3)
    assert run(3) != run(4)


def test_drawn_blocks_cost_what_measured_ones_do() -> None:
    costs = uneven()
    for videos in (4, 32, 6, 1):
        decode, encode, store = costs.draw(20_000, videos, np.random.default_rng(0))
        for drawn, measured in ((decode, costs.decode_s), (encode, costs.encode_s), (store, costs.store_s)):
            assert drawn.mean() == pytest.approx(measured.mean() * videos / 4, rel=0.03)


def test_larger_blocks_vary_less_as_sums_do() -> None:
    small, large = (uneven().draw(20_000, videos, np.random.default_rng(0))[0] for videos in (4, 64))
    assert large.std() / large.mean() == pytest.approx(small.std() / small.mean() / 4, rel=0.05)


# More of it


def seconds(**given: object) -> float:
    """Mean time over some seeds: with losses and stragglers single runs have luck."""
    return float(np.mean([simulate(rough(**given), uneven(), cut(1200, 4), seed).seconds for seed in range(4)]))


@pytest.mark.parametrize(
    ("name", "better_first"),
    [
        ("nodes", [24, 12, 6, 3]),
        ("blocks_in_flight", [40, 10, 4, 1]),
        ("mtbf_h", [math.inf, 100 / 3600, 12 / 3600]),
        ("autoscale_s", [0, 20, 80]),
        ("straggling", [0, 0.2, 0.8]),
        ("start_s", [0, 10, 40]),
    ],
)
def test_more_trouble_never_makes_it_faster(name: str, better_first: list[float]) -> None:
    times = [seconds(**{name: value}) for value in better_first]
    assert times == sorted(times) and times[0] < times[-1]


def test_more_overhead_never_makes_it_faster() -> None:
    times = [simulate(rough(), uneven(Overhead(s, s)), cut(1200, 4)).seconds for s in (0, 0.02, 0.2)]
    assert times == sorted(times)


# Over sizes


@pytest.fixture(scope="module")
def sizes() -> list[tuple[Simulated, Simulated, Simulated]]:
    one = ClusterConfig(cores=4, decode_slots=4, encoders=2, blocks_in_flight=8, start_s=2, autoscale_s=10)
    found = sweep(one, uneven(), Load(fixed=4000, per_node=1000, videos_per_block=8), [1, 4, 16])
    return [(size.bounded, size.roomy, size.fixed) for size in found]


def test_a_bound_strangles_many_nodes_unless_it_grows_with_them() -> None:
    one = ClusterConfig(cores=4, decode_slots=4, encoders=2, blocks_in_flight=8, start_s=0)
    growing = grown(one, 16).model_copy(update={"warm_nodes": 16})
    fixed = growing.model_copy(update={"blocks_in_flight": 8})
    strangled, free = (simulate(cluster, uneven(), cut(16_000, 8), seed=0) for cluster in (fixed, growing))
    assert strangled.limit == "blocks in flight" != free.limit
    assert free.efficiency > 2 * strangled.efficiency


def test_the_same_work_on_more_nodes_is_done_sooner_and_less_efficiently(
    sizes: list[tuple[Simulated, Simulated, Simulated]],
) -> None:
    fixed = [fixed for _, _, fixed in sizes]
    assert fixed[0].seconds > fixed[1].seconds > fixed[2].seconds
    assert fixed[0].efficiency > fixed[1].efficiency > fixed[2].efficiency
    assert {run.videos for run in fixed} == {4000}


def test_gpus_grow_with_the_nodes_and_room_with_slots_and_actors() -> None:
    cluster = grown(on_gpu(gpus=2, decode_slots=5, blocks_in_flight=8), 10)
    assert (cluster.nodes, cluster.gpus, cluster.blocks_in_flight) == (10, 20, 80)
    assert with_room(cluster).blocks_in_flight == 10 * 5 + 2 * 20
