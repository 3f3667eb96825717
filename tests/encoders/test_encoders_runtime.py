"""Vectors do not depend on neighbours, position, number of threads or runtime."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from rayreel.encoders.bert_text import load_bert, load_sentence_bert
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.logmel import load_log_mel
from rayreel.encoders.torchvision_frames import load_mobilenet_v2, load_resnet50
from rayreel.encoders.wav2vec import Wav2Vec2Audio

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
Encoder = Any  # for frames, sound or text
Some = Any  # what it encodes
Load = Callable[[Path, Compute], Encoder]
Built = Callable[..., Encoder]


def tiny_wav2vec2(_: Path, compute: Compute) -> Wav2Vec2Audio:
    torch.manual_seed(1)
    config = Wav2Vec2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    return Wav2Vec2Audio(Wav2Vec2Model(config), "wav2vec2@test", compute)


def seeded(load: Callable[[None, str, Compute], Encoder]) -> Load:
    def build(_: Path, compute: Compute) -> Encoder:
        torch.manual_seed(1)
        return load(None, "random", compute)

    return build


def photo_like(count: int) -> np.ndarray:
    """Return images of smooth colour blobs: all noise would look alike to the networks."""
    coarse = torch.from_numpy(RANDOM.uniform(0, 255, (count, 3, 7, 7)))
    fine = torch.nn.functional.interpolate(coarse, size=224, mode="bicubic").clamp(0, 255)
    return fine.permute(0, 2, 3, 1).byte().numpy()


FRAMES = photo_like(5)
WINDOWS = RANDOM.normal(0, 0.1, (6, 4000)).astype(np.float32)
TEXTS = [
    "a dog",
    "two dogs run",
    "stocks fall. " * 9,
    "a dog",
    "",
    "x" * 70,
    "news " * 300,
    "cat sleeps",
    "stocks fall",
]
ENCODERS: dict[str, tuple[Load, Some]] = {
    "mobilenet_v2": (lambda cache, compute: load_mobilenet_v2(cache / "mobilenet_v2", "genuine", compute), FRAMES),
    "resnet50": (seeded(load_resnet50), FRAMES[:3]),
    "log_mel": (seeded(load_log_mel), WINDOWS),
    "wav2vec2": (tiny_wav2vec2, WINDOWS),
    "minilm": (lambda cache, compute: load_sentence_bert(cache / "all-MiniLM-L6-v2", "genuine", compute), TEXTS),
    "bert": (seeded(load_bert), TEXTS),
}
NAMES = list(ENCODERS)


@pytest.fixture(scope="module")
def built(weights_cache: Path) -> Built:
    """Build encoders by name, runtime and threads, each once."""
    made: dict[tuple[object, ...], Encoder] = {}

    def get(name: str, runtime: Literal["torch", "openvino"], threads: int = 1) -> Encoder:
        if runtime == "openvino":
            pytest.importorskip("openvino")
        key = (name, runtime, threads)
        if key not in made:
            made[key] = ENCODERS[name][0](weights_cache, Compute(CPU, runtime, mixed=True, threads=threads))
        return made[key]

    return get


def taken(inputs: Some, places: np.ndarray) -> Some:
    return [inputs[i] for i in places] if isinstance(inputs, list) else inputs[places]


def cosines(a: Vectors, b: Vectors) -> Vectors:
    return np.asarray((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("name", NAMES)
def test_a_vector_does_not_depend_on_its_batch_in_any_bit(built: Built, name: str, runtime: str) -> None:
    encoder, inputs = built(name, runtime), ENCODERS[name][1]
    together = encoder.encode(inputs)
    regrouped, random = np.full_like(together, np.nan), np.random.default_rng(1)
    for places in np.array_split(random.permutation(len(inputs)), random.integers(2, len(inputs))):
        regrouped[places] = encoder.encode(taken(inputs, places))
    np.testing.assert_array_equal(regrouped, together)


@pytest.mark.parametrize("name", NAMES)
def test_openvino_and_torch_agree_to_a_cosine_of_0_999(built: Built, name: str) -> None:
    inputs = ENCODERS[name][1]
    ours, reference = built(name, "openvino").encode(inputs), built(name, "torch").encode(inputs)
    assert cosines(ours, reference).min() > 0.999
    assert cosines(reference[:1], reference[1:2]).max() < 0.9999  # otherwise agreement would be meaningless


def test_openvino_uses_bf16_only_with_mixed_precision(built: Built, weights_cache: Path) -> None:
    openvino = pytest.importorskip("openvino")
    build, inputs = ENCODERS["mobilenet_v2"]
    reference = built("mobilenet_v2", "torch").encode(inputs)
    pure = build(weights_cache, Compute(CPU, "openvino")).encode(inputs)
    mixed = built("mobilenet_v2", "openvino").encode(inputs)
    assert cosines(pure, reference).min() > 0.999999
    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert (cosines(mixed, reference).max() < 0.999999) == has_bf16


@pytest.mark.parametrize("name", ["mobilenet_v2", "minilm"])
def test_a_vector_does_not_depend_on_the_number_of_openvino_threads(built: Built, name: str) -> None:
    inputs = ENCODERS[name][1]
    one, three = built(name, "openvino"), built(name, "openvino", threads=3)
    np.testing.assert_array_equal(three.encode(inputs), one.encode(inputs))


@pytest.mark.parametrize("name", ["mobilenet_v2", "wav2vec2", "minilm"])
def test_a_padded_batch_gives_the_vectors_of_single_inputs(built: Built, weights_cache: Path, name: str) -> None:
    build, inputs = ENCODERS[name]
    batched = build(weights_cache, Compute(CPU, rows=4))  # as on a GPU
    np.testing.assert_allclose(batched.encode(inputs), built(name, "torch").encode(inputs), atol=1e-4)


def test_concurrent_callers_get_their_own_vectors(built: Built) -> None:
    encoder = built("minilm", "openvino", threads=3)
    expected = encoder.encode(TEXTS)
    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda i: encoder.encode([TEXTS[i % len(TEXTS)]])[0], range(60)))
    np.testing.assert_array_equal(np.stack(answers), expected[np.arange(60) % len(TEXTS)])


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_read_only_and_reversed_arrays_can_be_encoded(built: Built, runtime: str) -> None:
    encoder = built("mobilenet_v2", runtime)
    frames = FRAMES.copy()
    frames.flags.writeable = False
    mirrored = frames[::-1, :, ::-1]
    np.testing.assert_array_equal(encoder.encode(mirrored), encoder.encode(mirrored.copy(order="C")))


def test_conversion_writes_nothing_to_the_home_folder(
    weights_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's `convert_model` writes a record there for its analytics service."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny_wav2vec2(weights_cache, Compute(CPU, "openvino"))
    assert not list(tmp_path.iterdir())
