"""Notes of one persona hang together, and no count by stage moves."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.alignment.mentions import Planned, read_lexicon
from harness.alignment.onset import Course, choose_together, draw_beginnings, follow
from harness.alignment.semantic import draw_mentions, draw_visits
from harness.schemas.marks import Number
from harness.schemas.onset import DomainOnset, Onset, Worsening
from harness.schemas.task import Task, Term, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator

N = 60
SIGMA = 4.5  # about one false alarm in 3,000 runs of the largest family here (48 comparisons)
DAYS = 365.25
Rows = list[dict[str, Any]]


def number(v: float) -> Number:
    return Number(v=v, status="assumed", check="none", src="own")


def with_onset(trajectory: Trajectory, **changes: object) -> Trajectory:
    assert trajectory.onset is not None
    return trajectory.model_copy(update={"onset": trajectory.onset.model_copy(update=changes)})


def with_density(trajectory: Trajectory, v: float) -> Trajectory:
    counts = trajectory.mentions_per_note.model_copy(update={"density_multiplier": number(v)})
    return trajectory.model_copy(update={"mentions_per_note": counts})


@pytest.fixture(scope="module")
def shipped_task() -> Task:
    return load_task("alzheimers", base=Path())


@pytest.fixture(scope="module")
def together(shipped_task: Task) -> Trajectory:
    return load_trajectory(shipped_task.folder / "trajectory.yaml", shipped_task)


@pytest.fixture(scope="module")
def apart(together: Trajectory) -> Trajectory:
    return together.model_copy(update={"onset": None})


def history(trajectory: Trajectory, lexicon: Sequence[Term], seed: int) -> Rows:
    """Mentions of one persona with moment, stage and note; the same seed gives the same visits for any onset."""
    visits = draw_visits(trajectory, f"p{seed}", generator(seed, "visits"))
    found = draw_mentions(trajectory, lexicon, visits, negative="other", rng=generator(seed, "mentions"))
    return joined(visits, found)


def joined(visits: pa.Table, mentions: pa.Table) -> Rows:
    days, stages = visits["days_before_diagnosis"].to_pylist(), visits["stage"].to_pylist()
    return [
        {**row, "years": -days[row["visit_index"]] / DAYS, "stage": stages[row["visit_index"]]}
        for row in mentions.to_pylist()
    ]


@pytest.fixture(scope="module")
def coherent(together: Trajectory, shipped_task: Task) -> list[Rows]:
    return [history(together, shipped_task.lexicon, seed) for seed in range(N)]


@pytest.fixture(scope="module")
def independent(apart: Trajectory, shipped_task: Task) -> list[Rows]:
    return [history(apart, shipped_task.lexicon, seed) for seed in range(N)]


# -- what stays --------------------------------------------------------------------------------------------------------


def test_onset_moves_no_count_of_any_note(coherent: list[Rows], independent: list[Rows]) -> None:
    def counts(rows: Iterable[dict[str, Any]]) -> Counter[tuple[object, ...]]:
        return Counter((row["visit_index"], row["domain"], row["polarity"], row["label"]) for row in rows)

    for one, other in zip(coherent, independent, strict=True):
        assert counts(one) == counts(other)
    assert coherent != independent


def test_means_by_stage_are_those_without_onset_within_sampling_error(
    coherent: list[Rows], apart: Trajectory, shipped_task: Task
) -> None:
    """Other personas without onset against those with it: mentions a note by stage, domain and polarity."""
    others = [history(apart, shipped_task.lexicon, 1000 + seed) for seed in range(N)]
    n_compared = 0
    mine, theirs = per_note(coherent), per_note(others)
    for key in mine.keys() | theirs.keys():
        a, b = np.array(mine[key]), np.array(theirs[key])
        error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))  # notes are independent given their stage
        assert abs(a.mean() - b.mean()) < SIGMA * error, key
        n_compared += 1
    assert n_compared == 4 * 6 * 2


def per_note(histories: list[Rows]) -> dict[tuple[str, str, str], list[int]]:
    """Stage, domain and polarity to that count in each note of the stage (notes without any mention left out)."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    domains = sorted({row["domain"] for row in histories[0]})
    for rows in histories:
        stage_of = {row["visit_index"]: row["stage"] for row in rows}
        counts = Counter((row["visit_index"], row["domain"], row["polarity"]) for row in rows)
        for visit, stage in stage_of.items():
            for domain in domains:
                for polarity in ("present", "absent"):
                    found[stage, domain, polarity].append(counts[visit, domain, polarity])
    return found


