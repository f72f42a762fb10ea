"""A fresh mini model: the real architecture at toy width with the mini encoders."""

import torch

from humo.checkpoints import Model
from humo.mini.audio import MelAudioEncoder
from humo.mini.codec import LinearCodec
from humo.mini.text import HashedTextEncoder
from humo.presets import MINI
from humo.settings import GenerationDefaults, GuidanceSettings
from humo.transformer import Form, HuMoTransformer

DEFAULTS = GenerationDefaults(
    height=64,
    width=64,
    frames=17,
    steps=20,
    negative_text="",
    guidance=GuidanceSettings(form="official_1_7b", text=1.0, image=1.5, audio=2.0),
)
SHIFT = 3.0


def mini_model(seed: int, form: Form = "overwrite") -> Model:
    """Untrained, on the CPU in float32; the same weights for the same seed. Leaves torch's random state as it was.

    For `save_model_dir` after training: `dataclasses.replace(model, transformer=trained)`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = HuMoTransformer(**{**MINI, "form": form})
    return Model(
        transformer=transformer,
        text_encoder=HashedTextEncoder(width=MINI["text_dim"], length=MINI["text_length"]),
        audio_encoder=MelAudioEncoder(width=MINI["audio_dim"]),
        codec=LinearCodec(),
        defaults=DEFAULTS,
        shift=SHIFT,
    )
