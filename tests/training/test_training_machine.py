"""What a launch file asks of a machine; target modules; tokenizers that lack a token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.backends.models import load_tokenizer, missing_for_four_bit
from harness.errors import BackendError, ConfigError
from harness.training.machine import Machine, machine_faults, this_machine, wanted_machine

FOUR_GPUS = Machine(n_local=4, n_devices=4, cuda=True, fsdp=False, zero_stage=0)
TWO_CORES = Machine(n_local=2, n_devices=2, cuda=False, fsdp=False, zero_stage=2)


@pytest.mark.parametrize(
    ("machine", "changes", "message"),
    [
        (FOUR_GPUS, {}, None),
        (TWO_CORES, {}, None),
        (FOUR_GPUS, {"fsdp": True}, None),
        (FOUR_GPUS, {"n_local": 8}, "it starts 8 processes on this machine, which has 4 GPUs; give --num_processes 4"),
        (TWO_CORES, {"n_local": 3}, "which has 2 processors, and no GPU; give --num_processes 2 or fewer"),
        (TWO_CORES, {"fsdp": True}, "FSDP needs GPUs: on a CPU accelerate leaves it out without a word"),
    ],
)
def test_a_launch_that_the_machine_cannot_do_is_refused(
    machine: Machine, changes: dict[str, Any], message: str | None
) -> None:
    found = machine_faults("lora", Machine(**{**vars(machine), **changes}))
    assert (found == []) if message is None else (len(found) == 1 and message in found[0])


def test_four_bits_are_refused_without_a_gpu_and_under_zero3() -> None:
    without = machine_faults("qlora", Machine(1, 1, cuda=False, fsdp=False, zero_stage=3))
    assert [text.split(",")[0] for text in without] == ["training.method is qlora"] * 2
    assert "needs a CUDA GPU" in without[0]
    assert "ZeRO-3 would cut weights of 4 bits apart; use single_gpu, multi_gpu, zero1 or zero2" in without[1]


def test_four_bits_without_bitsandbytes_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.backends.models.find_spec", lambda _: None)
    assert missing_for_four_bit(cuda=True) == "needs bitsandbytes; in the clone: pip install -e '.[qlora]'"


def test_a_file_and_its_launch_describe_the_same_machine() -> None:
    content = {"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 3}, "use_cpu": False}
    launched = {
        "LOCAL_WORLD_SIZE": "2",
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
    }
    assert wanted_machine(content, 2) == this_machine(launched)
    assert this_machine(launched).zero_stage == 3
    assert wanted_machine({"distributed_type": "FSDP"}, 2) == this_machine(
        {"LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}
    )


def test_target_modules_are_checked_all_at_once(tiny_model: Path) -> None:
    from harness.backends.models import load_model
    from harness.training.targets import check_targets

    model = load_model(str(tiny_model), dtype="float32")
    for fine in (None, "all-linear", ["q_proj", "mlp.down_proj"], r".*\.[qv]_proj"):
        check_targets(model, fine)
    with pytest.raises(ConfigError) as caught:
        check_targets(model, ["q_prj", "v_proj", "wte"])
    assert "2 faults" in str(caught.value)
    assert "no module 'q_prj'; did you mean 'q_proj'?" in str(caught.value)
    with pytest.raises(ConfigError, match="matches no module; linear modules of this base model: down_proj"):
        check_targets(model, r".*\.no_layer")
    with pytest.raises(ConfigError, match="is no regular expression"):
        check_targets(model, "(")


def without_token(tiny_model: Path, folder: Path, *names: str) -> Path:
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in names}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    return folder


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(without_token(tiny_model, tmp_path / "model", "pad_token")))
    assert tokenizer.pad_token == tokenizer.eos_token is not None


def test_a_tokenizer_without_an_end_token_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = without_token(tiny_model, tmp_path / "model", "eos_token", "pad_token")
    with pytest.raises(BackendError, match="its tokenizer has no end token, so a label has no end"):
        load_tokenizer(str(folder))
