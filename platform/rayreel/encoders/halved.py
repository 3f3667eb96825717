"""Networks with the weights of matrix products and convolutions in half precision, converted once."""

import torch
from torch import nn
from torch.nn.utils import parametrize

# Autocast casts the inputs and parameters of these to half precision at each pass. Norms keep float32, as there.
_CAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)


def halve(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert in place the parameters that autocast would cast at each pass; to be run under autocast all the same.

    The passes give the same bits as with the parameters in float32, since autocast leaves alone what is in `dtype`.
    Parametrised weights, such as those of Wav2Vec2's positions, are first computed, in float32.
    """
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
        if isinstance(module, _CAST):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
    return network