def test_no_term_is_repeated_in_a_note_with_onset(coherent: list[Rows]) -> None:
    for rows in coherent:
        keys = [(row["visit_index"], row["term"]) for row in rows]
        assert len(set(keys)) == len(keys)


def test_the_same_stream_gives_the_same_notes(coherent: list[Rows], together: Trajectory, shipped_task: Task) -> None:
    assert history(together, shipped_task.lexicon, 3) == coherent[3]
    assert history(together, shipped_task.lexicon, N + 3) != coherent[3]


def test_without_onset_nothing_has_a_course(independent: list[Rows]) -> None:
    assert {row["course"] for rows in independent for row in rows} == {None}


# -- what is denied ----------------------------------------------------------------------------------------------------


def contradictions(rows: Rows, lexicon: Sequence[Term]) -> tuple[int, int]:
    """Denials of a term that an earlier note states; and those of them that were not forced.

    Forced: every term of the domain is in the note already or is stated by an earlier one.
    """
    first = first_stated(rows)
    in_note: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        in_note[row["visit_index"]].add(row["term"])
    n_found = n_free = 0
    for row in rows:
        visit = row["visit_index"]
        if row["polarity"] == "absent" and first.get(row["term"], np.inf) < visit:
            left = {term.term for term in lexicon if term.domain == row["domain"]} - in_note[visit]
            n_found += 1
            n_free += any(first.get(name, np.inf) >= visit for name in left)
    return n_found, n_free


def first_stated(rows: Rows) -> dict[str, int]:
    first: dict[str, int] = {}
    for row in rows:
        if row["polarity"] == "present":
            first.setdefault(row["term"], row["visit_index"])
    return first


def test_notes_do_not_deny_what_earlier_ones_state(
    coherent: list[Rows], independent: list[Rows], shipped_task: Task
) -> None:
    n_denied = sum(row["polarity"] == "absent" for rows in coherent for row in rows)
    assert n_denied > 10_000
    found = np.array([contradictions(rows, shipped_task.lexicon) for rows in coherent])
    assert found[:, 1].sum() == 0
    assert found[:, 0].sum() < 0.001 * n_denied  # the lexicon holds enough terms that have not begun
    found = np.array([contradictions(rows, shipped_task.lexicon) for rows in independent])
    assert found[:, 0].sum() > n_denied / 2  # notes that know nothing of each other deny what was stated
    assert found[:, 1].sum() > n_denied / 5


def test_a_small_lexicon_denies_stated_terms_only_where_no_other_is_left(
    together: Trajectory, shipped_task: Task
) -> None:
    few = [term for term in shipped_task.lexicon if term.domain != "memory" or term.term in ("forgetful", "amnestic")]
    trajectory = with_onset(together, terms=())
    found = np.array([contradictions(history(trajectory, few, seed), few) for seed in range(10)])
    assert found[:, 1].sum() == 0
    assert found[:, 0].sum() > 20  # the targets by stage win over coherence


def test_denied_terms_have_not_begun_where_enough_have_not(together: Trajectory, shipped_task: Task) -> None:
    lexicon = read_lexicon(together, shipped_task.lexicon)
    memory = np.flatnonzero(lexicon.term_domain == lexicon.domains.index("memory"))
    n, n_denied = 200, 4
    planned = Planned(
        n_notes=n,
        note=np.repeat(np.arange(n), n_denied),
        domain=np.full(n * n_denied, lexicon.domains.index("memory")),
        is_absent=np.ones(n * n_denied, dtype=np.bool_),
    )
    has_begun = np.ones((n, len(lexicon.terms)), dtype=np.bool_)
    has_begun[:100, memory[:5]] = False  # five have not begun: all denials are among them
    has_begun[100:, memory[:3]] = False  # three have not: they are denied, and one more
    course = Course(has_begun=has_begun, severity=np.zeros(has_begun.shape, dtype=np.int64))
    assert together.onset is not None
    term, told = choose_together(together.onset, lexicon, planned, course, generator(0, "denied"))
    by_note = term.reshape(n, n_denied)
    assert all(set(found) <= set(memory[:5]) for found in by_note[:100])
    assert all(set(memory[:3]) < set(found) for found in by_note[100:])
    assert set(told) == {None}


