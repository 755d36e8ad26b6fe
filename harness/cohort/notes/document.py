"""Estimates in, a `trajectory.yaml` out that a person can read and edit. Pure.

Every fitted number carries status `derived`, check `read` and the user's notes as its source, with its 95% interval in
its note. What could not be fitted is the task's own, with the task's marks and a note that says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.cohort.notes.rates import ALL, Rate
from harness.schemas.marks import MARK_KEYS

SOURCE = "user_notes"
MARK = {"status": "derived", "check": "read", "src": SOURCE}
DIGITS = 4
SHARE_DECIMALS = 6
NOT_IN_NOTES = "notes do not tell it"
NOT_IDENTIFIED = "notes show statements, not beginnings"
YAML_WIDTH = 118
COMMENTS = {
    "stages": "stages and boundaries are the task's: notes do not name their stage",
    "notes_per_year": "by stage; a patient's first note opens the record and is not counted",
    "mentions_per_note": "distinct lexicon terms a note states or denies, real density: no multiplier",
    "note_type_share": "of the notes that name a type",
    "domain_share": "of the mentions of a note, stated or denied",
    "absent_share": "of mentions: terms that the note denies",
    "term_frequency": "inside each domain, corrected for drawing without repetition inside a note",
    "onset": "the task's: when terms begin in a patient, and how they persist; with what the notes show",
    "documentation": "the task's: notes do not name their authors",
    "expected": "the task's shapes to compare with, as they were",
    "evidence": "the task's figures behind its own targets, as they were",
}

Content = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What the head of the file says about the notes."""

    file_name: str
    n_notes: int
    n_patients: int
    never_found: Sequence[str]


class Rates:
    """Estimates by parameter, stage and level."""

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._by_place = {(rate.parameter, rate.stage, rate.level): rate for rate in rates}

    def one(self, parameter: str, stage: str = ALL, level: str = ALL) -> Rate | None:
        return self._by_place.get((parameter, stage, level))

    def levels(self, parameter: str, stage: str) -> list[Rate]:
        return [rate for place, rate in self._by_place.items() if place[:2] == (parameter, stage)]


def trajectory_content(task: Mapping[str, Any], rates: Sequence[Rate], about: About) -> Content:
    """The fitted trajectory as nested settings, in the order of the file.

    Args:
        task: The task's trajectory as read from its YAML.
        rates: From `rates.estimate`, `terms.term_rates` and `course.course_rates`.
        about: The notes.
    """
    found = Rates(rates)
    stages = [stage["id"] for stage in task["stages"]]
    content: Content = {"schema_version": task["schema_version"]}
    title = f"The user's notes: {about.n_notes} of {about.n_patients} training patients, fitted by dualalign-harness"
    content["sources"] = {**task["sources"], SOURCE: {"title": title, "ref": about.file_name}}
    content |= {name: carried(task[name], NOT_IN_NOTES) for name in ("time_axis", "stages", "stage_jitter_years")}
    content["notes_per_year"] = _counts(found, "notes_per_year", task["notes_per_year"], stages)
    content["note_type_share"] = _tables(found, "note_type_share", task["note_type_share"], stages)
    content["mentions_per_note"] = {
        **_counts(found, "mentions_per_note", task["mentions_per_note"], stages),
        "density_multiplier": {"v": 1, **MARK, "note": "the counts are those of the notes"},
    }
    content["domain_share"] = _tables(found, "domain_share", task["domain_share"], stages)
    if frequency := _frequency(found, task["domain_to_label"]["values"]):
        content["term_frequency"] = frequency
    content["domain_to_label"] = carried(task["domain_to_label"], NOT_IN_NOTES)
    if task.get("reported_by_others"):
        content["reported_by_others"] = carried(task["reported_by_others"], NOT_IN_NOTES)
    content["absent_share"] = _absent(found, task.get("absent_share") or {}, stages)
    if task.get("onset"):
        content["onset"] = _onset(found, task["onset"])
    if task.get("documentation"):
        content["documentation"] = _documentation(task["documentation"], content["note_type_share"])
    return content | {name: task[name] for name in ("expected", "evidence") if task.get(name)}


def render(content: Mapping[str, Any], about: About) -> str:
    """The YAML text, section by section, each with a comment that says what it counts."""
    parts = [f"# What {about.n_notes} notes of {about.n_patients} training patients say, and when.\n"
             "# Written by dualalign-harness; edit it, and name the copy as a task's trajectory to use it elsewhere.\n"
             f"# Terms of the lexicon in no note: {', '.join(about.never_found) or 'none'}.\n"]  # fmt: skip
    for name, section in content.items():
        flow = None if isinstance(section, dict | list) else False  # a number on a line, the inmost mapping in another
        text = yaml.safe_dump(
            {name: section}, sort_keys=False, allow_unicode=True, width=YAML_WIDTH, default_flow_style=flow
        )
        comment = f"# {COMMENTS[name]}\n" if name in COMMENTS else ""
        parts.append(f"{comment}{text}")
    return "\n".join(parts)


def carried(section: Any, reason: str) -> Any:
    """A section of the task, with a note at every mark that says it was carried over and why."""
    if isinstance(section, list):
        return [carried(one, reason) for one in section]
    if not isinstance(section, dict):
        return section
    inside = {key: carried(value, reason) for key, value in section.items()}
    if section.keys() >= MARK_KEYS:
        own = f"; {section['note']}" if section.get("note") else ""
        inside["note"] = f"carried over from the task: {reason}{own}"
    return inside


# -- sections ----------------------------------------------------------------------------------------------------------


