"""The processes of a run, and how model and samples are spread over them.

Weights, averages and optimizer are sharded (FSDP2), over all processes or over groups of `shard` of them, of which each
holds a copy (HSDP). Independently of that, every `sequence` neighbouring processes have the same samples and share
their tokens (Ulysses, `humo.sequence_parallel`). Gradients are summed over all processes: each adds the part of the
loss that its samples make, and of samples that are shared its fraction.

bfloat16 comes by autocast over float32 weights, not by FSDP's own casts: so what HuMo keeps in float32 (residual
stream, norms, modulation, time embedding, head) stays so, parameter by parameter. Weights travel in float32 for that,
twice the bytes; beside the work of a sequence of 40,000 tokens it does not count.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from humo.sequence_parallel import sequence_split
from humo.transformer import HuMoTransformer
from schemas.errors import UserError
from training.config import Parallel

WHOLE_BLOCK = "block"
_FOR_EVER = timedelta(days=365)
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among the others of the run."""

    rank: int
    size: int
    device: torch.device
    data_rank: int
    """Which share of every step's slots it has."""
    data_ranks: int
    """How many shares there are."""
    mesh: DeviceMesh | None
    """Of (copies, shards) for the weights; None for a process on its own."""
    sharers: dist.ProcessGroup | None
    """The processes with the same samples; None if there are no others."""
    files: dist.ProcessGroup
    """For checkpoints alone: a thread that writes them has collectives of its own, in an order of its own."""
    messages: dist.ProcessGroup
    """For what the processes tell one another between steps."""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and tells."""
        return self.rank == 0

    @property
    def sequence(self) -> int:
        """Processes that have the same samples."""
        return self.size // self.data_ranks

    def totals(self, values: Mapping[str, float], *, sharers: bool = False) -> dict[str, float]:
        """The sums over all shares of the data; with `sharers`, over all processes, though some have the same samples.

        Every process calls it with the same names.
        """
        if self.size == 1:
            return dict(values)
        counts = sharers or self.rank % self.sequence == 0
        summed = torch.tensor(list(values.values()) if counts else [0.0] * len(values), dtype=torch.float64)
        dist.all_reduce(summed)
        return dict(zip(values, summed.tolist(), strict=True))

    def least(self, values_b: Tensor) -> Tensor:
        """The least of each value among the processes with the same samples, of which every one calls it."""
        if self.sharers is None:
            return values_b
        least_b = values_b.clone()
        dist.all_reduce(least_b, dist.ReduceOp.MIN, group=self.sharers)
        return least_b

    def gathered(self, items: Sequence[T]) -> list[T]:
        """The different ones of all processes, in order. Every process calls it."""
        lists: list[Any] = [None] * self.size
        dist.all_gather_object(lists, list(items), group=self.messages)
        return list(dict.fromkeys(item for some in lists for item in some))

    def by_first(self, action: Callable[[], None]) -> None:
        """The first process does it while the others wait. A user's mistake that it finds is raised in all."""
        complaint: list[str | None] = [None]
        if self.first:
            try:
                action()
            except UserError as error:
                complaint = [str(error)]
        if self.size > 1:
            dist.broadcast_object_list(complaint, group=self.messages)
        if complaint[0] is not None:
            raise UserError(complaint[0])

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, told to the others. Every process calls it."""
        made: list[Any] = [make() if self.first else None]
        if self.size > 1:
            dist.broadcast_object_list(made, group=self.messages)
        return cast(T, made[0])

    def meet(self) -> None:
        """Wait for all processes, however long they take: a collective would give up after half an hour."""
        if self.size > 1:
            dist.monitored_barrier(self.messages, timeout=_FOR_EVER)


@contextmanager
def joined(parallel: Parallel, *, device: Literal["cpu", "cuda"]) -> Iterator[World]:
    """The processes that `torchrun` or Ray started, by the environment they set; or this one on its own.

    Raises UserError for sizes that the processes do not divide into.
    """
    apart = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    here = torch.device(device, int(os.environ.get("LOCAL_RANK", 0))) if device == "cuda" else torch.device("cpu")
    if here.type == "cuda":
        torch.cuda.set_device(here)
    begun = not dist.is_initialized()
    if begun:
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        store = dist.HashStore()  # type: ignore[attr-defined]
        alone: dict[str, Any] = {"store": store, "rank": 0, "world_size": 1}
        dist.init_process_group(backend, **({} if apart else alone))
    try:
        yield _world(parallel, here)
    finally:
        if begun:
            dist.destroy_process_group()


def _world(parallel: Parallel, device: torch.device) -> World:
    size, rank = dist.get_world_size(), dist.get_rank()
    shard = parallel.shard or size
    for name, number in (("sequence", parallel.sequence), ("shard", shard)):
        if size % number:
            raise UserError(f"parallel.{name} is {number}, which does not divide the {size} processes of this run")
    files, messages = dist.new_group(backend="gloo"), dist.new_group(backend="gloo")
    mesh = sharers = None
    if size > 1:
        mesh = init_device_mesh(device.type, (size // shard, shard), mesh_dim_names=("copies", "shards"))
        if shard == size:
            mesh = mesh["shards"]
    if parallel.sequence > 1:
        grid = (size // parallel.sequence, parallel.sequence)
        sharers = init_device_mesh(device.type, grid, mesh_dim_names=("data", "sequence"))["sequence"].get_group()
    return World(
        rank=rank,
        size=size,
        device=device,
        data_rank=rank // parallel.sequence,
        data_ranks=size // parallel.sequence,
        mesh=mesh,
        sharers=sharers,
        files=files,
        messages=messages,
    )


def share_of_batch(batch: int, world: World, micro_batch: int) -> int:
    """Samples of this process in a step. Raises UserError unless batch = micro-batch x shares x accumulation."""
    share, rest = divmod(batch, world.data_ranks)
    if rest or (micro_batch and share % micro_batch):
        micro = f"micro-batches of {micro_batch} on " if micro_batch else ""
        raise UserError(
            f"data.batch is {batch}, which does not divide into {micro}{world.data_ranks} shares of the data "
            f"({world.size} processes, {world.sequence} for each sequence): change data.batch or parallel.micro_batch"
        )
    return share


def spread(model: HuMoTransformer, parallel: Parallel, world: World) -> None:
    """Put the model, block by block, in float32 onto the devices, prepared as `parallel` says.

    Raises UserError for heads that the processes of a sequence do not divide, and for names that no block has.
    """
    heads = int(model.config["heads"])
    if heads % parallel.sequence:
        raise UserError(f"parallel.sequence is {parallel.sequence}, which does not divide the model's {heads} heads")
    # One block after the other: the weights of a large model, whole and in float32, would not fit the memory.
    for block in model.blocks:
        block.to(torch.float32)
        for name in parallel.recompute:
            if name != WHOLE_BLOCK and name not in dict(block.named_modules()):
                known = ", ".join(child for child, _ in block.named_children())
                raise UserError(f"parallel.recompute names {name!r}; a block has {known}, and {WHOLE_BLOCK} is all")
            part = block if name == WHOLE_BLOCK else block.get_submodule(name)
            part.forward = _recomputed(part.forward)
        if parallel.compile:
            block.compile()
        if world.mesh is not None:
            fully_shard(block, mesh=world.mesh)
        else:
            block.to(world.device)
    for child in model.children():
        if child is not model.blocks:
            child.to(torch.float32)
    if world.mesh is None:
        model.to(world.device)  # type: ignore[arg-type]
        return
    # Else the outermost part stays whole after a forward pass without a backward one, such as validation: averages put
    # into the shards would not be seen, and a stage that begins there would switch on the wrong tensors.
    fully_shard(model, mesh=world.mesh, reshard_after_forward=True)
    # It warns of changes in place of what a block returns; nothing here makes any.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # A plain sum: gloo knows no other.
            module.set_force_sum_reduction_for_comms(True)


def shared_tokens(model: HuMoTransformer, world: World) -> AbstractContextManager[None]:
    """Inside, the processes that have the same samples share their tokens."""
    return nullcontext() if world.sharers is None else sequence_split(model, world.sharers)


def local(tensor: Tensor) -> Tensor:
    """The part that this process holds; it shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it. Every process calls it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full_state(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """The whole weights on the CPU, one parameter after the other, where `keep` is set. Every process calls it."""
    state = {}
    for name, tensor in model.state_dict().items():
        value = whole(tensor)
        if keep:
            state[name] = value.detach().to("cpu", copy=True)
    return state


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    return partial(checkpoint, forward, use_reentrant=False)
