"""What an environment lacks, what brings it, and what Ray is told to build."""

from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement

from pipeline import environments
from pipeline.environments import Environment, how_to_install, missing, runtime_env

MADE = Environment(
    name="made", packages=(("one", "1.0"),), extra=None, alone=("--no-deps",), needed=(("two", "2.0"), ("three", "3.0"))
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Distribution -> version; the test says what there is."""
    there: dict[str, str] = {}
    monkeypatch.setattr(environments, "_installed", there.get)
    monkeypatch.setitem(environments.ENVIRONMENTS, "made", MADE)
    return there


def test_what_its_packages_need_comes_with_them(installed: dict[str, str]) -> None:
    assert missing(MADE) == ["one==1.0", "two==2.0", "three==3.0"]
    assert how_to_install(MADE) == "pip install --no-deps one==1.0 two==2.0 three==3.0"
    assert runtime_env("made")["pip"]["packages"] == ["one==1.0", "two==2.0", "three==3.0"]
    assert runtime_env("made")["pip"]["pip_install_options"] == ["--no-deps"]


def test_another_version_of_a_package_is_none_and_of_what_it_needs_will_do(installed: dict[str, str]) -> None:
    installed |= {"one": "1.1", "two": "2.7", "three": "1.0"}
    assert missing(MADE) == ["one==1.0"]
    installed["one"] = "1.0"
    assert missing(MADE) == []
    assert runtime_env("made") == {}


def test_where_pip_brings_no_dependencies_they_are_listed() -> None:
    """insightface wants opencv-python, which would replace the core's; what else it wants must then be named."""
    listed = {
        name for name, _ in (*environments.ENVIRONMENTS["faces"].packages, *environments.ENVIRONMENTS["faces"].needed)
    }
    assert listed >= {"insightface", "onnx", "scikit-image", "ml-dtypes", "lazy-loader", "imageio", "tifffile"}
    assert not listed & {"opencv-python", "opencv-python-headless", "torch", "numpy"}


def brought_by(name: str) -> set[str]:
    """Distributions that this one needs, and those need, as far as they are installed; without any extra of its own."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset[str]())]
    while waiting:
        wanted, extras = waiting.pop()
        if (wanted, extras) in found:
            continue
        found.add((wanted, extras))
        try:
            needed = [Requirement(line) for line in requires(wanted) or []]
        except PackageNotFoundError:
            continue
        for one in needed:
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((one.name.lower().replace("_", "-"), frozenset(one.extras)))
    return {found_name for found_name, _ in found}


def test_what_has_only_cuda_builds_or_pins_the_core_is_not_in_it() -> None:
    core = brought_by("humo")
    assert {"torch", "ray", "transformers", "tokenizers"} <= core, "it finds what is brought by others"
    assert not core & {"torchvision", "torchaudio", "whisperx", "insightface", "open-clip-torch", "demucs"}
