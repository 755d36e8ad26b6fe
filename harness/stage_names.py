"""What a stage is called: its command is a verb (`align`), its folder and its units a noun (`alignment`)."""

from __future__ import annotations

from harness.errors import ConfigError, nearest

# Command to stage; what the stages do, and in which order, is said in harness/pipeline.py
STAGE_OF = {
    "cohort": "cohort",
    "align": "alignment",
    "generate": "generation",
    "annotate": "annotation",
    "mix": "mixes",
    "train": "training",
    "score": "scoring",
    "evaluate": "evaluation",
    "report": "reports",
}
BOTH_NAMES = ", ".join(f"{one} or {stage}" if one != stage else one for one, stage in STAGE_OF.items())


def stage_named(name: str) -> str:
    """The stage that a user calls by its own name or by its command's.

    Raises:
        ConfigError: Neither; the known ones are listed.
    """
    stages = [*STAGE_OF.values()]
    if name not in stages and name not in STAGE_OF:
        raise ConfigError(f"no stage {name!r}{nearest(name, [*stages, *STAGE_OF])}; known: {BOTH_NAMES}")
    return STAGE_OF.get(name, name)
