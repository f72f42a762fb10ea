"""What a stage trains changes; everything else stays bit for bit, and a run from Wan's weights begins as Wan."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from humo.checkpoints import save_model_dir
from humo.convert import import_weights
from humo.mini.model import mini_model
from humo.parameters import parameter_group
from humo.transformer import Form
from tests.training.test_trainer import weights
from training.config import TrainingConfig
from training.encoding import Conditions
from training.objective import predict
from training.parallel import joined
from training.start import start_model
from training.trainer import train

PAPERS_STAGES = [
    "stages={subject: {steps: 2, trains: [self_attention, new_inputs], learning_rate: 0.01},"
    " sync: {steps: 2, trains: [self_attention, audio, mask_predictor], learning_rate: 0.01,"
    " sync_share: {start: 0.5, end: 0.5}}}",
    "checkpoints={every: 1, keep: 9}",
    "optimizer.weight_decay=0.5",
]


def test_after_the_papers_stages_only_what_they_name_has_changed(
    shards: Path, tmp_path: Path, small_config: Callable[..., TrainingConfig]
) -> None:
    """The form `channels`, in which stage 1 also trains the 20 new inputs and no other of the patch embedding's."""
    begun = mini_model(3, "channels")
    torch.nn.init.normal_(begun.transformer.head.head.weight, std=0.1)
    save_model_dir(tmp_path / "start", begun)
    config = small_config(f"model.start={tmp_path / 'start'}")
    stages = load_stages(config, PAPERS_STAGES)
    train(stages, data=str(shards), out=tmp_path / "out", resume=False)
    fresh = {name: value.clone() for name, value in begun.transformer.named_parameters()}
    first, second = weights(tmp_path / "out", 2), weights(tmp_path / "out", 4)
    for name, value in first.items():
        if name == "patch_embedding.weight":
            assert torch.equal(value[:, :16], fresh[name][:, :16])
            assert (value[:, 16:] != fresh[name][:, 16:]).float().mean() > 0.9
        else:
            assert torch.equal(value, fresh[name]) == (parameter_group(name) != "self_attention"), name
    for name, value in second.items():
        trained = parameter_group(name) in ("self_attention", "audio", "mask_predictor")
        assert torch.equal(value, first[name]) == (not trained), name


def load_stages(config: TrainingConfig, settings: list[str]) -> TrainingConfig:
    from schemas.configuration import parse_settings

    changes = parse_settings(settings)
    whole = config.model_dump(mode="json")
    for name, change in changes.items():
        whole[name] = change if name == "stages" else {**whole[name], **change}
    return TrainingConfig.model_validate(whole)


@pytest.mark.parametrize("form", ["overwrite", "channels"])
def test_from_wans_weights_the_first_prediction_is_wans(
    form: Form, tmp_path: Path, small_config: Callable[..., TrainingConfig]
) -> None:
    torch.manual_seed(0)
    wan = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=64,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    ).eval()
    torch.nn.init.normal_(wan.proj_out.weight, std=0.1)
    wan.save_pretrained(tmp_path / "wan")
    save_model_dir(tmp_path / "mini", mini_model(0))
    import_weights(tmp_path / "wan", tmp_path / "model", form=form, encoders=tmp_path / "mini")
    config = small_config(f"model.start={tmp_path / 'model'}")
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    clean, noise, time = normal(2, 16, 3, 4, 6), normal(2, 16, 4, 4, 6), torch.tensor([0.3, 0.8])
    given = Conditions(
        text_bld=normal(2, 512, 64),
        audio_btwgc=normal(2, 3, 8, 5, 1280),
        reference_bcrhw=normal(2, 16, 1, 4, 6),
        zero_bcthw=normal(2, 16, 4, 4, 6) if form == "channels" else None,
    )
    with joined(config.parallel, device="cpu") as world, torch.no_grad():
        model = start_model(config, world).transformer
        ours = predict(model, clean_bcthw=clean, noise_bcthw=noise, time_b=time, conditions=given).velocity_bcthw
    level = time.view(-1, 1, 1, 1, 1)
    latents = (1 - level) * torch.cat((clean, given.reference_bcrhw), dim=2) + level * noise
    if form == "overwrite":
        latents[:, :, 3:] = given.reference_bcrhw
    with torch.no_grad():
        theirs = wan(latents, time * 1000, given.text_bld, return_dict=False)[0]
    assert theirs.abs().max() > 0.1
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max() + 1e-6
