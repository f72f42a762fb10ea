"""How much memory and time a configuration takes, by calculation from the model's sizes.

Bytes of a block's activations that the backward pass keeps were counted with saved-tensor hooks under bfloat16
autocast, at several widths: 75 a channel and 2.2 a hidden feed-forward channel of each token; 4 a channel, the
residual stream alone, where the whole block is computed again; less what `SPARED` says where parts of it are. Speed is
an assumption: `ASSUMED_MFU`.
"""

from dataclasses import dataclass
from typing import Any

from humo.checkpoints import empty_transformer
from humo.transformer import HuMoTransformer
from schemas.errors import UserError
from training.config import Stage, TrainingConfig
from training.flops import forward_flops, step_flops, tokens_of
from training.parallel import WHOLE_BLOCK
from training.plan import Bucket
from training.stages import trained_sizes

ASSUMED_MFU = 0.3
"""Between what NVIDIA reports of a Wan 14B at 37 k tokens with FSDP (0.18 to 0.23) and with Megatron (0.33)."""
WIDTH_BYTES, FFN_BYTES, STREAM_BYTES = 75.0, 2.2, 4.0
SPARED = {
    "self_attn": (29.0, 0.0),
    "cross_attn": (4.5, 0.0),
    "audio_cross_attn_wrapper": (16.6, 0.0),
    "ffn": (-3.5, 2.1),
}
"""By what of a block is computed again, bytes a channel and a hidden channel; its own input is kept instead."""
UMT5_WIDTH = 4096
ENCODERS_GB, CODEC_GB = 12.7, 0.25
"""UMT5-XXL with Whisper large v3's encoder, and Wan's codec, in bfloat16. Those of the mini model are nothing."""


@dataclass(frozen=True)
class Estimate:
    """Of one stage, per device, for the largest bucket."""

    stage: str
    weights_gb: float
    """In float32, this device's shards, and two blocks that are whole while they work."""
    training_gb: float
    """Gradients, AdamW's two moments and the averages of what trains, this device's shards."""
    activations_gb: float
    validation_gb: float
    """While there are no activations: what trains is set aside for its averages, and the codec of the first."""
    host_gb: float
    """Not on the device: what a checkpoint is written from, and the clips that workers keep."""
    first_host_gb: float
    """Besides, of the first process: the whole model for the export, and the encoders for validation videos."""
    step_seconds: float
    """At `ASSUMED_MFU`, what is computed again on top of it; without the encoders, which `humo encode` spares."""
    days: float
    """Of the whole stage."""

    def line(self) -> str:
        """In words."""
        total = self.weights_gb + self.training_gb + max(self.activations_gb, self.validation_gb)
        return (
            f"stage {self.stage}: {total:.1f} GB a device ({self.weights_gb:.1f} weights, {self.training_gb:.1f} "
            f"gradients, optimizer and averages, {self.activations_gb:.1f} activations or "
            f"{self.validation_gb:.1f} in validation), {self.host_gb:.1f} GB of its host, {self.first_host_gb:.1f} GB "
            f"more of the first one's, {self.step_seconds:.1f} s a "
            f"step, {self.days:.1f} days"
        )


def estimate(config: TrainingConfig, sizes: dict[str, Any], processes: int) -> list[Estimate]:
    """Of every stage, for a model of these sizes (`humo.presets`) on so many devices.

    Raises UserError where something is to be computed again whose memory was never counted.
    """
    unknown = sorted(set(config.parallel.recompute) - {WHOLE_BLOCK, *SPARED})
    if unknown:
        known = ", ".join([WHOLE_BLOCK, *SPARED])
        raise UserError(
            f"nothing is known of the memory that parallel.recompute spares by {unknown[0]!r}, but of {known}"
        )
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
    spared = {name: tokens * (SPARED[name][0] * channels + SPARED[name][1] * hidden) for name in SPARED}
    again = set(parallel.recompute)
    if WHOLE_BLOCK in again:
        kept = len(model.blocks) * tokens * STREAM_BYTES * channels + whole
    else:
        # While its backward pass is computed, a part has its own back.
        own = max((spared[name] for name in again), default=0.0)
        kept = len(model.blocks) * (whole - sum(spared[name] for name in again)) + own
    flops = step_flops(model, bucket, trains=stage.trains, with_audio=stage.uses_sync) * share / parallel.sequence
    peak = config.logging.peak_tflops * 1e12
    if WHOLE_BLOCK in again:
        flops *= 4 / 3
    else:
        parts = sum(forward_flops(model, bucket, name, with_audio=stage.uses_sync) for name in again)
        flops += parts * share / parallel.sequence
    seconds = flops / (ASSUMED_MFU * peak) if peak else 0.0
    real = int(model.config["text_dim"]) == UMT5_WIDTH
    return Estimate(
        stage=name,
        weights_gb=(4 * weights / shards + 2 * 4 * block) / 1e9,
        training_gb=16 * trained / shards / 1e9,
        activations_gb=kept / 1e9,
        validation_gb=4 * trained / shards / 1e9 + (CODEC_GB if real else 0.0),
        host_gb=(4 * weights + 12 * trained) / shards / 1e9 + data.workers * data.cache_mb / 1e3,
        first_host_gb=4 * weights / 1e9 + (ENCODERS_GB if real else 0.0),
        step_seconds=seconds,
        days=seconds * stage.steps / 86400,
    )
