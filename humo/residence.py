"""Which parts of a model are in memory, and where, while a video is made.

`HuMoPipeline` asks one of the two classes here for each part and holds none longer than it works.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from humo.checkpoints import (
    KNOWN_PARTS,
    Model,
    Weights,
    load_part,
    load_transformer,
    part_class,
    read_index,
    read_shift,
)
from humo.encoders import AudioEncoder, TextEncoder, VideoCodec
from humo.offload import resident, streamed
from humo.settings import GenerationDefaults
from humo.transformer import HuMoTransformer
from humo.wan import UMT5TextEncoder, WanCodec

Offload = Literal["none", "model", "blocks"]
"""`none`: everything stays on the device. `model`: one of transformer, encoders and codec at a time. `blocks`: the
same, and of the transformer and the text encoder one layer at a time."""


class Parts(Protocol):
    """A model's parts; each method's result is a context in which the part is ready to work."""

    transformer: HuMoTransformer
    """For its sizes; to work it is asked for by `working_transformer`."""
    defaults: GenerationDefaults
    shift: float
    """Of the sampler's noise schedule."""
    device: torch.device
    """Where the work is done."""
    stream_layers: bool
    """Whether only one block of the working transformer is on the device."""

    def text_encoder(self) -> AbstractContextManager[TextEncoder]:
        """For texts."""
        ...

    def audio_encoder(self) -> AbstractContextManager[AudioEncoder]:
        """For speech."""
        ...

    def codec(self) -> AbstractContextManager[VideoCodec]:
        """For pixels."""
        ...

    def working_transformer(self) -> AbstractContextManager[HuMoTransformer]:
        """For sampling."""
        ...


class AllResident:
    """Everything stays where it is."""

    stream_layers = False

    def __init__(self, model: Model, device: torch.device) -> None:
        """`device`: where the model is."""
        self.transformer, self.defaults, self.shift, self.device = (
            model.transformer,
            model.defaults,
            model.shift,
            device,
        )
        self._model = model

    def text_encoder(self) -> AbstractContextManager[TextEncoder]:
        """See `Parts`."""
        return nullcontext(self._model.text_encoder)

    def audio_encoder(self) -> AbstractContextManager[AudioEncoder]:
        """See `Parts`."""
        return nullcontext(self._model.audio_encoder)

    def codec(self) -> AbstractContextManager[VideoCodec]:
        """See `Parts`."""
        return nullcontext(self._model.codec)

    def working_transformer(self) -> AbstractContextManager[HuMoTransformer]:
        """See `Parts`."""
        return nullcontext(self.transformer)


class OneAtATime:
    """Encoders and codec are read when they are needed and freed when they are done; the transformer waits on the CPU.

    So memory holds the text encoder or the working transformer, never both. The Wan VAE works tile by tile.
    """

    def __init__(
        self,
        directory: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        stream_layers: bool = False,
        weights: Weights = "full",
    ) -> None:
        """Of a model directory.

        `stream_layers`: of the transformer and of UMT5, only the layer at work is on the device. For the rest and for
        errors see `humo.checkpoints.load_model_dir`.
        """
        index = read_index(directory)
        self._classes = {part: part_class(directory, index, part) for part in KNOWN_PARTS}
        self._directory, self._dtype, self._weights = directory, dtype, weights
        self.stream_layers = stream_layers
        self.defaults, self.shift, self.device = index.defaults, read_shift(directory), device
        self.transformer = load_transformer(directory / "transformer", dtype=dtype, int8=weights == "int8")

    @contextmanager
    def text_encoder(self) -> Iterator[TextEncoder]:
        """See `Parts`."""
        if self.stream_layers and self._classes["text_encoder"] is UMT5TextEncoder:
            encoder = self._load("text_encoder", torch.device("cpu"))
            with streamed(encoder.model, encoder.model.encoder.block, self.device):
                yield encoder
        else:
            yield self._load("text_encoder", self.device)

    @contextmanager
    def audio_encoder(self) -> Iterator[AudioEncoder]:
        """See `Parts`."""
        yield self._load("audio_encoder", self.device)

    @contextmanager
    def codec(self) -> Iterator[VideoCodec]:
        """See `Parts`."""
        codec = self._load("vae", self.device)
        if isinstance(codec, WanCodec):
            codec.model.enable_tiling()
        yield codec

    @contextmanager
    def working_transformer(self) -> Iterator[HuMoTransformer]:
        """See `Parts`."""
        if self.stream_layers:
            with streamed(self.transformer, self.transformer.blocks, self.device):
                yield self.transformer
        else:
            with resident(self.transformer, self.device):
                yield self.transformer

    def _load(self, part: str, device: torch.device) -> Any:
        return load_part(
            self._directory, part, self._classes[part], device=device, dtype=self._dtype, weights=self._weights
        )