# -- persistence -------------------------------------------------------------------------------------------------------


def repeats(histories: list[Rows]) -> tuple[float, float]:
    """Of stated terms: share that the next note of the same stage states too, and the share if notes were independent.

    The latter is the stage's share of notes that state the term, averaged over what is stated.
    """
    notes: dict[tuple[int, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for persona, rows in enumerate(histories):
        for row in rows:
            if row["polarity"] == "present":
                notes[persona, row["stage"]][row["visit_index"]].add(row["term"])
    n_notes: Counter[str] = Counter()
    stated: dict[str, Counter[str]] = defaultdict(Counter)
    for (_, stage), found in notes.items():
        n_notes[stage] += len(found)
        for terms in found.values():
            stated[stage].update(terms)
    again = of = 0
    expected = 0.0
    for (_, stage), found in notes.items():
        order = sorted(found)
        for this, following in itertools.pairwise(order):
            of += len(found[this])
            again += len(found[this] & found[following])
            expected += sum(stated[stage][term] / n_notes[stage] for term in found[this])
    return again / of, expected / of


def test_a_stated_term_is_stated_again_more_often_than_by_chance(coherent: list[Rows], independent: list[Rows]) -> None:
    found, by_chance = repeats(independent)
    # some 80,000 pairs: a standard error of about 0.0015
    assert found == pytest.approx(by_chance, abs=0.006)
    found, by_chance = repeats(coherent)
    assert found > 1.5 * by_chance


def test_more_persistence_means_more_repetition(together: Trajectory, shipped_task: Task) -> None:
    shares = []
    for persistence in (0.0, 5.0, 50.0):
        trajectory = with_density(with_onset(together, persistence=number(persistence)), 1.0)
        shares.append(repeats([history(trajectory, shipped_task.lexicon, seed) for seed in range(25)])[0])
    assert shares[1] > shares[0] + 0.01
    assert shares[2] > shares[1] + 0.01


def test_persistence_is_the_odds_of_a_stated_term_against_a_fresh_one(together: Trajectory, shipped_task: Task) -> None:
    """Two terms have begun, the first note states one of them: the next states it again with 4 / (4 + 1)."""
    terms = [Term(domain="memory", term=name) for name in ("forgetful", "amnestic")]
    domains = together.domain_to_label.model_copy(update={"values": {"memory": "cognitive_impairment"}})
    lexicon = read_lexicon(together.model_copy(update={"domain_to_label": domains}), terms)
    planned = Planned(
        n_notes=2,
        note=np.array([0, 1]),
        domain=np.zeros(2, dtype=np.int64),
        is_absent=np.zeros(2, dtype=np.bool_),
    )
    course = Course(has_begun=np.ones((2, 2), dtype=np.bool_), severity=np.zeros((2, 2), dtype=np.int64))
    assert together.onset is not None
    assert together.onset.persistence.v == 3
    n = 3000
    same = 0
    for seed in range(n):
        term, _ = choose_together(together.onset, lexicon, planned, course, generator(seed, "pair"))
        same += int(term[0] == term[1])
    assert same / n == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / n))


# -- worsening ---------------------------------------------------------------------------------------------------------


def test_a_term_is_new_once_and_first(coherent: list[Rows]) -> None:
    for rows in coherent[:20]:
        told: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            assert (row["course"] is None) == (row["polarity"] == "absent")
            if row["polarity"] == "present":
                told[row["term"]].append(row["course"])
        for courses in told.values():
            assert courses[0] == "new"
            assert set(courses[1:]) <= {"stable", "worse"}


def followed(onset: Onset, trajectory: Trajectory, task: Task, seed: int) -> tuple[Course, np.ndarray[Any, Any]]:
    lexicon = read_lexicon(trajectory, task.lexicon)
    years = np.linspace(-10, 0, 40)
    none = np.zeros(0, dtype=np.int64)
    planned = Planned(n_notes=40, note=none, domain=none, is_absent=none.astype(np.bool_))
    begins = draw_beginnings(onset, lexicon, generator(seed, "follow"))[1]
    return follow(onset, lexicon, planned, years, generator(seed, "follow")), begins


