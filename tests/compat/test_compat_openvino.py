"""What conversion leaves to `simplify`."""

import pytest
import torch
from torch import nn

pytest.importorskip("openvino")
from rayreel.compat.openvino import simplify
from rayreel.encoders.openvino_runtime import converted


def test_batch_normalisation_is_folded_into_the_weights_only_by_simplify() -> None:
    normalise = nn.BatchNorm2d(4)
    nn.init.uniform_(normalise.weight)
    nn.init.uniform_(normalise.bias)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), normalise).eval()
    model = converted(network, (torch.zeros(1, 3, 8, 8),))

    def kinds() -> list[str]:
        return [op.get_type_name() for op in model.get_ops()]

    assert "Multiply" in kinds() or "BatchNormInference" in kinds()
    simplify(model)
    assert sorted(kind for kind in kinds() if kind != "Constant") == ["Add", "Convolution", "Parameter", "Result"]
