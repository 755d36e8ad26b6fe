"""The second disease: its files load, its figures carry marks and add up, its gold keeps what its description promises."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
import yaml

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.alignment.statistical import draw_personas, fit_personas
from harness.cohort.structured.concepts import code_index, read_concept_sets
from harness.cohort.structured.people import wanted
from harness.mixes.audit import audit
from harness.mixes.pools import Pool
from harness.prompts.annotate import render_annotate
from harness.prompts.exemplars import Exemplar, load_exemplars
from harness.prompts.render import render_classify, render_generate, render_instruct
from harness.prompts.sight import Slot
from harness.schemas.arms import Sight
from harness.schemas.marks import mark_faults, source_keys
from harness.schemas.population import Population, load_population
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.sentences import split
from harness.words import denies_term, holds_negation, holds_term

FOLDER = shipped("tasks") / "parkinsons"
HARD_KINDS = {"denied", "family_history", "drug_side_effect", "resolved", "test_score", "other_sense"}
N_PERSONAS = 200
SIGHTS: tuple[tuple[Sight, ...], ...] = (
    ("label",), ("label", "persona"), ("label", "trajectory"), ("label", "persona", "trajectory"),
)  # fmt: skip


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("parkinsons", base=FOLDER)


@pytest.fixture(scope="module")
def population(task: Task) -> Population:
    return load_population(FOLDER / "population.yaml", task)


@pytest.fixture(scope="module")
def trajectory(task: Task) -> Trajectory:
    return load_trajectory(FOLDER / "trajectory.yaml", task)


@pytest.fixture(scope="module")
def exemplars(task: Task) -> tuple[Exemplar, ...]:
    return load_exemplars(task)


@pytest.fixture(scope="module")
def gold() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "demo_gold.jsonl").read_text(encoding="utf-8").splitlines()]


def share_of(rows: Sequence[Mapping[str, Any]], variable: str, level: str) -> float:
    return [row[variable] for row in rows].count(level) / len(rows)


# -- the figures -------------------------------------------------------------------------------------------------------


def test_the_folder_is_data_alone() -> None:
    kinds = {path.suffix for path in FOLDER.rglob("*") if path.is_file()}
    assert kinds == {".yaml", ".csv", ".jsonl", ".md"}


@pytest.mark.parametrize("name", ["population", "trajectory"])
def test_every_number_is_marked_and_every_source_is_used(name: str) -> None:
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    assert mark_faults(content, not_facts=("schema_version", "as_of", "risk_rules")) == []
    used = {key for _, key in source_keys(content)}
    assert len(used) >= 10
    assert set(content["sources"]) == used


def test_estimates_of_our_own_are_never_called_published() -> None:
    marks = re.compile(r"status: (\w+), check: (\w+), src: (\w+)")
    found = [mark for name in ("population", "trajectory")
             for mark in marks.findall((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))]  # fmt: skip
    assert len(found) >= 100
    for status, check, src in found:
        assert (status == "assumed") == (src == "own") == (check == "none"), (status, check, src)


def test_derived_shares_follow_from_the_evidence_beside_them(population: Population) -> None:
    ages = population.evidence["age_derivation"]
    people = {band: ages["prevalence_per_100000_worldwide"][band]["v"] * ages["us_population_million"][band]["v"]
              for band in population.margins["age_band"]}  # fmt: skip
    for band, n in people.items():
        assert population.margins["age_band"][band].v == pytest.approx(n / sum(people.values()), abs=5e-5)

    race = population.evidence["race_derivation"]
    rates = {**race["prevalence_per_100000"], "nh_other": race["prevalence_nh_other_per_100000"]["v"]}
    shares = {**race["population_65plus_share"], "nh_other": race["population_65plus_share_nh_other"]["v"]}
    others = {level: rates[level] * shares[level] for level in ("nh_black", "hispanic", "nh_asian", "nh_other")}
    for level, n in others.items():
        assert population.margins["race_ethnicity"][level].v == pytest.approx(
            (1 - 0.853) * n / sum(others.values()), abs=1e-4
        )


def test_margins_and_two_way_tables_agree(population: Population) -> None:
    for variable, levels in population.margins.items():
        assert sum(number.v for number in levels.values()) == pytest.approx(1, abs=1e-9), variable
    table = population.two_way["residence_by_race"].values
    for race, row in table.items():
        assert sum(row.values()) == pytest.approx(population.margins["race_ethnicity"][race].v, abs=1e-9)
    for home in population.margins["residence"]:
        column = sum(row[home] for row in table.values())
        assert column == pytest.approx(population.margins["residence"][home].v, abs=1e-9)


def test_drawn_personas_match_every_margin_within_one_person(population: Population) -> None:
    rows = draw_personas(fit_personas(population), N_PERSONAS, generator(3, "parkinsons")).to_pylist()
    for variable, shares in ((name, population.shares(name)) for name in population.margins):
        for level, share in shares.items():
            assert abs(share_of(rows, variable, level) - share) <= 1 / N_PERSONAS + 1e-9, (variable, level)
    for factor, number in population.risk_factors.items():
        carriers = sum(factor in row["risk_factors"] for row in rows)
        assert abs(carriers / N_PERSONAS - number.v) <= 1 / N_PERSONAS + 1e-9, factor
    for row in rows:
        assert not {"current_smoking", "former_smoking"} <= set(row["risk_factors"])


def test_lexicon_terms_are_distinct_and_every_domain_has_a_choice(task: Task) -> None:
    terms = [term.term for term in task.lexicon]
    assert 60 <= len(terms) == len(set(terms)) <= 100
    domains = Counter(term.domain for term in task.lexicon)
    assert len(domains) == 6
    assert min(domains.values()) >= 10


# -- the years ---------------------------------------------------------------------------------------------------------


def test_days_are_counted_to_the_diagnosis_and_go_on_after_it(trajectory: Trajectory) -> None:
    visits = draw_visits(trajectory, "persona-000001", generator(4, "visits")).to_pylist()
    start, end = trajectory.time_axis.window
    days = [row["days_before_diagnosis"] for row in visits]
    assert days == sorted(days, reverse=True)
    assert -end * 365.25 - 1 <= days[-1] < 0 < days[0] <= -start * 365.25
    # boundaries differ between patients by a standard deviation of one year
    reach = 365.25 * 5 * trajectory.stage_jitter_years.v
    assert all(row["days_before_diagnosis"] > -reach for row in visits if row["stage"] == "prodromal")
    assert all(row["days_before_diagnosis"] < 0 for row in visits if row["stage"] == "advanced_pd")


def test_the_histories_shift_from_non_motor_to_axial_symptoms(task: Task, trajectory: Trajectory) -> None:
    counts: dict[str, Counter[str]] = {stage: Counter() for stage in trajectory.stage_ids}
    for index in range(12):
        name = f"persona-{index:06d}"
        visits = draw_visits(trajectory, name, generator(5, "visits", name))
        mentions = draw_mentions(trajectory, task.lexicon, visits, negative="other", rng=generator(5, "m", name))
        stage = {row["visit_index"]: row["stage"] for row in visits.to_pylist()}
        for row in mentions.to_pylist():
            assert row["label"] == ("other" if row["polarity"] == "absent" else
                                    trajectory.domain_to_label.values[row["domain"]])  # fmt: skip
            counts[stage[row["visit_index"]]][row["domain"]] += 1
    for stage_id, found in counts.items():
        n = sum(found.values())
        assert n > 300
        for domain, share in trajectory.domain_share[stage_id].values.items():
            # five standard deviations of a share; notes of one patient are not independent, hence so many
            assert abs(found[domain] / n - share) < 5 * (share * (1 - share) / n) ** 0.5 + 0.01, (stage_id, domain)


# -- the sentences -----------------------------------------------------------------------------------------------------


def test_the_gold_is_what_its_description_says(gold: list[dict[str, Any]]) -> None:
    told = " ".join((FOLDER / "SOURCES.md").read_text(encoding="utf-8").split())
    other = [row for row in gold if row["label"] == "other"]
    hard = Counter(row["hard_kind"] for row in other if row["hard_kind"])
    patients = {row["patient_id"] for row in gold}
    assert f"{len(gold)} sentences of {len(patients)} fictional patients" in told
    assert f"{len(other)} are `other`, {sum(hard.values())} of those hard on purpose" in told
    assert set(hard) == HARD_KINDS
    assert min(hard.values()) >= 8
    assert len({row["sentence_id"] for row in gold}) == len(gold)
    assert not [row for row in gold if row["label"] != "other" and row["hard_kind"]]


def test_patients_cover_every_level_and_have_one_value_each(task: Task, gold: list[dict[str, Any]]) -> None:
    patients = {row["patient_id"]: row for row in gold}
    for variable, found in task.file.subgroups.items():
        assert len({(row["patient_id"], row[variable]) for row in gold}) == len(patients)
        counts = Counter(row[variable] for row in patients.values())
        assert set(counts) == set(found.levels)
        assert min(counts.values()) >= 5


def test_every_label_has_sentences_from_many_patients(task: Task, gold: list[dict[str, Any]]) -> None:
    for label in task.label_ids:
        assert len({row["patient_id"] for row in gold if row["label"] == label}) >= 24, label


def test_each_sentence_is_one_sentence(gold: list[dict[str, Any]], exemplars: tuple[Exemplar, ...]) -> None:
    texts = [row["text"] for row in gold] + [one.text for one in exemplars]
    assert [text for text in texts if len(split(text)) != 1] == []


def test_sentences_marked_as_denied_hold_a_negation_or_state_a_normal_finding(gold: list[dict[str, Any]]) -> None:
    normal = re.compile(r"\b(normal\w*|fine|sound|clear|good|steady|evenly|unchanged)\b")
    denied = [row for row in gold if row["hard_kind"] == "denied"]
    assert [
        row["sentence_id"] for row in denied if not (holds_negation(row["text"]) or normal.search(row["text"]))
    ] == []
    stated = [row for row in gold if row["label"] != "other"]
    assert [row["sentence_id"] for row in stated if row["text"].startswith("Denies")] == []


def test_exemplars_hold_their_term_and_state_or_deny_it(task: Task, exemplars: tuple[Exemplar, ...]) -> None:
    known = {term.term: term.domain for term in task.lexicon}
    domain_label = load_trajectory(FOLDER / "trajectory.yaml", task).domain_to_label.values
    for one in exemplars:
        if one.term is None:
            assert one.label == task.negative
            continue
        assert holds_term(one.text, one.term), one.text
        if one.polarity == "absent":
            assert one.label == task.negative
            assert holds_negation(one.text), one.text
        else:
            assert one.label == domain_label[known[one.term]]
            assert not denies_term(one.text, one.term), one.text
    assert min(Counter(one.label for one in exemplars).values()) >= 8
    assert sum(one.polarity == "absent" for one in exemplars) >= 6


def test_exemplar_personas_are_ones_that_could_be_drawn(
    task: Task, population: Population, trajectory: Trajectory, exemplars: tuple[Exemplar, ...]
) -> None:
    for one in exemplars:
        assert set(one.persona["risk_factors"]) <= set(population.risk_factors)
        for variable in ("sex", "race_ethnicity", "living_arrangement"):
            assert one.persona[variable] in population.margins[variable]
        assert one.stage in trajectory.stage_ids
        assert one.stage is not None
        assert one.note_type in trajectory.note_type_share[one.stage].values


def test_no_exemplar_is_a_near_copy_of_gold_nor_gold_of_itself(
    gold: list[dict[str, Any]], exemplars: tuple[Exemplar, ...]
) -> None:
    def pool(origin: str, texts: list[str]) -> Pool:
        ids = [f"{origin}{index}" for index in range(len(texts))]
        rows = pa.table({"row_id": ids, "sentence_id": ids, "text": texts})
        return Pool(origin=origin, rows=rows)

    held_out = {"test": pool("gold", [row["text"] for row in gold])}
    found = audit([pool("exemplars", [one.text for one in exemplars])], held_out, threshold=0.4)
    assert found.rejected.num_rows == 0
    found = audit([pool("gold", [row["text"] for row in gold])], {})
    assert [row for row in found.counts if row["n_found"]] == []


def test_no_sentence_comes_from_a_template(gold: list[dict[str, Any]], exemplars: tuple[Exemplar, ...]) -> None:
    def shingles(text: str, n_words: int) -> set[tuple[str, ...]]:
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        return set(zip(*(words[i:] for i in range(n_words)), strict=False))

    texts = [row["text"] for row in gold] + [one.text for one in exemplars]
    shared = Counter(shingle for text in texts for shingle in shingles(text, 5))
    assert max(shared.values()) <= 2
    sets = [shingles(text, 3) for text in texts]
    assert max(len(a & b) / len(a | b) for a, b in combinations(sets, 2) if a & b) < 0.35


def test_no_prompt_speaks_of_the_first_disease_or_shows_an_id(
    task: Task, population: Population, trajectory: Trajectory, exemplars: tuple[Exemplar, ...]
) -> None:
    personas = draw_personas(fit_personas(population), 20, generator(6, "prompts")).to_pylist()
    terms = [term for term in task.lexicon if term.domain == "gait_balance"][: len(personas)]
    shots = [one for one in exemplars if one.label == "gait_and_falls"][:3]
    for index, (persona, term) in enumerate(zip(personas, terms, strict=False)):
        slot = Slot(index=index, label="gait_and_falls", persona=persona, stage=trajectory.stage_ids[index % 4],
                    note_type="movement_disorders_clinic", term=term.term, polarity="present", style="terse")  # fmt: skip
        for sight in SIGHTS:
            for prompt in (render_generate(task, sight, slot, shots), render_instruct(task, sight, slot)):
                assert "Parkinson's disease" in prompt
                assert "lzheimer" not in prompt
                assert "dementia" not in prompt.lower()
                assert not re.search(r"\w_\w", prompt), prompt
                assert term.term in prompt or "trajectory" not in sight
    for prompt in (render_annotate(task, "No falls."), render_classify(task, "No falls.")):
        assert "lzheimer" not in prompt


def test_concept_sets_name_the_disease_and_known_risk_factors(task: Task, population: Population) -> None:
    with (FOLDER / "concept_sets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sets = {row["set"] for row in rows}
    assert "disease" in sets
    assert sets - {"disease"} <= set(population.risk_factors)
    assert len({(row["set"], row["vocabulary"], row["code"]) for row in rows}) == len(rows)
    index = code_index(read_concept_sets(FOLDER / "concept_sets.csv", wanted(task, population)))
    assert index.sets("ICD10CM", "G20.B1") == ("disease",)
    assert index.sets("SNOMED", "49049000") == ("disease",)


def test_nothing_of_the_first_disease_is_left_in_what_a_model_or_reader_sees() -> None:
    for name in ("task.yaml", "lexicon.csv", "population.yaml", "exemplars.jsonl", "demo_gold.jsonl"):
        assert "lzheimer" not in (FOLDER / name).read_text(encoding="utf-8"), name
