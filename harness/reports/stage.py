"""Stage `reports`: tables and manifests of a run in; leaderboard, ablation, report page and W&B record out.

Everything shown is read from the run folder. The manifests are read too (seconds, memory, versions), but they are no
inputs: seconds differ from run to run and decide no number. The reports are written before the W&B record, so that a
tracker that cannot be reached loses nothing.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness import seeds
from harness.backends.spending import load_caps, read_spent_by_unit
from harness.label_sets import count_by_label
from harness.reports import leaderboard, leaderboard_text
from harness.reports.inputs import ArmCounts, Inputs, LossCurve, Row, hash_test_set
from harness.reports.mix_tables import mean_composition, worst_audit
from harness.reports.suppression import suppress
from harness.reports.tracking import tracking_mode
from harness.schemas.manifest import Counts, Manifest
from harness.schemas.tables import (
    AGREEMENT,
    CONFUSION,
    CONTRASTS,
    EXCHANGE,
    FIDELITY,
    GOLD,
    GOLD_STATISTICS,
    METRICS,
    REJECTED,
    RELIABILITY,
    SENTENCES,
    SYNTHETIC,
    TEMPERATURES,
    TIES,
    TRAINING_LOG,
    TableSpec,
)
from harness.store import (
    MANIFEST,
    STAGE_FOLDERS,
    Run,
    Unit,
    read_manifest,
    read_rows,
    read_table,
    sha256_file,
    write_text,
)

log = logging.getLogger(__name__)

OUTPUTS = (
    "leaderboard.csv",
    "leaderboard.md",
    "leaderboard.tex",
    "ablation.md",
    "fidelity.csv",
    "fidelity.md",
    "report.html",
)
WANDB_FOLDER = "wandb"
SAMPLES_PER_ARM = 6
UNFILLED = "unfilled"  # generation's reason for a sentence it gave up


def units(run: Run) -> list[Unit]:
    """One unit: all reports of the run, and its W&B record (resumable, so that its time stamps are not hashed)."""
    recipe = run.recipe
    task = recipe.task.file
    settings = {
        "recipe": recipe.name,
        "mixes": [mix.model_dump(mode="json") for mix in recipe.mixes],
        "arms": {name: recipe.arms[name].model_dump(mode="json", exclude={"path"}) for name in recipe.used_arms},
        "training": recipe.file.training.model_dump(mode="json"),
        "scoring": recipe.file.scoring.model_dump(mode="json"),
        "evaluation": recipe.file.evaluation.model_dump(mode="json"),
        "fidelity": recipe.file.fidelity.model_dump(mode="json"),
        "task": task.model_dump(mode="json", include={"id", "version", "title", "labels", "subgroups", "caution"}),
        "reporting": recipe.file.reporting.model_dump(mode="json"),
        "tracking": recipe.file.tracking.model_dump(mode="json"),
        "tracking_mode": tracking_mode(recipe),
        "samples_per_arm": SAMPLES_PER_ARM,
    }
    return [
        Unit(
            stage="reports",
            name="",
            inputs=tuple(input_files(run)),
            settings=settings,
            seed_path=("reports", "samples"),
            work=lambda folder: write_reports(run, folder),
            outputs=OUTPUTS,
            resumable=(WANDB_FOLDER,),
        )
    ]


def input_files(run: Run) -> list[Path]:
    """The tables every run has, and those of rejected rows where there are any."""
    arms, mixes = run.recipe.used_arms, [mix.name for mix in run.recipe.mixes]
    found = [run.path("cohort", "gold.parquet"), run.path("cohort", "gold_statistics.parquet")]
    found += [run.path("generation", arm, "synthetic.parquet") for arm in arms]
    found += [run.path("annotation", arm, "sentences.parquet") for arm in arms]
    found += [path for mix in run.recipe.mixes for name in ("train", "audit") for path in run.mix_tables(mix, name)]
    found += [run.path("training", mix, f"seed_{k}", "log.parquet") for mix in mixes for k in run.recipe.train_seeds]
    found += [run.path("evaluation", f"{name}.parquet") for name in ("metrics", "contrasts", "confusion", "ties")]
    found += [fidelity_file(run)] if arms else []
    optional = (*rejected_files(run), *agreement_files(run).values(), *calibration_files(run), exchange_file(run))
    return found + [path for path in optional if path.is_file()]


def agreement_files(run: Run) -> dict[str, Path]:
    """By arm; only where an annotator or people were asked is there one."""
    return {arm: run.path("annotation", arm, "agreement.parquet") for arm in run.recipe.used_arms}


def fidelity_file(run: Run) -> Path:
    return run.path("evaluation", "fidelity", "fidelity.parquet")


def calibration_files(run: Run) -> tuple[Path, Path]:
    """Reliability bins and temperatures."""
    return run.path("evaluation", "reliability.parquet"), run.path("evaluation", "temperatures.parquet")


def exchange_file(run: Run) -> Path:
    return run.path("evaluation", "exchange.parquet")


def rejected_files(run: Run) -> list[Path]:
    return [
        run.path(stage, arm, "rejected.parquet")
        for arm in run.recipe.used_arms
        for stage in ("generation", "annotation")
    ]


def write_reports(run: Run, folder: Path) -> Counts:
    # Imported here: jinja2 and wandb are needed when reports are written, not when a recipe is checked.
    from harness.reports import ablation, fidelity, page
    from harness.reports.wandb_record.record import write_record

    inputs = suppress(read_inputs(run))
    rows = leaderboard.leaderboard_rows(inputs)
    write_text(folder / "leaderboard.csv", leaderboard.leaderboard_csv(rows))
    write_text(folder / "leaderboard.md", leaderboard_text.leaderboard_markdown(inputs, rows))
    write_text(folder / "leaderboard.tex", leaderboard_text.leaderboard_latex(inputs, rows))
    write_text(folder / "ablation.md", ablation.ablation_markdown(inputs))
    write_text(folder / "fidelity.csv", leaderboard.to_csv(fidelity.COLUMNS, fidelity.ordered(inputs.fidelity)))
    write_text(folder / "fidelity.md", fidelity.fidelity_markdown(inputs))
    write_text(folder / "report.html", page.report_page(inputs, rows))
    record = write_record(inputs, run, folder)
    return Counts(
        rows_in=len(inputs.metrics) + len(inputs.contrasts),
        rows_out=len(rows),
        notes={"test_set_sha256": inputs.test_set_sha256, "wandb": record},
    )


# -- reading ---------------------------------------------------------------------------------------


def read_inputs(run: Run) -> Inputs:
    """Every value the reports show.

    Raises:
        DataError: A table is missing or breaks its contract.
    """
    recipe = run.recipe
    splits = recipe.file.scoring.splits
    split = "test" if "test" in splits else splits[0]
    mixes = [mix.name for mix in recipe.mixes]
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD, columns=["sentence_id", "split", "label"])
    test = gold.filter(pc.equal(gold["split"], split))
    manifests = read_manifests(run)
    return Inputs(
        recipe=recipe,
        split=split,
        metrics=_of_split(run.path("evaluation", "metrics.parquet"), METRICS, split),
        contrasts=read_rows(run.path("evaluation", "contrasts.parquet"), CONTRASTS),
        confusion=_of_split(run.path("evaluation", "confusion.parquet"), CONFUSION, split),
        ties=_of_split(run.path("evaluation", "ties.parquet"), TIES, split),
        spent_usd=spent_on_arms(run),
        gold_statistics=read_rows(run.path("cohort", "gold_statistics.parquet"), GOLD_STATISTICS),
        composition={mix.name: mean_composition(run.mix_tables(mix)) for mix in recipe.mixes},
        audit={mix.name: worst_audit(run.mix_tables(mix, "audit")) for mix in recipe.mixes},
        curves=[_curve(run, mix, seed) for mix in mixes for seed in run.recipe.train_seeds],
        samples={arm: _samples(run, arm) for arm in recipe.used_arms},
        arms={arm: _arm_counts(run, arm) for arm in recipe.used_arms},
        manifests=manifests,
        input_sha256={str(path.relative_to(run.folder)): sha256_file(path) for path in input_files(run)},
        test_set_sha256=hash_test_set(zip(test["sentence_id"].to_pylist(), test["label"].to_pylist(), strict=True)),
        fidelity=read_rows(fidelity_file(run), FIDELITY) if recipe.used_arms else (),
        agreement={arm: read_rows(path, AGREEMENT) for arm, path in agreement_files(run).items() if path.is_file()},
        reliability=_if_there(calibration_files(run)[0], RELIABILITY),
        temperatures=_if_there(calibration_files(run)[1], TEMPERATURES),
        exchange=_if_there(exchange_file(run), EXCHANGE),
        git_commit=next((manifest.git_commit for manifest in reversed(manifests) if manifest.git_commit), None),
    )


def spent_on_arms(run: Run) -> dict[str, float]:
    """What servers were paid for each arm's texts and labels; arms without a server or a price are left out."""
    caps = load_caps(run.recipe.file.spending, set())
    found: dict[str, float] = {}
    for unit, spent in read_spent_by_unit(run.folder).items():
        usd, arm = caps.usd(spent), unit.rpartition("/")[2]
        if usd is not None:
            found[arm] = found.get(arm, 0.0) + usd
    return found


