"""Fixtures of the model's tests: the official code's reference outputs and a small untrained model directory."""

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from humo.checkpoints import Model, load_transformer, save_model_dir
from humo.mini.model import DEFAULTS, SHIFT, mini_model
from humo.presets import MINI
from humo.transformer import HuMoTransformer
from humo.wan import UMT5TextEncoder, WanCodec, WhisperAudioEncoder
from schemas.command_line import run

GOLDEN = Path(__file__).parent.parent / "golden"


def relative_error(ours: torch.Tensor, golden: torch.Tensor) -> float:
    """max|a - b| / max|b|; shapes must agree."""
    assert ours.shape == golden.shape
    return float((ours - golden).abs().max() / golden.abs().max())


def drawn(seed: int, name: str, *shape: int) -> torch.Tensor:
    """The rule by which the reference outputs' weights and inputs were drawn."""
    generator = numpy.random.Generator(numpy.random.PCG64(zlib.crc32(f"{seed}:{name}".encode())))
    return torch.from_numpy(generator.standard_normal(shape).astype(numpy.float32))


def drawn_weight(seed: int, name: str, *shape: int) -> torch.Tensor:
    """The same for a parameter of the official state dict."""
    x = drawn(seed, name, *shape)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.1 * x
    if name.endswith("bias"):
        return 0.02 * x
    if "modulation" in name:
        return 0.2 * x
    fan = int(numpy.prod(shape[1:])) if len(shape) > 1 else shape[0]
    return x / fan**0.5


@dataclass(frozen=True)
class Official:
    """One variant's reference: its description, drawn weights and inputs, outputs."""

    about: dict[str, Any]
    directory: Path
    """The model directory that `humo convert` made of the drawn weights in the released files' form."""
    weights: dict[str, torch.Tensor]
    inputs: dict[str, Any]
    outputs: dict[str, torch.Tensor]

    def error(self, ours: torch.Tensor, output: str) -> float:
        """Of a tensor without its batch axis against the named output."""
        return relative_error(ours, self.outputs[output])

    def model(self, dtype: torch.dtype = torch.float32) -> HuMoTransformer:
        return load_transformer(self.directory / "transformer", dtype=dtype)


def write_released(folder: Path, variant: str, weights: dict[str, torch.Tensor]) -> Path:
    """The released files: one `ema.pth` (1.7B), shards `humo.*` with their index (17B)."""
    folder.mkdir()
    if variant == "1_7b":
        torch.save(weights, folder / "ema.pth")
        return folder / "ema.pth"
    halves = {key: f"humo-0000{1 + (index > 40)}-of-00002.safetensors" for index, key in enumerate(weights)}
    for name in sorted(set(halves.values())):
        save_file({key: weights[key] for key in weights if halves[key] == name}, folder / name)
    (folder / "humo.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": halves}))
    return folder


@pytest.fixture(scope="session")
def official_reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Official]:
    """By `1_7b` or `17b`; each is made once."""
    return cache(lambda variant: make_reference(variant, tmp_path_factory.mktemp("official")))


def make_reference(variant: str, folder: Path) -> Official:
    """Draw the weights, write them as released, run `humo convert`."""
    about = json.loads((GOLDEN / f"official_{variant}.json").read_text())
    seed = about["seed"]
    video, references = about["frames_latent"], about["references"]
    grid = (about["height_latent"], about["width_latent"])
    inputs = {
        "noise": drawn(seed, "in.latents", 16, video + references, *grid)[None],
        "reference": drawn(seed, "in.reference", 16, references, *grid)[None],
        "zero_condition": 0.5 * drawn(seed, "in.zero_vae", 16, video + references, *grid)[None],
        "text": drawn(seed, "in.text", about["text_tokens"], 4096)[None],
        "text_negative": drawn(seed, "in.text_negative", about["text_tokens"] - 3, 4096)[None],
        "audio_windows": drawn(seed, "in.audio_windows", video, 8, 5, 1280)[None],
    }
    weights = {name: drawn_weight(seed, name, *shape) for name, shape in about["state_dict_shapes"].items()}
    released = write_released(folder / "released", variant, weights)
    assert run(["convert", str(released), "--out", str(folder / "model")]) == 0
    return Official(about, folder / "model", weights, inputs, load_file(GOLDEN / f"official_{variant}.safetensors"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["1_7b", "17b"])
def official(request: pytest.FixtureRequest, official_reference: Callable[[str], Official]) -> Official:
    return official_reference(request.param)


@pytest.fixture
def official_1_7b(official_reference: Callable[[str], Official]) -> Official:
    return official_reference("1_7b")


@pytest.fixture
def drawing() -> Callable[..., torch.Tensor]:
    """The drawing rule: (seed, name, *shape)."""
    return drawn


@pytest.fixture(scope="session")
def mini_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained mini model whose head is not zero, so that its velocities depend on everything."""
    model = mini_model(seed=3)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.transformer.named_parameters():
        if name == "head.head.weight" or name.endswith("audio_cross_attn.o.weight"):
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    directory = tmp_path_factory.mktemp("models") / "mini"
    save_model_dir(directory, model)
    return directory


@pytest.fixture(scope="session")
def umt5() -> UMT5TextEncoder:
    torch.manual_seed(0)
    words = ["<pad>", "</s>", "<unk>", "a", "woman", "speaks", "man"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    config = UMT5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return UMT5TextEncoder(UMT5EncoderModel(config), fast)


@pytest.fixture(scope="session")
def wan() -> WanCodec:
    torch.manual_seed(0)
    return WanCodec(
        AutoencoderKLWan(
            base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        )
    )


@pytest.fixture(scope="session")
def whisper() -> WhisperAudioEncoder:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_layers": 1}
    specials = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = WhisperConfig(
        vocab_size=8,
        num_mel_bins=128,
        d_model=8,
        encoder_layers=32,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        **sizes,
        **specials,
    )
    return WhisperAudioEncoder(WhisperModel(config), WhisperFeatureExtractor(feature_size=128))


@pytest.fixture(scope="session")
def tiny_directory(
    umt5: UMT5TextEncoder, wan: WanCodec, whisper: WhisperAudioEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model directory with the real encoders' classes at toy size."""
    torch.manual_seed(0)
    transformer = HuMoTransformer(**{**MINI, "form": "channels", "text_dim": 32, "text_length": 512, "audio_dim": 8})
    torch.nn.init.normal_(transformer.head.head.weight, std=0.05)
    model = Model(
        transformer=transformer, text_encoder=umt5, audio_encoder=whisper, codec=wan, defaults=DEFAULTS, shift=SHIFT
    )
    directory = tmp_path_factory.mktemp("models") / "tiny"
    save_model_dir(directory, model)
    return directory