def test_severity_never_falls_and_grows_at_the_declared_rate(together: Trajectory, shipped_task: Task) -> None:
    onset = together.onset
    assert onset is not None
    excess = []
    for seed in range(20):
        course, begins = followed(onset, together, shipped_task, seed)
        assert (np.diff(course.severity, axis=0) >= 0).all()
        assert (np.diff(course.has_begun.astype(int), axis=0) >= 0).all()
        assert (course.severity[~course.has_begun] == 0).all()
        since = -begins[course.has_begun[-1]]
        # the mean of floor(x + U) over a uniform U is x
        excess.append(course.severity[-1][course.has_begun[-1]] - onset.worsening.steps_per_year.v * since)
    residual = np.concatenate(excess)
    assert abs(residual.mean()) < 4 * residual.std() / np.sqrt(residual.size)
    assert (np.abs(residual) < 1).all()


def test_nothing_worsens_without_steps_and_more_does_with_more(together: Trajectory, shipped_task: Task) -> None:
    shares = []
    for steps in (0.0, 0.3, 1.5):
        worsening = Worsening(steps_per_year=number(steps), gain_per_step=number(0.0))
        trajectory = with_density(with_onset(together, worsening=worsening), 1.0)
        courses = [row["course"] for seed in range(10) for row in history(trajectory, shipped_task.lexicon, seed)]
        shares.append(courses.count("worse") / len(courses))
    assert shares[0] == 0
    assert 0 < shares[1] < shares[2]


def test_a_mention_is_worse_exactly_where_severity_rose_since_the_last(
    together: Trajectory, shipped_task: Task
) -> None:
    lexicon = read_lexicon(together, shipped_task.lexicon)
    n_domains = len(lexicon.domains)
    note = np.repeat(np.arange(5), 2 * n_domains)
    domain = np.tile(np.repeat(np.arange(n_domains), 2), 5)
    planned = Planned(n_notes=5, note=note, domain=domain, is_absent=np.zeros(len(note), dtype=np.bool_))
    rng = generator(0, "severity")
    severity = np.cumsum(rng.integers(0, 2, size=(5, len(shipped_task.lexicon))), axis=0)
    course = Course(has_begun=np.ones(severity.shape, dtype=np.bool_), severity=severity)
    assert together.onset is not None
    term, told = choose_together(together.onset, lexicon, planned, course, rng)
    last: dict[int, int] = {}
    for where, one, words in zip(note.tolist(), term.tolist(), told.tolist(), strict=True):
        expected = "new" if one not in last else "worse" if severity[where, one] > last[one] else "stable"
        assert words == expected
        last[one] = int(severity[where, one])
    assert {"new", "worse", "stable"} == set(told)


def test_what_has_worsened_is_stated_more_often(together: Trajectory, shipped_task: Task) -> None:
    """Severity 2 against 0 in a domain where all have begun: odds (1 + gain) ^ 2 of being the one that is taken."""
    lexicon = read_lexicon(together, shipped_task.lexicon)
    memory = lexicon.domains.index("memory")
    n = 4000
    planned = Planned(
        n_notes=n,
        note=np.arange(n),
        domain=np.full(n, memory),
        is_absent=np.zeros(n, dtype=np.bool_),
    )
    severe = np.zeros(len(lexicon.terms), dtype=np.int64)
    severe[np.flatnonzero(lexicon.term_domain == memory)[:11]] = 2  # 11 of 22 terms
    course = Course(
        has_begun=np.ones((n, len(severe)), dtype=np.bool_), severity=np.broadcast_to(severe, (n, len(severe)))
    )
    assert together.onset is not None
    memoryless = together.onset.model_copy(update={"persistence": number(0)})
    term, _ = choose_together(memoryless, lexicon, planned, course, generator(0, "gain"))
    expected = 1.25**2 / (1.25**2 + 1)
    found = (severe[term] == 2).mean()
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


# -- beginnings --------------------------------------------------------------------------------------------------------


def test_beginnings_have_the_declared_median_spread_and_share(together: Trajectory, shipped_task: Task) -> None:
    lexicon = read_lexicon(together, shipped_task.lexicon)
    assert together.onset is not None
    n = 1500
    drawn = [draw_beginnings(together.onset, lexicon, generator(seed, "begin")) for seed in range(n)]
    moment, begins = np.array([one for one, _ in drawn]), np.array([one for _, one in drawn])
    for index, term in enumerate(shipped_task.lexicon):
        of = together.onset.of(term)
        spread = of.spread_years
        # of a normal sample: standard errors of the median, of the standard deviation, of a share
        assert abs(np.median(moment[:, index]) + of.median_years_before) < SIGMA * 1.2533 * spread / np.sqrt(n)
        assert abs(moment[:, index].std() - spread) < SIGMA * spread / np.sqrt(2 * n)
        share = np.isfinite(begins[:, index]).mean()
        assert abs(share - of.share) < SIGMA * np.sqrt(of.share * (1 - of.share) / n)


