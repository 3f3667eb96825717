import os
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.scaling.cluster import one_node
from benchmarks.scaling.costs import Costs
from benchmarks.scaling.local import Compared, TooFewCores, as_simulated, local_nodes
from benchmarks.scaling.measure import TooFewVideos, measure_costs
from benchmarks.scaling.processors import Moment, cores_given, cpu_s
from benchmarks.scaling.simulate import cut
from benchmarks.scaling.sweep import Load, sweep
from benchmarks.scaling.tables import compared_table, costs_table, sweep_table
from rayreel.encoders.encoder import Modality
from rayreel.features.config import ExtractConfig
from rayreel.features.key import EncoderKey
from rayreel.media.config import SamplingConfig
from rayreel.settings import Settings

COSTS = Costs(4, np.full(9, 0.2), np.full(9, 0.1), np.full(9, 0.01))


def moment(at: float, own: float, started: float, idle: dict[int, float]) -> Moment:
    return Moment(at, np.array([own, started]), idle)


def test_the_cpu_time_of_a_running_child_is_not_ones_own() -> None:
    before = cpu_s()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        deadline = time.monotonic() + 60
        while cpu_s()[1] - before[1] < 0.2 and time.monotonic() < deadline:
            time.sleep(0.05)
        own, started = cpu_s() - before
        child.kill()
    assert started >= 0.2 and own < started


def test_the_cpu_time_of_a_child_that_has_ended_stays() -> None:
    before = cpu_s()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert (cpu_s() - before)[1] >= 0.19


def test_cores_are_given_as_far_as_they_are_used_or_idle() -> None:
    before = moment(10, 1, 5, {0: 100, 1: 200})
    after = moment(20, 4, 9, {0: 102, 1: 203})
    assert cores_given(before, after, [0], with_driver=False) == pytest.approx((4 + 2) / 10)
    assert cores_given(before, after, [0, 1], with_driver=True) == pytest.approx((4 + 3 + 2 + 3) / 20)


def test_a_machine_of_ones_own_gives_its_cores_whole() -> None:
    assert cores_given(moment(0, 0, 0, {0: 0}), moment(10, 0, 9, {0: 1.2}), [0], with_driver=False) == 1


def test_a_moment_knows_every_core_that_may_be_used() -> None:
    assert os.sched_getaffinity(0) <= set(Moment.now().idle_s)


def test_more_nodes_than_cores_are_refused() -> None:
    with pytest.raises(TooFewCores, match="need 100000 cores"), local_nodes(100_000):
        raise AssertionError


def test_too_few_videos_to_measure_are_refused_with_what_is_needed() -> None:
    key = EncoderKey(identities={}, dims=dict.fromkeys(Modality, 8), frame_size=224, sampling=SamplingConfig())
    with pytest.raises(TooFewVideos, match="at least 16 videos"):
        measure_costs([], key, Settings().pipeline, loops=2, size=4)


def test_a_node_runs_what_the_pipeline_would_run_on_it() -> None:
    extract = ExtractConfig(cpus_per_decode=0.5, cpus_per_encoder=1)
    node = one_node(extract, cores=8, gpus=0, gpu_speed=1)
    assert (node.encoders, node.decode_slots, node.gpus) == (4, 8, 0)
    node = one_node(extract, cores=8, gpus=1, gpu_speed=20)
    assert (node.encoders, node.decode_slots, node.gpus) == (0, 16, 1)


def test_a_local_node_has_one_core_or_what_is_left_of_it() -> None:
    cluster = as_simulated(Settings().pipeline, 2, given=0.75)
    assert (cluster.nodes, cluster.cores, cluster.decode_slots, cluster.encoders) == (2, 0.75, 2, 1)


def test_tables_tell_efficiency_and_both_numbers_of_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    load = Load(fixed=400, per_node=100, videos_per_block=4)
    node = one_node(ExtractConfig(), cores=4, gpus=0, gpu_speed=1)
    table = sweep_table(sweep(node, COSTS, load, [1, 2]), load)
    assert list(table.columns[0].cells) == ["1", "2"]
    assert all(0 < float(str(cell)) <= 1 for cell in table.columns[1].cells)
    assert list(costs_table(COSTS, 32).columns[1].cells)[:2] == ["200.0 ms", "100.0 ms"]
    compared = compared_table([Compared(2, COSTS, 0.9, measured=20.0, predicted=(21.0, 23.0))])
    assert [next(iter(column.cells)) for column in compared.columns][-3:] == ["22.0 (21.0 to 23.0)", "20.0", "1.10"]
    assert sum(cut(100, 4)) == 100
