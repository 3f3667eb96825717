"""Tiny random checkpoints in the hub's own format, written by transformers itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

Build = Callable[[Path], None]
Savable = Any  # a network or processor of transformers, which has no types
WORDS = "<pad> <s> </s> <unk> a dog runs two cat sleeps stocks fall query : document".split()  # noqa: SIM905
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WAVES = {**SMALL, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
TEXT = {**SMALL, "vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def words_tokenizer(*, first: bool = True, longest: int = 40) -> Savable:
    """Return a tokenizer of WORDS that adds </s>, and <s> if `first`."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single = "<s> $A </s>" if first else "$A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **names)


def save(folder: Path, network: Savable, *processing: Savable) -> None:
    """Save a network with scaled-up parameters, so that its vectors differ between inputs, and its processors."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
    for part in (network, *processing):
        part.save_pretrained(folder)


def clip(folder: Path) -> None:
    config = tf.CLIPConfig(
        text_config={**TEXT, "max_position_embeddings": 20},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    processor = tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(folder, tf.CLIPModel(config), processor, words_tokenizer(longest=20))


def siglip(folder: Path) -> None:
    config = tf.SiglipConfig(
        text_config={**TEXT, "max_position_embeddings": 12, "projection_size": 16},
        vision_config={**SMALL, "image_size": 48, "patch_size": 16},
    )
    processor = tf.SiglipImageProcessor(size={"height": 48, "width": 48})
    save(folder, tf.SiglipModel(config), processor, words_tokenizer(first=False, longest=12))


def dinov2(folder: Path) -> None:
    config = tf.Dinov2Config(**SMALL, image_size=28, patch_size=14)
    processor = tf.BitImageProcessor(size={"shortest_edge": 37}, crop_size={"height": 28, "width": 28})
    save(folder, tf.Dinov2Model(config), processor)


def dinov3(folder: Path) -> None:
    config = tf.DINOv3ViTConfig(**SMALL, image_size=32, patch_size=16, num_register_tokens=2)
    save(folder, tf.DINOv3ViTModel(config), tf.DINOv3ViTImageProcessor(size={"height": 32, "width": 32}))


def vit_classifier(folder: Path) -> None:
    config = tf.ViTConfig(**SMALL, image_size=32, patch_size=16, num_labels=3)
    save(folder, tf.ViTForImageClassification(config), tf.ViTImageProcessor(size={"height": 32, "width": 32}))


def videomae(folder: Path) -> None:
    config = tf.VideoMAEConfig(**SMALL, image_size=32, patch_size=16, num_frames=4)
    processor = tf.VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    save(folder, tf.VideoMAEModel(config), processor)


def vjepa2(folder: Path) -> None:
    config = tf.VJEPA2Config(
        patch_size=16, crop_size=32, frames_per_clip=4, tubelet_size=2, hidden_size=24, num_attention_heads=2,
        num_hidden_layers=2, mlp_ratio=2, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    save(folder, tf.VJEPA2Model(config), tf.VJEPA2VideoProcessor(crop_size=32))


def clap(folder: Path) -> None:
    audio = {
        "num_mel_bins": 16, "spec_size": 64, "window_size": 4, "patch_size": 2, "patch_stride": [2, 2],
        "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [2, 2], "num_attention_heads": [2, 2],
    }  # fmt: skip
    text = {**TEXT, "max_position_embeddings": 40}
    config = tf.ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    extractor = tf.ClapFeatureExtractor(feature_size=16, max_length_s=2, truncation="rand_trunc")
    save(folder, tf.ClapModel(config), extractor, words_tokenizer(longest=30))


def wav2vec2(folder: Path) -> None:
    save(folder, tf.Wav2Vec2Model(tf.Wav2Vec2Config(**WAVES)), tf.Wav2Vec2FeatureExtractor(do_normalize=True))


def hubert(folder: Path) -> None:
    save(folder, tf.HubertModel(tf.HubertConfig(**WAVES)), tf.Wav2Vec2FeatureExtractor(do_normalize=True))


def wavlm(folder: Path) -> None:
    save(folder, tf.WavLMModel(tf.WavLMConfig(**WAVES)), tf.Wav2Vec2FeatureExtractor(do_normalize=False))


def whisper(folder: Path) -> None:
    config = tf.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=20, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip
    save(folder, tf.WhisperForConditionalGeneration(config), tf.WhisperFeatureExtractor())


def bert(folder: Path, **pooling: bool) -> None:
    """Write a Sentence-Transformers checkpoint of BERT; without `pooling`, a bare BERT."""
    save(folder, tf.BertModel(tf.BertConfig(**TEXT), add_pooling_layer=False), words_tokenizer())
    if pooling:
        sentence_transformer(folder, {f"pooling_mode_{name}": chosen for name, chosen in pooling.items()})


def cross_encoder(folder: Path) -> None:
    save(folder, tf.BertForSequenceClassification(tf.BertConfig(**TEXT, num_labels=1)), words_tokenizer())


def roberta(folder: Path) -> None:
    config = tf.RobertaConfig(**{**TEXT, "pad_token_id": 0}, max_position_embeddings=60)
    save(folder, tf.RobertaModel(config, add_pooling_layer=False), words_tokenizer())
    sentence_transformer(folder, {"pooling_mode_mean_tokens": True}, max_seq_length=10)


def mpnet(folder: Path) -> None:
    save(folder, tf.MPNetModel(tf.MPNetConfig(**TEXT), add_pooling_layer=False), words_tokenizer())
    sentence_transformer(folder, {"pooling_mode_mean_tokens": True})


def qwen3(folder: Path) -> None:
    config = tf.Qwen3Config(**TEXT, num_key_value_heads=1, head_dim=8, max_position_embeddings=60)
    save(folder, tf.Qwen3ForCausalLM(config), words_tokenizer(first=False))
    prompts = {"query": "query: ", "document": ""}
    sentence_transformer(folder, {"pooling_mode_lasttoken": True, "include_prompt": True}, prompts=prompts)


def embedding_gemma(folder: Path) -> None:
    config = tf.Gemma3TextConfig(
        **TEXT, num_key_value_heads=1, head_dim=8, max_position_embeddings=60, use_bidirectional_attention=True
    )
    save(folder, tf.Gemma3TextModel(config), words_tokenizer())
    sentence_transformer(
        folder,
        {"pooling_mode_mean_tokens": True, "include_prompt": True},
        dense=((16, 24), (24, 8)),
        prompts={"query": "query: ", "document": "document: "},
    )


def sentence_transformer(
    folder: Path,
    pooling: dict[str, bool],
    *,
    dense: tuple[tuple[int, int], ...] = (),
    prompts: dict[str, str] | None = None,
    max_seq_length: int | None = None,
) -> None:
    """Add Sentence-Transformers' files for pooling, Dense modules and normalisation."""
    kinds = ["Transformer", "Pooling", *["Dense"] * len(dense), "Normalize"]
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, **pooling})
    for i, (inputs, outputs) in enumerate(dense, 2):
        layer = nn.Linear(inputs, outputs, bias=False)
        config: dict[str, object] = {"in_features": inputs, "out_features": outputs, "bias": False}
        write(
            folder / f"{i}_Dense" / "config.json", {**config, "activation_function": "torch.nn.modules.linear.Identity"}
        )
        save_file({"linear.weight": layer.weight.detach()}, folder / f"{i}_Dense" / "model.safetensors")
    if prompts:
        write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    if max_seq_length:
        write(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
