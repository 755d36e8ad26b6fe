"""Mixes that draw patients: several tables are told as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.reports.inputs import Inputs
from harness.reports.mix_tables import mean_composition, worst_audit
from harness.reports.wandb_record import artifacts
from harness.schemas.mix import Mix, Source
from harness.schemas.tables import AUDIT, TRAIN
from harness.store import write_table


def train(path: Path, patients: Sequence[str], n_arm: int) -> Path:
    shown = [("gold", f"g{k}", patient) for k, patient in enumerate(patients)]
    shown += [("arm", f"a{k}", None) for k in range(n_arm)]
    rows = [
        {"example_id": f"{origin}/{one}", "origin": origin, "sentence_id": one, "patient_id": patient, "pass_index": 0,
         "text": "t", "label": "memory", "prompt": "p", "completion": "c", "n_supervised_tokens": 2}
        for origin, one, patient in shown
    ]  # fmt: skip
    write_table(path, rows, TRAIN)
    return path


def test_a_composition_is_the_mean_over_draws_and_its_patients_are_the_fewest(tmp_path: Path) -> None:
    draws = [train(tmp_path / "0.parquet", "aabb", 4), train(tmp_path / "1.parquet", "abbccccc", 2)]
    found = mean_composition(draws)
    assert found.by_origin == {"gold": (6, 6), "arm": (3, 3)}  # (4 + 8) / 2, (4 + 2) / 2
    assert (found.n_examples, found.n_sentences, found.n_supervised_tokens) == (9, 9, 18)
    assert found.n_gold_patients == 2
    assert list(found.by_origin) == ["gold", "arm"]


def test_an_audit_tells_the_draw_in_which_most_was_found(tmp_path: Path) -> None:
    draws = []
    for k, (n_leaks, n_twice) in enumerate([(0, 3), (1, 1), (0, 0)]):
        rows = [
            {"check": check, "origin": "gold", "against": against, "n_checked": 9 + k, "n_found": n, "n_removed": n}
            for check, against, n in (("leak", "test", n_leaks), ("duplicate", "itself", n_twice))
        ]
        write_table(tmp_path / f"{k}.parquet", rows, AUDIT)
        draws.append(tmp_path / f"{k}.parquet")
    told = {row["check"]: (row["n_checked"], row["n_found"], row["n_removed"]) for row in worst_audit(draws)}
    assert told == {"leak": (10, 1, 1), "duplicate": (9, 3, 3)}


def test_the_record_has_the_hash_of_every_draw(inputs: Inputs) -> None:
    part = Mix(name="gold", sources=(Source(origin="gold", share=1.0, patients=0.5),))
    tables = [f"04_mixes/gold/seed_{k}/train.parquet" for k in inputs.recipe.train_seeds]
    drawn = replace(
        inputs,
        recipe=inputs.recipe.model_copy(update={"mixes": (part, *inputs.recipe.mixes[1:])}),
        input_sha256=dict(zip(tables, "abcdefgh", strict=False)),
    )
    assert len(tables) > 1
    assert artifacts.mix(drawn, "gold").facts["sha256"] == dict(zip(tables, "abcdefgh", strict=False))
