"""What the arms of a recipe, and the annotators of their sentences, will ask of models; nothing is sent.

For models in this process the tokenizer is loaded; for a server nothing is, unless its recipe names a tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.annotation import stage as annotation_stage
from harness.annotation.poll import MAX_TRIES
from harness.backends.cache import count_replies
from harness.backends.embedded import EMBEDDED_MODEL
from harness.backends.spending import Caps, Spent, load_caps, read_spent
from harness.generation import stage as generation
from harness.generation.forecast import (
    BYTES_PER_TOKEN,
    Amount,
    Ask,
    Rate,
    Rates,
    assumed_rates,
    at_most,
    expected,
)
from harness.generation.stage import CACHE, manner
from harness.planning.aligned import run_to_alignment
from harness.prompts.annotate import render_annotate
from harness.schemas.arms import Annotation, Arm, BackendSettings, EmbeddedBackend, OpenAIBackend
from harness.schemas.recipe import Recipe
from harness.store import Run, Unit, hash_inputs, is_finished, read_manifest

SENTENCES_PER_NOTE = 14  # assumed: what a note is cut into for an annotator, four sections of three or four
ANSWER_TOKENS = 16.0  # assumed: of an annotator's answer, a short JSON object
VALID_ANSWERS = 0.98  # assumed: share of an annotator's answers that name a label
TYPICAL_SENTENCE = "Pt forgets names of neighbors most days, and her daughter now writes down every appointment."


@dataclass(frozen=True)
class Forecast:
    """One row of the plan."""

    ask: Ask
    rates: Rates
    expected: Amount
    at_most: Amount
    n_kept: int
    """Replies that an interrupted run left; they are not asked for again and not taken off the figures."""
    is_finished: bool = False


@dataclass(frozen=True)
class Plan:
    """What a recipe will ask, with its caps and what was spent before."""

    forecasts: tuple[Forecast, ...]
    caps: Caps
    spent: dict[str, Spent]


def plan_generation(recipe: Recipe, folder: Path) -> Plan:
    """Requests, tokens, money and time of every arm that a mix draws from, and of its annotator.

    Args:
        recipe: The loaded recipe.
        folder: The run folder; stages up to alignment are run there.

    Raises:
        HarnessError: Whatever those stages raise; a tokenizer that cannot be loaded.
    """
    run = run_to_alignment(recipe, folder)
    spending = recipe.file.spending
    annotations = {name: recipe.arms[name].annotation or recipe.file.annotation for name in recipe.used_arms}
    backends = [recipe.arms[name].backend for name in recipe.used_arms] + [one.backend for one in annotations.values()]
    caps = load_caps(spending, {one.model for one in backends if isinstance(one, OpenAIBackend)})
    written, labelled = _finished(run, generation.units(run)), _finished(run, annotation_stage.units(run))
    forecasts: list[Forecast] = []
    for name in recipe.used_arms:
        arm = recipe.arms[name]
        if arm.backend is not None:
            forecasts.append(_forecast_arm(run, name, arm, arm.backend, caps, is_done=name in written))
        annotation = annotations[name]
        if annotation.labels == "llm":
            forecasts += _forecast_annotator(run, name, annotation, caps, is_done=name in labelled)
    return Plan(tuple(forecasts), caps, read_spent(folder))


def _forecast_arm(run: Run, name: str, arm: Arm, backend: BackendSettings, caps: Caps, *, is_done: bool) -> Forecast:
    how = manner(run, name)
    n_prompt_tokens, is_counted = _prompt_tokens(backend, [one.prompt for one in how.build(how.slots, 0)])
    model, is_served = _model(backend), isinstance(backend, OpenAIBackend)
    ask = Ask(
        title=name,
        model=model,
        n_texts=len(how.slots),
        n_prompt_tokens=n_prompt_tokens,
        is_counted=is_counted,
        max_attempts=arm.sampling.max_attempts,
        max_new_tokens=arm.sampling.max_new_tokens,
        concurrency=backend.concurrency if isinstance(backend, OpenAIBackend) else 1,
        price=caps.prices.get(model) if is_served else None,
        is_metered=is_served,
    )
    rates = _measured(run, name) or assumed_rates(ask, is_served=is_served)
    n_kept = count_replies(run.path("generation", name, CACHE))
    return Forecast(ask, rates, expected(ask, rates), at_most(ask, rates), n_kept, is_finished=is_done)


def _forecast_annotator(run: Run, name: str, annotation: Annotation, caps: Caps, *, is_done: bool) -> list[Forecast]:
    """Of sentences that are not written yet: a typical one stands in for each."""
    arm, backend = run.recipe.arms[name], annotation.backend
    if backend is None:
        return []
    n_sentences = arm.n_notes * SENTENCES_PER_NOTE if arm.unit == "note" else arm.n_sentences
    n_votes = n_sentences * annotation.votes
    per_prompt, is_counted = _prompt_tokens(backend, [render_annotate(run.task, TYPICAL_SENTENCE)])
    model, is_served = _model(backend), isinstance(backend, OpenAIBackend)
    ask = Ask(
        title=f"{name} (annotator)",
        model=model,
        n_texts=n_votes,
        n_prompt_tokens=per_prompt * n_votes,
        is_counted=is_counted,
        max_attempts=MAX_TRIES,
        max_new_tokens=annotation.max_new_tokens,
        concurrency=backend.concurrency if isinstance(backend, OpenAIBackend) else 1,
        price=caps.prices.get(model) if is_served else None,
        is_metered=is_served,
    )
    assumed = assumed_rates(ask, is_served=is_served)
    rates = Rates(Rate(VALID_ANSWERS, "assumed"), Rate(ANSWER_TOKENS, "assumed"), assumed.tokens_per_s)
    return [Forecast(ask, rates, expected(ask, rates), at_most(ask, rates), n_kept=0, is_finished=is_done)]


def _finished(run: Run, of_stage: Sequence[Unit]) -> set[str]:
    """Names of the units that a run would skip."""
    there = [unit for unit in of_stage if all(path.is_file() for path in unit.inputs)]
    return {unit.name for unit in there if is_finished(run, unit, hash_inputs(run, unit.inputs))}


def _measured(run: Run, name: str) -> Rates | None:
    """Rates of an earlier run of this arm, with whatever settings; None where there is none to tell."""
    manifest = read_manifest(run.path("generation", name))
    if manifest is None or manifest.counts.rows_in == 0 or manifest.seconds <= 0:
        return None
    n_tokens, n_candidates = manifest.counts.notes.get("n_completion_tokens") or 0, manifest.counts.rows_in
    if not n_tokens:
        return None  # a file, or a server that reports no usage
    return Rates(
        acceptance=Rate(manifest.counts.rows_out / n_candidates, "measured"),
        completion_tokens=Rate(n_tokens / n_candidates, "measured"),
        tokens_per_s=Rate(n_tokens / manifest.seconds, "measured"),
    )


def _model(backend: BackendSettings) -> str:
    return EMBEDDED_MODEL if isinstance(backend, EmbeddedBackend) else backend.model


def _prompt_tokens(backend: BackendSettings, prompts: Sequence[str]) -> tuple[int, bool]:
    """Tokens of these prompts together, and whether a tokenizer counted them."""
    if isinstance(backend, OpenAIBackend):
        name, revision, chat = backend.tokenizer, None, backend.endpoint == "chat"
    elif isinstance(backend, EmbeddedBackend):
        name, revision, chat = EMBEDDED_MODEL, None, False
    else:
        name, revision, chat = backend.model, backend.revision, backend.chat
    if name is None:
        return round(sum(len(prompt.encode()) for prompt in prompts) / BYTES_PER_TOKEN), False
    from harness.backends.tokenizer import count_prompt_tokens

    return sum(count_prompt_tokens(name, revision, prompts, chat=chat)), True
