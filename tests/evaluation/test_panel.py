from __future__ import annotations

import numpy as np
import pytest
from toy_study import LABELS, gold_table, toy_gold

from harness.errors import DataError
from harness.evaluation.panel import build_panel, subgroup_levels


def test_levels_are_the_tasks_in_its_order_then_what_gold_holds_besides() -> None:
    gold = gold_table(toy_gold())
    assert subgroup_levels(gold, ["age_band", "site"], {"age_band": ["young", "old", "nobody"]}) == {
        "age_band": ["young", "old", "nobody"],
        "site": ["east", "north", "south"],
    }


def test_text_is_no_subgroup_variable() -> None:
    with pytest.raises(DataError, match="no subgroup variable 'text'"):
        subgroup_levels(gold_table(toy_gold()), ["text"], {})


def test_slices_partition_the_sentences_whose_level_is_known() -> None:
    rows = [row for row in toy_gold() if row["split"] == "test"]
    panel = build_panel(gold_table(rows), "test", label_ids=LABELS, levels={"site": ["east", "north", "south"]})
    assert panel.n_patients == 18
    overall, *sites = panel.slices
    assert overall.rows.size == len(rows)
    assert sorted(np.concatenate([one.rows for one in sites]).tolist()) == list(range(len(rows)))
    for one in sites:
        np.testing.assert_array_equal(one.patients[one.patient], panel.patient[one.rows])


def test_patients_are_numbered_by_their_sentences_not_by_their_names() -> None:
    rows = toy_gold()
    renamed = [row | {"patient_id": f"x{99 - int(row['patient_id'][1:])}"} for row in rows]
    one, other = (build_panel(gold_table(given), "test", label_ids=LABELS, levels={}) for given in (rows, renamed))
    np.testing.assert_array_equal(one.patient, other.patient)


def test_an_empty_split_gives_an_empty_panel() -> None:
    panel = build_panel(gold_table(toy_gold()), "train", label_ids=LABELS, levels={"site": ["north"]})
    assert panel.n_patients == 0
    assert [one.rows.size for one in panel.slices] == [0, 0]
