from __future__ import annotations

from pathlib import Path

from harness.records import parse_records
from harness.schemas.shipped import shipped
from harness.schemas.task import read_lexicon
from harness.words import TermIndex, holds_term

TASK = shipped("tasks") / "alzheimers"


def demo_sentences(n: int) -> list[str]:
    path: Path = TASK / "demo_gold.jsonl"
    records = parse_records(path.read_bytes(), path.suffix, str(path))
    return [str(record.cells["text"]) for record in records.rows[:n]]


def test_the_index_finds_what_holds_term_finds_one_by_one() -> None:
    terms = [term.term for term in read_lexicon(TASK / "lexicon.csv")]
    index = TermIndex(terms)
    n_found = 0
    for text in demo_sentences(120):
        expected = [place for place, term in enumerate(terms) if holds_term(text, term)]
        assert index.held(text) == expected
        n_found += len(expected)
    assert n_found > 10  # the demo gold says most things in words of its own


def test_a_long_term_may_miss_one_word_and_a_short_one_none() -> None:
    index = TermIndex(["needs help with evening bathing", "weight loss"])
    assert index.held("Needs help with bathing.") == [0]  # three of four content words
    assert index.held("Needs a bath.") == []
    assert index.held("Weight is stable.") == []
