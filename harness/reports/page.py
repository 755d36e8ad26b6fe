"""`report.html`: one page that opens from a disk without a network, for a reader who was not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.reports import gains, leaderboard, sections, suppression, wording
from harness.reports.agreement import agreement_section
from harness.reports.calibration import calibration_section
from harness.reports.exchange import exchange_section
from harness.reports.fidelity import fidelity_section
from harness.reports.forests import forests
from harness.reports.inputs import Inputs
from harness.reports.leaderboard import LeaderboardRow
from harness.reports.proxy import proxy_section
from harness.reports.regimes import regimes_section
from harness.reports.tips import contrast_tip, metric_tip, plural
from harness.reports.verdict import verdict
from harness.schemas.recipe import Recipe

TEMPLATES = Path(__file__).parent / "templates"
FILE_KEYS = ("path", "concept_sets", "diagnoses", "prices")  # of a recipe


def report_page(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> str:
    """The whole page as text.

    Args:
        inputs: The tables of the run.
        rows: The leaderboard, in the order in which it is shown.
    """
    return environment().get_template("report.html.jinja").render(**context(inputs, rows))


def environment() -> Environment:
    """Templates escape what they show and stop at a value they do not know."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=wording.number,
        count=wording.count,
        seconds=wording.seconds,
        p_value=wording.p_value,
        signed=wording.signed,
        told=wording.told,
    )
    found.globals.update(interval=wording.interval, dash=wording.NONE)
    return found


def context(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """What the templates show, by name."""
    return {**_results(inputs, rows), **_surroundings(inputs)}


def _results(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> dict[str, Any]:
    recipe = inputs.recipe
    matrices = {learner: sections.confusion_matrices(inputs, learner) for learner in inputs.learners}
    competing = [learner for learner in inputs.learners if learner != "majority"]
    by_learner = [
        {
            **forests(inputs, learner),
            "interactions": gains.interaction_section(inputs, learner),
            "detectable": gains.detectable_section(inputs, learner),
        }
        for learner in competing
    ]
    squares = [gains.square_section(inputs, learner) for learner in competing]
    return {
        "proxy": wording.PROXY,
        "agreement_of_proxies": proxy_section(inputs),
        "verdict": verdict(inputs),
        "leaderboard": _leaderboard(inputs, rows),
        "test_size": next(
            (
                f"{plural(row.n_test_sentences, 'sentence')} of {plural(row.n_test_patients, 'patient')}"
                for row in rows
                if row.n_test_sentences is not None
            ),
            "",
        ),
        "leaderboard_download": sections.Download(
            "leaderboard.csv", sections.data_uri(leaderboard.CSV_COLUMNS, [vars(row) for row in rows])
        ),
        "forests": by_learner,
        "has_detectable": any(learner["detectable"] for learner in by_learner),
        "squares": [square for square in squares if square],
        "exchange": exchange_section(inputs),
        "regimes": regimes_section(inputs),
        "calibration": calibration_section(inputs),
        "confusion_sections": [
            {
                "learner": learner,
                "name": wording.learner_name(recipe, learner),
                "is_main": learner == inputs.main_learner,
                "matrices": found,
                "download": sections.confusion_download(inputs, learner, found),
            }
            for learner, found in matrices.items()
            if found and learner in competing
        ],
        "learners": [{"id": learner, "name": wording.learner_name(recipe, learner)} for learner in inputs.learners],
        "variables": [
            {"id": variable, "title": wording.variable_title(recipe, variable)}
            for variable in inputs.subgroup_variables
        ],
        "families": [
            wording.family_words(family)
            for family in sorted({row["family"] for row in inputs.contrasts if row["family"]})
        ],
    }


def _leaderboard(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> list[dict[str, Any]]:
    level = wording.confidence(inputs.recipe)
    return [
        {
            "row": row,
            "mix": mix,
            "mix_index": inputs.mixes.index(row.mix),
            "tied": bool(row.tied and row.shortfall),
            "worst": _worst_words(inputs.recipe, row),
            "made_of": wording.mix_words(inputs.recipe, row.mix),
            "tips": {
                "score": metric_tip(inputs.metric(row.mix, row.learner), level),
                "difference": contrast_tip(inputs.contrast(row.mix, row.learner), level) + _budget_tip(row),
            },
        }
        for row, mix in leaderboard.collapse_majority(rows)
    ]


def _budget_tip(row: LeaderboardRow) -> str:
    return "" if row.budget in ("", leaderboard.EQUAL) else f" {row.budget[:1].upper()}{row.budget[1:]}."


def _surroundings(inputs: Inputs) -> dict[str, Any]:
    recipe = inputs.recipe
    return {
        "recipe": recipe,
        "suppressed": suppression.banner(inputs),
        "task": recipe.task.file,
        "confidence": wording.confidence(recipe),
        "split": wording.SPLIT_NAMES[inputs.split],
        "reference": inputs.reference,
        "mixes": inputs.mixes,
        "labels": recipe.task.labels,
        "equal": leaderboard.EQUAL,
        "loss": sections.loss_section(inputs),
        "fidelity": fidelity_section(inputs),
        "arms": sections.arm_section(inputs),
        "agreement": agreement_section(inputs),
        "data": sections.data_section(inputs),
        "composition": inputs.composition,
        "cost": sections.cost_section(inputs),
        "token_tolerance": leaderboard.TOKEN_TOLERANCE,
        "significance": wording.significance(recipe),
        "versions": {name: version for manifest in inputs.manifests for name, version in manifest.versions.items()},
        "git_commit": inputs.git_commit,
        "input_sha256": inputs.input_sha256,
        "test_set_sha256": inputs.test_set_sha256,
        "recipe_yaml": recipe_yaml(recipe),
        "started": min((manifest.started for manifest in inputs.manifests), default=""),
        "base_model": wording.base_model_name(recipe),
    }


def _worst_words(recipe: Recipe, row: LeaderboardRow) -> str:
    if row.worst_subgroup_variable is None or row.worst_subgroup_level is None:
        return ""
    return wording.level_title(recipe, row.worst_subgroup_variable, row.worst_subgroup_level)


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe with every default filled in; files are named without their folders."""
    content = recipe.file.model_dump(mode="json")
    content["name"] = recipe.name
    content["training"]["base_model"] = wording.base_model_name(recipe)
    _drop_folders(content)
    content["mixes"] = [mix.model_dump(mode="json", exclude_none=True) for mix in recipe.mixes]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _drop_folders(content: dict[str, Any]) -> None:
    """Files by their names alone: where they lie is nobody's business but the user's."""
    for key, value in content.items():
        if isinstance(value, dict):
            _drop_folders(value)
        elif key in FILE_KEYS and isinstance(value, str):
            content[key] = PurePath(value).name
