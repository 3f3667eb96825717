"""Checkpoints of open_clip: the pixels and the vectors of open_clip itself, names, and one error without the extra."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

import checkpoints
from rayreel.encoders.compute import Compute
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub import checkpoint_folder, repo_or_folder
from rayreel.encoders.hub_files import OPEN_CLIP, digest_of, files_of, problem_of, squeezes
from rayreel.encoders.hub_open_clip import load_open_clip_frames, load_open_clip_text
from rayreel.encoders.load import encoder_identities, licences, load_encoder, load_word_encoders
from rayreel.encoders.open_clip_names import repo_of
from rayreel.encoders.registry import checkpoint_of, is_open_clip, spec_of
from rayreel.encoders.trained import UnknownEncoder
from rayreel.encoders.weights import HubRepo, OpenClipName, UnreachableWeights
from rayreel.errors import RayreelError
from rayreel.features.key import key_name
from rayreel.media.config import SamplingConfig
from rayreel.media.frames import Squares
from rayreel.settings import load_settings

open_clip = pytest.importorskip("open_clip")
TEXTS = ["a dog runs", "two dogs", "Stocks FALL, a cat sleeps: " + "a dog runs " * 40, "", "a dog runs"]
Written = Callable[[str], Path]
CARD = "---\nlicense: apache-2.0\n---\n# Tiny"
KEYS = dict.fromkeys(Modality, "an-encoder")
TOWER = {"width": 16, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
Family = tuple[dict[str, Any], dict[str, Any]]
# A network's configuration, and what is unlike open_clip's defaults in that of its pictures.
FAMILIES: dict[str, Family] = {
    "clip": (
        {
            "embed_dim": 12,
            "quick_gelu": True,
            "vision_cfg": VISION,
            "text_cfg": {**TOWER, "context_length": 20, "vocab_size": 49408},
        },
        {},
    ),
    "siglip": (
        {
            "embed_dim": 16,
            "custom_text": True,
            "init_logit_bias": -10,
            "vision_cfg": VISION,
            "text_cfg": {
                **TOWER,
                "context_length": 12,
                "vocab_size": len(checkpoints.WORDS),
                "hf_tokenizer_name": "org/nowhere",
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "no_causal_mask": True,
                "pool_type": "last",
            },
        },
        {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    ),
    "pe_core": (
        {
            "embed_dim": 512,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 384,
                "timm_model_name": "vit_pe_core_tiny_patch16_384",
                "timm_model_pretrained": False,
                "timm_pool": "map",
                "timm_proj": None,
            },
            "text_cfg": {**TOWER, "context_length": 32, "vocab_size": 49408},
        },
        {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash", "interpolation": "bilinear"},
    ),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a checkpoint in open_clip's own format once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp("weights") / f"{family}-tiny"
            write(made[family], *FAMILIES[family])
        return made[family]

    return get


def write(folder: Path, config: dict[str, Any], pictures: dict[str, Any]) -> None:
    """Save random weights of a network, with open_clip's own functions."""
    from open_clip.push_to_hf_hub import save_for_hf

    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": pictures}))
    torch.manual_seed(1)
    network = open_clip.create_model(f"local-dir:{folder}")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
    save_for_hf(network, checkpoints.words_tokenizer(first=False), config, str(folder), safe_serialization=True)
    (folder / "README.md").write_text(CARD)


def theirs(folder: Path) -> tuple[Any, Any, Any]:
    """Return open_clip's own network, preprocessing and tokenizer."""
    network, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    return network.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


def compute_on(runtime: str, rows: int = 1) -> Compute:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    return Compute(torch.device("cpu"), runtime, rows=rows)  # type: ignore[arg-type]


def assert_same(ours: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-3 * max(1.0, float(expected.abs().max())))
    assert np.abs(ours[0] - ours[1]).max() > 1e-3  # otherwise equality would be meaningless


