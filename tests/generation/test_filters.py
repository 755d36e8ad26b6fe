import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.base import Reply
from harness.generation.filters import Judge, NearDuplicates, clean, reject_form
from harness.prompts.sight import View
from harness.schemas.task import Label

MEMORY = Label(id="memory", name="memory trouble", definition="Complains of worse memory or attention.")
OTHER = Label(id="other", name="other", definition="Anything else.")
EXEMPLAR = "Lost her glasses in the freezer on Tuesday morning."


def judge() -> Judge:
    return Judge(shown=[EXEMPLAR, MEMORY.definition], label_names=["memory trouble", "other"], negative="other")


def verdict(text: str, view: View | None = None) -> str | None:
    return judge().reject(Reply("ok", text, finish_reason="stop"), view or View(MEMORY))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Forgets what she had for breakfast.", None),
        ("BP 132/78, pulse 66, lungs clear.", None),
        ("Says \"I am fine\" and changes the subject.", None),
        ("", "empty"),
        ("Finding: gets lost near home.", "markup"),
        ("See https://example.org for her plan.", "markup"),
        ("Needs help.", "length"),
        ("word " * 41, "length"),
        ("No no no no pain today.", "gibberish"),
        ("12/3 4/5 6/7 8/9 of 10.", "gibberish"),
        ("Lives with pneumonoultramicroscopicsilicosis in his chest.", "gibberish"),
        ("Has pain in legs and has pain in arms and has pain in legs.", "gibberish"),
        ("Walks to the store with the", "unfinished"),
        ("Walks to the store, but,", "unfinished"),
        ("Walks to the (old store.", "unfinished"),
        ("Forgets names. Repeats the same questions.", "not one sentence"),
        ("Forgets what my mother told him.", "not a note's voice"),
        ("Sundowning is a behavior of the evening.", "not a note's voice"),
        ("Memory trouble is worse since May.", "names the label"),
        ("Denies forgetting any names lately.", "denied"),
        ("Lost her glasses in the freezer on Monday.", "prompt echo"),
        ("Found them in the freezer on Tuesday morning.", "prompt echo"),
    ],
)  # fmt: skip
def test_candidates_by_hand(text: str, reason: str | None) -> None:
    assert verdict(text) == reason


def test_a_cut_sentence_is_unfinished_however_it_looks() -> None:
    cut = Reply("ok", "Forgets what she had for breakfast.", finish_reason="length")
    assert judge().reject(cut, View(MEMORY)) == "unfinished"


def test_a_failed_request_is_no_text() -> None:
    assert judge().reject(Reply("failed", reason="HTTP 500"), View(MEMORY)) == "request failed"


def test_a_shown_term_must_be_held_and_not_denied() -> None:
    view = View(MEMORY, term="forgets names")
    assert verdict("Forgot the names of both nieces.", view) is None
    assert verdict("Walks the dog every morning.", view) == "lacks its term"
    assert verdict("Walks well and never forgets names of neighbors.", view) == "denied"
    assert verdict("Forgets names, forgotten names.", view) == "only its term"


def test_a_denied_term_needs_a_negation() -> None:
    view = View(OTHER, term="tremor", denied=True)
    assert verdict("No tremor of either hand.", view) is None
    assert verdict("Coarse tremor of either hand.", view) == "lacks a negation"


def test_the_negative_label_may_deny() -> None:
    assert verdict("Denies forgetting any names lately.", View(OTHER)) is None


def test_a_sentence_must_fit_its_persona() -> None:
    view = View(
        MEMORY, traits=("81-year-old woman", "Black", "lives alone", "APOE e4 carrier"), age_years=81, sex="female"
    )
    assert verdict("She forgets where the spoons are.", view) is None
    assert verdict("He forgets where the spoons are.", view) == "contradicts its persona"
    assert verdict("A 45 year old who forgets spoons.", view) == "contradicts its persona"
    assert verdict("Forgets spoons, an 81-year-old woman, lives alone.", view) == "prompt echo"
    assert verdict("Forgets spoons, APOE e4 carrier.", view) == "prompt echo"


def test_duplicates_are_found_among_what_was_kept() -> None:
    one = judge()
    answers = [
        "Forgets where she parks the old blue car.",
        "forgets where she parks the old blue car",
        "Forgets where she parks the old blue cart.",
        "Walks the dog before sunrise every day.",
    ]
    found = [one.reject(Reply("ok", text, finish_reason="stop"), View(MEMORY)) for text in answers]
    assert found == [None, "duplicate", "near-duplicate", None]


def jaccard(a: str, b: str) -> float:
    x, y = ({text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in (a, b))
    return len(x & y) / len(x | y)


@given(st.lists(st.text("ab", min_size=1, max_size=14), min_size=1, max_size=12))
def test_near_duplicates_are_found_exactly(texts: list[str]) -> None:
    index, kept = NearDuplicates(), []
    for text in texts:
        similar = any(jaccard(text, other) >= 0.8 for other in kept)
        assert (index.reject_or_keep(text) is not None) == similar
        if not similar:
            kept.append(text)


def test_cleaning_takes_off_what_is_not_the_sentence() -> None:
    assert clean("  - Forgets   names. ") == "Forgets names."
    assert clean('"Forgets names."') == "Forgets names."
    assert clean('Says "no" often.') == 'Says "no" often.'


def test_form_does_not_depend_on_content() -> None:
    assert reject_form("Any words will do here", cut=False) is None
