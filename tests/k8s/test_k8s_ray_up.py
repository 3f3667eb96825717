"""ray_cluster.yaml: Ray's schema and loader, and launching machines on a simulated AWS (moto)."""

import copy
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import hash_runtime_conf, prepare_config, validate_config

from rayreel.settings import load_settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ray_cluster.yaml"
Config = dict[str, Any]
TOKEN = "/home/ray/.ray/auth_token"


@pytest.fixture
def config() -> Config:
    loaded: Config = prepare_config(yaml.safe_load(FILE.read_text()))
    return loaded


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Simulate AWS with moto, with a home for the test, where Ray stores a key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    with mock_aws():
        yield


def test_the_file_is_valid_with_its_defaults(config: Config) -> None:
    validate_config(config)


def test_a_key_unknown_to_ray_is_detected(config: Config) -> None:
    config["available_node_types"]["gpu"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError):
        validate_config(config)


@pytest.mark.slow
def test_rays_provider_launches_the_machines(config: Config, aws: None) -> None:
    filled = AWSNodeProvider.fillout_available_node_types_resources(copy.deepcopy(config))
    resources = {name: kind["resources"] for name, kind in filled["available_node_types"].items()}
    assert resources["head"] == {"CPU": 0}
    assert resources["cpu"]["CPU"] == 32
    assert "GPU" not in resources["cpu"]
    assert resources["gpu"]["GPU"] == 4
    ready = bootstrap_aws(filled)
    for kind in ready["available_node_types"].values():
        assert kind["node_config"]["SubnetIds"]
        assert kind["node_config"]["SecurityGroupIds"]
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    made = {}
    for name in ("head", "cpu"):
        node_config = copy.deepcopy(ready["available_node_types"][name]["node_config"])
        # moto has only its own machine images.
        node_config["ImageId"] = "ami-12c6146b"
        node_config.pop("IamInstanceProfile")
        (instance,) = provider.create_node(node_config, {"ray-node-name": name}, 1).values()
        made[name] = instance
    assert made["head"].instance_type == "m7i.2xlarge"
    assert made["cpu"].instance_type == "c7i.8xlarge"
    assert made["cpu"].instance_lifecycle == "spot"
    assert made["head"].instance_lifecycle != "spot"


def test_values_to_edit_are_in_one_place() -> None:
    text = FILE.read_text()
    below = text[text.index("\nprovider:") :]
    for word in ("us-east-1", "ami-", "g6e", "c7i.8xlarge\n", "m7i", "s3://", "MarketType"):
        assert word not in below.replace("# Filled in", "").replace("g6e.12xlarge: 48", ""), word


def test_only_workers_are_spot_instances_and_all_start_from_zero(config: Config) -> None:
    types = config["available_node_types"]
    assert {name for name, kind in types.items() if "InstanceMarketOptions" in kind["node_config"]} == {"cpu", "gpu"}
    assert all(kind["min_workers"] == 0 for kind in types.values())
    assert config["max_workers"] == sum(kind["max_workers"] for kind in types.values())
    assert config["idle_timeout_minutes"] > 0


def test_pools_have_the_same_names_as_on_kubernetes(config: Config) -> None:
    labels = {name: kind["labels"]["rayreel.io/pool"] for name, kind in config["available_node_types"].items()}
    assert labels == {"head": "head", "cpu": "cpu", "gpu": "gpu"}


def test_ray_and_python_are_the_pinned_versions(config: Config) -> None:
    ray = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert ray is not None
    images = [config["docker"]["image"], config["available_node_types"]["gpu"]["docker"]["worker_image"]]
    assert all(image.startswith(f"rayproject/ray:{ray[1]}-py311") for image in images)


def test_private_files_of_the_repository_are_not_copied(config: Config) -> None:
    assert config["file_mounts"] == {"/home/ray/rayreel": ".", TOKEN: "~/.ray/auth_token"}
    for folder in (".git", ".venv", "storage"):
        assert f"**/{folder}/**" in config["rsync_exclude"]


def test_repeated_setup_writes_the_environment_once(config: Config, tmp_path: Path) -> None:
    command = config["setup_commands"][-1]
    for _ in range(2):
        subprocess.run(["bash", "-c", command], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)
    assert (tmp_path / ".bashrc").read_text() == ". ~/.rayreel\n"
    shell = subprocess.run(
        ["bash", "-c", ". ~/.bashrc; echo $RAYREEL_STORAGE $MILVUS_URI"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.split() == ["s3://rayreel/state", "http://milvus.internal:19530"]


def test_every_machine_requires_the_users_token_and_only_its_owner_can_read_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    mounts = {TOKEN: config["file_mounts"][TOKEN]}
    with pytest.raises((AssertionError, OSError)):  # without a token, `ray up` starts nothing
        hash_runtime_conf(mounts, {}, {}, generate_file_mounts_contents_hash=True)
    make_token_at(tmp_path / ".ray" / "auth_token")
    before, _ = hash_runtime_conf(mounts, {}, {}, generate_file_mounts_contents_hash=True)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for command in (config["setup_commands"][0], config["setup_commands"][-1]):
        subprocess.run(["bash", "-c", command], env=environment, check=True)
    shown = subprocess.run(
        ["bash", "-c", ". ~/.bashrc; echo $RAY_AUTH_MODE; stat -c %a ~/.ray ~/.ray/auth_token"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["token", "700", "600"]
    assert hash_runtime_conf(mounts, {}, {}, generate_file_mounts_contents_hash=True)[0] == before


def make_token_at(file: Path) -> None:
    """Write a token that others can read, as `ray up` leaves it on a machine."""
    file.parent.mkdir()
    file.write_text("a" * 64)
    file.chmod(0o644)


def test_the_environment_assigns_work_to_its_machines(config: Config, tmp_path: Path) -> None:
    plain = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", config["setup_commands"][-1]], env=plain, check=True)
    shell = subprocess.run(
        ["bash", "-c", ". ~/.rayreel; env -0"], env=plain, capture_output=True, text=True, check=True
    )
    with pytest.MonkeyPatch.context() as patch:
        for line in shell.stdout.split("\0"):
            if line.startswith("RAYREEL_"):
                patch.setenv(*line.split("=", 1))
        settings = load_settings(None, [])
    types = config["available_node_types"]
    assert settings.extract.decode_on == types["cpu"]["labels"]
    assert settings.extract.encode_on == settings.train.on == types["gpu"]["labels"]
    assert settings.extract.gpus_per_encoder and settings.extract.encoder_actors and settings.train.use_gpu


def test_setup_and_start_commands_are_valid_shell(config: Config) -> None:
    for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[key]:
            subprocess.run(["bash", "-n", "-c", command], check=True)
    extra = re.search(r'"\.\[(.+)\]"', config["setup_commands"][1])
    assert extra is not None
    assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text()
