"""Dashboards and alerts: metrics, labels and layout."""

import json
import re
from pathlib import Path

import pytest
import ray.dashboard.modules.metrics.dashboards as ray_dashboards

from k8s_manifests import ROOT, of_kind, rendered

NAME = re.compile(r"\b(?:ray|milvus)_[a-z0-9_]+\b")
LABELS = {"ray_io_cluster", "ray_io_group", "ray_train_run_name"}
# Exported by Milvus 2.6: pkg/metrics/proxy_metrics.go, querynode_metrics.go.
MILVUS = {
    "milvus_proxy_sq_latency_bucket",
    "milvus_proxy_search_vectors_count",
    "milvus_proxy_insert_vectors_count",
    "milvus_querynode_entity_num",
}
BOARDS = ["extraction", "index", "serving", "training"]


def ours() -> set[str]:
    """Return the service's metrics as Prometheus names them: `ray_…`, counters `…_total`, histograms `…_bucket`."""
    endings = {"Counter": "_total", "Gauge": "", "Histogram": "_bucket"}
    source = "".join(path.read_text() for path in (ROOT / "serve_apps").rglob("*.py"))
    return {f"ray_{name}{endings[kind]}" for kind, name in re.findall(r'(Counter|Gauge|Histogram)\(\s*"(\w+)"', source)}


def of_ray() -> set[str]:
    """Return the metrics of Ray's own dashboards."""
    folder = Path(ray_dashboards.__path__[0])
    return {name for path in folder.glob("*.py") for name in NAME.findall(path.read_text())}


def board(name: str) -> dict[str, object]:
    config = next(
        item
        for item in of_kind(rendered("production"), "ConfigMap")
        if item["metadata"]["name"] == "rayreel-dashboards"
    )
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    found: dict[str, object] = json.loads(config["data"][f"{name}.json"])
    return found


def expressions(tree: object) -> list[str]:
    if isinstance(tree, dict):
        here = [tree["expr"]] if "expr" in tree else []
        return here + [text for value in tree.values() for text in expressions(value)]
    return [text for value in tree for text in expressions(value)] if isinstance(tree, list) else []


def unknown(texts: list[str]) -> set[str]:
    return {name for text in texts for name in NAME.findall(text)} - LABELS - ours() - of_ray() - MILVUS


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_queries_existing_metrics(name: str) -> None:
    texts = expressions(board(name))
    assert len(texts) >= 8
    assert unknown(texts) == set()


def test_alerts_query_existing_metrics() -> None:
    rules = of_kind(rendered("production"), "PrometheusRule")[0]["spec"]
    assert unknown(expressions(rules)) == set()


def test_an_unknown_metric_is_detected() -> None:
    assert unknown(["rate(ray_rayreel_requets_total[1m])"]) == {"ray_rayreel_requets_total"}


def test_every_metric_of_the_service_is_on_a_dashboard() -> None:
    shown = {name for board_name in BOARDS for text in expressions(board(board_name)) for name in NAME.findall(text)}
    assert ours() - shown == set()


def test_panels_name_existing_stages() -> None:
    source = "".join(path.read_text() for path in (ROOT / "serve_apps").rglob("*.py"))
    for name in BOARDS:
        for text in expressions(board(name)):
            for stage in re.findall(r'stage="(\w+)"', text):
                assert f'stage("{stage}")' in source


def test_panels_and_alerts_name_existing_routes() -> None:
    source = "".join(path.read_text() for path in (ROOT / "serve_apps").rglob("*.py"))
    rules = of_kind(rendered("production"), "PrometheusRule")[0]["spec"]
    for text in [*expressions(rules), *expressions(board("serving"))]:
        for route in re.findall(r'route="([^"]+)"', text):
            assert f'"{route}"' in source


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    panels = board(name)["panels"]
    assert isinstance(panels, list)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
