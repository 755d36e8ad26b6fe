"""Concept sets: which codes stand for the disease, for each risk factor, and for each demographic level.

A CSV with the columns set, vocabulary, code, concept_id, name. The set is `disease`, a risk factor, or a demographic
level written `variable=level` (e.g. `sex=female`). Vocabularies have their OMOP names (SNOMED, ICD10CM, LOINC, Gender,
Race, Ethnicity), CDCREC for the race and ethnicity codes of US Core, and AdministrativeGender for FHIR's.

Sex, race and ethnicity have their usual codes in `demographics.csv` beside this file; they hold for levels that the
task has (female, nh_white, ...), of variables that the concept sets do not speak of.

Of several levels of one variable that a person's codes match, the one listed first wins: list `hispanic` above the
races where ethnicity comes first.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.cohort.structured.people import REQUIRED_VARIABLES, Wanted
from harness.errors import ConfigError, collect_faults, nearest
from harness.schemas.population_checks import AGE_VARIABLE

DISEASE = "disease"
DEMOGRAPHICS = Path(__file__).with_name("demographics.csv")
COLUMNS = ("set", "vocabulary", "code", "concept_id", "name")
LEVEL_MARK = "="
PREFIX_VOCABULARIES = frozenset({"ICD10CM", "ICD10"})  # a code stands for every code below it: G30 for G30.0 to G30.9


@dataclass(frozen=True)
class Concept:
    set: str
    vocabulary: str
    code: str
    concept_id: int | None
    name: str


@dataclass(frozen=True)
class ConceptSets:
    """All rows of the CSV, in its order."""

    concepts: tuple[Concept, ...]

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(concept.set for concept in self.concepts))

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(name for name in self.sets if name != DISEASE and LEVEL_MARK not in name)

    def levels(self, variable: str) -> tuple[str, ...]:
        """Levels of a variable that have codes, first wins."""
        marked = (name.partition(LEVEL_MARK) for name in self.sets)
        return tuple(level for name, mark, level in marked if mark and name == variable)


def read_concept_sets(path: Path, wanted: Wanted) -> ConceptSets:
    """Read the CSV, check its sets against the task, and add the usual codes of demographics.

    Raises:
        ConfigError: No such file, missing columns; or every row with an unknown set, without a code, or with a
            concept_id that is no number; no codes for the disease or for sex.
    """
    given = _read(path, wanted)
    spoken_of = {concept.set.partition(LEVEL_MARK)[0] for concept in given}
    known = _known_sets(wanted)
    usual = [
        concept
        for concept in _read(DEMOGRAPHICS, None)
        if concept.set in known and concept.set.partition(LEVEL_MARK)[0] not in spoken_of
    ]
    concepts = (*given, *usual)
    found = {concept.set.partition(LEVEL_MARK)[0] for concept in concepts}
    with collect_faults(ConfigError, str(path)) as faults:
        faults.extend(
            f"no row for {name!r}; needed: the set {DISEASE}, and levels such as sex{LEVEL_MARK}female"
            for name in (DISEASE, *(name for name in REQUIRED_VARIABLES if name != AGE_VARIABLE))
            if name not in found
        )
    return ConceptSets(concepts)


def _read(path: Path, wanted: Wanted | None) -> list[Concept]:
    """Rows of a CSV, checked against the task where there is one to check against."""
    concepts: list[Concept] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: no such file of concept sets; name one under cohort.concept_sets") from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(
            f"{path}: missing column {', '.join(missing)}; found: {', '.join(reader.fieldnames or ()) or 'nothing'}; "
            f"concept sets have {', '.join(COLUMNS)}"
        )
    with collect_faults(ConfigError, str(path)) as faults:
        for number, row in enumerate(reader, start=2):
            cells = {name: (row[name] or "").strip() for name in COLUMNS}
            if wanted is not None:
                faults.extend(f"row {number}: {message}" for message in _row_faults(cells, wanted))
            concept_id = int(cells["concept_id"]) if cells["concept_id"].isdecimal() else None
            concepts.append(Concept(cells["set"], cells["vocabulary"], cells["code"], concept_id, cells["name"]))
    return concepts


def _known_sets(wanted: Wanted) -> list[str]:
    levels = [f"{name}{LEVEL_MARK}{one}" for name, found in wanted.variables.items() for one in found]
    return [DISEASE, *(wanted.factors or ()), *levels]


def _row_faults(cells: Mapping[str, str], wanted: Wanted) -> list[str]:
    faults = []
    known = _known_sets(wanted)
    name = cells["set"]
    free = wanted.factors is None and name and LEVEL_MARK not in name  # a task without a population names no factors
    if name not in known and not free:
        faults.append(f"unknown set {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if not cells["code"] and not cells["concept_id"]:
        faults.append("neither code nor concept_id; give one of them")
    if cells["code"] and not cells["vocabulary"]:
        faults.append("a code without its vocabulary, e.g. SNOMED")
    if cells["concept_id"] and not cells["concept_id"].isdecimal():
        faults.append(f"concept_id {cells['concept_id']!r} is no number; leave it empty where it is not known")
    return faults


@dataclass(frozen=True)
class CodeIndex:
    """Finds the sets of a code; built once, asked for every code of every resource."""

    exact: Mapping[tuple[str, str], tuple[str, ...]]
    prefixes: Mapping[tuple[str, str], tuple[str, ...]]

    def sets(self, vocabulary: str, code: str) -> tuple[str, ...]:
        found = self.exact.get((vocabulary, code), ())
        if vocabulary not in PREFIX_VOCABULARIES:
            return found
        below = (self.prefixes.get((vocabulary, code[:length]), ()) for length in range(1, len(code)))
        return tuple(dict.fromkeys([*found, *(name for names in below for name in names)]))


def code_index(sets: ConceptSets) -> CodeIndex:
    exact: dict[tuple[str, str], tuple[str, ...]] = {}
    for concept in sets.concepts:
        if concept.code:
            key = (concept.vocabulary, concept.code)
            exact[key] = (*exact.get(key, ()), concept.set)
    prefixes = {key: names for key, names in exact.items() if key[0] in PREFIX_VOCABULARIES}
    return CodeIndex(exact, prefixes)
