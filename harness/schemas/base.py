"""Settings: frozen pydantic models that refuse unknown keys and name the nearest known one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from harness.errors import ConfigError, Faults, nearest

UNNAMED = ""  # tag of a choice between forms of one key: pydantic puts tags into places, and this one is left out there


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


def _as_words(given: object) -> object:
    """YAML reads an unquoted yes or no as a truth value, and 0 or 1 as a number; both are meant as words here."""
    if not isinstance(given, dict):
        return given
    return {
        variable: {_word(theirs): _word(ours) for theirs, ours in levels.items()}
        if isinstance(levels, dict)
        else levels
        for variable, levels in given.items()
    }


def _word(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) else value


LevelMap = Annotated[dict[str, dict[str, str]], BeforeValidator(_as_words)]
"""Subgroup variable to a level as a file has it to ours."""

SettingsT = TypeVar("SettingsT", bound=Settings)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: No such file, not YAML (with the line), not UTF-8, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; expected a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{path}:{place} is not valid YAML: {getattr(error, 'problem', 'cannot be parsed')}"
        ) from error
    if content is None:
        raise ConfigError(f"{path}: is empty; expected a mapping of keys to values")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found {type(content).__name__}; expected a mapping of keys to values")
    return content


def build(model: type[SettingsT], content: Mapping[str, Any], where: str) -> SettingsT:
    """Validate `content`; all faults come in one ConfigError, each with its key, what was found and what is allowed."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = Faults(where)
        for item in error.errors(include_url=False):
            if not _is_consequence(item):
                faults.add(_describe(item, model))
        raise ConfigError(faults.render()) from None


def _is_consequence(item: Any) -> bool:
    """A list with enough parts is called too short as well where a part is faulty; that one is told already."""
    return bool(item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"])


def _describe(item: Any, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in item["loc"] if part != UNNAMED) or "(top level)"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        name = str(item["loc"][-1])
        return f"{place}: unknown key{nearest(name, known)}; known: {', '.join(sorted(known))}"
    if item["type"] == "missing":
        return f"{place}: missing; this key is required"
    if item["type"] == "too_short":
        return f"{place}: found {len(item['input'])}; at least {item['ctx']['min_length']} must be given"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place}: found {_shorten(item['input'])}; {message[:1].lower()}{message[1:]}"


def _shorten(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _known_keys(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that sits at `place` inside `model`; those of `model` itself when it cannot be found."""
    current: type[BaseModel] = model
    for part in place:
        found = _models_in(current.model_fields[part].annotation) if part in current.model_fields else []
        if found:
            current = found[0]
    return list(current.model_fields)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
