"""Text encoders from checkpoints: Sentence-Transformers, BERT's family, embedding decoders, CLIP's text side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rayreel.encoders.checkpoint import LOCAL, load_pretrained, read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.registry import read_json
from rayreel.encoders.runtime import start_checked
from rayreel.encoders.text import POOLINGS, PooledText, Pooling, Prompts, TokenEncoder, Tokenize, UnitLength
from rayreel.errors import RayreelError

MAX_TOKENS = 512  # for checkpoints that do not state a limit
UNSTATED = int(1e9)  # transformers' limit for tokenizers without one is higher
# The switches of a Pooling module before version 5 of Sentence-Transformers.
SWITCHES: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    activation.__name__: activation for activation in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}


class TextSide(nn.Module):
    """The text side of a network with a space shared with pictures or sound: [B, T] ids and mask -> [B, dim]."""

    def __init__(self, network: Any, *, masked: bool) -> None:  # noqa: ANN401
        super().__init__()
        self.network, self.masked = network, masked

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Map token ids to projected features. SigLIP is trained without a mask."""
        mask = mask_BT if self.masked else None
        return self.network.get_text_features(ids_BT, attention_mask=mask).pooler_output  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What Sentence-Transformers' files say: the transformer's folder, poolings, modules after them, and the inputs."""

    folder: Path
    poolings: tuple[Pooling, ...]
    head: nn.Module
    max_tokens: int | None
    lower: bool
    prompts: Prompts


def load_text(folder: Path, identity: str, compute: Compute) -> TokenEncoder:
    """Load a checkpoint. Its own configuration decides on pooling, length, further layers and prompts.

    Without Sentence-Transformers' files, the token states of an encoder are averaged. Raises RayreelError.
    """
    try:
        return _load(folder, identity, compute)
    except (ImportError, OSError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise RayreelError(f"{folder} cannot be used as a text encoder: {error}") from error


def _load(folder: Path, identity: str, compute: Compute) -> TokenEncoder:
    from transformers import AutoTokenizer

    recipe = read_recipe(folder)
    network = load_pretrained(recipe.folder)
    tokenizer = AutoTokenizer.from_pretrained(recipe.folder, **LOCAL)
    text = _text_side(network) if hasattr(network, "get_text_features") else _pooled(network, folder, recipe)
    most = recipe.max_tokens or _most_tokens(network.config.get_text_config(), tokenizer)
    fixed = isinstance(text, TextSide) and not text.masked
    tokenize = _tokenize(tokenizer, most, lower=recipe.lower, fixed=fixed)
    probes = [_probe(tokenize, words) for words in ("a dog runs", "two dogs run after one another in the snow")]
    runtime, dim = start_checked(text, probes, compute, any_length=True)
    return TokenEncoder(
        runtime,
        tokenize,
        dim=dim,
        identity=identity,
        pad_id=tokenizer.pad_token_id or 0,
        prompts=recipe.prompts,
        longest=most,
    )


def _text_side(network: Any) -> TextSide:  # noqa: ANN401
    for name in ("vision_model", "visual_projection", "audio_model", "audio_projection"):
        if getattr(network, name, None) is not None:
            setattr(network, name, None)
    return TextSide(network, masked=not network.config.model_type.startswith("siglip"))


def _pooled(network: Any, folder: Path, recipe: Recipe) -> PooledText:  # noqa: ANN401
    if not (folder / "modules.json").is_file() and _generates(network.config):
        raise ValueError("a language model without modules.json does not say how its states are pooled")
    return PooledText(network, recipe.poolings, recipe.head)


def _most_tokens(config: Any, tokenizer: Any) -> int:  # noqa: ANN401
    """Return the most tokens of a text, as Sentence-Transformers does. Some families reserve their first positions."""
    positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
    stated = int(tokenizer.model_max_length)
    return min(positions, stated) if stated < UNSTATED else positions - 2


def _generates(config: Any) -> bool:  # noqa: ANN401
    return any(name.endswith("ForCausalLM") for name in config.architectures or ())


def _tokenize(tokenizer: Any, most: int, *, lower: bool, fixed: bool) -> Tokenize:  # noqa: ANN401
    def tokenize(texts: list[str]) -> list[list[int]]:
        given = [text.lower() for text in texts] if lower else texts
        padding = "max_length" if fixed else False
        tokens = tokenizer(given, truncation=True, max_length=most, padding=padding, return_attention_mask=False)
        return list(tokens["input_ids"])

    return tokenize


def _probe(tokenize: Tokenize, text: str) -> tuple[Tensor, Tensor]:
    ids_BT = torch.tensor(tokenize([text]))
    return ids_BT, torch.ones_like(ids_BT)


def read_recipe(folder: Path) -> Recipe:
    """Read Sentence-Transformers' files. Raises ValueError for modules that are not supported."""
    modules = [
        (module["type"].split(".")[-1], folder / module["path"]) for module in read_json(folder / "modules.json")
    ]
    transformer = modules[0][1] if modules else folder
    inputs, prompts = read_json(transformer / "sentence_bert_config.json"), _prompts(folder)
    poolings: tuple[Pooling, ...] = () if modules else ("mean",)
    head: list[nn.Module] = []
    for kind, path in modules[1:]:
        if kind == "Pooling":
            poolings = _poolings(read_json(path / "config.json"), has_prompts=prompts != Prompts())
        else:
            head.append(_module(kind, path))
    if not poolings:
        raise ValueError("modules.json has no pooling of the token states")
    lower, most = bool(inputs.get("do_lower_case")), inputs.get("max_seq_length")
    return Recipe(transformer, poolings, nn.Sequential(*head), most, lower, prompts)


def _poolings(config: dict[str, Any], *, has_prompts: bool) -> tuple[Pooling, ...]:
    """Return the poolings that the configuration of a Pooling module selects."""
    if has_prompts and not config.get("include_prompt", True):
        raise ValueError("pooling that leaves the prompt out is not supported")
    named = config.get("pooling_mode")
    names = [named] if isinstance(named, str) else named or [SWITCHES.get(name, name) for name in _switched_on(config)]
    if unknown := set(names) - set(POOLINGS):
        raise ValueError(f"pooling {', '.join(sorted(unknown))} is not supported")
    return tuple(names)


def _switched_on(config: dict[str, Any]) -> list[str]:
    return [name for name, chosen in config.items() if name.startswith("pooling_mode_") and chosen]


def _module(kind: str, path: Path) -> nn.Module:
    """Return a module after the pooling. Raises ValueError for kinds and activations that are not known."""
    if kind == "Normalize":
        return UnitLength()
    if kind != "Dense":
        raise ValueError(f"the module {kind} is not supported")
    config = read_json(path / "config.json")
    activation = str(config.get("activation_function", "Tanh")).split(".")[-1]
    if activation not in ACTIVATIONS:
        raise ValueError(f"the activation {activation} is not supported")
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    file = next(path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file())
    linear.load_state_dict({name.removeprefix("linear."): value for name, value in read_state(file).items()})
    return nn.Sequential(linear.float(), ACTIVATIONS[activation]())


def _prompts(folder: Path) -> Prompts:
    """Return the prompts of queries and of passages, or the default prompt if the checkpoint has none."""
    config = read_json(folder / "config_sentence_transformers.json")
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    passage = prompts.get("document") or prompts.get("passage") or prompts.get(default) or ""
    return Prompts(prompts.get("query") or prompts.get(default) or "", passage)
