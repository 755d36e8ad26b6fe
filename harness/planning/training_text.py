"""A plan of training as lines of text for people."""

from __future__ import annotations

from dataclasses import fields

from harness.generation.forecast import BYTES_PER_TOKEN
from harness.planning.text import duration
from harness.planning.training import TrainingPlan
from harness.training.memory import Memory

GIB = 2**30


def training_lines(plan: TrainingPlan) -> list[str]:
    """Parameters, memory and verdict, then updates, tokens and time, then what the figures rest on."""
    return [*_head(plan), "", *_memory(plan), "", *_verdict(plan), "", *_time(plan), "", *_basis(plan)]


def _head(plan: TrainingPlan) -> list[str]:
    size, batches, training = plan.footprint.size, plan.batches, plan.training
    share = size.n_trainable / (size.n_total + size.n_adapter)
    return [
        f"training    {training.base_model} ({training.method}, weights {plan.way.dtype}), {plan.sharing.scheme} on "
        f"{plan.sharing.n_processes} x {plan.choice.device} ({plan.launch_file.name})",
        f"parameters  {size.n_trainable:,} trainable of {size.n_total + size.n_adapter:,} ({share:.2%})",
        f"batch       {batches.global_batch} = {batches.n_processes} processes x {batches.per_device_batch} rows x "
        f"{batches.accumulation} accumulated; heaviest {_shape(plan)}",
    ]


def _shape(plan: TrainingPlan) -> str:
    if plan.way.is_flat:
        return f"{sum(plan.batch.lengths):,} tokens end to end"
    n_rows, width = plan.batch.shape
    return f"{n_rows} x {width} tokens with padding"


def _memory(plan: TrainingPlan) -> list[str]:
    parts = [(field.name, getattr(plan.memory, field.name)) for field in fields(Memory) if field.name != "host"]
    lines = [f"{'memory of a process':<22} {'GiB':>8}"]
    lines += [f"  {name:<20} {_gib(value):>8}" for name, value in parts]
    lines.append(f"  {'total':<20} {_gib(plan.memory.total):>8}")
    if plan.memory.host:
        lines.append(f"  {'in each host':<20} {_gib(plan.memory.host):>8}")
    return lines


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / GIB:.2f}"


def _verdict(plan: TrainingPlan) -> list[str]:
    where = "this machine's share for a process" if plan.choice.device == "cpu" else plan.choice.device
    if plan.fits:
        return [f"fits: {_gib(plan.memory.total)} of {_gib(plan.capacity)} GiB ({where})"]
    lines = [f"does NOT fit: {_gib(plan.memory.total)} of {_gib(plan.capacity)} GiB ({where}); one change each:"]
    for remedy in plan.remedies:
        verdict = "fits" if remedy.memory.total <= plan.capacity else "does not fit either"
        lines.append(f"  {remedy.words}: {_gib(remedy.memory.total)} GiB, {verdict}")
    return lines


def _time(plan: TrainingPlan) -> list[str]:
    n_seeds, lines = plan.training.train_seeds, []
    known = [one.n_updates for one in plan.runs if one.n_updates is not None]
    for one in plan.runs:
        if one.n_updates is None:
            lines.append(f"  {one.mix}: updates follow from the mix; run `harness run RECIPE --until mixes` first")
        else:
            tokens = one.n_updates * plan.tokens_an_update
            lines.append(f"  {one.mix}: {one.n_updates:,} updates, {tokens:,.0f} tokens{_hours(plan, tokens)}")
    total = sum(known) * plan.tokens_an_update * n_seeds
    n_runs = len(known) * n_seeds
    head = f"runs        {n_runs} ({len(known)} mixes x {n_seeds} train seeds): {sum(known) * n_seeds:,} updates, "
    return [f"{head}{total:,.0f} tokens{_hours(plan, total)}", *lines]


def _hours(plan: TrainingPlan, tokens: float) -> str:
    if plan.pace is None:
        return ""
    n = plan.sharing.n_processes
    seconds = tokens / (plan.pace.tokens_per_s * n)
    return f", {duration(seconds)}" + (f", {seconds * n / 3600:.2f} GPU-hours" if plan.choice.device != "cpu" else "")


def _basis(plan: TrainingPlan) -> list[str]:
    counted = (
        "counted with the tokenizer" if plan.lengths.is_counted else f"at {BYTES_PER_TOKEN:g} bytes a token (assumed)"
    )
    rows = "rows of the mixes" if plan.lengths.is_mix else "training gold, which stands in for all sentences (assumed)"
    lines = [
        "these figures rest on:",
        f"  tokens: {rows}, {counted}; mean {plan.lengths.n_tokens.mean():.0f}, longest {plan.lengths.n_tokens.max()}",
        "  memory: the trainer's own pass, run on tensors without numbers; ZeRO's part by DeepSpeed's formulas",
    ]
    if plan.choice.device != "cpu":
        lines.append("  overhead: CUDA context, NCCL buffers and the allocator's gaps (assumed, not measured)")
    if plan.pace is None:
        where = plan.choice.device
        return [*lines, f"  time: no measured rate for {where}, so no hours; updates and tokens stand above"]
    lines.append(
        f"  time: {plan.pace.tokens_per_s:,.0f} tokens a second and device, {plan.pace.status}: {plan.pace.basis}"
    )
    return [
        *lines,
        "  time: long packed sequences are faster than short ones; several devices are taken to add up (assumed)",
    ]
