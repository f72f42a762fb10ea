"""How much memory and time a configuration takes, by calculation from the model's sizes.

Bytes of a block's activations that the backward pass keeps were counted with saved-tensor hooks under bfloat16
autocast, at several widths: 75 a channel and 2.2 a hidden feed-forward channel of each token; 4 a channel, the
residual stream alone, where the whole block is computed again. Speed is an assumption: `ASSUMED_MFU`.
"""

from dataclasses import dataclass
from typing import Any

from humo.checkpoints import empty_transformer
from humo.transformer import HuMoTransformer
from training.config import Stage, TrainingConfig
from training.flops import step_flops, tokens_of
from training.parallel import WHOLE_BLOCK
from training.plan import Bucket
from training.stages import trained_sizes

ASSUMED_MFU = 0.3
"""Between what NVIDIA reports of a Wan 14B at 37 k tokens with FSDP (0.18 to 0.23) and with Megatron (0.33)."""
WIDTH_BYTES, FFN_BYTES, STREAM_BYTES = 75.0, 2.2, 4.0


@dataclass(frozen=True)
class Estimate:
    """Of one stage, per device, for the largest bucket."""

    stage: str
    weights_gb: float
    """In float32, this device's shards, and two blocks that are whole while they work."""
    training_gb: float
    """Gradients, AdamW's two moments and the averages of what trains, this device's shards."""
    activations_gb: float
    step_seconds: float
    """At `ASSUMED_MFU`, what is computed again on top of it; without the encoders, which `humo encode` spares."""
    days: float
    """Of the whole stage."""

    def line(self) -> str:
        """In words."""
        total = self.weights_gb + self.training_gb + self.activations_gb
        return (
            f"stage {self.stage}: {total:.1f} GB a device ({self.weights_gb:.1f} weights, {self.training_gb:.1f} "
            f"gradients, optimizer and averages, {self.activations_gb:.1f} activations), {self.step_seconds:.1f} s a "
            f"step, {self.days:.1f} days"
        )


def estimate(config: TrainingConfig, sizes: dict[str, Any], processes: int) -> list[Estimate]:
    """Of every stage, for a model of these sizes (`humo.presets`) on so many devices."""
    model = empty_transformer(sizes, where="the preset")
    return [_stage(config, name, stage, model, processes) for name, stage in config.stages.items()]


def _stage(config: TrainingConfig, name: str, stage: Stage, model: HuMoTransformer, processes: int) -> Estimate:
    parallel, data = config.parallel, config.data
    shards = parallel.shard or processes
    weights = sum(one.numel() for one in model.parameters())
    block = sum(one.numel() for one in model.blocks[0].parameters())
    trained = sum(trained_sizes(model, stage).values())
    height, width = max(data.sizes, key=lambda size: size[0] * size[1])
    bucket = Bucket(height, width, max(data.lengths), data.references)
    share = data.batch * parallel.sequence // processes
    tokens = tokens_of(bucket) * (parallel.micro_batch or share) / parallel.sequence
    channels, hidden = int(model.config["width"]), int(model.config["ffn"])
    whole = tokens * (WIDTH_BYTES * channels + FFN_BYTES * hidden)
    kept = len(model.blocks) * whole
    again = 1.0
    if WHOLE_BLOCK in parallel.recompute:
        kept = len(model.blocks) * tokens * STREAM_BYTES * channels + whole
        again = 4 / 3
    flops = step_flops(model, bucket, trains=stage.trains, with_audio=stage.uses_sync) * share / parallel.sequence
    peak = config.logging.peak_tflops * 1e12
    seconds = again * flops / (ASSUMED_MFU * peak) if peak else 0.0
    return Estimate(
        stage=name,
        weights_gb=(4 * weights / shards + 2 * 4 * block) / 1e9,
        training_gb=16 * trained / shards / 1e9,
        activations_gb=kept / 1e9,
        step_seconds=seconds,
        days=seconds * stage.steps / 86400,
    )
