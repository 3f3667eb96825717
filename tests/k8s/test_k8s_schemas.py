"""All objects of all overlays, validated by the newest schema of their kind."""

import importlib.util
from pathlib import Path
from types import ModuleType

import kubernetes_validate
import pytest

from k8s_manifests import BUILDS, OF_OPERATORS, OVERLAY_NAMES, RAY, ROOT, named, of_kind, rendered

VALIDATOR = ROOT.parent / "shared" / "k8s" / "validate_crds.py"


def crds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate_crds", VALIDATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_overlays_for_laptop_gpus_and_production() -> None:
    assert OVERLAY_NAMES == ["gpu", "local", "production"]


@pytest.mark.parametrize("name", BUILDS)
def test_built_in_kinds_are_strictly_valid(name: str) -> None:
    newest = kubernetes_validate.latest_version()
    wrong = []
    for item in rendered(name):
        if item["kind"] in RAY | OF_OPERATORS:
            continue
        try:
            kubernetes_validate.validate(item, newest, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{named(item)}: {error.message}")
    assert wrong == []


@pytest.mark.skipif(not VALIDATOR.exists(), reason="KubeRay's CRDs are not beside the repository (../shared/k8s)")
@pytest.mark.parametrize("name", BUILDS)
def test_ray_kinds_fit_the_crds(name: str) -> None:
    module = crds()
    validators = module.load_validators()
    found = of_kind(rendered(name), *RAY)
    assert len(found) == (5 if name.endswith("/jobs") else 1)
    for item in found:
        validator, raw = validators[item["apiVersion"], item["kind"]]
        errors = [
            f"{error.json_path}: {error.message}" for error in validator.iter_errors(module.prune_nulls(raw, item))
        ]
        assert errors == [], named(item)


@pytest.mark.parametrize("name", BUILDS)
def test_objects_are_unique_and_in_an_existing_namespace(name: str) -> None:
    objects = rendered(name)
    keys = [(item["metadata"].get("namespace"), named(item)) for item in objects]
    assert len(keys) == len(set(keys))
    made = {item["metadata"]["name"] for item in of_kind(rendered(name.removesuffix("/jobs")), "Namespace")}
    cluster_wide = {"Namespace", "PriorityClass"}
    for item in objects:
        assert item["kind"] in cluster_wide or item["metadata"]["namespace"] in made, named(item)


def test_an_invalid_object_is_detected(tmp_path: Path) -> None:
    item = {**of_kind(rendered("gpu"), "CronJob")[0]}
    item["spec"] = {**item["spec"], "shedule": "* * * * *"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
