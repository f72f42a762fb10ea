"""One video's tokens over several processes: Ulysses (arXiv 2309.14509) at the attention seam.

Every process holds the whole model and a run of consecutive tokens. Before self-attention the processes trade tokens
for heads, so that each computes all tokens of its share of the heads; afterwards they trade back. Everything else works
token by token. The keys and values of text and audio are on every process, and a run that begins or ends inside a frame
looks up its tokens' frames. Heads and tokens that do not divide are filled up with zeros, whose results are dropped (as
the official code fills 12 heads up to 16 for 8 processes).

With gradients every process takes its fraction 1 / processes of the loss; the sum of the gradients over the processes
is then that of the whole loss. What happens before and behind the blocks is computed by all, and counts that often;
inside them each process counts its own tokens.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.functional import pad

from humo.attention import AudioAttention, Kernel, SelfAttention, within_frames
from humo.transformer import PATCH, HuMoTransformer
from schemas.errors import UserError


@contextmanager
def torchrun_group(device: torch.device) -> Iterator[dist.ProcessGroup | None]:
    """The group of the processes that `torchrun` started; None for a process on its own."""
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield None
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()


def local_rank() -> int:
    """Number of this process among those that `torchrun` started on this machine; 0 for a process on its own."""
    return int(os.environ["LOCAL_RANK"]) if dist.is_torchelastic_launched() else 0


@contextmanager
def sequence_split(model: HuMoTransformer, group: dist.ProcessGroup) -> Iterator[None]:
    """Inside, the model's forward passes run on all processes of the group together, each with the same arguments.

    Latents, references and zero condition are those of the group's first process; every process gets the whole result.
    Raises UserError in a pass with gradients that has fewer tokens than would give each process one.
    """
    run = _Run(group)
    # Compiled blocks leave the exchange between processes alone.
    aside: Any = torch.compiler.disable
    handles = [model.register_forward_pre_hook(run.begin, with_kwargs=True)]
    for index, block in enumerate(model.blocks):
        handles.append(block.register_forward_pre_hook(aside(run.enter_first if index == 0 else run.enter)))
    handles.append(model.blocks[-1].register_forward_hook(aside(run.leave_last)))
    handles.append(model.mask_predictor.register_forward_hook(aside(run.leave_predictor)))
    attentions = [module for module in model.modules() if isinstance(module, (SelfAttention, AudioAttention))]
    routes = [module.route for module in attentions]
    for module in attentions:
        module.route = aside(run.across_processes if isinstance(module, SelfAttention) else run.within_frames)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, route in zip(attentions, routes, strict=True):
            module.route = route


class _Run:
    """This process's run of tokens: its place is known when a pass begins."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.processes, self.rank = dist.get_world_size(group), dist.get_rank(group)

    def begin(self, model: HuMoTransformer, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        latents, *rest = given
        # Processes whose inputs differed in a last digit could take different branches and wait for each other.
        latents = self._of_first(latents)
        for name in ("reference_bcrhw", "zero_condition_bcthw"):
            if named.get(name) is not None:
                named[name] = self._of_first(named[name])
        frames, rows, columns = latents.shape[2:]
        self.frame_tokens = (rows // PATCH) * (columns // PATCH)
        self.tokens = frames * self.frame_tokens
        self.length = -(-self.tokens // self.processes)
        self.start = min(self.rank * self.length, self.tokens)
        self.stop = min(self.start + self.length, self.tokens)
        # A process without tokens would have no gradients, and the others would wait for them.
        if torch.is_grad_enabled() and (self.processes - 1) * self.length >= self.tokens:
            raise UserError(
                f"{self.tokens} tokens do not go round {self.processes} processes that share them: let fewer share, or "
                "train on larger videos"
            )
        return (latents, *rest), named

    def enter_first(self, block: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x_blc, time_b6c, (cosines_lp, sines_lp), *conditions = given
        self.rotary = self._own(cosines_lp[None])[0], self._own(sines_lp[None])[0]
        return self._own(x_blc), time_b6c, self.rotary, *conditions

    def enter(self, block: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x_blc, time_b6c, _, *conditions = given
        return x_blc, time_b6c, self.rotary, *conditions

    def leave_last(self, block: Any, given: tuple[Any, ...], result: tuple[Any, ...]) -> tuple[Any, ...]:
        x_blc, *rest = result
        return self._whole(x_blc), *rest

    def leave_predictor(self, predictor: Any, given: tuple[Any, ...], logits_bl: Tensor) -> Tensor:
        return self._whole(logits_bl)

    def across_processes(self, kernel: Kernel, q_blhd: Tensor, k_blhd: Tensor, v_blhd: Tensor) -> Tensor:
        """All tokens of this process's heads; tokens for heads and back."""
        batch, length, heads, width = q_blhd.shape
        own_heads = -(-heads // self.processes)
        missing = own_heads * self.processes - heads
        three = torch.cat([x.to(v_blhd.dtype) for x in (q_blhd, k_blhd, v_blhd)])
        three = pad(three, (0, 0, 0, missing)).view(3 * batch, length, self.processes, own_heads, width)
        whole = self._exchange(three.permute(2, 0, 1, 3, 4)).transpose(0, 1).flatten(1, 2)[:, : self.tokens]
        q, k, v = whole.chunk(3)
        mixed = pad(kernel(q, k, v), (0, 0, 0, 0, 0, self.processes * length - self.tokens))
        mixed = self._exchange(mixed.reshape(batch, self.processes, length, own_heads, width).transpose(0, 1))
        return mixed.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :heads]

    def within_frames(self, kernel: Kernel, q_blhd: Tensor, k_bfnhd: Tensor, v_bfnhd: Tensor) -> Tensor:
        """The run is filled up to whole frames and meets those frames' keys."""
        count = self.stop - self.start
        if count == 0:
            return torch.zeros_like(q_blhd, dtype=v_bfnhd.dtype)
        first, end = self.start // self.frame_tokens, -(-self.stop // self.frame_tokens)
        before, after = self.start - first * self.frame_tokens, end * self.frame_tokens - self.stop
        filled = pad(q_blhd[:, :count], (0, 0, 0, 0, before, after))
        mixed = within_frames(kernel, filled, k_bfnhd[:, first:end], v_bfnhd[:, first:end])
        return pad(mixed[:, before : before + count], (0, 0, 0, 0, 0, self.length - count))

    def _own(self, x_blc: Tensor) -> Tensor:
        """This process's run of the tokens, filled up with zeros to the common length."""
        return pad(x_blc[:, self.start : self.stop], (0, 0, 0, self.length - (self.stop - self.start)))

    def _whole(self, x_bl: Tensor) -> Tensor:
        """All tokens, (batch, tokens, ...), from every process's own."""
        whole: Tensor = _Gathered.apply(x_bl, self.group)  # type: ignore[no-untyped-call]
        return whole.transpose(0, 1).flatten(1, 2)[:, : self.tokens]

    def _exchange(self, parts: Tensor) -> Tensor:
        """`parts[i]` goes to process i; the result's i-th part came from process i."""
        exchanged: Tensor = _Exchanged.apply(parts, self.group)  # type: ignore[no-untyped-call]
        return exchanged

    def _of_first(self, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.broadcast(x, group=self.group, group_src=0)
        return x


class _Exchanged(torch.autograd.Function):
    """All to all; so are its gradients."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        parts = parts.contiguous()
        received = torch.empty_like(parts)
        dist.all_to_all_single(received, parts, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = gradients[0].contiguous()
        received = torch.empty_like(parts)
        dist.all_to_all_single(received, parts, group=ctx.group)
        return received, None


class _Gathered(torch.autograd.Function):
    """Every process's tensor behind a new first axis. All go on alike, so this one's gradients are every one's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        gathered = x.new_empty(dist.get_world_size(group) * x.shape[0], *x.shape[1:])
        dist.all_gather_single(gathered, x.contiguous(), group=group)
        return gathered.view(-1, *x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        processes, rank = dist.get_world_size(ctx.group), dist.get_rank(ctx.group)
        return processes * gradients[0][rank], None
