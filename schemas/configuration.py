"""Reading configuration: a YAML file, then `a.b=c` settings on top, into a pydantic model that refuses unknown keys."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import UserError


class Configuration(BaseModel):
    """Base of every configuration section: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises UserError for a missing file or for anything else than a mapping."""
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UserError(f"{path} must be a mapping of sections")
    return raw


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` laid over it, section by section."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options that two configurations do not have in common: `section.option` -> its value in each."""
    one, other = _flat(a), _flat(b)
    names = sorted(one.keys() | other.keys())
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(configuration: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in configuration.items():
        name = f"{before}.{key}" if before else key
        found.update(_flat(value, name) if isinstance(value, dict) else {name: value})
    return found


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1"]` as `{"a": {"b": 1}}`; values are YAML. Raises UserError for anything else."""
    result: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not all(name.split(".")):
            raise UserError(f"--set {setting!r} must look like section.option=value")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting!r}: the value is not YAML") from error
        for key in reversed(name.split(".")):
            value = {key: value}
        result = merged(result, value)
    return result


def validated(model: type[Model], raw: dict[str, Any], *, where: str) -> Model:
    """The typed configuration. Raises UserError that names the option at fault."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(f"{where}: unknown option {name!r}{_instead(model, first['loc'])}") from error
        said = "must be given" if first["type"] == "missing" else first["msg"]
        raise UserError(f"{where}: {name}: {said}") from error


def _instead(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What might have been meant by a name that is no option, else what there is."""
    *sections, last = map(str, loc)
    for name in sections:
        below = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return ""
        model = below
    if close := get_close_matches(last, model.model_fields, 1):
        return f"; did you mean {'.'.join([*sections, *close])!r}?"
    return f"; there are {', '.join(sorted(model.model_fields))}"
