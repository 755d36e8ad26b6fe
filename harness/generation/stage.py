"""Alignment tables, or somebody else's file, in; synthetic texts and the plan of each out. One unit per used arm.

Of gold this stage reads one thing: how many training sentences each label has. `rejected.parquet` holds every candidate
that was dropped (`<slot>/<attempt>`, with its text, so that a filter can be judged) and every slot that stayed empty
(`<slot>`). In the manifest's counts, rows_in are candidates, rows_out texts, rejected the candidates dropped.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.backends.base import Identity, Request, Sample
from harness.backends.cache import ReplyCache, ask, cache_files
from harness.backends.gather import Answer
from harness.backends.registry import open_backend
from harness.backends.spending import open_meter
from harness.errors import BackendError, ConfigError, SpendingError
from harness.generation.arms import Plan, count_labels
from harness.generation.imported import import_sentences
from harness.generation.manner import STAGE, Manner, Order, note_manner, sentence_manner, template_name
from harness.generation.progress import Progress
from harness.generation.rounds import Asking, Candidate, Outcome, ask_in_rounds, count_by_label
from harness.prompts.notes import NoteSlot
from harness.prompts.render import template_source
from harness.prompts.sight import Slot
from harness.prompts.traits import persona_wording
from harness.records import parse_records
from harness.schemas.arms import Arm
from harness.schemas.manifest import Counts
from harness.schemas.tables import GOLD, MENTIONS, PERSONAS, PLANNED, REJECTED, SUBGROUP_COLUMNS, SYNTHETIC, VISITS
from harness.schemas.trajectory import load_trajectory
from harness.seeds import generator
from harness.store import Run, Unit, read_rows, read_table, write_table

log = logging.getLogger(__name__)

CACHE = "requests.sqlite"
VERSION = 2  # raised when filters or plans change although task and recipe do not
# How a server is reached decides no text.
TRANSPORT = {"api_key_env", "concurrency", "timeout_s", "max_retries", "tokenizer"}


def units(run: Run) -> list[Unit]:
    return [_unit(run, name, run.recipe.arms[name]) for name in run.recipe.used_arms]


def _unit(run: Run, name: str, arm: Arm) -> Unit:
    path = arm.path

    def work(folder: Path) -> Counts:
        return _generate(run, name, arm, folder) if path is None else _import(run, name, path, folder)

    return Unit(
        stage=STAGE,
        name=name,
        inputs=_inputs(run, arm),
        settings={"version": VERSION, "arm": _arm_settings(arm), "task": _task_settings(run, arm)},
        seed_path=(STAGE, name),
        work=work,
        outputs=("synthetic.parquet", "planned.parquet", "rejected.parquet"),
        resumable=cache_files(CACHE),
    )


def _inputs(run: Run, arm: Arm) -> list[Path]:
    if arm.path is not None:
        return [arm.path]
    sees = arm.sees or ()
    inputs: list[Path] = []
    if arm.labels == "gold" and not _writes_visits(arm):
        inputs.append(run.path("cohort", "gold.parquet"))
    if "persona" in sees:
        inputs.append(run.path("alignment", "personas.parquet"))
    if "trajectory" in sees or arm.labels == "trajectory":
        inputs += [run.path("alignment", f"{table}.parquet") for table in ("visits", "mentions")]
    if _writes_visits(arm) and run.trajectory_file is not None:
        inputs.append(run.trajectory_file)  # which label somebody else's reports have
    exemplars = run.task.path(run.task.file.prompts.exemplars)
    shows_examples = arm.unit == "sentence" and arm.prompt == "few_shot"
    return [*inputs, *([] if exemplars is None or not shows_examples else [exemplars])]


def _writes_visits(arm: Arm) -> bool:
    """Whether the labels asked for come with planned visits, not by quota."""
    return arm.unit == "note" and "trajectory" in (arm.sees or ())


def _arm_settings(arm: Arm) -> dict[str, Any]:
    settings = arm.model_dump(mode="json", exclude={"path", "annotation"})
    if settings["backend"] is not None:
        settings["backend"] = {key: value for key, value in settings["backend"].items() if key not in TRANSPORT}
    return settings


def _task_settings(run: Run, arm: Arm) -> dict[str, Any]:
    task = run.task
    settings: dict[str, Any] = {
        "labels": [label.model_dump() for label in task.labels],
        "negative": task.negative,
        "subgroups": {name: variable.model_dump() for name, variable in task.file.subgroups.items()},
    }
    if arm.path is None:
        settings["disease"] = task.file.disease
        settings["wording"] = asdict(persona_wording(task)) if "persona" in (arm.sees or ()) else None
        settings["template"] = template_source(task, template_name(task, arm))
        settings["n_shots"] = task.file.prompts.n_shots if arm.prompt == "few_shot" and arm.unit == "sentence" else 0
    return settings


# -- a file ------------------------------------------------------------------------------------------------------------


def _import(run: Run, name: str, path: Path, folder: Path) -> Counts:
    records = parse_records(path.read_bytes(), path.suffix, str(path))
    found = import_sentences(records, run.recipe.arms[name].columns, run.task, arm=name, where=str(path))
    write_table(folder / "synthetic.parquet", found.rows, SYNTHETIC)
    write_table(folder / "planned.parquet", found.planned, PLANNED)
    write_table(folder / "rejected.parquet", found.rejected, REJECTED)
    notes = {"reasons": dict(sorted(Counter(row["reason"] for row in found.rejected).items()))}
    return Counts(rows_in=len(records.rows), rows_out=len(found.rows), rejected=len(found.rejected), notes=notes)


# -- a model -----------------------------------------------------------------------------------------------------------


def _generate(run: Run, name: str, arm: Arm, folder: Path) -> Counts:
    if arm.backend is None:
        raise ConfigError(f"arms.{name}: a generated arm needs a backend")
    how = manner(run, name)
    sample = Sample(**arm.sampling.model_dump(exclude={"max_attempts"}))
    backend = open_backend(arm.backend)
    progress = Progress(f"{STAGE}/{name}")
    try:
        with ReplyCache(folder / CACHE) as cache, progress, open_meter(run, f"{STAGE}/{name}", arm.backend) as meter:
            asking = _asking(how, lambda requests: ask(backend, requests, sample, cache, meter), progress)
            outcome = ask_in_rounds(how.slots, asking, how.judge, max_attempts=arm.sampling.max_attempts)
            identity = backend.identity
    except BackendError as error:
        raise BackendError(f"arm {name!r}: {error}") from error
    except SpendingError as error:
        left = f"{progress.n_open} of {len(how.slots)} {arm.unit}s wait for an answer in round {progress.n_rounds}"
        raise SpendingError(f"arm {name!r}: {left}. {error}") from error
    finally:
        backend.close()
    _write(run, name, identity, how, outcome, folder=folder)
    counts = _counts(arm, outcome, progress)
    log.info("%s/%s: kept %d of %d candidates, %d of %d %ss unfilled, %d tokens, %.0f tokens/s", STAGE, name,
             counts.rows_out, counts.rows_in, len(outcome.unfilled), len(how.slots), arm.unit, progress.n_tokens,
             progress.n_tokens / progress.seconds)  # fmt: skip
    return counts


def _asking(how: Manner[Any, Any], answer: Answer, progress: Progress) -> Asking[Any, Any]:
    def build(missing: Sequence[Any], attempt: int) -> list[Request]:
        progress.start_round(attempt, len(missing))
        return how.build(missing, attempt)

    return Asking(view=how.view, build=build, answer=answer, watch=progress.watch, clean=how.clean)


def manner(run: Run, name: str) -> Manner[Any, Any]:
    """How an arm that is not a file writes its unit of text, with all its slots planned.

    Raises:
        DataError: A table it draws on is missing, empty or too small.
    """
    arm = run.recipe.arms[name]
    plan = _read_plan(run, name, arm)
    counts = {} if _writes_visits(arm) else _label_counts(run, arm, plan)
    reported = _reported_label(run) if _writes_visits(arm) else None
    order = Order(run.task, name, arm, run.seed, plan, counts, reported)
    return note_manner(order) if arm.unit == "note" else sentence_manner(order)


def _reported_label(run: Run) -> str | None:
    path = run.trajectory_file
    reported = None if path is None else load_trajectory(path, run.task).reported_by_others
    return None if reported is None else reported.label


def _read_plan(run: Run, name: str, arm: Arm) -> Plan:
    """The alignment tables as far as the arm may see them, restricted to its own personas."""
    sees = arm.sees or ()
    needs_visits = "trajectory" in sees or arm.labels == "trajectory"
    personas = read_rows(run.path("alignment", "personas.parquet"), PERSONAS) if "persona" in sees else []
    visits = read_table(run.path("alignment", "visits.parquet"), VISITS) if needs_visits else None
    mentions = read_table(run.path("alignment", "mentions.parquet"), MENTIONS) if needs_visits else None
    if arm.n_personas is not None:
        known = [row["persona_id"] for row in personas] or (
            [] if visits is None else pc.unique(visits["persona_id"]).to_pylist()
        )
        order = generator(run.seed, STAGE, name, "personas").permutation(len(known))
        own = pa.array(sorted(known[place] for place in order[: arm.n_personas]), pa.string())
        personas = [row for row in personas if row["persona_id"] in set(own.to_pylist())]
        visits = None if visits is None else visits.filter(pc.is_in(visits["persona_id"], own))
        mentions = None if mentions is None else mentions.filter(pc.is_in(mentions["persona_id"], own))
    return Plan(personas={row["persona_id"]: row for row in personas}, visits=visits, mentions=mentions)


def _label_counts(run: Run, arm: Arm, plan: Plan) -> dict[str, int]:
    """Rows of each label that the arm's sentences are to be in proportion to. Held-out gold is not among them."""
    if arm.labels == "trajectory" and plan.mentions is not None:
        return count_labels(plan.mentions["label"], run.task.label_ids)
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD, columns=["split", "label"])
    return count_labels(gold["label"].filter(pc.equal(gold["split"], "train")), run.task.label_ids)