def _counts(found: Rates, parameter: str, task: Mapping[str, Any], stages: Sequence[str]) -> Content:
    by_stage = {stage: _number(found.one(parameter, stage), task["by_stage"][stage]) for stage in stages}
    excess = found.one(f"{parameter}_excess")
    if excess is None or excess.value is None or excess.ci_low is None:
        kept = {"dist": task["dist"]}
        if task.get("dispersion"):
            kept["dispersion"] = carried(task["dispersion"], (excess and excess.reason) or NOT_IN_NOTES)
        return {**kept, "by_stage": by_stage}
    if excess.ci_low <= 0:  # no more spread than a Poisson's, as far as these notes can tell
        return {"dist": "poisson", "by_stage": by_stage}
    low, high = 1 / (excess.ci_high or excess.value), 1 / excess.ci_low
    size = {"v": rounded(1 / excess.value), **MARK, "note": f"95% interval {rounded(low):g} to {rounded(high):g}"}
    return {"dist": "negative_binomial", "dispersion": size, "by_stage": by_stage}


def _number(rate: Rate | None, task: Any, form: Callable[[float], float] | None = None) -> Content:
    """A fitted number, or the task's where there is none."""
    form = form or rounded
    if rate is None or rate.value is None:
        kept: Content = carried(task, (rate and rate.reason) or NOT_IN_NOTES)
        return kept
    return {
        "v": form(rate.value),
        **MARK,
        "note": f"{_interval(rate)}; {rate.n} in notes of {rate.n_patients} patients",
    }


def _tables(found: Rates, parameter: str, task: Mapping[str, Any], stages: Sequence[str]) -> Content:
    """Shares of every stage; a stage without its own is the task's."""
    tables: Content = {}
    for stage in stages:
        rows = [rate for rate in found.levels(parameter, stage) if rate.value is not None]
        if not rows:
            reason = next((rate.reason for rate in found.levels(parameter, stage) if rate.reason), NOT_IN_NOTES)
            tables[stage] = carried(task[stage], reason)
            continue
        intervals = "; ".join(f"{rate.level} {_interval(rate, head='')}" for rate in rows)
        tables[stage] = {"values": {rate.level: share(rate.value or 0.0) for rate in rows}, **MARK,
                         "note": f"95% intervals: {intervals}"}  # fmt: skip
    return tables


def _absent(found: Rates, task: Mapping[str, Any], stages: Sequence[str]) -> Content:
    """Shares of denied mentions; a stage that neither notes nor task know stays out, which means none."""
    content: Content = {}
    for stage in stages:
        rate = found.one("absent_share", stage)
        if (rate is not None and rate.value is not None) or stage in task:
            content[stage] = _number(rate, task.get(stage), share)
    return content


def _frequency(found: Rates, domains: Mapping[str, Any]) -> Content | None:
    """Frequencies of all terms; those of too few patients share what the others leave of their domain."""
    values: dict[str, float] = {}
    intervals: list[str] = []
    rest: list[str] = []
    for domain in domains:
        rows = found.levels("term_frequency", domain)
        own = [rate for rate in rows if rate.value]
        few = [rate for rate in rows if not rate.value]
        if not own:
            values |= {rate.level: share(1 / len(few)) for rate in few}
        else:
            total = sum(rate.n for rate in rows)
            each = max(sum(rate.n for rate in few), 0.5) / total / max(len(few), 1)  # half a mention is above none
            values |= {rate.level: share(rate.value or 0.0) for rate in own}
            values |= {rate.level: share(each) for rate in few}
        intervals += [f"{rate.level} {_interval(rate, head='')}" for rate in own]
        rest += [rate.level for rate in few]
    if not intervals:
        return None
    note = f"95% intervals: {'; '.join(intervals)}"
    note += f". Of too few patients, sharing what is left of their domain: {', '.join(rest)}" if rest else ""
    return {"values": values, **MARK, "note": note}


def _onset(found: Rates, task: Mapping[str, Any]) -> Content:
    """The task's beginnings and persistence, with what notes show beside them.

    Notes show when a term is first stated, which is later than it begins, and how much more often it is stated after
    that, which differs between terms as well; neither is the parameter that the model draws by.
    """
    content: Content = carried(dict(task), NOT_IDENTIFIED)
    for domain, own in task["domains"].items():
        if told := _told(found.one("first_stated_years_before", ALL, domain), "first stated in these notes, median"):
            content["domains"][domain]["median_years_before"] = carried(own["median_years_before"], told)
    if told := _told(found.one("restated_ratio"), "in these notes, a term is stated after it once was, over before"):
        content["persistence"] = carried(task["persistence"], told)
    return content


def _told(rate: Rate | None, what: str) -> str | None:
    """What notes say beside a number that they do not identify."""
    if rate is None or rate.value is None:
        return None
    return f"{NOT_IDENTIFIED} ({what} {rounded(rate.value):g}, {_interval(rate)})"


def _documentation(task: Mapping[str, Any], note_type_share: Mapping[str, Any]) -> Content:
    """The task's, with authors for note types that the task does not know: as many as its types have in the middle."""
    content: Content = carried(dict(task), NOT_IN_NOTES)
    known = task["authors"]["values"]
    types = dict.fromkeys(name for table in note_type_share.values() for name in table["values"])
    usual = int(statistics.median_low(known.values()))
    content["authors"]["values"] = {name: known.get(name, usual) for name in types}
    return content


def _interval(rate: Rate, head: str = "95% interval ") -> str:
    if rate.ci_low is None or rate.ci_high is None:
        return f"{head}unknown ({rate.reason})"
    return f"{head}{rounded(rate.ci_low):g} to {rounded(rate.ci_high):g}"


def rounded(value: float) -> float:
    """To four significant digits: far below any interval's width, and readable."""
    return float(f"{value:.{DIGITS}g}")


def share(value: float) -> float:
    """To six decimals, so that shares still add up to 1."""
    return round(value, SHARE_DECIMALS)
