"""Environments of stages whose packages the core does without, or cannot live with: declared here and nowhere else.

Where the running Python has an environment's packages at these versions, its stages run in it. Else Ray builds one
(`runtime_env`): once for each node, kept under a hash of the list as long as that Ray runs. Where the running Python is
a virtual environment, Ray copies that first: 3.2 GB and about a minute. It downloads packages too, so that it needs the
user's word: `engine.build_environments`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Distributions at exact versions. `extra`: what brings the same into the running Python; None where it cannot."""

    name: str
    packages: tuple[tuple[str, str], ...]
    extra: str | None
    alone: tuple[str, ...] = ()
    """Further arguments of pip, such as `--no-deps`."""
    needed: tuple[tuple[str, str], ...] = ()
    """What the packages need beside the core's, where pip is told to bring no dependencies; another version will do."""


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment(
            name="looks",
            packages=(("torchvision", "0.28.0"), ("timm", "1.0.31"), ("open-clip-torch", "3.3.0")),
            extra="looks",
        ),
        # Its dependency on opencv-python would come beside opencv-python-headless and replace its files.
        Environment(
            name="faces",
            packages=(("onnx", "1.23.2"), ("scikit-image", "0.26.0"), ("insightface", "2.1")),
            extra=None,
            alone=("--no-deps",),
            needed=(("ml-dtypes", "0.6.0"), ("lazy-loader", "0.6"), ("imageio", "2.38.1"), ("tifffile", "2026.3.3")),
        ),
        Environment(name="vocals", packages=(("demucs", "4.1.0"),), extra="vocals"),
        # It pins torch, torchaudio and huggingface-hub: no running Python of ours can hold it.
        Environment(name="whisperx", packages=(("whisperx", "3.8.6"),), extra=None),
    )
}


def missing(environment: Environment) -> list[str]:
    """Distributions that the running Python does not have at the version asked for, as pip writes them."""
    wrong = [each for each in environment.packages if _installed(each[0]) != each[1]]
    return _pinned([*wrong, *(each for each in environment.needed if _installed(each[0]) is None)])


def bring(extra: str) -> str:
    """The command, given in the checkout, that brings an extra of HuMo: on PyPI its name is somebody else's."""
    return f"pip install -e '.[{extra}]'"


def how_to_install(environment: Environment) -> str:
    """The one command that brings it into the running Python; for one that cannot live there, what to do instead."""
    if environment.extra is not None:
        return bring(environment.extra)
    if environment.alone:
        listed = " ".join(_pinned([*environment.packages, *environment.needed]))
        return f"pip install {' '.join(environment.alone)} {listed}"
    return "--set engine.build_environments=true"


def runtime_env(name: str) -> dict[str, Any]:
    """What Ray is given for an environment: nothing where the running Python has it all."""
    environment = ENVIRONMENTS[name]
    if not missing(environment):
        return {}
    packages = _pinned([*environment.packages, *environment.needed])
    return {"pip": {"packages": packages, "pip_check": False, "pip_install_options": list(environment.alone)}}


def _pinned(packages: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}=={wanted}" for name, wanted in packages]


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None
