"""Access to the layers of networks under test."""

from torch import nn


def linear(layer: nn.Module) -> nn.Linear:
    """Return the layer; AssertionError if it is of another kind."""
    assert isinstance(layer, nn.Linear), layer
    return layer


def sequential(layer: nn.Module) -> nn.Sequential:
    """Return the layer; AssertionError if it is of another kind."""
    assert isinstance(layer, nn.Sequential), layer
    return layer
