"""Weight files are read without running anything from them, and every key of them is accounted for."""

import contextlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from humo.weights import check_fit, fit_weights, read_weights
from schemas.errors import UserError


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3), "b.weight": torch.randn(1, 3)}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def write_shards(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    names = {key: f"m-0000{index % 2 + 1}-of-00002.safetensors" for index, key in enumerate(weights)}
    for name in set(names.values()):
        save_file({key: weights[key] for key in weights if names[key] == name}, folder / name)
    index = folder / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return index


def test_every_form_of_file(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    index = write_shards(tmp_path, weights)
    assert equal(read_weights(index), weights)
    assert equal(read_weights(tmp_path), weights)
    single = tmp_path / "one"
    single.mkdir()
    save_file(weights, single / "m.safetensors")
    assert equal(read_weights(single), weights)
    torch.save(weights, tmp_path / "ema.pth")
    assert equal(read_weights(tmp_path / "ema.pth"), weights)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.target,)

    def __init__(self, target: str) -> None:
        self.target = target


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrapped", [True, False])
def test_code_in_a_pickle_is_not_run(wrapped: bool, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    path = tmp_path / "ema.pth"
    if wrapped:
        torch.save({"a": torch.zeros(1), "b": Bomb(str(target))}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(str(target))))
    with pytest.raises(UserError, match=r"ema\.pth is no plain file of weights"):
        read_weights(path)
    assert not target.exists()


def test_a_pickle_of_other_things_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 3}, tmp_path / "ema.pth")
    with pytest.raises(UserError, match="something other than named tensors"):
        read_weights(tmp_path / "ema.pth")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_files_are_refused(weights: dict[str, torch.Tensor], suffix: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / f"m.{suffix}"
    if suffix == "pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=str(path)):
        read_weights(path)


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pickled") / "m.pth"
    torch.save({"a.weight": torch.randn(3, 2)}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(data=st.data())
def test_damaged_pickles_load_or_are_refused(pickled: Path, data: st.DataObject) -> None:
    content = bytearray(pickled.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = pickled.with_name("damaged.pth")
    damaged.write_bytes(content)
    with contextlib.suppress(UserError):
        assert all(isinstance(value, torch.Tensor) for value in read_weights(damaged).values())


def test_missing_files_folders_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="holds no weight file"):
        read_weights(tmp_path)
    (tmp_path / "m.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="is no weight file"):
        read_weights(tmp_path / "m.bin")
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"x": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(UserError, match="several weight files"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/secret.safetensors", "sub/x.safetensors", "x.pth"])
def test_an_index_may_not_leave_its_folder(name: str, tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="no safetensors file beside it"):
        read_weights(index)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": ["a"]}'])
def test_a_malformed_index_is_refused(content: str, tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(UserError, match="no index"):
        read_weights(index)


def test_index_and_shards_must_agree(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    index = write_shards(tmp_path, weights)
    content = json.loads(index.read_text())
    content["weight_map"]["ghost"] = content["weight_map"]["a.weight"]
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match="ghost"):
        read_weights(index)
    del content["weight_map"]["ghost"], content["weight_map"]["a.weight"]
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a\.weight"):
        read_weights(index)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.Linear(3, 1, bias=False)


SHAPES = {"a.weight": (3, 2), "a.bias": (3,), "b.weight": (1, 3)}


def test_weights_that_fit_become_the_parameters(weights: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        net = Net()
    fit_weights(net, weights, where="here")
    assert equal(net.state_dict(), weights)


def test_each_kind_of_misfit_names_its_keys(weights: dict[str, torch.Tensor]) -> None:
    del weights["a.bias"]
    weights["a.weight"] = torch.zeros(2, 3)
    weights["extra"] = torch.zeros(1)
    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UserError) as caught:
        fit_weights(net, weights, where="here")
    message = str(caught.value)
    assert "here does not fit" in message
    assert "missing keys: a.bias" in message
    assert "unexpected keys: extra" in message
    assert "a.weight (2, 3) instead of (3, 2)" in message
    assert equal(net.state_dict(), before)


def test_listed_extras_are_left_aside_and_told() -> None:
    found = {**SHAPES, "freqs": (1,), "mask.0": (1,)}
    assert check_fit(SHAPES, found, where="here", extras=("freqs", "mask.*")) == ["freqs", "mask.0"]
    with pytest.raises(UserError, match=r"unexpected keys: mask\.0$"):
        check_fit(SHAPES, found, where="here", extras=("freqs",))


def test_optional_parameters_may_be_absent_but_not_misshaped() -> None:
    def optional(key: str) -> bool:
        return key.startswith("b.")

    found = {key: shape for key, shape in SHAPES.items() if not optional(key)}
    assert check_fit(SHAPES, found, where="here", optional=optional) == []
    with pytest.raises(UserError, match=r"wrong shapes: b\.weight"):
        check_fit(SHAPES, {**found, "b.weight": (3, 1)}, where="here", optional=optional)
