"""Profiles: named sets of options, laid under what a run says itself."""

from pathlib import Path
from typing import Any

from schemas.configuration import read_yaml
from schemas.errors import UserError


def options_of(profile: str) -> dict[str, Any]:
    """The options that a profile sets; of `local` none, it is the defaults. Raises UserError for another name."""
    if profile == "local":
        return {}
    path = Path(__file__).with_name(f"{profile}.yaml")
    if path.parent != Path(__file__).parent or not path.is_file():
        raise UserError(f"there is no profile {profile!r}; there are: local, gpu")
    return read_yaml(path)
