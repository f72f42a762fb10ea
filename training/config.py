"""What a training run is told: one YAML file, changed by `--set a.b=c`, every field explained where it stands."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.configuration import Configuration, merged, parse_settings, read_yaml, validated
from schemas.errors import UserError

SHIPPED = Path(__file__).with_name("configs")

Group = Literal["self_attention", "audio", "mask_predictor", "reference_input", "new_inputs", "other"]
"""A part of the model that trains or rests as one. Which parameters belong to it is said by `humo.parameters`, but for
`new_inputs`: of the patch embedding of the form `channels`, the weights of the 20 channels that the base does not have.
"""


class Augmentation(Configuration):
    """How reference images are varied, so that the model learns the person and not the picture."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a left-right flip."""
    smallest_scale: float = Field(default=0.8, gt=0, le=1)
    """The image is scaled by a factor drawn evenly between this and 1; what is left free is white."""
    colour: float = Field(default=0.1, ge=0, lt=1)
    """Brightness and contrast are each multiplied by a factor drawn evenly from 1 - colour to 1 + colour."""

    @property
    def varies(self) -> bool:
        """Whether anything is left to chance."""
        return self.flip > 0 or self.smallest_scale < 1 or self.colour > 0


class Encoded(Configuration):
    """What `humo encode` stores of a sample. Crops are then drawn once and for all; the rest is as without."""

    windows: int = Field(default=1, ge=1)
    """Of a clip longer than a training window, so many, evenly spread."""
    variants: int = Field(default=4, ge=1)
    """Of its references, the first as it is, the others augmented."""
    half: bool = True
    """In float16, half the size of float32."""


class Data(Configuration):
    """What is read from the shards and how it becomes batches of one shape."""

    sizes: list[tuple[int, int]] = Field(min_length=1)
    """Sizes in pixels, (height, width), multiples of 16. A sample goes to the size whose aspect is nearest its own."""
    lengths: list[int] = Field(min_length=1)
    """Lengths in frames, each 4n + 1. A sample goes to the greatest it fills; a window of it is drawn each time."""
    references: int = Field(default=1, ge=1)
    """At most so many reference images of a sample are used."""
    batch: int = Field(ge=1)
    """Samples in a step, over all processes."""
    hold_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training split, by hash of the key, that is kept for the swap test and never trained on."""
    shuffle_window: int = Field(default=4, ge=1)
    """So many shards are shuffled together: more mixes better, fewer reads are closer together."""
    augmentation: Augmentation = Augmentation()
    """How reference images are varied."""
    encoded: Encoded = Encoded()
    """What `humo encode` stores."""
    workers: int = Field(default=1, ge=0)
    """Processes that read and decode ahead; 0 does it between the steps."""
    cache_mb: int = Field(default=512, ge=0)
    """Decoded samples that each of these processes keeps."""
    verify: Literal["hashes", "sizes", "nothing"] = "hashes"
    """What of every shard is compared with the manifest before the first step; a difference ends the run there."""
    damaged: Literal["skip", "stop"] = "skip"
    """A sample that cannot be used is left out, its place counting for nothing, and recorded; or it ends the run."""

    @field_validator("sizes")
    @classmethod
    def _sizes_fit_patches(cls, sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
        for size in sizes:
            if any(side < 16 or side % 16 for side in size):
                raise ValueError(f"the size {size} is not in multiples of 16 (8 of the codec, 2 of the patches)")
        return sizes

    @field_validator("lengths")
    @classmethod
    def _lengths_fit_codec(cls, lengths: list[int]) -> list[int]:
        for length in lengths:
            if length < 5 or length % 4 != 1:
                raise ValueError(f"the length {length} is not 4n + 1 frames")
        return lengths


class Model(Configuration):
    """The model that is trained."""

    start: str
    """What training begins from: `mini`, a fresh mini model with weights from the seed, or a model directory."""


class SyncShare(Configuration):
    """The share of samples trained with their audio; the others are subject samples with null audio."""

    start: float = Field(default=0, ge=0, le=1)
    """At the stage's first step."""
    end: float = Field(default=0, ge=0, le=1)
    """At its last; linear between."""


