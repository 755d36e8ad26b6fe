from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from harness.errors import DataError
from harness.mixes.format import Wording
from harness.mixes.pools import Pool, arm_pool, gold_pool
from harness.mixes.stage import Length, units, write_mix
from harness.schemas.mix import Mix, Source
from harness.schemas.recipe import Recipe
from harness.schemas.recipe_parts import TrainingBudget
from harness.schemas.tables import AUDIT, GOLD, REJECTED, SENTENCES, TRAIN, VALIDATION
from harness.store import Run, count_values, fingerprint, hash_inputs, read_table, sha256_file, write_table

Tables = Callable[..., pa.Table]
Texts = Callable[..., list[str]]
HALVES = [{"origin": "gold", "share": 0.5}, {"origin": "aligned", "share": 0.5}]


def mix_of(name: str = "m", **shares: float) -> Mix:
    return Mix(name=name, sources=tuple(Source(origin=origin, share=share) for origin, share in shares.items()))


@pytest.fixture
def gold(gold_table: Tables, unlike: Texts) -> pa.Table:
    return gold_table(train=unlike(31, "g"), validation=unlike(9, "v"), test=unlike(9, "t"))


@pytest.fixture
def arm(sentence_table: Tables, unlike: Texts) -> pa.Table:
    return sentence_table(unlike(47, "a"))


def write(folder: Path, mix: Mix, gold: pa.Table, arms: dict[str, pa.Table], wording: Wording, n_examples: int = 200):
    pools: list[Pool] = [
        gold_pool(gold, "train") if origin == "gold" else arm_pool(origin, arms[origin]) for origin in mix.origins
    ]
    return write_mix(
        folder, mix, gold, pools, wording, length=Length(TrainingBudget(size=n_examples), global_batch=1), root_seed=5
    )


def test_a_run_is_shown_the_budget_in_the_shares_asked_for(tmp_path: Path, gold, arm, wording: Wording) -> None:
    counts = write(tmp_path, mix_of(gold=0.25, aligned=0.75), gold, {"aligned": arm}, wording)
    train = read_table(tmp_path / "train.parquet", TRAIN)
    assert train.num_rows == counts.rows_out == 200
    assert count_values(train, "origin") == {"aligned": 150, "gold": 50}
    for origin, n_pool, n_shown in (("gold", 31, 50), ("aligned", 47, 150)):
        times = count_values(train.filter(pc.equal(train["origin"], origin)), "sentence_id")
        assert len(times) == n_pool
        assert max(times.values()) - min(times.values()) <= 1
        assert counts.notes["sources"][origin] == {
            "pool": n_pool, "distinct_shown": n_pool, "shown": n_shown, "passes": round(n_shown / n_pool, 3),
            **({"patients": 11} if origin == "gold" else {}),  # 31 sentences, three a patient
        }  # fmt: skip


def test_a_row_says_where_it_comes_from_and_what_is_learned(tmp_path: Path, gold, arm, wording: Wording) -> None:
    counts = write(tmp_path, mix_of(gold=0.5, aligned=0.5), gold, {"aligned": arm}, wording)
    known = {("gold", row["sentence_id"]): (row, row["patient_id"]) for row in gold.to_pylist()}
    known |= {("aligned", row["sentence_id"]): (row, row["persona_id"]) for row in arm.to_pylist()}
    rows = read_table(tmp_path / "train.parquet", TRAIN).to_pylist()
    for row in rows:
        source, patient_id = known[row["origin"], row["sentence_id"]]
        assert row["example_id"] == f"{row['origin']}/{row['sentence_id']}/{row['pass_index']}"
        assert (row["text"], row["label"], row["patient_id"]) == (source["text"], source["label"], patient_id)
        assert row["prompt"] == f"Sentence: {source['text']}\nLabel:"
        assert row["completion"] == f" {source['label']}"
        assert row["n_supervised_tokens"] == {"memory": 2, "falls": 3, "other": 4}[row["label"]]
    assert counts.notes["n_supervised_tokens"] == sum(row["n_supervised_tokens"] for row in rows)
    passes = [row["pass_index"] for row in rows]
    assert passes == sorted(passes)
    assert passes[-1] == 3  # 100 of 31 gold rows: three whole passes and a rest


def test_validation_is_the_held_out_gold_once(tmp_path: Path, gold, arm, wording: Wording) -> None:
    write(tmp_path, mix_of(aligned=1.0), gold, {"aligned": arm}, wording)
    validation = read_table(tmp_path / "validation.parquet", VALIDATION)
    expected = gold.filter(pc.equal(gold["split"], "validation"))
    assert validation["sentence_id"].to_pylist() == expected["sentence_id"].to_pylist()
    assert set(validation["pass_index"].to_pylist()) == {0}
    assert set(validation["origin"].to_pylist()) == {"gold"}