def test_domains_are_first_stated_in_the_declared_order(together: Trajectory, shipped_task: Task) -> None:
    """Where domains differ in nothing but their median, notes state their terms in the order of the medians.

    What is never stated counts as stated at the diagnosis.
    """
    even = {
        stage: table.model_copy(update={"values": dict.fromkeys(table.values, 1 / 6)})
        for stage, table in together.domain_share.items()
    }
    assert together.onset is not None
    alike = {
        name: domain.model_copy(update={"spread_years": number(2), "share": number(1)})
        for name, domain in together.onset.domains.items()
    }
    trajectory = with_onset(together.model_copy(update={"domain_share": even}), terms=(), domains=alike)
    lexicon = balanced(shipped_task.lexicon, 18)
    n = 100
    mean: dict[str, list[float]] = defaultdict(list)  # by domain, one value for each persona
    for seed in range(n):
        rows = history(with_density(trajectory, 1.0), lexicon, seed)
        stated = {row["term"]: row["years"] for row in reversed(rows) if row["polarity"] == "present"}
        for domain in alike:
            mean[domain].append(np.mean([stated.get(term.term, 0.0) for term in lexicon if term.domain == domain]))
    n_pairs = 0
    for earlier, later in ((a, b) for a in alike for b in alike if begins(alike[a]) >= begins(alike[b]) + 1):
        gap = np.array(mean[later]) - np.array(mean[earlier])
        assert gap.mean() > 2 * gap.std() / np.sqrt(n), (earlier, later)
        n_pairs += 1
    assert n_pairs == 11


def begins(domain: DomainOnset) -> float:
    return domain.median_years_before.v


def balanced(lexicon: Sequence[Term], n: int) -> list[Term]:
    """The first `n` terms of each domain."""
    seen: Counter[str] = Counter()
    kept = []
    for term in lexicon:
        seen[term.domain] += 1
        if seen[term.domain] <= n:
            kept.append(term)
    return kept


def test_terms_with_a_time_of_their_own_follow_it(together: Trajectory, shipped_task: Task) -> None:
    """Published order: household tasks before self-care, early before late psychiatric symptoms."""
    ten_years = 10.0
    first: dict[str, list[float]] = defaultdict(list)
    real = with_density(together, 1.0)
    for seed in range(60):
        rows = history(real, shipped_task.lexicon, seed)
        stated = {row["term"]: row["years"] for row in reversed(rows) if row["polarity"] == "present"}
        for term in shipped_task.lexicon:
            first[term.term].append(stated.get(term.term, ten_years))  # never: after all that is stated
    for earlier, later in (
        ("depressed mood", "irritability"),
        ("depressed mood", "visual hallucinations"),
        ("anxiety", "aggression"),
        ("needs help with bills", "needs help bathing"),
        ("needs help bathing", "needs help eating"),
        ("constipation", "weight loss"),
    ):
        assert np.mean(first[earlier]) < np.mean(first[later]), (earlier, later)


def test_where_too_few_have_begun_the_earliest_begin_with_the_note(together: Trajectory, shipped_task: Task) -> None:
    lexicon = read_lexicon(together, shipped_task.lexicon)
    late = {
        name: domain.model_copy(update={"median_years_before": number(-50)})
        for name, domain in together.onset.domains.items()  # type: ignore[union-attr]
    }
    onset = with_onset(together, domains=late, terms=()).onset
    assert onset is not None
    planned = Planned(
        n_notes=3,
        note=np.array([0, 1, 1, 1, 2]),
        domain=np.zeros(5, dtype=np.int64),
        is_absent=np.zeros(5, dtype=np.bool_),
    )
    course = follow(onset, lexicon, planned, np.array([-3.0, -2.0, -1.0]), generator(0, "late"))
    moment = draw_beginnings(onset, lexicon, generator(0, "late"))[0]
    of_domain = np.flatnonzero(lexicon.term_domain == 0)
    order = of_domain[np.argsort(moment[of_domain])]
    for note, n_begun in enumerate((1, 3, 3)):
        assert set(np.flatnonzero(course.has_begun[note])) == set(order[:n_begun])
