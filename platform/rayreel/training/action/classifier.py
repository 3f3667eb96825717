"""The action classifier: a video network with a classification head, and its accuracy."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.r2plus1d import R2Plus1D
from rayreel.encoders.trained import R2Plus1DConfig
from rayreel.encoders.windows import WindowNetwork
from rayreel.training.action.data import LabelledClips
from rayreel.training.distributed import world


class ActionClassifier(nn.Module):
    """Maps windows [B, T, S, S, 3] uint8 RGB to logits [B, classes]. The head is discarded after training."""

    def __init__(self, config: R2Plus1DConfig, classes: int) -> None:
        super().__init__()
        self.backbone = R2Plus1D(config)
        self.network = WindowNetwork(self.backbone)
        self.head = nn.Linear(self.backbone.dim, classes)

    def forward(self, frames_BTHWC: Tensor) -> Tensor:
        """Return the logits of these windows."""
        with torch.autocast("cuda", torch.bfloat16, enabled=frames_BTHWC.is_cuda):
            logits_BK: Tensor = self.head(self.network(frames_BTHWC))
        return logits_BK.float()


@torch.inference_mode()
def confusion_of(
    model: ActionClassifier, data: LabelledClips, rows: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], float]:
    """Return the confusion matrix (true class, predicted class) and the mean cross-entropy, over all workers.

    A clip's probabilities are the mean over its windows, as in Tran et al.
    """
    model.eval()
    rank, workers = world()
    count = len(data.classes)
    totals = torch.zeros(count * count + 1, dtype=torch.float64)
    for row in rows[rank::workers]:
        windows_BTHWC = torch.from_numpy(np.array(data.clips[row])).to(device)
        probability_K = F.softmax(model(windows_BTHWC), dim=1).mean(dim=0).double().cpu()
        label = int(data.labels_N[row])
        totals[label * count + int(probability_K.argmax())] += 1
        totals[-1] -= probability_K[label].clamp_min(1e-12).log()
    if workers > 1:
        totals = totals.to(device)
        torch.distributed.all_reduce(totals)
    confusion_KK = totals[:-1].cpu().numpy().astype(np.int64).reshape(count, count)
    return confusion_KK, float(totals[-1]) / max(1, len(rows))


def accuracy(confusion_KK: NDArray[np.int64]) -> float:
    """Return the share of correctly classified clips."""
    return float(np.trace(confusion_KK) / max(1, confusion_KK.sum()))
