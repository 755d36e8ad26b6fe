"""Which rows a run trains on, how many tokens they are, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.tokenizer import conversation, encode_pairs, uses_chat
from harness.errors import ConfigError, DataError, TrainingError
from harness.schemas.tables import TRAIN
from harness.store import read_table, write_table
from harness.training.counted import n_padded
from harness.training.job import TrainingJob, settled
from harness.training.rows import examples, replace_unfit

MakeJob = Callable[..., TrainingJob]
MakeTable = Callable[[int], Path]


@pytest.fixture(scope="module")
def mix(make_table: MakeTable) -> pa.Table:
    return read_table(make_table(32), TRAIN)


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(values, table.schema.field(name).type))


def long_rows(mix: pa.Table, tokenizer: Any, limit: int) -> int:
    pairs = encode_pairs(tokenizer, mix["prompt"].to_pylist(), mix["completion"].to_pylist())
    return sum(len(pair.ids) > limit for pair in pairs)


def test_updates_follow_from_the_rows_where_the_budget_is_counted_otherwise(make_job: MakeJob) -> None:
    job = make_job(updates=None)
    assert settled(job, 40).n_updates == 5
    with pytest.raises(TrainingError, match="follows from the mix's rows"):
        _ = job.n_updates


@pytest.mark.parametrize("n_rows", [0, 39, 41])
def test_rows_that_fill_no_whole_update_are_refused(make_job: MakeJob, n_rows: int) -> None:
    with pytest.raises(DataError, match=f"mix toy: holds {n_rows} rows; "):
        settled(make_job(updates=None), n_rows)


def test_rows_that_the_recipe_allows_to_drop_are_replaced_and_counted(
    make_job: MakeJob, mix: pa.Table, tokenizer: Any
) -> None:
    n_long = long_rows(mix, tokenizer, 50)
    assert 0 < n_long < 32
    found = examples(mix, make_job(max_length=50, allow_dropped=n_long), tokenizer)
    assert found.n_dropped == n_long
    assert (len(found.n_tokens), found.n_distinct) == (32, 32 - n_long)
    assert found.n_tokens.max() <= 50
    whole = examples(mix, make_job(), tokenizer)
    origins = [[name.split("/")[0] for name in one.sentence_ids] for one in (found, whole)]
    assert origins[0] == origins[1]  # a source keeps its places


def test_one_row_more_than_allowed_is_an_error_that_counts_them(
    make_job: MakeJob, mix: pa.Table, tokenizer: Any
) -> None:
    n_long = long_rows(mix, tokenizer, 50)
    with pytest.raises(DataError, match=f"{n_long} of 32 rows cannot be .*; training.allow_dropped is {n_long - 1}"):
        examples(mix, make_job(max_length=50, allow_dropped=n_long - 1), tokenizer)


def test_a_mix_without_anything_to_learn_is_refused_however_many_may_be_dropped(
    make_job: MakeJob, mix: pa.Table, tokenizer: Any
) -> None:
    empty = with_column(mix, "completion", [" "] * 32)
    with pytest.raises(DataError, match="32 of 32 rows(?s:.*)has no supervised token, so there is nothing to learn"):
        examples(empty, make_job(allow_dropped=32), tokenizer)


@given(data=st.data(), n_rows=st.integers(1, 40))
def test_a_replaced_row_comes_from_the_same_source(data: st.DataObject, n_rows: int) -> None:
    origins = data.draw(st.lists(st.sampled_from("ab"), min_size=n_rows, max_size=n_rows))
    unfit = sorted(data.draw(st.sets(st.integers(0, n_rows - 1))))
    if any(all(row in unfit for row, one in enumerate(origins) if one == origin) for origin in set(origins)):
        with pytest.raises(DataError, match="none of its rows can be trained on"):
            replace_unfit(origins, unfit, mix="m")
        return
    found = replace_unfit(origins, unfit, mix="m")
    assert [origins[row] for row in found] == origins
    assert not set(found) & set(unfit)
    assert all(found[row] == row for row in range(n_rows) if row not in unfit)


def test_padding_by_hand() -> None:
    # batches (3, 5), (4, 4), (1, 7): filled up to 5, 4, 7: 2 + 0 + 6; up to multiples of 4, 8, 4, 8: 8 + 0 + 8
    n_tokens = np.array([3, 5, 4, 4, 1, 7])
    assert n_padded(n_tokens, 2) == 8
    assert n_padded(n_tokens, 2, multiple=4) == 16
    assert n_padded(n_tokens, 1) == 0


def test_a_run_counts_what_it_showed(make_job: MakeJob, mix: pa.Table, tokenizer: Any, tmp_path: Path) -> None:
    from harness.training.sft import train

    twice = with_column(mix, "sentence_id", [f"s{i % 16}" for i in range(32)])
    write_table(tmp_path / "train.parquet", twice, TRAIN)
    job = make_job(updates=None, sft={"padding_free": False, "per_device_train_batch_size": 4})
    notes = train(job, tmp_path / "train.parquet", tmp_path).notes
    whole = examples(twice, job, tokenizer)
    assert (notes["n_updates"], notes["n_examples"]) == (4, 32)
    assert (notes["n_distinct_sentences"], notes["n_repeats"]) == (16, 16)
    assert notes["n_padded_tokens"] == n_padded(whole.n_tokens, 4) > 0
    assert (notes["n_dropped"], notes["n_truncated"]) == (0, 0)
    assert notes["tokens_per_second"] == pytest.approx(notes["n_total_tokens"] / notes["train_seconds"], rel=0.01)
    assert (notes["gpu_seconds"], notes["peak_memory_of"]) == (None, "rss")
    assert notes["peak_memory_mb"] > 100


# -- the chat template -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chat_mix(mix: pa.Table, tokenizer: Any) -> pa.Table:
    pairs = encode_pairs(tokenizer, mix["prompt"].to_pylist(), mix["completion"].to_pylist(), chat=True)
    return with_column(mix, "n_supervised_tokens", [pair.n_supervised for pair in pairs])


def test_trl_tokenizes_a_conversation_as_the_scorer_does(
    make_job: MakeJob, chat_mix: pa.Table, tokenizer: Any, tmp_path: Path
) -> None:
    from harness.training import sft
    from harness.training.plan import plan_batches

    job = make_job(chat="auto")
    rows = examples(chat_mix, job, tokenizer)
    settings = sft._settings(job, plan_batches(8, n_processes=1), rows, hardware=sft._hardware(job), folder=tmp_path)
    seen = sft._trainer(job, settings, rows, tokenizer).train_dataset
    turns = rows.table.to_pylist()
    prompts, completions = ([row[key][0]["content"] for row in turns] for key in ("prompt", "completion"))
    pairs = encode_pairs(tokenizer, prompts, completions, chat=True)
    assert list(seen["input_ids"]) == [pair.ids for pair in pairs]
    assert list(seen["labels"]) == [[-100] * pair.n_prompt + pair.ids[pair.n_prompt :] for pair in pairs]
    text = tokenizer.decode(pairs[0].ids)
    assert text.count("<|im_start|>user") == text.count("<|im_start|>assistant") == 1


def test_an_answer_in_the_template_is_scored_as_it_is_trained(tiny_model: Path, tokenizer: Any) -> None:
    import torch

    from harness.backends.models import load_model
    from harness.scoring.label_likelihood import score_labels

    model, labels = load_model(str(tiny_model), dtype="float32"), [" memory", " no symptom"]
    found = score_labels(model, tokenizer, ["He forgets."], labels, max_tokens=128, chat=True).log_likelihood
    for label, score in zip(labels, found[0], strict=True):
        question, answer = conversation("He forgets.", label)
        whole = tokenizer.apply_chat_template(question + answer, return_dict=True)["input_ids"]
        n_prompt = len(
            tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)["input_ids"]
        )
        with torch.no_grad():
            log_p = torch.log_softmax(model(input_ids=torch.tensor([whole])).logits[0].double(), dim=-1)
        by_hand = sum(float(log_p[t - 1, whole[t]]) for t in range(n_prompt, len(whole)))
        assert score == pytest.approx(by_hand, abs=1e-4)


def test_a_template_is_used_where_asked_and_where_there_is_one(tokenizer: Any) -> None:
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    assert [uses_chat(tokenizer, chat) for chat in ("auto", True, False)] == [True, True, False]
    assert [uses_chat(bare, chat) for chat in ("auto", False)] == [False, False]
    with pytest.raises(
        ConfigError, match=r"training.chat is true, but .* has no chat template; set it to auto or false"
    ):
        uses_chat(bare, True)
