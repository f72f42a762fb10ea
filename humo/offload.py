"""Modules, or single layers of them, on the device only while they work."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def resident(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module's weights on the device inside, on the CPU afterwards."""
    module.to(device)
    try:
        yield
    finally:
        module.to("cpu")
        if device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def streamed(module: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Inside, each of the layers is on the device only during its own forward pass; the module's rest stays there.

    The weights on the CPU stay as they are, and a layer's copy is dropped when it is done.
    """
    streamed_layers = list(layers)
    kept = {id(tensor) for layer in streamed_layers for tensor in _tensors(layer)}
    rest = [(tensor, tensor.data) for tensor in _tensors(module) if id(tensor) not in kept]
    handles: list[Any] = []
    for tensor, home in rest:
        tensor.data = home.to(device, copy=True)
    for layer in streamed_layers:
        homes = [(tensor, tensor.data) for tensor in _tensors(layer)]
        handles.append(layer.register_forward_pre_hook(_copier(homes, device)))
        handles.append(layer.register_forward_hook(_dropper(homes), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for tensor, home in rest:
            tensor.data = home


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _copier(homes: list[tuple[torch.Tensor, torch.Tensor]], device: torch.device) -> Any:
    def bring(*_: object) -> None:
        for tensor, home in homes:
            tensor.data = home.to(device, non_blocking=True, copy=True)

    return bring


def _dropper(homes: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    def drop(*_: object) -> None:
        for tensor, home in homes:
            tensor.data = home

    return drop
