"""What a note states, denies, or says of somebody else."""

import pytest

from harness.cohort.notes.context import Polarity
from harness.cohort.notes.matcher import Matcher
from harness.cohort.notes.scan import Scanner, scan_batches
from harness.errors import ConfigError
from harness.schemas.shipped import shipped
from harness.schemas.task import read_lexicon

TERMS = [term.term for term in read_lexicon(shipped("tasks") / "alzheimers" / "lexicon.csv")]
STATED, DENIED, ASIDE = Polarity.PRESENT, Polarity.ABSENT, Polarity.ASIDE

SENTENCES = {
    "Pt forgot the names of two neighbours.": {"forgets names": STATED},
    "Needs help with bathing and with her bills.": {"needs help bathing": STATED},
    "Denies weight loss, falls, or tremor.": {"weight loss": DENIED, "falls": DENIED, "tremor": DENIED},
    "Denies falls but reports insomnia.": {"falls": DENIED, "insomnia": STATED},
    "Reports insomnia; denied falls.": {"insomnia": STATED, "falls": DENIED},
    "No tremor; unsteady gait.": {"tremor": DENIED, "unsteady gait": STATED},
    "Without apathy or agitation.": {"apathy": DENIED, "agitation": DENIED},
    "Delusions were denied.": {"delusions": DENIED},
    "Falls: no.": {"falls": DENIED},
    "Negative for visual hallucinations.": {"visual hallucinations": DENIED},
    "He doesn't remember the date and gets lost.": {"gets lost": STATED},
    "She cannot pay bills because of confusion.": {"confusion": STATED},
    "Memory has declined, with confusion at night.": {"confusion": STATED},
    "History of falls.": {"falls": STATED},
    "Insomnia leads to daytime sleepiness.": {"insomnia": STATED, "daytime sleepiness": STATED},
    "Daughter voices concern for confusion.": {"confusion": STATED},
    "No longer drives, wandering at dusk.": {"wandering": STATED},
    "No change in confusion.": {"confusion": STATED},
    "Family history of confusion and tremor.": {"confusion": ASIDE, "tremor": ASIDE},
    "Family history of tremor; patient has fatigue.": {"tremor": ASIDE, "fatigue": STATED},
    "Her mother had delusions late in life.": {"delusions": ASIDE},
    "Tremor in his father.": {"tremor": ASIDE},
    "Daughter says her mother has confusion.": {"confusion": STATED},
    "Sister had noticed confusion.": {"confusion": STATED},
    "Monitor for agitation.": {"agitation": ASIDE},
    "Call if she develops dizziness or falls.": {"dizziness": ASIDE, "falls": ASIDE},
    "Does not recognize faces of friends.": {"does not recognize faces": STATED},
    "Cannot cook safely.": {"cannot cook safely": STATED},
    "Rotator cuff tear, tearing pain.": {},
    "Tearful today.": {"tearfulness": STATED},
    "Weight, loss of job.": {},
    "Poor sleep. Disturbance next door.": {},
    "Short-term  memory\nloss": {"short-term memory loss": STATED},
}


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(TERMS)


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_states_denies_or_speaks_of_somebody_else(scanner: Scanner, text: str) -> None:
    assert {TERMS[term]: polarity for term, polarity in scanner.terms_of(text).items()} == SENTENCES[text]


def test_a_denial_does_not_reach_into_the_next_sentence_or_list_item(scanner: Scanner) -> None:
    found = scanner.terms_of("ROS:\n- No tremor\n- Falls twice\n\nDenies apathy. Fatigue for weeks.")
    assert {TERMS[term]: polarity for term, polarity in found.items()} == {
        "tremor": DENIED, "falls": STATED, "apathy": DENIED, "fatigue": STATED,
    }  # fmt: skip


def test_a_term_that_a_note_states_and_denies_is_stated(scanner: Scanner) -> None:
    found = scanner.terms_of("Denies falls. Wife says he had falls in May. Mother had falls.")
    assert {TERMS[term]: polarity for term, polarity in found.items()} == {"falls": STATED}


def test_a_term_is_counted_once_per_note_and_asides_apart(scanner: Scanner) -> None:
    mentions = scanner.scan(["Falls. More falls. Denies tremor.", "", "Family history of tremor."])
    assert [(n, TERMS[t], bool(a)) for n, t, a in zip(mentions.note, mentions.term, mentions.is_absent, strict=True)] == [
        (0, "falls", False), (0, "tremor", True),
    ]  # fmt: skip
    assert mentions.n_aside == 1


def test_the_longest_term_wins_and_matches_do_not_overlap() -> None:
    matcher = Matcher(["memory loss", "short-term memory loss", "loss of smell", "loss"])
    text = "Short-term memory loss, loss of smell, loss."
    assert [(one.term, text[one.start : one.end].lower()) for one in matcher.find(text)] == [
        (1, "short-term memory loss"), (2, "loss of smell"), (3, "loss"),
    ]  # fmt: skip


def test_offsets_survive_capitals_whose_lower_case_is_longer() -> None:
    text = "\u0130\u0130 reports FALLS"
    assert [text[one.start : one.end] for one in Matcher(["falls"]).find(text)] == ["FALLS"]


def test_terms_that_no_text_can_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'falls' and 'fell' are the same words in a text; keep one of them"):
        Matcher(["falls", "tremor", "fell"])
    with pytest.raises(ConfigError, match="term 'of the' has no word"):
        Matcher(["of the"])


def test_processes_change_nothing() -> None:
    batches = [[f"Visit {n}. Denies falls. {term.capitalize()} noted." for n, term in enumerate(TERMS[at : at + 25])]
               for at in range(0, len(TERMS), 25)]  # fmt: skip
    alone = scan_batches(TERMS, batches, n_processes=1)
    spread = scan_batches(TERMS, batches, n_processes=2)
    assert alone.note.size > len(TERMS)
    for name in ("note", "term", "is_absent"):
        assert (getattr(alone, name) == getattr(spread, name)).all()
    assert alone.n_aside == spread.n_aside
