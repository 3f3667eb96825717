"""Checkpoints by name and by folder: where they come from, their identity, and what is reported if there is none."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import numpy as np
import pytest

import checkpoints
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub import checkpoint_folder
from rayreel.encoders.hub_files import digest_of, files_of, licence_of, problem_of
from rayreel.encoders.load import encoder_identities, licences, load_encoder, load_word_encoders
from rayreel.encoders.registry import checkpoint_of
from rayreel.encoders.trained import UnknownEncoder
from rayreel.encoders.weights import HubRepo, UnreachableWeights
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig
from rayreel.settings import load_settings
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed_query
from rayreel.tower.tower import VideoTower

COMMIT, NEWER = "1" * 40, "2" * 40
WEIGHTS = b"the genuine parameters"
FILES = {
    "config.json": b'{"model_type": "vit"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same again",
    "README.md": b"---\nlicense: mit\n---\n# Toy",
    "onnx/model.onnx": b"another format",
}
TOY = HubRepo("org/toy", None)


class HubServer(ThreadingHTTPServer):
    """A Hugging Face hub with one repository at one commit, which it reports for every revision."""

    def __init__(self) -> None:
        self.commit, self.files, self.sent = COMMIT, dict(FILES), list[str]()
        self.sha256 = hashlib.sha256(WEIGHTS).hexdigest()
        super().__init__(("127.0.0.1", 0), HubHandler)


class HubHandler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/org/toy/tree/"):
            body: bytes | None = json.dumps([_tree_entry(*item) for item in self.server.files.items()]).encode()
        else:
            body = self._facts() if path.startswith("/api/models/org/toy") else self._file(path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.end_headers()
        if body is not None and with_body:
            self.server.sent.append(path)
            self.wfile.write(body)

    def _file(self, path: str) -> bytes | None:
        return self.server.files.get(path.partition(f"/resolve/{self.server.commit}/")[2])

    def _facts(self) -> bytes:
        def facts(name: str) -> dict[str, object]:
            lfs = {"sha256": self.server.sha256, "size": len(WEIGHTS), "pointerSize": 100}
            return {"rfilename": name, "size": 1, "lfs": lfs} if name == "model.safetensors" else {"rfilename": name}

        files = [facts(name) for name in self.server.files]
        return json.dumps({"id": "org/toy", "sha": self.server.commit, "siblings": files}).encode()


def _tree_entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        address = f"http://127.0.0.1:{server.server_port}"
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "clip-tiny"
    checkpoints.clip(folder)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: tiny-licence\n---\n")
    return folder


def test_a_checkpoint_is_downloaded_once_with_one_set_of_weights_and_its_card(hub: HubServer, tmp_path: Path) -> None:
    folder = checkpoint_folder(TOY, None, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert licence_of(folder) == "mit"
    sent = len(hub.sent)
    assert checkpoint_folder(TOY, None, tmp_path) == folder
    assert len(hub.sent) == sent


def test_a_revision_stays_at_the_commit_of_its_first_download(hub: HubServer, tmp_path: Path) -> None:
    first = checkpoint_folder(TOY, None, tmp_path)
    hub.commit = NEWER
    assert checkpoint_folder(TOY, None, tmp_path) == first
    newer = checkpoint_folder(HubRepo("org/toy", NEWER), None, tmp_path)
    assert (first.name, newer.name) == (COMMIT, NEWER)
    shutil.rmtree(first)
    checkpoint_folder(TOY, None, tmp_path)
    assert f"/api/models/org/toy/revision/{COMMIT}" in hub.sent


def test_weights_with_another_sha256_than_the_hub_states_are_rejected(hub: HubServer, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = b"forged parameters, to be sure"
    with pytest.raises(UnreachableWeights, match=r"model\.safetensors does not have sha256"):
        checkpoint_folder(TOY, None, tmp_path)
    hub.files["model.safetensors"] = WEIGHTS
    assert (checkpoint_folder(TOY, None, tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_copy_in_weights_dir_is_used_without_a_network(no_hub: None, clip: Path, tmp_path: Path) -> None:
    assert checkpoint_folder(HubRepo("org/clip-tiny", COMMIT), clip.parent, tmp_path) == clip


def test_one_error_lists_what_was_tried_and_how_to_supply_a_checkpoint(no_hub: None, tmp_path: Path) -> None:
    with pytest.raises(UnreachableWeights) as error:
        checkpoint_folder(HubRepo("org/toy", COMMIT), tmp_path / "mine", tmp_path / "cache")
    message = str(error.value)
    assert message.startswith(f"Checkpoint org/toy at revision {COMMIT} not found. Tried encoders.weights_dir: ")
    assert f"{tmp_path}/mine/toy/config.json not found" in message
    assert f"cache: {tmp_path}/cache/hub/org--toy/{COMMIT}/config.json not found" in message
    assert "Hugging Face: " in message and "refused" in message
    assert f"`hf download org/toy --revision {COMMIT} --local-dir FOLDER/toy`" in message
    assert "--set encoders.weights_dir=FOLDER" in message


def test_an_unknown_repository_is_reported_by_the_same_error(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(UnreachableWeights, match=r"org/other at revision main not found.*Hugging Face: .*404"):
        checkpoint_folder(HubRepo("org/other", None), None, tmp_path)


def test_an_incomplete_folder_is_reported(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((clip / "config.json").read_bytes())
    assert "neither model.safetensors nor pytorch_model.bin" in (problem_of(tmp_path) or "")
    shards = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate("ab", 1)}
    checkpoints.write(tmp_path / "model.safetensors.index.json", {"weight_map": shards})
    (tmp_path / shards["a"]).touch()
    with pytest.raises(UnreachableWeights, match=r"model-00002-of-00002\.safetensors not found"):
        checkpoint_folder(tmp_path, None, tmp_path / "cache")


def test_the_files_of_a_checkpoint_are_settings_vocabularies_and_one_set_of_weights_per_folder() -> None:
    names = [
        "config.json",
        "pytorch_model.bin",
        "model.safetensors",
        "model.fp16.safetensors",
        "tf_model.h5",
        "vocab.txt",
    ]
    modules = ["1_Pooling/config.json", "2_Dense/pytorch_model.bin", "onnx/config.json", "README.md"]
    chosen = ["1_Pooling/config.json", "2_Dense/pytorch_model.bin", "config.json", "model.safetensors", "vocab.txt"]
    assert files_of([*names, *modules]) == chosen
    assert files_of(["pytorch_model.bin", "config.json"]) == ["config.json", "pytorch_model.bin"]


def test_a_digest_depends_on_names_and_contents_only(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in clip.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "README.md").write_text("another card")
    assert digest_of(copy, tmp_path) == digest_of(clip, tmp_path)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    checkpoints.write(copy / "preprocessor_config.json", {**settings, "image_mean": [0.1, 0.2, 0.3]})
    assert digest_of(copy, tmp_path) != digest_of(clip, tmp_path)


def test_a_folder_and_a_name_have_one_identity_and_one_set_of_vectors(no_hub: None, clip: Path, tmp_path: Path) -> None:
    named = EncodersConfig(visual=f"hf:org/clip-tiny@{COMMIT}", weights_dir=clip.parent, device="cpu", runtime="torch")
    placed = EncodersConfig(visual=str(clip), device="cpu", runtime="torch")
    one, other = (load_encoder(Modality.VISUAL, config, tmp_path) for config in (named, placed))
    assert one.identity == other.identity == f"clip-tiny@{digest_of(clip, tmp_path)[:12]}+frames1"
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one.encode(frames), other.encode(frames))
    random = placed.model_copy(update={"random_weights": True})
    with pytest.raises(RayreelError, match="random_weights is not available"):
        load_encoder(Modality.VISUAL, random, tmp_path)


def test_identities_of_checkpoints_match_the_loaded_encoders(clip: Path, tmp_path: Path) -> None:
    config = EncodersConfig(visual=str(clip), text=str(clip), precision="bf16", device="cpu")
    identities = encoder_identities(config, tmp_path)
    assert identities[Modality.VISUAL].endswith("+frames1+bf16")
    assert identities[Modality.TEXT] == load_encoder(Modality.TEXT, config, tmp_path).identity
    assert licences(config, tmp_path) == {str(clip): "tiny-licence"}


def test_names_and_revisions_are_read() -> None:
    assert checkpoint_of(Modality.VISUAL, "hf:org/toy@refs/pr/3") == HubRepo("org/toy", "refs/pr/3")
    assert checkpoint_of(Modality.TEXT, "hf:org/toy.v2") == HubRepo("org/toy.v2", None)
    for modality, preset in ((Modality.VISUAL, "clip"), (Modality.AUDIO, "modern"), (Modality.TEXT, "modern")):
        known = checkpoint_of(modality, EncodersConfig(preset=preset).resolve()[modality])
        assert isinstance(known, HubRepo) and len(known.revision or "") == 40
    for wrong in ("hf:toy", "hf:org/toy@", "hf:../toy", "hf:org/toy/more"):
        with pytest.raises(UnknownEncoder, match="hf:OWNER/NAME@REVISION"):
            EncodersConfig(text=wrong)
    with pytest.raises(UnknownEncoder, match=r"siglip2_base.*the folder of a checkpoint"):
        EncodersConfig(visual="nowhere/at/all")


def test_the_window_of_a_video_checkpoint_is_the_samplings(clip: Path, tmp_path: Path) -> None:
    video = tmp_path / "videomae-tiny"
    checkpoints.videomae(video)
    assert load_settings(sets=[f"encoders.visual={video}"]).sampling.window == 4
    assert load_settings(sets=[f"encoders.visual={clip}"]).sampling == SamplingConfig()


def test_words_find_pictures_without_titles(clip: Path, tmp_path: Path) -> None:
    """With CLIP frames, a query in words fills the visual modality, so a tower that reads only frames answers it."""
    config = EncodersConfig(visual=str(clip), text=str(clip), device="cpu", runtime="torch")
    words = load_word_encoders(config, tmp_path)
    (query,) = words.encode(["a dog runs"])
    assert {modality: x.shape for modality, x in query.items()} == {Modality.VISUAL: (1, 12), Modality.TEXT: (1, 12)}
    np.testing.assert_array_equal(query[Modality.VISUAL], query[Modality.TEXT])
    dims = {Modality.VISUAL: 12, Modality.AUDIO: 192, Modality.TEXT: 12}
    tower = VideoTower(TowerConfig(dim=16, modalities=(Modality.VISUAL,)), dims)
    np.testing.assert_allclose(np.linalg.norm(embed_query(tower, query)), 1, atol=1e-5)


def test_encoders_without_a_text_side_leave_queries_to_the_text_encoder(weights_cache: Path) -> None:
    words = load_word_encoders(EncodersConfig(device="cpu"), weights_cache)
    (query,) = words.encode(["a dog"])
    assert list(query) == [Modality.TEXT]
    assert words.identity == encoder_identities(EncodersConfig(), weights_cache)[Modality.TEXT]