# -- tables ------------------------------------------------------------------------------------------------------------


def _write(
    run: Run, name: str, identity: Identity, how: Manner[Any, Any], outcome: Outcome[Any], *, folder: Path
) -> None:
    rows = [_synthetic_row(run, name, identity, how, candidate) for candidate in outcome.kept]
    planned = [{"text_id": _text_id(one.slot), **row} for one in outcome.kept for row in how.planned(one.slot)]
    rejected = [
        {"row_id": f"{_text_id(one.slot)}/{one.attempt}", "reason": one.reason, "detail": one.text}
        for one in outcome.dropped
    ]
    rejected += [
        {"row_id": _text_id(slot), "reason": "unfilled", "detail": how.describe(slot)["planned_label"]}
        for slot in outcome.unfilled
    ]
    write_table(folder / "synthetic.parquet", rows, SYNTHETIC)
    write_table(folder / "planned.parquet", planned, PLANNED)
    write_table(folder / "rejected.parquet", rejected, REJECTED)


def _text_id(slot: Slot | NoteSlot) -> str:
    return f"{slot.index:06d}"


def _synthetic_row(
    run: Run, name: str, identity: Identity, how: Manner[Any, Any], candidate: Candidate[Any]
) -> dict[str, Any]:
    slot, reply = candidate.slot, candidate.reply
    return {
        "text_id": _text_id(slot),
        **how.describe(slot),
        "persona_id": None if slot.persona is None else slot.persona["persona_id"],
        "visit_index": slot.visit_index,
        "prompt_sha256": hashlib.sha256(candidate.request.prompt.encode()).hexdigest(),
        "template": template_name(run.task, run.recipe.arms[name]),
        "backend": identity.kind,
        "model_id": identity.model_id,
        "model_revision": identity.revision,
        "text": candidate.text,
        "finish_reason": reply.finish_reason,
        "n_prompt_tokens": reply.n_prompt_tokens,
        "n_completion_tokens": reply.n_completion_tokens,
        "n_attempts": candidate.attempt + 1,
        **_subgroups(run, slot),
    }


def _subgroups(run: Run, slot: Slot | NoteSlot) -> dict[str, str | None]:
    """Levels of the persona and the visit behind a text; slots hold only what the arm sees."""
    levels: dict[str, str | None] = {}
    for variable in dict.fromkeys([*SUBGROUP_COLUMNS, *run.task.file.subgroups]):
        level = slot.stage if variable == "stage" else (slot.persona or {}).get(variable)
        levels[variable] = None if level is None else str(level)
    return levels


def _counts(arm: Arm, outcome: Outcome[Any], progress: Progress) -> Counts:
    notes = {
        "acceptance": round(len(outcome.kept) / max(outcome.n_candidates, 1), 4),
        **({"by_label": count_by_label(outcome)} if arm.unit == "sentence" else {}),
        "reasons": outcome.reasons(),
        "failures": outcome.failures(),
        "unfilled": len(outcome.unfilled),
        "n_completion_tokens": progress.n_tokens,
    }
    return Counts(rows_in=outcome.n_candidates, rows_out=len(outcome.kept), rejected=len(outcome.dropped), notes=notes)
