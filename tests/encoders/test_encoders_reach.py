"""Where an encoder's weights are, or could be had from: nothing is downloaded to find out."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rayreel.encoders import reach as reaching
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import named_encoders
from rayreel.encoders.reach import reach
from rayreel.encoders.registry import ENCODERS, EncoderSpec
from rayreel.encoders.weights import NetworkWeights, Package, WeightsFile

CONTENT = b"the genuine parameters"
FILES = (WeightsFile("toy.pth", hashlib.sha256(CONTENT).hexdigest()),)
NOWHERE = "http://127.0.0.1:9/toy.pth"  # the discard port refuses connections at once


class HeadOnly(BaseHTTPRequestHandler):
    """Answers HEAD alone: a download would fail."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), HeadOnly) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/toy.pth"
        server.shutdown()
        thread.join()


def toy(monkeypatch: pytest.MonkeyPatch, url: str, package: Package | None = None) -> None:
    weights = NetworkWeights("toy", "22 B", FILES, url=lambda: url, package=package)
    monkeypatch.setitem(ENCODERS[Modality.VISUAL], "toy", EncoderSpec("none:load", "", weights, dim=1))


def test_weights_that_are_here_are_found_by_their_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy(monkeypatch, NOWHERE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    found = reach(Modality.VISUAL, "toy", EncodersConfig(weights_dir=tmp_path), tmp_path / "cache")
    assert found.is_here and found.folder == tmp_path
    (tmp_path / "toy.pth").write_bytes(b"others")
    assert not reach(Modality.VISUAL, "toy", EncodersConfig(weights_dir=tmp_path), tmp_path / "cache").reachable


def test_a_source_that_answers_is_named_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
) -> None:
    toy(monkeypatch, url)
    found = reach(Modality.VISUAL, "toy", EncodersConfig(), tmp_path)
    assert found.reachable and not found.is_here and found.where == url
    assert not list(tmp_path.glob("**/*.pth"))


def test_every_source_that_failed_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy(monkeypatch, NOWHERE, Package("toy-weights", "1.0", "toy"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = reach(Modality.VISUAL, "toy", EncodersConfig(), tmp_path)
    assert not found.reachable
    assert f"{NOWHERE}: ConnectError" in found.where and "pip toy-weights: ERROR: No matching" in found.where


def test_an_encoder_without_weights_is_here(tmp_path: Path) -> None:
    assert reach(Modality.AUDIO, "log_mel", EncodersConfig(), tmp_path).where == reaching.NO_WEIGHTS


def test_a_name_stands_for_all_its_modalities_unless_one_precedes_it(tmp_path: Path) -> None:
    def labels(names: str) -> list[str]:
        return [f"{one.modality.value}:{one.name}" for one in named_encoders(names, EncodersConfig(), tmp_path)]

    assert labels("clip_vit_b32, log_mel") == ["visual:clip_vit_b32", "text:clip_vit_b32", "audio:log_mel"]
    assert labels("text:clip_vit_b32") == ["text:clip_vit_b32"]
    assert labels("hf:org/eye@1,audio:hf:org/ear") == ["visual:hf:org/eye@1", "audio:hf:org/ear"]
