"""What is known before a run: devices, rates that were measured or published, and architectures of gated models."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from harness.errors import ConfigError, nearest
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.marks import Check, MarkedTable, Number, Source
from harness.schemas.recipe_parts import Method

FOLDER = Path(__file__).resolve().parent / "facts"
MIB = 2**20
FileT = TypeVar("FileT", bound="FactFile")


class FactFile(Settings):
    schema_version: Literal[1]
    sources: dict[str, Source]


class Device(Settings):
    memory_mib: Number
    """Of one device, in MiB."""
    tflops: Number
    """Dense bfloat16 peak, in TFLOP/s."""

    @property
    def n_bytes(self) -> int:
        return round(self.memory_mib.v * MIB)


class Overhead(Settings):
    context_mib: Number
    collectives_mib: Number
    gaps: Number


class Devices(FactFile):
    devices: dict[str, Device]
    overhead: Overhead


class Rate(Settings):
    """A `Number` that may also be measured."""

    v: float = Field(gt=0)
    status: Literal["measured", "published", "derived"]
    check: Check
    src: str


class ThroughputRow(Settings):
    device: str
    model: str
    n_parameters: float = Field(gt=0)
    method: Method
    has_checkpointing: bool
    tokens_per_s: Rate
    """Of one device."""


class Throughput(FactFile):
    rows: tuple[ThroughputRow, ...]


class Architecture(Settings):
    names: tuple[str, ...]
    model_type: str
    tie_word_embeddings: bool
    numbers: MarkedTable


class Models(FactFile):
    models: tuple[Architecture, ...]


def _load(name: str, model: type[FileT]) -> FileT:
    path = FOLDER / f"{name}.yaml"
    return build(model, read_yaml(path), str(path))


@cache
def devices() -> Devices:
    return _load("devices", Devices)


@cache
def throughput() -> Throughput:
    return _load("throughput", Throughput)


@cache
def models() -> Models:
    return _load("models", Models)


def device_named(name: str) -> Device | None:
    """A device by its name; None for `cpu`, whose memory is this machine's.

    Raises:
        ConfigError: An unknown name; the known ones are listed.
    """
    known = devices().devices
    if name == "cpu":
        return None
    if name not in known:
        raise ConfigError(f"--device is {name!r}{nearest(name, [*known, 'cpu'])}; known: cpu, {', '.join(known)}")
    return known[name]


def architecture_named(name: str) -> Architecture | None:
    return next((one for one in models().models if name in one.names), None)
