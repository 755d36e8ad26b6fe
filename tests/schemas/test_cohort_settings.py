"""`cohort:` of a recipe: what YAML makes of short words is put right."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from harness.schemas.cohorts import Cohort

TEXT = """
kind: table
path: patients.csv
levels:
  sex: {F: female, 2: male}
  hypertension: {"": no, 0: no, 1: yes, N: no}
"""


def test_unquoted_yes_and_no_are_words() -> None:
    cohort = Cohort.model_validate(yaml.safe_load(TEXT))
    assert cohort.path == Path("patients.csv")
    assert cohort.levels["sex"] == {"F": "female", "2": "male"}
    assert cohort.levels["hypertension"] == {"": "no", "0": "no", "1": "yes", "N": "no"}


def test_what_is_no_mapping_is_still_refused() -> None:
    with pytest.raises(ValidationError, match=r"levels\.sex"):
        Cohort.model_validate({"kind": "table", "path": "p.csv", "levels": {"sex": ["F"]}})
