import pytest

from harness.words import denies_term, holds_negation, holds_term, opens_with_denial, says_more, stem


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("forgets names", "She forgot the names of her neighbors."),
        ("apathy", "He is apathetic at home."),
        ("anxiety", "Anxious at night."),
        ("agitation", "Became agitated at dusk."),
        ("delusions", "Remains delusional about the bank."),
        ("irritability", "Irritable with his wife."),
        ("paranoia", "Paranoid about the mail."),
        ("social withdrawal", "Socially withdrawn since fall."),
        ("gets lost", "Got lost driving home."),
        ("falls", "Fell twice this week."),
        ("weight loss", "Lost weight, 9 lb since June."),
        ("needs help bathing", "Requires assistance with bathing."),
        ("urinary incontinence", "Incontinent of urine at night."),
        ("word-finding difficulty", "Trouble finding the right word."),
        ("poor judgment", "Judgement is poor."),
        ("depressed mood", "Depressed since the funeral."),
        ("unable to live alone", "Not able to live alone."),
        ("pillbox set up by family", "Family sets up the pillbox."),
    ],
)
def test_inflections_hold_a_term(term: str, text: str) -> None:
    assert holds_term(text, term)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("forgets names", "She forgot the stove."),
        ("falls", "A false alarm at home."),
        ("tremor", "Gait is steady."),
        ("needs help bathing", "Needs help with driving."),
        ("stopped driving", "Drives every day."),
        ("pacing", "Space in the room is small."),
        ("weight loss", "Weight is stable."),
    ],
)
def test_other_words_do_not_hold_it(term: str, text: str) -> None:
    assert not holds_term(text, term)


def test_a_long_term_may_miss_one_word() -> None:
    assert holds_term("Trouble learning tasks.", "trouble learning new tasks")
    assert not holds_term("Trouble with tasks.", "trouble learning new tasks")


@pytest.mark.parametrize(
    ("term", "text", "denied"),
    [
        ("tremor", "No tremor at rest.", True),
        ("visual hallucinations", "Denies any visual hallucinations.", True),
        ("tremor", "Tremor, no rigidity.", False),
        ("does not recall events", "Does not recall the events of May.", False),
        ("unable to live alone", "No longer able; unable to live alone.", False),
        ("weight loss", "Reports weight loss.", False),
    ],
)
def test_a_negation_before_a_term_denies_it(term: str, text: str, denied: bool) -> None:
    assert denies_term(text, term) == denied


def test_negation_cues() -> None:
    assert holds_negation("She denied falls.")
    assert holds_negation("Sleep within normal limits.")
    assert not holds_negation("Now and then she notes snow.")


def test_denials_open_a_sentence() -> None:
    assert opens_with_denial("Pt denies memory loss.")
    assert opens_with_denial("No falls.")
    assert not opens_with_denial("No longer drives.")
    assert not opens_with_denial("Wife says he denied everything in court.")


def test_a_term_alone_says_nothing_more() -> None:
    assert not says_more("Missed medication, missed medications.", "missed medications")
    assert says_more("Missed medications on most weekends.", "missed medications")


def test_verbs_and_nouns_share_a_stem() -> None:
    assert stem("names") == stem("name") == stem("naming")
    assert stem("forgotten") == stem("forgets")
    assert stem("falls") == stem("fell")
