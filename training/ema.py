"""The moving average of the weights that train, which is what a stage hands on and what is exported."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.parallel import local


class Ema:
    """Averages by parameter name, in float32, starting from the weights as they are and sharded like them."""

    def __init__(self, parameters: dict[str, nn.Parameter], *, decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.averages: dict[str, Tensor] = {name: one.detach().float().clone() for name, one in parameters.items()}

    def update(self, step: int) -> None:
        """Take the current weights in after a step of the stage, counted from 0 and with those that were skipped.

        The decay min(d, (1 + n) / (10 + n)) lets the average forget its start quickly.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        current = [local(self._parameters[name].detach()).float() for name in self.averages]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([local(one) for one in self.averages.values()], current, None)

    @torch.no_grad()
    def copy_to_weights(self) -> None:
        """Put the averages in the weights' place."""
        for name, average in self.averages.items():
            local(self._parameters[name]).copy_(local(average))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the averages stand in the weights' place."""
        kept = {name: local(self._parameters[name].detach()).clone() for name in self.averages}
        self.copy_to_weights()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    local(self._parameters[name]).copy_(value)