@pytest.mark.parametrize(("family", "runtime"), [*((f, "torch") for f in FAMILIES), ("clip", "openvino")])
def test_frames_give_open_clips_own_features(written: Written, family: str, runtime: str) -> None:
    folder = written(family)
    encoder = load_open_clip_frames(folder, "tiny@test", compute_on(runtime))
    size = FAMILIES[family][0]["vision_cfg"]["image_size"]
    assert (encoder.frame_size, encoder.window) == (size, 1)
    frames = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    network, preprocess, _ = theirs(folder)
    vectors = encoder.encode(frames)
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])
        assert_same(vectors, network.encode_image(pixels))
    np.testing.assert_array_equal(encoder.encode(frames[1:])[0], vectors[1])


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize(("runtime", "rows"), [("torch", 1), ("torch", 4), ("openvino", 1)])
def test_texts_give_open_clips_own_features(written: Written, family: str, runtime: str, rows: int) -> None:
    encoder = load_open_clip_text(written(family), "tiny@test", compute_on(runtime, rows))
    network, _, tokenizer = theirs(written(family))
    with torch.inference_mode():
        assert_same(encoder.encode(TEXTS), network.encode_text(tokenizer(TEXTS)))
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_the_configuration_decides_on_the_colours(written: Written, tmp_path: Path) -> None:
    config, pictures = FAMILIES["clip"]
    write(tmp_path / "dark", config, {**pictures, "mean": [0.1, 0.2, 0.3]})
    frames = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    one, other = (load_open_clip_frames(f, "x", compute_on("torch")) for f in (written("clip"), tmp_path / "dark"))
    assert np.abs(one.encode(frames) - other.encode(frames)).max() > 1e-2


def test_words_find_pictures_without_titles(written: Written, tmp_path: Path) -> None:
    folder = str(written("clip"))
    config = EncodersConfig(visual=folder, text=folder, device="cpu", runtime="torch")
    (query,) = load_word_encoders(config, tmp_path).encode(["a dog runs"])
    assert {modality: x.shape for modality, x in query.items()} == {Modality.VISUAL: (1, 12), Modality.TEXT: (1, 12)}
    np.testing.assert_array_equal(query[Modality.VISUAL], query[Modality.TEXT])
    assert licences(config, tmp_path) == {folder: "apache-2.0"}


def test_a_folder_and_a_copy_named_by_open_clip_have_one_identity(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = written("clip"), tmp_path / "cache"
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"hf_hub": "timm/clip-tiny/"})
    own = {"text": str(folder), "weights_dir": folder.parent, "device": "cpu", "runtime": "torch"}
    named = EncodersConfig(visual="open_clip:ViT-B-32/openai", **own)
    placed = EncodersConfig(visual=str(folder), **own)
    identities = [encoder_identities(config, cache)[Modality.VISUAL] for config in (named, placed)]
    assert identities == [f"clip-tiny@{digest_of(folder, cache, OPEN_CLIP)[:12]}+open_clip_frames1"] * 2
    assert load_encoder(Modality.VISUAL, named, cache).identity == identities[0]


def test_a_name_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, found = (
        OpenClipName("PE-Core-S-16-384", "meta", "abc"),
        HubRepo("timm/PE-Core-S-16-384", "abc", "open_clip"),
    )
    assert repo_or_folder(name, tmp_path) == found
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert repo_or_folder(name, tmp_path) == found


def test_names_are_those_of_open_clip_or_of_the_hub() -> None:
    named = checkpoint_of(Modality.VISUAL, "open_clip:PE-Core-S-16-384/meta@refs/pr/1")
    assert named == OpenClipName("PE-Core-S-16-384", "meta", "refs/pr/1")
    assert repo_of(OpenClipName("PE-Core-S-16-384", "meta", "abc")) == "timm/PE-Core-S-16-384"
    assert repo_of(OpenClipName("org", "own-clip", None)) == "org/own-clip"
    with pytest.raises(RayreelError, match=r"no weights 'mta' of PE-Core-B-16\. It has: meta\."):
        repo_of(OpenClipName("PE-Core-B-16", "mta", None))
    with pytest.raises(UnknownEncoder, match="No audio encoder 'open_clip:a/b'"):
        EncodersConfig(audio="open_clip:a/b")
    with pytest.raises(UnknownEncoder, match="open_clip:MODEL/PRETRAINED"):
        EncodersConfig(text="open_clip:a")


