"""Which modules an adapter may go on, checked before a trainer is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from harness.errors import ConfigError, collect_faults, nearest

ALL_LINEAR = "all-linear"


def check_targets(model: nn.Module, target_modules: Any) -> None:
    """Refuse `training.lora.target_modules` that the base model does not have.

    Args:
        model: The base model.
        target_modules: A list of names, each the end of a module's path; a regular expression of whole paths;
            `all-linear`; or None for the default.

    Raises:
        ConfigError: Names that no module ends in, all of them; the model's linear modules are listed.
    """
    if target_modules is None or target_modules == ALL_LINEAR:
        return
    paths = [path for path, _ in model.named_modules()]
    linear = sorted({path.rsplit(".", 1)[-1] for path, module in model.named_modules() if _is_linear(module)})
    known = f"linear modules of this base model: {', '.join(linear)}; or {ALL_LINEAR}"
    with collect_faults(ConfigError, "training.lora.target_modules") as faults:
        if isinstance(target_modules, str):
            if not _matches(target_modules, paths):
                faults.add(f"{target_modules!r} matches no module; {known}")
        else:
            missing = [name for name in target_modules if not any(f".{path}".endswith(f".{name}") for path in paths)]
            for name in missing:
                faults.add(f"no module {name!r}{nearest(str(name), linear)}; {known}")


def _is_linear(module: nn.Module) -> bool:
    # by name, as PEFT does: layers in 4 or 8 bits are subclasses, GPT-2's is not
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _matches(pattern: str, paths: Sequence[str]) -> bool:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"training.lora.target_modules: {pattern!r} is no regular expression ({error})") from error
    return any(compiled.fullmatch(path) for path in paths)
