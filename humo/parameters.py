"""Which part of the model a parameter belongs to, so that training stages can say as data what trains."""

from typing import Literal

ParameterGroup = Literal["self_attention", "audio", "mask_predictor", "reference_input", "other"]


def parameter_group(name: str) -> ParameterGroup:
    """The group of a parameter, by its official name (`named_parameters()` of `HuMoTransformer`).

    - `self_attention`: q, k, v, o and their norms in every block (stage 1 of the paper trains these alone).
    - `audio`: the audio projection and every block's audio attention with its norm.
    - `mask_predictor`: the training-only mask predictor.
    - `reference_input`: the patch embedding, where references enter. In the 17B form 20 of its input channels are new
      and must train too, or references never reach the model.
    - `other`: text, time, feed-forward, modulation, head.
    """
    if name.startswith("mask_predictor."):
        return "mask_predictor"
    if name.startswith("patch_embedding."):
        return "reference_input"
    if name.startswith("audio_proj.") or ".audio_cross_attn_wrapper." in name:
        return "audio"
    if ".self_attn." in name:
        return "self_attention"
    return "other"
