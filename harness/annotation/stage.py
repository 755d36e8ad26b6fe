"""Synthetic texts and their plans in, labelled sentences out. One unit per arm that a mix draws from.

Who labels is the recipe's choice: the plan, an annotator model, or people whose labels come back in a file.
`rejected.parquet` holds every sentence without a label to rely on (`<sentence_id>`), with the reason. Where an
annotator or people were asked, `agreement.parquet` says how far they agree with the plan, and `disagreements.parquet`
holds the sentences on which they do not. In the manifest's counts, rows_in are sentences, not texts.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.annotation.agreement import ALL, agreement_rows
from harness.annotation.decide import Labelled, disagreement_row, sentence_row, settle
from harness.annotation.imported import check_arms, read_labels
from harness.annotation.pieces import Piece, cut
from harness.annotation.plan_labels import PlanLabels
from harness.annotation.poll import Poll, Verdict, collect_votes, decide
from harness.backends.base import Reply, Sample
from harness.backends.cache import ReplyCache, ask, cache_files
from harness.backends.registry import open_backend
from harness.backends.spending import open_meter
from harness.errors import BackendError, ConfigError
from harness.prompts.render import template_source
from harness.records import parse_records
from harness.schemas.arms import Annotation, Arm, BackendSettings, EmbeddedBackend
from harness.schemas.manifest import Counts
from harness.schemas.tables import AGREEMENT, DISAGREEMENTS, PLANNED, REJECTED, SENTENCES, SYNTHETIC
from harness.schemas.trajectory import load_trajectory
from harness.seeds import generator
from harness.store import Run, Unit, count_values, read_rows, read_table, write_table

log = logging.getLogger(__name__)

STAGE = "annotation"
CACHE = "answers.sqlite"
VERSION = 2  # raised when labels by plan or the reading of answers change although task and recipe do not
TOP_P = 1.0  # of the annotator: its temperature alone says how far votes may differ
# How a server is reached decides no answer.
TRANSPORT = {"api_key_env", "concurrency", "timeout_s", "max_retries"}
Notes = dict[str, Any]


def units(run: Run) -> list[Unit]:
    return [_unit(run, name, run.recipe.arms[name]) for name in run.recipe.used_arms]


def _unit(run: Run, name: str, arm: Arm) -> Unit:
    rules = arm.annotation or run.recipe.file.annotation
    asked = () if rules.labels == "plan" else ("agreement.parquet", "disagreements.parquet")
    return Unit(
        stage=STAGE,
        name=name,
        inputs=_inputs(run, name, rules),
        settings={"version": VERSION, "annotation": _rule_settings(rules), "task": _task_settings(run, rules)},
        seed_path=(STAGE, name),
        work=lambda folder: _annotate(run, name, rules, folder),
        outputs=("sentences.parquet", "rejected.parquet", *asked),
        resumable=cache_files(CACHE),
    )


def _inputs(run: Run, name: str, rules: Annotation) -> list[Path]:
    inputs = [run.path("generation", name, f"{table}.parquet") for table in ("synthetic", "planned")]
    if rules.labels == "file" and rules.path is not None:
        inputs.append(rules.path)
    exemplars = run.task.path(run.task.file.prompts.exemplars)
    if rules.labels == "llm" and exemplars is not None:
        inputs.append(exemplars)
    if _reads_trajectory(run, name) and run.trajectory_file is not None:
        inputs.append(run.trajectory_file)
    return inputs


def _reads_trajectory(run: Run, name: str) -> bool:
    """Whether it matters which label somebody else's reports have."""
    arm = run.recipe.arms[name]
    return arm.unit == "note" and "trajectory" in (arm.sees or ())


def _rule_settings(rules: Annotation) -> dict[str, Any]:
    settings = rules.model_dump(mode="json", exclude={"path"})
    if rules.labels != "llm":
        return {"labels": rules.labels, "disagreement": rules.disagreement}
    settings["backend"] = {key: value for key, value in settings["backend"].items() if key not in TRANSPORT}
    return settings


def _task_settings(run: Run, rules: Annotation) -> dict[str, Any]:
    task = run.task
    settings: dict[str, Any] = {
        "labels": list(task.label_ids),
        "ties": list(task.tie_order),
        "lexicon": [term.term for term in task.lexicon],
    }
    if rules.labels != "plan":
        settings["evaluation"] = run.recipe.file.evaluation.model_dump(include={"n_bootstrap", "confidence"})
    if rules.labels == "llm":
        settings["guideline"] = [label.model_dump() for label in task.labels]
        settings["rules"] = list(task.file.rules)
        settings["disease"] = task.file.disease
        settings["template"] = template_source(task, task.file.prompts.annotate)
    return settings


# -- one arm -----------------------------------------------------------------------------------------------------------


def _annotate(run: Run, name: str, rules: Annotation, folder: Path) -> Counts:
    pieces = _read_pieces(run, name)
    verdicts, notes = _verdicts(run, name, rules, pieces, folder)
    plans = PlanLabels(run.task, _reported_label(run, name))
    found = [settle(piece, plans.of(piece), verdicts.get(piece.sentence_id), rules) for piece in pieces]
    kept = [one for one in found if one.label is not None]
    table = write_table(folder / "sentences.parquet", [sentence_row(one) for one in kept], SENTENCES)
    rejected = _rejected(found)
    write_table(folder / "rejected.parquet", rejected, REJECTED)
    notes |= {"labels": count_values(table, "label"), "reasons": _counted(row["reason"] for row in rejected)}
    if rules.labels != "plan":
        notes |= _write_agreement(run, name, found, folder)
    log.info("%s/%s: %d sentences labelled by %s, %d rejected%s", STAGE, name, len(kept), rules.labels, len(rejected),
             _agreement_words(notes))  # fmt: skip
    return Counts(rows_in=len(pieces), rows_out=len(kept), rejected=len(rejected), notes=notes)


