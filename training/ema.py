"""The moving average of the weights that train, which is what a stage hands on and what is exported."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """Averages by parameter name, in float32, starting from the weights as they are."""

    def __init__(self, parameters: dict[str, nn.Parameter], *, decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.averages: dict[str, Tensor] = {name: one.detach().float().clone() for name, one in parameters.items()}

    def update(self, updates: int) -> None:
        """Take the current weights in; `updates` is how often this was done before.

        The decay min(d, (1 + n) / (10 + n)) lets the average forget its start quickly.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        current = [self._parameters[name].detach().float() for name in self.averages]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self.averages.values()), current, None)

    def load(self, averages: dict[str, Tensor]) -> None:
        """Take over stored averages of the same parameters."""
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @torch.no_grad()
    def copy_to_weights(self) -> None:
        """Put the averages in the weights' place."""
        for name, average in self.averages.items():
            self._parameters[name].copy_(average)
