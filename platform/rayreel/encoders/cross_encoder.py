"""Cross-encoders: a query and a text in one pass, to one number. Slower and more accurate than two vectors."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.checkpoint import LOCAL, quiet
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub import checkpoint_folder
from rayreel.encoders.registry import checkpoint_of
from rayreel.encoders.trained import UnknownEncoder
from rayreel.encoders.weights import HubRepo
from rayreel.errors import RayreelError

MAX_TOKENS = 512
BATCH = 16


class CrossEncoder:
    """A sequence classifier of transformers with one output, such as cross-encoder/ms-marco-MiniLM-L6-v2."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            with quiet():
                network, report = AutoModelForSequenceClassification.from_pretrained(
                    folder, **LOCAL, dtype=torch.float32, output_loading_info=True
                )
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise RayreelError(f"{folder} cannot be used as a cross-encoder: {error}") from error
        if report["missing_keys"] or network.config.num_labels != 1:
            raise RayreelError(
                f"{folder} is no cross-encoder: it needs one trained output, and has {network.config.num_labels} "
                f"and no parameters {sorted(report['missing_keys'])}. Choose another recommend.reranker."
            )
        self._network, self.device = network.to(device).eval(), device
        self._most = min(self._tokenizer.model_max_length, MAX_TOKENS)

    @torch.inference_mode()
    def score(self, query: str, texts: list[str]) -> NDArray[np.float32]:
        """Return how well each text answers the query, [N]; higher is better. Long texts are cut."""
        scores = [self._batch(query, texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        return np.concatenate([np.empty(0, np.float32), *scores])

    def _batch(self, query: str, texts: list[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            [query] * len(texts), texts, truncation=True, max_length=self._most, padding=True, return_tensors="pt"
        )
        found: NDArray[np.float32] = self._network(**tokens.to(self.device)).logits[:, 0].cpu().numpy()
        return found


def load_cross_encoder(name: str, weights_dir: Path | None, cache_dir: Path, device: torch.device) -> CrossEncoder:
    """Load a cross-encoder by hf:OWNER/NAME@REVISION or its folder; downloads it if needed.

    Raises UnknownEncoder, UnreachableWeights, and RayreelError for a checkpoint of another kind.
    """
    source = checkpoint_of(Modality.TEXT, name)
    if not isinstance(source, HubRepo | Path):
        raise UnknownEncoder(
            f"No cross-encoder {name!r}. Set recommend.reranker to hf:OWNER/NAME@REVISION, such as "
            "hf:cross-encoder/ms-marco-MiniLM-L6-v2, or to the folder of a checkpoint."
        )
    return CrossEncoder(checkpoint_folder(source, weights_dir, cache_dir), device)