class Stage(Configuration):
    """One stretch of training. It begins from the EMA weights of the one before, with a fresh optimizer."""

    steps: int = Field(ge=1)
    """Optimizer steps."""
    trains: list[Group] = Field(min_length=1)
    """The groups of parameters that change; all others are left bit for bit as they are."""
    sync_share: SyncShare = SyncShare()
    """The mix of tasks (the paper's stage 2: from 0.2 to 0.5)."""
    learning_rate: float = Field(gt=0)
    """At its peak."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly to its peak."""
    final_share: float = Field(default=1, ge=0, le=1)
    """The learning rate falls by a cosine to this share of its peak; 1 keeps it constant."""

    @property
    def uses_sync(self) -> bool:
        """Whether it trains on sync samples. Otherwise the model's audio layers are switched off."""
        return self.sync_share.start > 0 or self.sync_share.end > 0


class Dropout(Configuration):
    """Probabilities, independent of each other, that a condition is replaced by its null. Guidance needs them."""

    text: float = Field(default=0.1, ge=0, le=1)
    """By the empty text."""
    image: float = Field(default=0.1, ge=0, le=1)
    """By the model's form of "no image"."""
    audio: float = Field(default=0.1, ge=0, le=1)
    """By zero features."""


class Objective(Configuration):
    """The loss. The paper publishes neither the shift nor the dropout nor the mask's weight: these are our choices."""

    shift: float = Field(default=2.0, gt=0)
    """Moves the drawn timesteps towards noise: s = k u / (1 + (k - 1) u)."""
    shifts: dict[Annotated[str, Field(pattern=r"^\d+x\d+$")], Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict
    )
    """For sizes of `data.sizes`, as {720x1280: 5}; the others have `shift`. Larger videos want more."""
    dropout: Dropout = Dropout()
    """How often each condition is missing."""
    mask_weight: float = Field(default=0.05, ge=0)
    """Weight of the mask predictor's loss beside the velocity's."""
    mask_factor_limit: float = Field(default=30.0, ge=1)
    """Upper bound of hw / sum(M), by which small faces weigh more."""

    def shift_of(self, height: int, width: int) -> float:
        """Of videos of that size in pixels."""
        return self.shifts.get(f"{height}x{width}", self.shift)


class Optimizer(Configuration):
    """AdamW, gradient clipping and the moving average of the weights."""

    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of AdamW's first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to AdamW's denominator."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled; on matrices only."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm over all that trains."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Upper bound of the moving average's decay, which is (1 + n) / (10 + n) in a stage's early steps n."""


class Trouble(Configuration):
    """What happens to a step whose loss or gradient is no number, or whose gradient is far above the usual."""

    policy: Literal["stop", "skip"] = "stop"
    """`stop` ends the run with the samples' names; `skip` leaves the weights as they are, records them and goes on."""
    spike: float = Field(default=0, ge=0)
    """A gradient norm of so many times its running mean is trouble; 0 never."""
    after: int = Field(default=100, ge=1)
    """So many steps of a stage teach what is usual before any is judged by it."""
    patience: int = Field(default=10, ge=0)
    """More skipped steps in a row than this end the run all the same."""


class Parallel(Configuration):
    """How the work is spread over processes. Nothing here changes what is learned, but for rounding."""

    micro_batch: int = Field(default=0, ge=0)
    """Samples that pass the model at once in a process; its share of the batch is made of so many passes. 0: one."""
    sequence: int = Field(default=1, ge=1)
    """Processes that share each sample's tokens (Ulysses). Divides the model's heads."""
    shard: int = Field(default=0, ge=0)
    """Processes over which weights, averages and optimizer are sharded; 0: all. Fewer make copies (HSDP)."""
    recompute: tuple[str, ...] = ()
    """What the backward pass computes again instead of keeping it: `block`, or modules of a block by their names, for
    example [cross_attn, audio_cross_attn_wrapper, ffn], which spares self-attention, most of the work."""
    compile: bool = False
    """Compile every block: minutes once, faster steps."""


