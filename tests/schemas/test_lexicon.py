"""A lexicon's faults, each with its row."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.schemas.task import read_lexicon


def written(folder: Path, text: str) -> Path:
    path = folder / "lexicon.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_term_in_two_domains_is_named_with_its_row_and_its_first_domain(tmp_path: Path) -> None:
    path = written(
        tmp_path, "domain,term,frequency\nmemory,forgetful,1\nlanguage,mutism,1\nlanguage,forgetful,2\n,gets lost,1\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_lexicon(path)
    assert "row 4: term 'forgetful' is already in domain 'memory'" in str(caught.value)
    assert "row 5: domain and term must not be empty" in str(caught.value)


def test_a_missing_column_is_named_with_those_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing column domain; found \['area', 'term'\]"):
        read_lexicon(written(tmp_path, "area,term\nmemory,forgetful\n"))


@pytest.mark.parametrize("frequency", ["often", "0", "-1", "nan"])
def test_a_frequency_that_is_no_positive_number_is_refused_with_its_row(frequency: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"domain,term,frequency\nmemory,forgetful,{frequency}\n")
    with pytest.raises(ConfigError, match="row 2: frequency"):
        read_lexicon(path)
