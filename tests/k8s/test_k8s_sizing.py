"""The tables of SIZING.md, recomputed from its measured costs."""

import re
from typing import Any

import pytest

from k8s_manifests import ROOT, cluster_spec, of_kind, quantity, rendered
from rayreel.features.capacity import Capacity
from rayreel.features.config import ExtractConfig

TEXT = (ROOT / "k8s" / "SIZING.md").read_text()
COUNTS = {"1 M": 1e6, "100 M": 1e8, "1 G": 1e9}
KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12
CORE_S, FILE, DECODED, ROW, CORES = 0.1, 0.378 * MB, 1.5 * MB, 25 * KB, 256


def cells(label: str) -> list[float]:
    row = re.search(rf"^\| {re.escape(label)}[^|]*\|(.+)\|$", TEXT, re.MULTILINE)
    assert row is not None, label
    return [float(cell.replace(",", "")) for cell in row[1].split("|")]


def extraction(overlay: str) -> dict[str, Any]:
    jobs = of_kind(rendered(f"{overlay}/jobs"), "RayJob")
    return next(item for item in jobs if item["metadata"]["name"] == "extract")


PER_VIDEO = [
    ("core-hours", CORE_S / 3600),
    ("hours on 256 cores", CORE_S / 3600 / CORES),
    ("read from storage, TB", FILE / TB),
    ("feature store, TB", ROW / TB),
    ("release rows", (2 * KB + 3 * KB + 1 * KB) / TB),
    ("Milvus, dense HNSW + BM25", (2 + 0.14 + 0.4 + 1) * KB / GB),
    ("Milvus, int8 vectors", (0.5 + 0.14 + 0.4 + 1) * KB / GB),
    ("snapshot of a search replica", (2 + 3 + 2 + 1) * KB / GB),
]


@pytest.mark.parametrize(("label", "each"), PER_VIDEO)
def test_each_row_is_count_times_unit_cost(label: str, each: float) -> None:
    assert cells(label) == pytest.approx([count * each for count in COUNTS.values()], rel=0.08, abs=0.05)


@pytest.mark.parametrize("overlay", ["gpu", "production"])
def test_constant_rows_are_constant(overlay: str) -> None:
    block = re.search(r"extract\.videos_per_block=(\d+)", extraction(overlay)["spec"]["entrypoint"])
    assert block is not None
    pod = Capacity(ExtractConfig(videos_per_block=int(block[1])), [{"CPU": 8}], 0, 8)
    in_flight = pod.bytes_in_flight(int(int(block[1]) * DECODED))
    assert cells("decoded at any time") == pytest.approx([in_flight / GB] * 3, abs=0.05)
    assert cells("at, MB/s") == pytest.approx([CORES / CORE_S * FILE / MB] * 3, rel=0.01)


def test_costs_match_the_listed_prices() -> None:
    hours = 1e6 * CORE_S / 3600
    assert cells("extract once, on demand")[0] == pytest.approx(hours * 0.04, abs=0.06)
    assert cells("extract once, spot")[0] == pytest.approx(hours * 0.015, abs=0.06)
    assert cells("keep features and rows")[0] == pytest.approx((0.025 + 0.006) * 23, abs=0.06)
    assert cells("hold in Milvus")[0] == pytest.approx(3.5 * 4, abs=0.6)


def test_the_manifests_allow_extraction_256_cores() -> None:
    group = cluster_spec(extraction("production"))["workerGroupSpecs"][0]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert group["maxReplicas"] * quantity(limits["cpu"]) == CORES


def test_the_first_limit_is_the_training_nodes_disk() -> None:
    train = next(item for item in of_kind(rendered("gpu/jobs"), "RayJob") if item["metadata"]["name"] == "train")
    for group in cluster_spec(train)["workerGroupSpecs"]:
        volume = next(v for v in group["template"]["spec"]["volumes"] if v["name"] == "tmp")
        assert quantity(volume["emptyDir"]["sizeLimit"]) / ROW == pytest.approx(4e6, rel=0.1)
