"""TRL's trainer as the harness uses it: a cheaper loss on the CPU, and a log line for every update."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import TrainerCallback
from trl import SFTTrainer

from harness.errors import DivergedError
from harness.training.checkpoints import mark_complete
from harness.training.job import TrainingJob
from harness.training.rows import Examples

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 2.0


class LabelTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with a cheaper head on the CPU: logits of the supervised positions only.

    Without Triton, TRL projects every position onto the vocabulary and masks afterwards; with one label a sentence that
    is a third of the whole computation.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        flat = self.args.padding_free and self.args.device.type == "cpu" and not return_outputs
        if not flat or self.args.loss_type != "nll" or self.args.label_smoothing_factor or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][0, 1:]  # (n_tokens - 1,): position t predicts token t + 1
        places = (targets != -100).nonzero().squeeze(1)  # (n_supervised,)
        without_labels = {key: value for key, value in inputs.items() if key != "labels"}
        logits = model(**without_labels, use_cache=False, logits_to_keep=places).logits[0]  # (n_supervised, vocabulary)
        loss = functional.cross_entropy(logits.float(), targets[places], reduction="sum") / num_items_in_batch
        return loss * self.accelerator.num_processes if self.args.average_tokens_across_devices else loss


class UpdateLog(TrainerCallback):  # type: ignore[misc]
    """Adds tokens and seconds to each update's log entry, says how far the run is, and stops a diverged one."""

    def __init__(self, job: TrainingJob, rows: Examples, accelerator: Any) -> None:
        self.job, self.rows, self.accelerator = job, rows, accelerator
        self.began = self.said = time.perf_counter()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_log(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        entry = state.log_history[-1]
        if "loss" not in entry:
            return
        if not torch.isfinite(torch.tensor([entry["loss"], entry.get("grad_norm") or 0.0])).all():
            raise DivergedError(
                f"{self.job.title}: the loss or its gradient is not a number at update {state.global_step} of "
                f"{self.job.n_updates}; lower training.sft.learning_rate or use another dtype"
            )
        now = time.perf_counter()
        size = self.job.global_batch_size
        entry["tokens"] = int(self.rows.n_tokens[(state.global_step - 1) * size : state.global_step * size].sum())
        entry["seconds"] = round(now - self.began, 4)
        if state.is_world_process_zero and (now - self.said > SECONDS_BETWEEN_LINES or state.global_step == 1):
            self.said = now
            log.info("update %d/%d loss=%.4f", state.global_step, self.job.n_updates, entry["loss"])

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.accelerator.wait_for_everyone()  # every process has saved its part
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def log_rows(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """TRAINING_LOG rows of a trainer's history."""
    names = ("step", "loss", "learning_rate", "grad_norm", "tokens", "seconds")
    return [{name: entry.get(name) for name in names} for entry in history if "loss" in entry]