def test_poisoned_text_never_reaches_training(
    tmp_path: Path, gold_table: Tables, sentence_table: Tables, unlike: Texts, wording: Wording
) -> None:
    poison = [f"{text} poisoned marker" for text in unlike(12, "p")]
    gold = gold_table(train=[*unlike(20, "g"), *poison[:4]], validation=poison[:6], test=poison[6:])
    arm = sentence_table([*(text.upper() for text in poison), *(f"{text}s" for text in poison), *unlike(20, "a")])
    counts = write(tmp_path, mix_of(gold=0.5, aligned=0.5), gold, {"aligned": arm}, wording)
    train = read_table(tmp_path / "train.parquet", TRAIN)
    assert not any("poison" in text.lower() for text in train["prompt"].to_pylist())
    rejected = read_table(tmp_path / "rejected.parquet", REJECTED)
    assert rejected.num_rows == counts.rejected == 4 + 24
    assert set(rejected["reason"].to_pylist()) == {"leak"}
    assert not any("poison" in value.lower() for name in rejected.column_names for value in rejected[name].to_pylist())
    assert counts.notes["removed"] == {"leak": 16, "near_leak": 12, "duplicate": 0, "near_duplicate": 0}
    removed = read_table(tmp_path / "audit.parquet", AUDIT)
    assert pc.sum(removed["n_removed"]).as_py() == counts.rejected