def _read_pieces(run: Run, name: str) -> list[Piece]:
    plan: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(run.path("generation", name, "planned.parquet"), PLANNED):
        plan[row["text_id"]].append(row)
    synthetic: pa.Table = read_table(run.path("generation", name, "synthetic.parquet"), SYNTHETIC)
    return [piece for row in synthetic.to_pylist() for piece in cut(name, row, plan[row["text_id"]])]


def _reported_label(run: Run, name: str) -> str | None:
    path = run.trajectory_file
    if path is None or not _reads_trajectory(run, name):
        return None
    reported = load_trajectory(path, run.task).reported_by_others
    return None if reported is None else reported.label


def _rejected(found: Sequence[Labelled]) -> list[dict[str, Any]]:
    return [
        {"row_id": one.piece.sentence_id, "reason": one.reason, "detail": one.piece.text}
        for one in found
        if one.label is None
    ]


def _write_agreement(run: Run, name: str, found: Sequence[Labelled], folder: Path) -> Notes:
    rng = generator(run.seed, STAGE, name, "agreement")
    rows = agreement_rows(found, run.task.label_ids, run.recipe.file.evaluation, rng=rng)
    differing = [disagreement_row(one) for one in found if one.pair is not None and one.pair[0] != one.pair[1]]
    write_table(folder / "agreement.parquet", rows, AGREEMENT)
    write_table(folder / "disagreements.parquet", differing, DISAGREEMENTS)
    (overall,) = (row for row in rows if row["class"] == ALL)
    return {"agreement": {key: overall[key] for key in ("n", "n_both", "kappa", "ci_low", "ci_high", "reason")}}


def _agreement_words(notes: Notes) -> str:
    found = notes.get("agreement")
    if found is None:
        return ""
    if found["kappa"] is None:
        return f"; agreement with the plan undefined ({found['reason']})"
    return f"; agrees with the plan on {found['n_both']} of {found['n']}, kappa {found['kappa']:.3f}"


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


# -- who is asked ------------------------------------------------------------------------------------------------------


def _verdicts(
    run: Run, name: str, rules: Annotation, pieces: Sequence[Piece], folder: Path
) -> tuple[dict[str, Verdict], Notes]:
    if rules.labels == "llm":
        return _ask_model(run, name, rules, pieces, folder)
    if rules.labels == "file" and rules.path is not None:
        return _read_file(run, name, rules.path, pieces)
    return {}, {}


def _read_file(run: Run, name: str, path: Path, pieces: Sequence[Piece]) -> tuple[dict[str, Verdict], Notes]:
    records = parse_records(path.read_bytes(), path.suffix, str(path))
    known = {piece.sentence_id for piece in pieces}
    labels = read_labels(records, known, run.task, arm=name, where=str(path))
    check_arms(records, run.recipe.used_arms, str(path))
    return {key: Verdict(label) for key, label in labels.items()}, {"labelled_by_file": len(labels)}


def _ask_model(
    run: Run, name: str, rules: Annotation, pieces: Sequence[Piece], folder: Path
) -> tuple[dict[str, Verdict], Notes]:
    if rules.backend is None:
        raise ConfigError(f"arms.{name}.annotation: labels: llm needs a backend")
    sample = Sample(temperature=rules.temperature, top_p=TOP_P, max_new_tokens=rules.max_new_tokens)
    n_tokens: Counter[str] = Counter()

    def watch(reply: Reply) -> None:
        n_tokens["prompt"] += reply.n_prompt_tokens or 0
        n_tokens["completion"] += reply.n_completion_tokens or 0

    backend = open_backend(rules.backend)
    try:
        with ReplyCache(folder / CACHE) as cache, open_meter(run, f"{STAGE}/{name}", rules.backend) as meter:
            poll = Poll(
                task=run.task,
                n_votes=rules.votes,
                seed_path=(run.seed, name),
                multiline=_may_run_over_lines(rules.backend),
                answer=lambda requests: ask(backend, requests, sample, cache, meter),
                watch=watch,
            )
            votes = collect_votes(pieces, poll)
            model = backend.identity.model_id
    except BackendError as error:
        raise BackendError(f"annotator of arm {name!r}: {error}") from error
    finally:
        backend.close()
    verdicts = {key: decide(labels, rules.votes) for key, labels in votes.by_sentence.items()}
    notes = {
        "annotator": model,
        "answers_asked": votes.n_asked,
        "answers_without_label": dict(sorted(votes.faults.items())),
        "n_prompt_tokens": n_tokens["prompt"],
        "n_completion_tokens": n_tokens["completion"],
    }
    return verdicts, notes


def _may_run_over_lines(settings: BackendSettings) -> bool:
    """A chat model may set its JSON over several lines; a base model that is not cut at its first goes on and on."""
    return not isinstance(settings, EmbeddedBackend) and (settings.kind == "openai_api" or settings.chat)
