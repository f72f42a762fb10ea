"""Environments of stages whose packages the core does without, or cannot live with: declared here and nowhere else.

Where the running Python has an environment's packages at these versions, its stages run in it. Else Ray builds one
(`runtime_env`): on top of the running Python's packages, once for each node, kept in its cache under a hash of the
list. That downloads packages, so it needs the user's word: `engine.build_environments`.
"""

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
        ),
        # It pins torch, torchaudio and huggingface-hub: no running Python of ours can hold it.
        Environment(name="whisperx", packages=(("whisperx", "3.8.6"),), extra=None),
    )
}


def missing(environment: Environment) -> list[str]:
    """Distributions that the running Python does not have at the version asked for, as pip writes them."""
    return [f"{name}=={wanted}" for name, wanted in environment.packages if _installed(name) != wanted]


def how_to_install(environment: Environment) -> str:
    """The one command that brings it into the running Python; for one that cannot live there, what to do instead."""
    if environment.extra is not None:
        return f"pip install 'humo[{environment.extra}]'"
    if environment.alone:
        listed = " ".join(f"{name}=={wanted}" for name, wanted in environment.packages)
        return f"pip install {' '.join(environment.alone)} {listed}"
    return "--set engine.build_environments=true"


def runtime_env(name: str) -> dict[str, Any]:
    """What Ray is given for an environment: nothing where the running Python has it all."""
    environment = ENVIRONMENTS[name]
    if not missing(environment):
        return {}
    packages = [f"{package}=={wanted}" for package, wanted in environment.packages]
    return {"pip": {"packages": packages, "pip_check": False, "pip_install_options": list(environment.alone)}}


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None
