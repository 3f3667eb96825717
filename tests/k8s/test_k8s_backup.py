"""The backup component, in the overlays that it is for."""

import os
from pathlib import Path

import pytest

from k8s_manifests import ROOT, Object, of_kind, pods, selected
from rendering import build


@pytest.fixture(scope="module", params=["gpu", "production"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Object, ...]:
    """The objects of an overlay with the component."""
    folder: Path = tmp_path_factory.mktemp("overlay")
    overlay, component = (
        os.path.relpath(ROOT / "k8s" / part, folder.resolve())
        for part in (f"overlays/{request.param}", "components/backup")
    )
    (folder / "kustomization.yaml").write_text(f"resources: [{overlay}]\ncomponents: [{component}]\n")
    return build(folder)


def jobs(objects: tuple[Object, ...]) -> dict[str, Object]:
    found = {item["metadata"]["name"]: item["spec"] for item in of_kind(objects, "CronJob")}
    return {name: found[name] for name in ("rayreel-backup", "rayreel-restore")}


def test_a_backup_copies_the_database_before_the_bucket_and_a_restore_after_it(objects: tuple[Object, ...]) -> None:
    order = {
        name: [c["name"] for kind in ("initContainers", "containers") for c in pod_of(job)[kind]]
        for name, job in jobs(objects).items()
    }
    assert order == {"rayreel-backup": ["database", "bucket"], "rayreel-restore": ["bucket", "database"]}


def pod_of(job: Object) -> Object:
    spec: Object = job["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def test_a_restore_runs_only_by_hand(objects: tuple[Object, ...]) -> None:
    assert jobs(objects)["rayreel-restore"]["suspend"] is True
    assert "suspend" not in jobs(objects)["rayreel-backup"]


def test_both_use_the_images_user_and_paths_of_the_stores(objects: tuple[Object, ...]) -> None:
    images = {
        container["image"] for pod in pods(list(of_kind(objects, "StatefulSet", "Job"))) for container in pod.containers
    }
    for job in jobs(objects).values():
        pod = pod_of(job)
        for container in [*pod["initContainers"], *pod["containers"]]:
            assert container["name"] == "bucket" or container["image"] in images
            assert {mount["name"] for mount in container["volumeMounts"]} == {"work", "tmp"}


def test_postgres_admits_backups(objects: tuple[Object, ...]) -> None:
    labels = jobs(objects)["rayreel-backup"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    admitted = [
        peer
        for policy in of_kind(objects, "NetworkPolicy")
        if selected(policy["spec"]["podSelector"], {"app.kubernetes.io/name": "postgres"})
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
    ]
    assert any(selected(peer["podSelector"], labels) for peer in admitted)