def _if_there(path: Path, spec: TableSpec) -> Sequence[Row]:
    return read_rows(path, spec) if path.is_file() else ()


def read_manifests(run: Run) -> list[Manifest]:
    """Manifests of every unit done so far, in the order of stages and units; the reports' own is not there yet."""
    found = []
    for stage, name in STAGE_FOLDERS.items():
        if stage == "reports":
            continue
        for path in sorted((run.folder / name).rglob(MANIFEST)):
            manifest = read_manifest(path.parent)
            if manifest is not None:
                found.append(manifest)
    return found


def _of_split(path: Path, spec: Any, split: str) -> list[Row]:
    table = read_table(path, spec)
    rows: list[Row] = table.filter(pc.equal(table["split"], split)).to_pylist()
    return rows


def _curve(run: Run, mix: str, seed: int) -> LossCurve:
    rows = read_rows(run.path("training", mix, f"seed_{seed}", "log.parquet"), TRAINING_LOG)
    rows = [row for row in rows if row["loss"] is not None]
    return LossCurve(
        mix=mix,
        seed=seed,
        steps=[row["step"] for row in rows],
        losses=[row["loss"] for row in rows],
        learning_rates=[row["learning_rate"] for row in rows],
        tokens=[row["tokens"] for row in rows],
    )


