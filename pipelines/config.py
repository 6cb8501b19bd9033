"""Read a YAML file of conf/ into a frozen model; a mistake becomes one line that names file, key and expectation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parent.parent
CONF = PROJECT / "conf"

# libyaml's where PyYAML was built with it: ten times as fast, a quarter of a second for all of conf/.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Model(BaseModel):
    """Base of every configuration model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


M = TypeVar("M", bound=BaseModel)


def time_zone(name: str) -> str:
    """`name`, checked to be an IANA time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("expected an IANA time zone such as Europe/Berlin") from error
    return name


def regex(value: str | None) -> str | None:
    """`value`, checked to be a regular expression."""
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
    return value


def display_path(path: Path) -> str:
    """The path as a user would type it: relative to the project where it lies inside."""
    try:
        return str(path.resolve().relative_to(PROJECT))
    except ValueError:
        return str(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises ConfigurationError when it is missing, broken or not a mapping."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise ConfigurationError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{display_path(path)}: not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigurationError(f"{display_path(path)}: not valid YAML: {problem}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{display_path(path)}: expected keys and values, found a {type(content).__name__}")
    return content


def parse(model: type[M], content: dict[str, Any], origin: str) -> M:
    """Validate `content` against `model`; raises ConfigurationError with one line for each mistake."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistakes = []
        for mistake in error.errors():
            key = ".".join(str(part) for part in mistake["loc"]) or "(top level)"
            message = mistake["msg"].removeprefix("Value error, ")
            if mistake["type"] == "extra_forbidden":
                message = "unknown key"
            given = mistake.get("input")
            shown = f", got {given!r}" if isinstance(given, (str, int, float, bool)) else ""
            mistakes.append(f"{origin}: {key}: {message}{shown}")
        raise ConfigurationError("\n".join(mistakes)) from error


def load(model: type[M], path: Path) -> M:
    """Read and validate one file."""
    return parse(model, read_yaml(path), display_path(path))
