"""Models of the gpu profile's architectures, small, with random weights, laid out as their publishers do."""

import json
from pathlib import Path
from typing import Any, Literal

from pipeline.backends import open_clip_looks, transnet_cuts


def tokenizer(folder: Path) -> Any:
    """Qwen's special tokens over single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_ = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    special = [f"<|{name}|>" for name in ("im_start", "vision_start", "vision_end", "image_pad", "video_pad")]
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytes_,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=special,
    )
    made.save_pretrained(folder)
    return made


FULL_QWEN = {
    "2.5": (
        {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28},
        {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "out_hidden_size": 3584},
    ),
    "3": (
        {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
        {"depth": 27, "hidden_size": 1152, "num_heads": 16, "intermediate_size": 4304, "out_hidden_size": 4096},
    ),
}
"""Text and vision sizes of Qwen2.5-VL-7B and Qwen3-VL-8B."""


def qwen(folder: Path, kind: Literal["2.5", "3"], *, full: bool = False) -> Path:
    """A Qwen-VL whose answers depend on the pictures; `full`: at its published size, in bfloat16."""
    import torch
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer(folder)
    ids = {name: tokens.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    ends = {name: tokens.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    text: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16_384,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]},
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
        "initializer_range": 0.3,
    }
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": 0.3,
    }
    if full:
        text |= FULL_QWEN[kind][0] | {"num_key_value_heads": 4 if kind == "2.5" else 8, "initializer_range": 0.02}
        text["rope_parameters"] = {**text["rope_parameters"], "mrope_section": [16, 24, 24]}
        vision |= FULL_QWEN[kind][1] | {"initializer_range": 0.02}
    about = {
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": ends["vision_start"],
        "vision_end_token_id": ends["vision_end"],
    }
    if kind == "2.5":
        vision |= {"patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31] if full else [1]}
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **about)
        model: Any = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        text["head_dim"] = 128 if full else 8
        vision |= {"patch_size": 16, "num_position_embeddings": 2304 if full else 64}
        vision |= {"deepstack_visual_indexes": [8, 16, 24] if full else [0]}
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **about)
        model = transformers.Qwen3VLForConditionalGeneration(config)
    (model.to(torch.bfloat16) if full else model).save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=vision["patch_size"], merge_size=2).save_pretrained(folder)
    return folder


def transnet(folder: Path) -> Path:
    """TransNet V2 at its full size, which is small."""
    import torch

    from pipeline.backends.transnetv2 import TransNetV2

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(TransNetV2().state_dict(), folder / transnet_cuts.FILE)
    return folder


def open_clip(folder: Path, *, full: bool = False) -> Path:
    """A CLIP of 16 dimensions in open_clip's layout; `full`: ViT-L/14."""
    import open_clip as library
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 2},
    }
    if full:
        config = library.get_model_config("ViT-L-14-quickgelu")
    normal = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": normal}))
    model = library.CLIP(**config)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder


def aesthetic_head(folder: Path, *, width: int = 16) -> Path:
    """LAION's head over so many dimensions, under its published keys."""
    import torch

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    widths = (width, *open_clip_looks.HEAD_LAYERS)
    state = {}
    for place, before, after in zip((0, 2, 4, 6, 7), widths, widths[1:], strict=False):
        layer = torch.nn.Linear(before, after)
        state |= {f"layers.{place}.weight": layer.weight.data, f"layers.{place}.bias": layer.bias.data}
    torch.save(state, folder / open_clip_looks.HEAD_FILE)
    return folder


FACE_PX = (224.0, 160.0, 416.0, 416.0)
"""Where the synthetic detector sees a face in its 640 x 640 input, wherever that is not black."""


def insightface_pack(folder: Path) -> Path:
    """A detector that sees one face at `FACE_PX`, surer in a brighter picture, and a recognizer, as ONNX graphs."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    pack = folder / "models" / "tiny"
    pack.mkdir(parents=True, exist_ok=True)
    opset = [helper.make_opsetid("", 17)]

    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "one"], ["lit"]),
        helper.make_node("Mul", ["lit", "four"], ["much"]),
        helper.make_node("Clip", ["much", "zero", "most"], ["sure"]),
    ]
    constants = {"one": 1.0, "four": 4.0, "zero": 0.0, "most": 0.9}
    values = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    outputs: dict[str, list[Any]] = {"score": [], "box": [], "points": []}
    x0, y0, x1, y1 = FACE_PX
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    for stride in (8, 16, 32):
        cells = 640 // stride
        rows = cells * cells * 2
        score, box, five = np.zeros((rows, 1)), np.zeros((rows, 4)), np.zeros((rows, 10))
        if stride == 32:
            cx, cy = round((x0 + x1) / 2 / stride), round((y0 + y1) / 2 / stride)
            row = (cy * cells + cx) * 2
            centre = np.array([cx * stride, cy * stride])
            score[row] = 1
            box[row] = np.array([centre[0] - x0, centre[1] - y0, x1 - centre[0], y1 - centre[1]]) / stride
            at = np.array([(x0 + u * (x1 - x0), y0 + v * (y1 - y0)) for u, v in points])
            five[row] = ((at - centre) / stride).ravel()
        for name, array in (("score", score), ("box", box), ("points", five)):
            out = f"{name}{stride}"
            values.append(numpy_helper.from_array(array.astype(np.float32), f"c_{out}"))
            by = ["sure"] if name == "score" else []
            nodes.append(helper.make_node("Mul" if by else "Identity", [f"c_{out}", *by], [out]))
            outputs[name].append(helper.make_tensor_value_info(out, TensorProto.FLOAT, list(array.shape)))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    listed = [*outputs["score"], *outputs["box"], *outputs["points"]]
    graph = helper.make_graph(nodes, "detector", [given], listed, values)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), pack / "det_tiny.onnx")

    weights = np.random.default_rng(0).normal(size=(3 * 7 * 7, 512)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["input"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Flatten", ["small"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["out"]),
        ],
        "recognizer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 512])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), pack / "w_tiny.onnx")
    return folder


def demucs(folder: Path, *, sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")) -> Path:
    """An HT Demucs as its author publishes it: a safetensors in half precision that says of what class it is."""
    import torch
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, Any] = {"channels": 8, "nfft": 1024, "depth": 4, "dconv_comp": 4}
    sizes |= {"t_layers": 1, "t_heads": 2, "t_hidden_scale": 1.0}
    network = HTDemucs(sources=list(sources), segment=0.5, **sizes)
    half = {"_type": "fraction", "numerator": 1, "denominator": 2}
    said = {"sources": list(sources), "segment": half, **sizes}
    about = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(said)}
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / "04573f0d.safetensors", metadata=about)
    return folder