class Logging(Configuration):
    """What is told beside the line of each step in `log.jsonl`."""

    every: int = Field(default=10, ge=1)
    """Steps between points in TensorBoard; each is a mean over them."""
    peak_tflops: float = Field(default=0, ge=0)
    """Of one device in the precision used, 10^12 operations a second, for MFU (H100, bfloat16: 989). 0: no MFU."""


class Validation(Configuration):
    """Held-out samples: their loss on fixed noise, videos made from them, and after training the swap test: is the
    loss lower with the right audio, and with the right reference? All with the averaged weights."""

    every: int = Field(default=0, ge=0)
    """Steps between validation losses; 0 measures none."""
    videos: int = Field(default=0, ge=0)
    """So many held-out samples' captions, references and speech are made into videos at each of them."""
    video_steps: int = Field(default=20, ge=1)
    """Sampling steps of these videos."""

    samples: int = Field(default=64, ge=1)
    """At most so many held-out samples."""
    windows: int = Field(default=5, ge=1)
    """Windows per held-out sample, spread evenly; each is one pair of the statistics."""
    donors: int = Field(default=3, ge=1)
    """So many wrong audios, and wrong references, are tried on each window; their mean counts."""
    timesteps: int = Field(default=4, ge=1)
    """Timesteps per window, at even quantiles of the distribution that training draws from."""
    bootstrap: int = Field(default=2000, ge=100)
    """Resamples behind the 95 % intervals."""


class Checkpoints(Configuration):
    """How often training can be taken up again. A checkpoint is written while training goes on."""

    every: int = Field(default=100, ge=1)
    """Steps between checkpoints; there is always one at the end."""
    keep: int = Field(default=2, ge=1)
    """The newest so many are kept."""


class TrainingConfig(Configuration):
    """Everything about a run but where its data and its outputs lie."""

    seed: int = Field(default=0, ge=0)
    """Every random draw follows from it: the first weights, the order, the noise."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model trains."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch; 0 leaves torch's own choice. Tiny models are fastest with few."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products. Weights, their gradients and all sums over processes are in float32 either way."""
    data: Data
    model: Model
    stages: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Stage] = Field(min_length=1)
    """By name, in the order in which they run."""
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    trouble: Trouble = Trouble()
    parallel: Parallel = Parallel()
    validation: Validation = Validation()
    checkpoints: Checkpoints = Checkpoints()
    logging: Logging = Logging()

    @model_validator(mode="after")
    def _shifts_are_of_sizes_in_use(self) -> Self:
        known = [f"{height}x{width}" for height, width in self.data.sizes]
        if unknown := sorted(set(self.objective.shifts) - set(known)):
            raise ValueError(f"objective.shifts names {unknown[0]}, and data.sizes has {', '.join(known)}")
        return self

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages.values())

    def meaning(self) -> dict[str, Any]:
        """What the resulting weights depend on: all but how the work is spread, watched and stored.

        Whether a step in trouble ends the run or is left out is aside too: who resumes may choose again.
        """
        aside = {"threads", "parallel", "validation", "checkpoints", "logging"}
        meaning = self.model_dump(mode="json", exclude=aside)
        for name in ("policy", "patience"):
            del meaning["trouble"][name]
        for name in ("workers", "cache_mb", "verify", "damaged"):
            del meaning["data"][name]
        meaning["stages"] = [{"name": name, **stage} for name, stage in meaning["stages"].items()]
        return meaning


def load_config(name: str, settings: Iterable[str]) -> TrainingConfig:
    """Read a configuration: `name` is a YAML file or the name of one that is shipped; `settings` are `a.b=c`.

    Raises UserError that names the file and the first option that is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
    else:
        known = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
        if name not in known:
            raise UserError(f"no configuration {name!r}: give a .yaml file or one of {', '.join(known)}")
        path = SHIPPED / f"{name}.yaml"
    return validated(TrainingConfig, merged(read_yaml(path), parse_settings(settings)), where=name)
