"""FHIR R4 bulk export in (a folder of NDJSON with Patient, Condition and Observation), people out.

Lines are read one by one and only what matches a concept set is kept. Race and ethnicity come from the US Core
extensions. Conditions that were refuted or entered in error do not count; an observation counts by its value
(smoking status, LOINC 72166-2, has a SNOMED code as its value).

Source: HL7 FHIR R4 (http://hl7.org/fhir/R4), Bulk Data Access IG, US Core (race and ethnicity extensions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from harness.cohort.structured.coded import Coded, as_of_date, reading
from harness.cohort.structured.concepts import CodeIndex, ConceptSets, code_index
from harness.cohort.structured.people import HELD_OUT, Reading, Wanted
from harness.errors import DataError, Faults
from harness.schemas.cohorts import Cohort

VOCABULARIES = {
    "http://snomed.info/sct": "SNOMED",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://loinc.org": "LOINC",
    "urn:oid:2.16.840.1.113883.6.238": "CDCREC",
}
GENDER, RACE_ETHNICITY = "AdministrativeGender", "CDCREC"
US_CORE = ("us-core-race", "us-core-ethnicity")
OMB_CATEGORY = "ombCategory"
SEVERAL = "multiple"  # our code for a person with several race categories
NOT_A_FINDING = frozenset({"refuted", "entered-in-error"})
SUFFIXES = (".ndjson", ".jsonl")
MIDDLE = (7, 15)  # month of a year, day of a month
RESOURCES = ("Patient", "Condition", "Observation")


@dataclass
class _Records:
    """What the lines held; values stay unparsed until held-out patients are gone."""

    patients: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    """Id to the parts of the resource that matter, and its place."""
    hits: dict[str, list[tuple[str, str | None, str]]] = field(default_factory=dict)
    """Patient to (set, date as written, place)."""
    concepts: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    """(set, vocabulary, code) to patients."""


def fhir_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []


def read_fhir(
    folder: Path, settings: Cohort, wanted: Wanted, *, sets: ConceptSets, held_out: frozenset[str]
) -> Reading:
    """People of a bulk export.

    Args:
        folder: Holds .ndjson files; other resource types than the three are passed over.
        settings: `as_of`.
        wanted: Variables, levels and factors of the task.
        sets: What to look for, by vocabulary and code.
        held_out: Ids, as Patient.id or any Patient.identifier; they are gone before a value is looked at.

    Raises:
        DataError: No files or no patients; or every line that is no JSON object, or that lacks an id, or a date.
    """
    files = fhir_files(folder)
    if not files:
        raise DataError(f"{folder}: no {' or '.join(SUFFIXES)} files; found 0; give a folder of a bulk export")
    faults = Faults(str(folder))
    index = code_index(sets)
    records = _scan(files, index, faults)
    excluded = {one for one, (patient, _) in records.patients.items() if held_out & {one, *patient["identifiers"]}}
    if not records.patients and not faults.messages:
        faults.add("no Patient resources; a cohort needs Patient and Condition")
    persons = [
        _person(one, patient, place, index=index, hits=records.hits.get(one, ()), settings=settings, faults=faults)
        for one, (patient, place) in sorted(records.patients.items())
        if one not in excluded
    ]
    if faults.messages:
        raise DataError(faults.render())
    found = reading(persons, sets, settings, wanted, matched=_matched(records, sets, excluded))
    return Reading(
        people=found.people,
        left_out={**found.left_out, **({HELD_OUT: sorted(excluded)} if excluded else {})},
        n_read=len(records.patients),
        last_year=found.last_year,
        matched=found.matched,
        n_held_out_found=len(excluded),
    )


def _scan(files: Sequence[Path], index: CodeIndex, faults: Faults) -> _Records:
    records = _Records()
    for path in files:
        for place, resource in _resources(path, faults):
            kind = resource.get("resourceType")
            if kind == "Patient":
                _take_patient(resource, place, records, faults)
            elif kind == "Condition" and NOT_A_FINDING.isdisjoint(_codes_of(resource.get("verificationStatus"))):
                _take_hits(resource.get("code"), resource, place, index=index, records=records)
            elif kind == "Observation" and resource.get("status") not in NOT_A_FINDING:
                _take_hits(resource.get("valueCodeableConcept"), resource, place, index=index, records=records)
    return records


def _resources(path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path.name} line {number}"
            try:
                resource = json.loads(line)
            except (ValueError, RecursionError):
                faults.add(f"{place}: not JSON; each line must be one resource")
                continue
            if isinstance(resource, dict) and "resourceType" in resource:
                yield place, resource
            else:
                faults.add(f"{place}: no resourceType; each line must be one resource, e.g. {', '.join(RESOURCES)}")


def _take_patient(resource: Mapping[str, Any], place: str, records: _Records, faults: Faults) -> None:
    one = resource.get("id")
    if not isinstance(one, str) or not one:
        faults.add(f"{place}: a Patient without an id")
    elif one in records.patients:
        faults.add(f"{place}: the Patient of {records.patients[one][1]} again; give one resource a patient")
    else:
        identifiers = [str(part.get("value")) for part in _list(resource.get("identifier")) if part.get("value")]
        kept = {key: resource.get(key) for key in ("gender", "birthDate", "extension")}
        records.patients[one] = ({**kept, "identifiers": identifiers}, place)


def _take_hits(concept: Any, resource: Mapping[str, Any], place: str, *, index: CodeIndex, records: _Records) -> None:
    subject = resource.get("subject")
    reference = str(subject.get("reference") or "") if isinstance(subject, dict) else ""
    patient = reference.rpartition("/")[2].removeprefix("urn:uuid:")
    for coding in _codings(concept):
        vocabulary = VOCABULARIES.get(str(coding.get("system")), "")
        code = str(coding.get("code"))
        for name in index.sets(vocabulary, code):
            records.hits.setdefault(patient, []).append((name, _date_of(resource), place))
            records.concepts.setdefault((name, vocabulary, code), set()).add(patient)


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _codings(concept: Any) -> list[dict[str, Any]]:
    return _list(concept.get("coding")) if isinstance(concept, dict) else []


def _codes_of(concept: Any) -> set[str]:
    return {str(coding.get("code")) for coding in _codings(concept)}


def _date_of(resource: Mapping[str, Any]) -> str | None:
    """Onset before recording, as written; for observations the moment they hold for."""
    for key in ("onsetDateTime", "effectiveDateTime", "effectiveInstant"):
        if resource.get(key):
            return str(resource[key])
    for key in ("onsetPeriod", "effectivePeriod"):
        period = resource.get(key)
        if isinstance(period, dict) and period.get("start"):
            return str(period["start"])
    for key in ("recordedDate", "issued"):
        if resource.get(key):
            return str(resource[key])
    return None


# -- one patient -------------------------------------------------------------------------------------------------------


def _person(
    one: str,
    patient: Mapping[str, Any],
    place: str,
    *,
    index: CodeIndex,
    hits: Sequence[tuple[str, str | None, str]],
    settings: Cohort,
    faults: Faults,
) -> Coded:
    written = patient["birthDate"]
    born = None if written is None else parse_date(str(written))
    if written is not None and born is None:
        faults.add(f"{place}: birthDate is no date (YYYY, YYYY-MM or YYYY-MM-DD)")
    person = Coded(one, born)
    for name in index.sets(GENDER, str(patient["gender"])):
        person.add(name, None)
    for code in _race_ethnicity(patient["extension"]):
        for name in index.sets(RACE_ETHNICITY, code):
            person.add(name, None)
    moment = as_of_date(settings)
    for name, text, where in hits:
        day = None if text is None else parse_date(text)
        if day is None:
            faults.add(f"{where}: a matched record without a date (onset, effective or recorded)")
        elif moment is None or day <= moment:
            person.add(name, day)
    return person


def parse_date(text: str) -> date | None:
    """A FHIR date or dateTime, the middle of what it leaves open; None when it is neither."""
    match = re.fullmatch(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?(?:T.*)?", text)
    if match is None:
        return None
    year, month, day = match.groups()
    try:
        return date(int(year), int(month or MIDDLE[0]), int(day or (MIDDLE[1] if month else 1)))
    except ValueError:
        return None


def _race_ethnicity(extensions: Any) -> list[str]:
    """OMB categories; several races become the one code `multiple`."""
    codes: list[str] = []
    for extension in _list(extensions):
        if str(extension.get("url")).rpartition("/")[2] not in US_CORE:
            continue
        found = [
            str(part["valueCoding"].get("code"))
            for part in _list(extension.get("extension"))
            if part.get("url") == OMB_CATEGORY and isinstance(part.get("valueCoding"), dict)
        ]
        codes += found if len(set(found)) <= 1 else [SEVERAL]
    return codes


def _matched(records: _Records, sets: ConceptSets, excluded: set[str]) -> list[dict[str, Any]]:
    """Codes that records matched, by set, with the number of people (held-out ones not counted)."""
    names = {(one.set, one.vocabulary, one.code): one.name for one in sets.concepts}
    known = records.patients.keys() - excluded
    rows = [
        {"set": key[0], "vocabulary": key[1], "code": key[2], "name": names.get(key, ""), "n": len(who & known)}
        for key, who in sorted(records.concepts.items())
    ]
    return [row for row in rows if row["n"]]
