"""Encoders from checkpoints give the vectors of the family's own processor and model, alone and in any grouping."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

import checkpoints
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.hub_frames import load_frames
from rayreel.encoders.hub_sound import load_sound
from rayreel.encoders.hub_text import load_text, read_recipe
from rayreel.encoders.runtime import TorchRuntime
from rayreel.errors import RayreelError

RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, (4, RATE)).astype(np.float32)
TEXTS = ["a dog runs", "two dogs", "stocks fall a cat sleeps a dog runs two cat", "cat", "a dog runs"]
Some = Any  # what an encoder encodes
Features = Any  # a tensor from transformers, which has no types
Reference = Callable[[Path, Some], Features]
Written = Callable[[Callable[[Path], None]], Path]
RUNTIMES = ("torch", "openvino")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a checkpoint once."""
    made: dict[Any, Path] = {}

    def get(build: Callable[[Path], None]) -> Path:
        if build not in made:
            torch.manual_seed(0)
            made[build] = tmp_path_factory.mktemp("checkpoint")
            build(made[build])
        return made[build]

    return get


def compute_on(runtime: str) -> Compute:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    return Compute(torch.device("cpu"), runtime)  # type: ignore[arg-type]


def assert_same(ours: Vectors, theirs: torch.Tensor) -> None:
    expected = theirs.float().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-3 * max(1, np.abs(expected).max()))
    cosines = (ours * expected).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 1 - 1e-3


def assert_independent_of_neighbours(encode: Callable[[Any], Vectors], inputs: Some, size: int = 1) -> None:
    together = encode(inputs)
    parts = [inputs[: 2 * size], inputs[2 * size : 3 * size], inputs[3 * size :]]
    np.testing.assert_array_equal(np.concatenate([encode(part) for part in parts]), together)
    assert np.abs(together[0] - together[1]).max() > 1e-3  # otherwise equality would be meaningless


def image_features(folder: Path, frames: np.ndarray) -> Features:
    network = tf.AutoModel.from_pretrained(folder)
    pixels = tf.AutoImageProcessor.from_pretrained(folder)(list(frames), return_tensors="pt")
    return network.get_image_features(**pixels).pooler_output


def pooler_output(folder: Path, frames: np.ndarray) -> Features:
    pixels = tf.AutoImageProcessor.from_pretrained(folder)(list(frames), return_tensors="pt")
    return tf.AutoModel.from_pretrained(folder)(**pixels).pooler_output


def class_token(folder: Path, frames: np.ndarray) -> Features:
    pixels = tf.AutoImageProcessor.from_pretrained(folder)(list(frames), return_tensors="pt")
    return tf.ViTForImageClassification.from_pretrained(folder).vit(**pixels).last_hidden_state[:, 0]


def videomae_mean(folder: Path, frames: np.ndarray) -> Features:
    processor, network = tf.VideoMAEImageProcessor.from_pretrained(folder), tf.AutoModel.from_pretrained(folder)
    clips = [list(clip) for clip in frames.reshape(-1, 4, *frames.shape[1:])]
    return network(**processor(clips, return_tensors="pt")).last_hidden_state.mean(dim=1)


def vjepa2_mean(folder: Path, frames: np.ndarray) -> Features:
    processor, network = tf.AutoVideoProcessor.from_pretrained(folder), tf.AutoModel.from_pretrained(folder)
    clips = list(frames.reshape(-1, 4, *frames.shape[1:]))
    return network(**processor(clips, return_tensors="pt"), skip_predictor=True).last_hidden_state.mean(dim=1)


