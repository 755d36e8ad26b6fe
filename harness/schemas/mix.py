"""A mix: what is trained on. `weight` is not a word here: say share, repeat or count."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.task import ID_PATTERN

GOLD_ORIGIN = "gold"
SHARE_TOLERANCE = 1e-6


class Source(Settings):
    origin: str = Field(pattern=ID_PATTERN)
    """`gold`, or the name of an arm of the recipe."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Fraction of the mix's budget taken from this source, in (0, 1]; rows repeat when the source is too small."""
    repeat: float | None = Field(default=None, gt=0)
    """Passes over this source; 0.5 keeps half of its rows, 2.0 shows each row twice."""
    count: int | None = Field(default=None, gt=0)
    """Rows taken from this source, drawn without replacement."""
    patients: float | None = Field(default=None, gt=0, le=1)
    """Of gold: share of the training patients whose sentences are used, in (0, 1], at least one; null: all. Every train
    seed draws its own patients. At one seed all mixes that ask for a share get the same ones, and a smaller share is a
    part of a larger. It says what there is to draw from; share, repeat or count say how much of that is shown."""

    @model_validator(mode="after")
    def patients_are_of_gold(self) -> Self:
        if self.patients is not None and self.origin != GOLD_ORIGIN:
            raise ValueError(f"patients is a share of the patients in training gold, but this source is "
                             f"{self.origin!r}; use count or repeat for a part of an arm")  # fmt: skip
        return self

    @model_validator(mode="after")
    def exactly_one_size(self) -> Self:
        given = [name for name in ("share", "repeat", "count") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of share, repeat, count; found {' and '.join(given) or 'none'}")
        return self


# Trained on real, tested on real; trained on synthetic, tested on real; trained on both.
# Source: Esteban, Hyland and Raetsch, Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs,
# arXiv:1706.02633 (2017), who name the first two.
Regime = Literal["TRTR", "TSTR", "augmented"]
BudgetUnit = Literal["updates", "supervised_tokens", "epochs"]


class Budget(Settings):
    unit: BudgetUnit | None = None
    """What is counted; null takes the recipe's `training.budget.unit`."""
    size: int | None = Field(default=None, gt=0)
    """How many; null takes the recipe's `training.budget.size`, which must be in the same unit."""


class Mix(Settings):
    name: str = Field(pattern=ID_PATTERN)
    sources: tuple[Source, ...] = Field(min_length=1)
    budget: Budget = Budget()

    @model_validator(mode="after")
    def shares_add_up(self) -> Self:
        origins = [source.origin for source in self.sources]
        twice = sorted({origin for origin in origins if origins.count(origin) > 1})
        if twice:
            raise ValueError(f"sources name {', '.join(twice)} twice; give each origin once")
        shares = [source.share for source in self.sources if source.share is not None]
        if shares and len(shares) != len(self.sources):
            raise ValueError("some sources have a share and others do not; use share for all of them or for none")
        if shares and abs(sum(shares) - 1) > SHARE_TOLERANCE:
            raise ValueError(f"shares add up to {sum(shares):g}; they must add up to 1")
        return self

    @property
    def regime(self) -> Regime:
        """What is learned from; the test is on real text always."""
        if GOLD_ORIGIN not in self.origins:
            return "TSTR"
        return "TRTR" if len(self.origins) == 1 else "augmented"

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(source.origin for source in self.sources)

    @property
    def draws_patients(self) -> bool:
        """Whether train seeds learn from gold of different patients."""
        return any(source.patients is not None and source.patients < 1 for source in self.sources)

    def unit_name(self, seed_index: int) -> str:
        """Unit and folder of what a train seed learns from: its own where patients are drawn, else one for all."""
        return f"{self.name}/seed_{seed_index}" if self.draws_patients else self.name


def load_mix(path: Path) -> Mix:
    """A mix from `<name>.yaml`; its name is the file's unless the file gives one."""
    content = read_yaml(path)
    return build(Mix, {"name": path.stem, **content}, str(path))