def test_a_folder_with_both_formats_is_transformers_unless_named_by_open_clip(written: Written, tmp_path: Path) -> None:
    both = tmp_path / "clip-tiny"
    both.mkdir()
    for path in written("clip").iterdir():
        (both / path.name).write_bytes(path.read_bytes())
    assert is_open_clip(both)
    checkpoints.clip(both)
    assert not is_open_clip(both)
    spec, named = (spec_of(Modality.VISUAL, name) for name in (str(both), "open_clip:org/clip-tiny"))
    assert spec is not None and named is not None
    assert (spec.preprocessing, named.preprocessing) == ("frames1", "open_clip_frames1")
    assert checkpoint_folder(HubRepo("org/clip-tiny", None, "open_clip"), tmp_path, tmp_path / "cache") == both
    names = [path.name for path in both.iterdir()]
    assert "open_clip_model.safetensors" in files_of(names, OPEN_CLIP)
    assert "model.safetensors" not in files_of(names, OPEN_CLIP)


def test_a_checkpoint_that_squeezes_pictures_sets_the_sampling(written: Written) -> None:
    cropped, squeezed = (load_settings(sets=[f"encoders.visual={written(f)}"]).sampling for f in ("clip", "siglip"))
    assert cropped == SamplingConfig()
    assert squeezed == SamplingConfig(squeeze=True)
    assert key_name(KEYS, squeezed) != key_name(KEYS, cropped)


def test_a_wide_frame_has_the_pixels_of_open_clips_own_preprocessing(written: Written) -> None:
    rng, folder = np.random.default_rng(3), written("siglip")
    coarse = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize((160, 90), Image.Resampling.BICUBIC))
    square = Squares(32, None, squeeze=squeezes(folder)).of(av.VideoFrame.from_ndarray(picture, format="rgb24"))
    ours = (torch.from_numpy(square).permute(2, 0, 1) / 255 - 0.5) / 0.5
    difference = (ours - theirs(folder)[1](Image.fromarray(picture))).abs()
    assert difference.mean() < 0.02  # of a range of 2: the scaler's interpolation is not that of the checkpoint


def test_an_incomplete_or_unsupported_checkpoint_is_reported(written: Written, tmp_path: Path) -> None:
    config, pictures = FAMILIES["clip"]
    content = {"model_cfg": config, "preprocess_cfg": pictures}
    assert f"{tmp_path}/open_clip_config.json not found" in (problem_of(tmp_path, OPEN_CLIP) or "")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(UnreachableWeights, match=r"neither open_clip_model\.safetensors nor open_clip_pytorch_model"):
        checkpoint_folder(tmp_path, None, tmp_path / "cache")
    with pytest.raises(RayreelError, match="cannot be used as a frame encoder"):
        load_open_clip_frames(tmp_path, "x", compute_on("torch"))
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(b"<html>")
    with pytest.raises(RayreelError, match="cannot be used as a frame encoder"):
        load_open_clip_frames(tmp_path, "x", compute_on("torch"))
    weights.unlink()
    weights.symlink_to(written("clip") / weights.name)
    padding = {**content, "preprocess_cfg": {"resize_mode": "longest"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(padding))
    with pytest.raises(RayreelError, match="the checkpoint expects padding"):
        load_open_clip_frames(tmp_path, "x", compute_on("torch"))
    for side, name in (("text_cfg", "hf_model_name"), ("vision_cfg", "timm_model_name")):
        elsewhere = {**config, side: {**config[side], name: "hf-hub:org/other"}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps({**content, "model_cfg": elsewhere}))
        with pytest.raises(RayreelError, match=r"hf-hub:org/other.*not in the folder"):
            load_open_clip_frames(tmp_path, "x", compute_on("torch"))


def test_without_the_extra_one_error_names_the_command(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written("clip")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    for name in ("open_clip:ViT-B-32/openai", str(folder)):
        with pytest.raises(RayreelError, match=r"pip install rayreel\[open_clip\]"):
            load_encoder(Modality.VISUAL, EncodersConfig(visual=name, device="cpu"), tmp_path)