FRAMES: dict[str, tuple[Callable[[Path], None], Reference, int]] = {
    "clip": (checkpoints.clip, image_features, 32),
    "siglip": (checkpoints.siglip, image_features, 48),
    "dinov2": (checkpoints.dinov2, pooler_output, 37),
    "dinov3": (checkpoints.dinov3, pooler_output, 32),
    "vit_classifier": (checkpoints.vit_classifier, class_token, 32),
    "videomae": (checkpoints.videomae, videomae_mean, 36),
    "vjepa2": (checkpoints.vjepa2, vjepa2_mean, 36),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("family", FRAMES)
def test_frames_give_the_vectors_of_the_family(written: Written, family: str, runtime: str) -> None:
    build, reference, size = FRAMES[family]
    encoder = load_frames(written(build), f"{family}@test", compute_on(runtime))
    window = 4 if family in {"videomae", "vjepa2"} else 1
    assert (encoder.frame_size, encoder.window) == (size, window)
    frames = np.random.default_rng(1).integers(0, 256, (4 * window, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        assert_same(encoder.encode(frames), reference(written(build), frames))
    assert_independent_of_neighbours(encoder.encode, frames, window)


def clap_features(folder: Path, windows: np.ndarray) -> Features:
    upsampled = np.stack([tf_resampled(window) for window in windows])
    inputs = tf.ClapFeatureExtractor.from_pretrained(folder)(
        list(upsampled[:, : 2 * 48_000]), sampling_rate=48_000, return_tensors="pt"
    )
    return tf.AutoModel.from_pretrained(folder).get_audio_features(inputs["input_features"].float()).pooler_output


def tf_resampled(window: np.ndarray) -> np.ndarray:
    """Resample to 48 kHz with a windowed sinc, as scipy's polyphase filter does."""
    from scipy.signal import firwin, upfirdn

    taps = 3 * firwin(61, 1 / 3, window=("kaiser", 5.0))
    return np.asarray(upfirdn(taps, window, up=3)[30 : 30 + 3 * len(window)])


def wave_mean(folder: Path, windows: np.ndarray) -> Features:
    extractor, network = tf.AutoFeatureExtractor.from_pretrained(folder), tf.AutoModel.from_pretrained(folder)
    inputs = extractor(list(windows), sampling_rate=RATE, return_tensors="pt")
    return network(inputs["input_values"]).last_hidden_state.mean(dim=1)


def whisper_mean(folder: Path, windows: np.ndarray) -> Features:
    extractor, network = tf.AutoFeatureExtractor.from_pretrained(folder), tf.WhisperModel.from_pretrained(folder)
    inputs = extractor(list(windows), sampling_rate=RATE, return_tensors="pt")
    return network.encoder(inputs["input_features"]).last_hidden_state[:, :50].mean(dim=1)  # one second at 50 Hz


SOUND: dict[str, tuple[Callable[[Path], None], Reference]] = {
    "clap": (checkpoints.clap, clap_features),
    "wav2vec2": (checkpoints.wav2vec2, wave_mean),
    "hubert": (checkpoints.hubert, wave_mean),
    "wavlm": (checkpoints.wavlm, wave_mean),
    "whisper": (checkpoints.whisper, whisper_mean),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("family", SOUND)
def test_sound_gives_the_vectors_of_the_family(written: Written, family: str, runtime: str) -> None:
    build, reference = SOUND[family]
    encoder = load_sound(written(build), f"{family}@test", compute_on(runtime))
    with torch.inference_mode():
        assert_same(encoder.encode(NOISE), reference(written(build), NOISE))
    assert_independent_of_neighbours(encoder.encode, NOISE)
    assert encoder.encode(NOISE[:0]).shape == (0, encoder.dim)


def test_sound_longer_than_the_extractor_takes_is_cut_the_same_way_each_time(written: Written) -> None:
    encoder = load_sound(written(checkpoints.clap), "clap@test", compute_on("torch"))
    long = np.tile(NOISE[:2], 3)
    np.testing.assert_array_equal(encoder.encode(long), encoder.encode(long))
    np.testing.assert_allclose(encoder.encode(long), encoder.encode(long[:, : 2 * RATE]), atol=1e-3)


def masked_states(folder: Path, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = tf.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    states = tf.AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    return states, tokens["attention_mask"].unsqueeze(-1)


def mean(folder: Path, texts: list[str], *, unit: bool = True) -> Features:
    states, mask = masked_states(folder, texts)
    means = (states * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(means) if unit else means


def first(folder: Path, texts: list[str]) -> Features:
    return torch.nn.functional.normalize(masked_states(folder, texts)[0][:, 0])


def longest(folder: Path, texts: list[str]) -> Features:
    states, mask = masked_states(folder, texts)
    return torch.nn.functional.normalize(states.masked_fill(mask == 0, -torch.inf).amax(dim=1))


def last_of_left_padded(folder: Path, texts: list[str]) -> Features:
    tokenizer = tf.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    states = tf.AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    return torch.nn.functional.normalize(states[:, -1])


def gemma(folder: Path, texts: list[str]) -> Features:
    vectors = mean(folder, [f"document: {text}" for text in texts], unit=False)
    for name in ("2_Dense", "3_Dense"):
        vectors = vectors @ load_file(folder / name / "model.safetensors")["linear.weight"].T
    return torch.nn.functional.normalize(vectors)


def text_features(folder: Path, texts: list[str], padding: str = "") -> Features:
    tokens = tf.AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=padding or True)
    mask = {} if padding else {"attention_mask": tokens["attention_mask"]}
    return tf.AutoModel.from_pretrained(folder).get_text_features(tokens["input_ids"], **mask).pooler_output


bert_mean = partial(checkpoints.bert, mean_tokens=True, cls_token=False)
bert_cls = partial(checkpoints.bert, mean_tokens=False, cls_token=True)
bert_max = partial(checkpoints.bert, max_tokens=True)
TEXT: dict[str, tuple[Callable[[Path], None], Reference]] = {
    "bare": (checkpoints.bert, partial(mean, unit=False)),
    "mean": (bert_mean, mean),
    "cls": (bert_cls, first),
    "max": (bert_max, longest),
    "roberta": (checkpoints.roberta, mean),
    "mpnet": (checkpoints.mpnet, mean),
    "qwen3": (checkpoints.qwen3, last_of_left_padded),
    "embedding_gemma": (checkpoints.embedding_gemma, gemma),
    "clip": (checkpoints.clip, text_features),
    "siglip": (checkpoints.siglip, partial(text_features, padding="max_length")),
    "clap": (checkpoints.clap, text_features),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("family", TEXT)
def test_texts_give_the_vectors_of_the_family(written: Written, family: str, runtime: str) -> None:
    build, reference = TEXT[family]
    encoder = load_text(written(build), f"{family}@test", compute_on(runtime))
    short = [text for text in TEXTS if len(text) < 30]  # below every family's limit
    with torch.inference_mode():
        assert_same(encoder.encode(short), reference(written(build), short))
    assert_independent_of_neighbours(encoder.encode, TEXTS)
    assert encoder.encode([]).shape == (0, encoder.dim)


@pytest.mark.parametrize("family", ["mean", "qwen3", "clip"])
def test_a_batch_as_on_a_gpu_gives_the_vectors_of_single_texts(written: Written, family: str) -> None:
    folder = written(TEXT[family][0])
    alone = load_text(folder, "one", compute_on("torch"))
    batched = load_text(folder, "four", Compute(torch.device("cpu"), rows=4))
    np.testing.assert_allclose(batched.encode(TEXTS), alone.encode(TEXTS), atol=1e-4)


def test_queries_and_passages_have_the_prompts_of_the_checkpoint(written: Written) -> None:
    encoder = load_text(written(checkpoints.qwen3), "qwen3@test", compute_on("torch"))
    np.testing.assert_array_equal(encoder.encode(["a dog"], query=True), encoder.encode(["query: a dog"]))
    assert np.abs(encoder.encode(["a dog"], query=True) - encoder.encode(["a dog"])).max() > 1e-3


def test_the_limit_of_tokens_is_the_checkpoints(written: Written) -> None:
    encoder = load_text(written(checkpoints.roberta), "roberta@test", compute_on("torch"))
    np.testing.assert_array_equal(encoder.encode(["a dog " * 9]), encoder.encode(["a dog " * 4]))  # 8 + 2 tokens


def copied(folder: Path, into: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            (into / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (into / path.relative_to(folder)).write_bytes(path.read_bytes())
    return into


def test_a_checkpoint_without_a_parameter_is_rejected(written: Written, tmp_path: Path) -> None:
    folder = copied(written(checkpoints.dinov2), tmp_path)
    state = {key: value for key, value in load_file(folder / "model.safetensors").items() if "layer.1.mlp" not in key}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RayreelError, match=r"not complete: it has no parameter .*layer\.1\.mlp"):
        load_frames(folder, "dinov2@test", compute_on("torch"))


def test_pickled_weights_give_the_same_vectors(written: Written, tmp_path: Path) -> None:
    folder = copied(written(checkpoints.clip), tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    frames = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    pickled, safe = (load_frames(f, "clip@test", compute_on("torch")) for f in (folder, written(checkpoints.clip)))
    np.testing.assert_allclose(pickled.encode(frames), safe.encode(frames), atol=1e-5)


def test_code_of_a_checkpoint_is_never_run(written: Written, tmp_path: Path) -> None:
    folder = copied(written(checkpoints.dinov2), tmp_path)
    (folder / "code.py").write_text("raise SystemExit('never run')")
    config = {"model_type": "their_own", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    checkpoints.write(folder / "config.json", config)
    with pytest.raises(RayreelError, match="cannot be loaded"):
        load_frames(folder, "code@test", compute_on("torch"))


def test_a_network_that_masks_at_random_is_rejected(tmp_path: Path) -> None:
    config = tf.ViTMAEConfig(**checkpoints.SMALL, image_size=32, patch_size=8)
    checkpoints.save(tmp_path, tf.ViTMAEModel(config), tf.ViTImageProcessor(size={"height": 32, "width": 32}))
    with pytest.raises(RayreelError, match="meant for training"):
        load_frames(tmp_path, "vit_mae@test", compute_on("torch"))


def test_a_processor_that_does_more_than_crop_scale_and_shift_is_rejected(tmp_path: Path) -> None:
    config = tf.ViTConfig(**checkpoints.SMALL, image_size=32, patch_size=8)
    processor = tf.ViTImageProcessor(size={"height": 24, "width": 32})
    checkpoints.save(tmp_path, tf.ViTModel(config), processor)
    with pytest.raises(RayreelError, match="frames are square"):
        load_frames(tmp_path, "vit@test", compute_on("torch"))


def test_an_unsupported_module_or_pooling_is_rejected(written: Written, tmp_path: Path) -> None:
    folder = copied(written(bert_mean), tmp_path)
    checkpoints.write(folder / "1_Pooling" / "config.json", {"pooling_mode_weightedmean_tokens": True})
    with pytest.raises(ValueError, match="weightedmean_tokens is not supported"):
        read_recipe(folder)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_CNN", "type": "x.CNN"}]
    checkpoints.write(folder / "modules.json", modules)
    with pytest.raises(RayreelError, match="the module CNN is not supported"):
        load_text(folder, "bert@test", compute_on("torch"))


def test_a_language_model_without_a_pooling_is_rejected(written: Written, tmp_path: Path) -> None:
    folder = copied(written(checkpoints.qwen3), tmp_path)
    (folder / "modules.json").unlink()
    with pytest.raises(RayreelError, match="how its states are pooled"):
        load_text(folder, "qwen3@test", compute_on("torch"))


def test_a_checkpoint_of_another_modality_is_rejected(written: Written) -> None:
    with pytest.raises(RayreelError, match="cannot be used as a text encoder"):
        load_text(written(checkpoints.dinov2), "dinov2@test", compute_on("torch"))
    with pytest.raises(RayreelError, match="cannot be used as an audio encoder"):
        load_sound(written(checkpoints.dinov2), "dinov2@test", compute_on("torch"))


def test_a_network_that_openvino_cannot_convert_runs_in_torch_with_a_warning(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load_text(written(checkpoints.embedding_gemma), "gemma@test", compute_on("openvino"))
    assert isinstance(encoder._runtime, TorchRuntime)
    assert "torch runs this network" in caplog.text