def _arm_counts(run: Run, arm: str) -> ArmCounts:
    n_accepted = read_table(run.path("generation", arm, "synthetic.parquet"), SYNTHETIC, columns=["text_id"]).num_rows
    labels = read_table(run.path("annotation", arm, "sentences.parquet"), SENTENCES, columns=["label"])["label"]
    of_generation = _reasons(run.path("generation", arm, "rejected.parquet"))
    # An empty slot is no candidate: its candidates stand in the table one by one, and asked minus kept shows it.
    of_generation.pop(UNFILLED, None)
    settings = run.recipe.arms[arm]
    return ArmCounts(
        n_asked=(settings.n_notes if settings.unit == "note" else settings.n_sentences) if settings.sees else None,
        n_attempts=n_accepted + of_generation.total() if settings.sees else None,
        n_accepted=n_accepted,
        n_labelled=len(labels),
        n_by_label=dict(sorted(count_by_label(labels.to_pylist()).items())),
        rejected=dict((of_generation + _reasons(run.path("annotation", arm, "rejected.parquet"))).most_common()),
    )


def _reasons(path: Path) -> Counter[str]:
    if not path.is_file():
        return Counter()
    return Counter(read_table(path, REJECTED, columns=["reason"])["reason"].to_pylist())


def _samples(run: Run, arm: str) -> list[Row]:
    """A few sentences of an arm, one label after the other, drawn by the recipe's seed. Synthetic text only."""
    path = run.path("annotation", arm, "sentences.parquet")
    keys = read_table(path, SENTENCES, columns=["sentence_id", "label"]).to_pylist()
    order = seeds.generator(run.seed, "reports", "samples", arm).permutation(len(keys))
    by_label: dict[str, list[str]] = defaultdict(list)
    for index in order:
        by_label[keys[index]["label"]].append(keys[index]["sentence_id"])
    chosen = list(
        _take_in_turn([by_label[one] for one in run.task.label_space.set_ids if one in by_label], SAMPLES_PER_ARM)
    )
    # Row groups are read one after the other, so that never all texts are in memory.
    columns = ["sentence_id", "text", "label", "label_source"]
    rows = pq.read_table(path, columns=columns, filters=pc.field("sentence_id").isin(chosen)).to_pylist()
    by_id: dict[str, Row] = {row["sentence_id"]: row for row in rows}
    return [by_id[sentence_id] for sentence_id in chosen]


def _take_in_turn(queues: Sequence[Sequence[str]], size: int) -> Iterable[str]:
    """Up to `size` items, the first of every queue before the second of any."""
    longest = max((len(queue) for queue in queues), default=0)
    in_turn = (queue[position] for position in range(longest) for queue in queues if position < len(queue))
    for _, item in zip(range(size), in_turn, strict=False):
        yield item