def test_the_same_mix_is_written_byte_for_byte(tmp_path: Path, gold, arm, wording: Wording) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, mix_of(gold=0.5, aligned=0.5), gold, {"aligned": arm}, wording)
    hashes = [{path.name: sha256_file(path) for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert len(hashes[0]) == 4
    assert hashes[0] == hashes[1]


def test_another_seed_shows_other_rows(tmp_path: Path, gold, wording: Wording) -> None:
    pools = [gold_pool(gold, "train")]
    for seed in (5, 6):
        write_mix(
            tmp_path / str(seed),
            mix_of(gold=1.0),
            gold,
            pools,
            wording,
            length=Length(TrainingBudget(size=20), global_batch=1),
            root_seed=seed,
        )
    shown = [set(read_table(tmp_path / seed / "train.parquet", TRAIN)["sentence_id"].to_pylist()) for seed in "56"]
    assert shown[0] != shown[1]


def test_one_source_does_not_change_the_draw_of_another(
    tmp_path: Path, gold, arm, sentence_table: Tables, unlike: Texts, wording: Wording
) -> None:
    arms = {"aligned": arm, "plain": sentence_table(unlike(40, "o"))}
    write(tmp_path / "a", mix_of(gold=0.5, aligned=0.5), gold, arms, wording)
    write(tmp_path / "b", mix_of(plain=0.25, gold=0.5, aligned=0.25), gold, arms, wording)
    shown = []
    for name in "ab":
        train = read_table(tmp_path / name / "train.parquet", TRAIN)
        shown.append(sorted(train.filter(pc.equal(train["origin"], "gold"))["example_id"].to_pylist()))
    assert shown[0] == shown[1]


def test_labels_without_words_are_refused(tmp_path: Path, gold, arm, wording: Wording) -> None:
    unknown = arm.set_column(arm.column_names.index("label"), "label", pa.array(["memry"] * arm.num_rows))
    with pytest.raises(DataError) as caught:
        write(tmp_path, mix_of(aligned=1.0), gold, {"aligned": unknown}, wording)
    assert "aligned: column 'label' holds memry; the task knows memory, falls, other" in str(caught.value)


# -- the stage, with its files ------------------------------------------------------------------------------------------


@pytest.fixture
def base_model(tmp_path: Path) -> str:
    """A tokenizer of whole words in a local folder: ` memory` is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<eos>": 0, "<unk>": 1, "memory": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tokenizer"
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def prepare(tmp_path: Path, gold, arm, sentence_table: Tables, unlike: Texts) -> Callable[[Recipe, str], Run]:
    def make(recipe: Recipe, name: str) -> Run:
        run = Run(recipe=recipe, folder=tmp_path / name)
        write_table(run.path("cohort", "gold.parquet"), gold, GOLD)
        write_table(run.path("annotation", "aligned", "sentences.parquet"), arm, SENTENCES)
        write_table(run.path("annotation", "plain", "sentences.parquet"), sentence_table(unlike(20, "o")), SENTENCES)
        return run

    return make


def do_all(run: Run) -> dict[str, dict[str, str]]:
    hashes: dict[str, dict[str, str]] = {}
    for unit in units(run):
        folder = run.path("mixes", unit.name)
        unit.work(folder)
        hashes[unit.name] = {name: sha256_file(folder / name) for name in unit.outputs}
    return hashes


def test_every_mix_of_a_recipe_shows_updates_times_batch_examples(
    make_recipe: Callable[..., Recipe], prepare: Callable[[Recipe, str], Run], base_model: str
) -> None:
    mixes: dict[str, list[dict[str, Any]]] = {
        "gold": [{"origin": "gold", "share": 1.0}],
        "both": HALVES,
        "passes": [{"origin": "gold", "repeat": 3}, {"origin": "plain", "repeat": 0.5}],
        "counts": [{"origin": "plain", "count": 7}],
    }
    run = prepare(make_recipe(mixes, training={"base_model": base_model}), "run")
    do_all(run)
    for name in mixes:
        train = read_table(run.path("mixes", name, "train.parquet"), TRAIN)
        assert train.num_rows == 10 * 4
        assert set(train["n_supervised_tokens"].to_pylist()) == {2}  # one word and the end token
    counted = read_table(run.path("mixes", "counts", "train.parquet"), TRAIN)
    assert len(count_values(counted, "sentence_id")) == 7


def test_order_of_arms_and_further_mixes_change_nothing(
    make_recipe: Callable[..., Recipe], prepare: Callable[[Recipe, str], Run], base_model: str
) -> None:
    training = {"base_model": base_model}
    alone = do_all(prepare(make_recipe({"both": HALVES}, training=training), "alone"))
    more = {"plain_alone": [{"origin": "plain", "share": 1.0}], "both": HALVES}
    beside = do_all(prepare(make_recipe(more, arms=("plain", "aligned"), training=training), "beside"))
    assert alone["both"] == beside["both"]


def test_every_train_seed_of_a_mix_that_draws_patients_has_a_table_of_its_own(
    make_recipe: Callable[..., Recipe], prepare: Callable[[Recipe, str], Run], base_model: str
) -> None:
    part = {"origin": "gold", "share": 0.5, "patients": 0.3}
    mixes = {
        "gold": [{"origin": "gold", "share": 1.0}],
        "part": [part | {"share": 1.0}],
        "part_plain": [part, {"origin": "plain", "share": 0.5}],
    }
    training = {"base_model": base_model, "train_seeds": 2, "budget": {"size": 40}}
    run = prepare(make_recipe(mixes, training=training), "run")
    names = ["gold", "part/seed_0", "part/seed_1", "part_plain/seed_0", "part_plain/seed_1"]
    assert list(do_all(run)) == names
    assert [unit.name for unit in units(Run(run.recipe.as_proxy(with_vectors=False), run.folder))] == [
        "gold", "part/seed_0", "part_plain/seed_0"
    ]  # fmt: skip
    assert run.mix_tables(run.recipe.mix("gold")) == [run.path("mixes", "gold", "train.parquet")]
    shown = {}
    for name in names:
        table = read_table(run.path("mixes", name, "train.parquet"), TRAIN)
        shown[name] = set(table.filter(pc.equal(table["origin"], "gold"))["patient_id"].to_pylist())
    assert shown["part/seed_0"] == shown["part_plain/seed_0"]
    assert shown["part/seed_1"] == shown["part_plain/seed_1"]
    assert shown["part/seed_0"] != shown["part/seed_1"]
    assert shown["part/seed_0"] | shown["part/seed_1"] < shown["gold"]


def test_a_unit_reads_the_arms_of_its_mix_only(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    run = Run(recipe=make_recipe({"both": HALVES}), folder=tmp_path / "run")
    (unit,) = units(run)  # nothing has run yet, and listing the units needs none of its inputs
    assert list(unit.inputs) == [
        run.path("cohort", "gold.parquet"), run.path("annotation", "aligned", "sentences.parquet")
    ]  # fmt: skip
    assert unit.seed_path == ("mixes", "both")


def test_whatever_decides_the_rows_makes_a_finished_mix_stale(
    make_recipe: Callable[..., Recipe], prepare: Callable[[Recipe, str], Run]
) -> None:
    def print_of(sources: list[dict[str, Any]], **training: Any) -> str:
        run = prepare(make_recipe({"both": sources}, training=training), "run")
        (unit,) = units(run)
        return fingerprint(run, unit, hash_inputs(run, unit.inputs))

    quarter = [{"origin": "gold", "share": 0.25}, {"origin": "aligned", "share": 0.75}]
    prints = [
        print_of(HALVES),
        print_of(quarter),
        print_of(HALVES, global_batch_size=8),
        print_of(HALVES, budget={"size": 11}),
        print_of(HALVES, revision="abc"),
    ]
    assert len(set(prints)) == len(prints)
    assert print_of(HALVES, train_seeds=3, lora={"r": 4}) == prints[0]


@pytest.mark.parametrize(("unit", "size"), [("supervised_tokens", 700), ("supervised_tokens", 4_321), ("epochs", 3)])
def test_a_budget_in_other_units_is_met_in_whole_updates(
    gold: pa.Table, arm: pa.Table, wording: Wording, tmp_path: Path, unit: Any, size: int
) -> None:
    mix = mix_of(gold=0.3, aligned=0.7)
    pools = [gold_pool(gold, "train"), arm_pool("aligned", arm)]
    length = Length(TrainingBudget(unit=unit, size=size), global_batch=8)
    notes = write_mix(tmp_path, mix, gold, pools, wording, length=length, root_seed=5).notes
    train = read_table(tmp_path / "train.parquet", TRAIN)
    assert train.num_rows == 8 * notes["n_updates"]
    if unit == "epochs":
        assert notes["n_updates"] == -(-3 * (31 + 47) // 8)
    else:
        n_tokens = pc.sum(train["n_supervised_tokens"]).as_py()
        assert abs(n_tokens - size) <= n_tokens / notes["n_updates"]
