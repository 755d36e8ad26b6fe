"""Commands that run a recipe or its stages, and those that say what a run is and how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import logs
from harness.cli.common import (
    Force,
    Overrides,
    Proxy,
    RecipePath,
    RunDir,
    Verbose,
    app,
    as_proxy,
    load,
    run_folder,
    shown,
)
from harness.stage_names import BOTH_NAMES

if TYPE_CHECKING:
    from harness.schemas.recipe_parts import TrainingBudget


@app.command()
def run(
    recipe: RecipePath,
    until: Annotated[str, typer.Option(help=f"Last stage to run: {BOTH_NAMES}.")] = "reports",
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Train nothing: cheap learners answer, in runs/<recipe>-proxy.")
    ] = False,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Run a recipe, from gold to report.

    What is finished is skipped; what was interrupted goes on.
    """
    _run(recipe, overrides=overrides, run_dir=run_dir, until=until, proxy=proxy, force=force, verbose=verbose)


@app.command()
def validate(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Check a recipe and the rows of its gold and arm files; start nothing.

    Faults of the recipe, its task and its mixes are listed together, then those of the files.
    """
    loaded = load(recipe, overrides)
    from harness.planning.rows import check_rows

    rows = check_rows(loaded)
    training = loaded.file.training
    n_cells = len(loaded.mixes) * training.train_seeds
    typer.echo(f"{recipe}: valid")
    typer.echo(
        f"  task         {loaded.task.id} (version {loaded.task.file.version}, {len(loaded.task.labels)} labels)"
    )
    typer.echo(f"  arms         {', '.join(loaded.arms) or 'none'}")
    typer.echo(f"  mixes        {', '.join(mix.name for mix in loaded.mixes)}")
    typer.echo(f"  base model   {training.base_model} ({training.method})")
    typer.echo(f"  runs         {len(loaded.mixes)} mixes x {training.train_seeds} train seeds = {n_cells}")
    drawn = [mix.name for mix in loaded.mixes if mix.draws_patients]
    if drawn:
        typer.echo(f"  patients     drawn anew for each train seed: {', '.join(drawn)}")
    for mix in loaded.mixes:
        typer.echo(f"  budget       {mix.name}: {_budget_words(loaded.budget(mix), training.global_batch_size)}")
    names = [mix.name for mix in loaded.mixes]
    evaluation = loaded.file.evaluation
    reference = evaluation.reference_among(names)
    fallback = "" if reference == evaluation.reference_mix else f" (no mix named {evaluation.reference_mix})"
    typer.echo(f"  reference    {reference}{fallback}")
    for name, held in rows.lines:
        typer.echo(f"  {'rows':<12} {name}: {held}")
    for path, command in rows.unread:
        typer.echo(f"  {'rows':<12} {shown(path)}: too large to be read here; `harness {command} RECIPE` checks them")
    for caution in rows.cautions:
        typer.echo(f"  {'warning':<12} {caution}")


def _budget_words(budget: TrainingBudget, global_batch: int) -> str:
    if budget.unit == "updates":
        return f"{budget.size} updates x {global_batch} examples = {budget.size * global_batch}"
    return f"{budget.size} {budget.unit.replace('_', ' ')} in updates of {global_batch} examples"


@app.command()
def status(recipe: RecipePath, proxy: Proxy = False, overrides: Overrides = None, run_dir: RunDir = None) -> None:
    """Tell how far a run is: what is finished, running, interrupted, failed or diverged.

    Starts nothing. RECIPE is the recipe's file.
    """
    loaded = load(recipe, overrides)
    if proxy:
        loaded = as_proxy(loaded)
    from collections import Counter

    from harness.pipeline import unit_states

    found = list(unit_states(loaded, run_folder(loaded, run_dir)))
    for unit, state in found:
        typer.echo(f"{state.status:<12} {unit.title}{'' if state.reason is None else f'  ({state.reason})'}")
    counted = Counter(state.status for _, state in found)
    typer.echo(f"\n{len(found)} units: " + ", ".join(f"{n} {name}" for name, n in counted.most_common()))


@app.command()
def cells(recipe: RecipePath, overrides: Overrides = None, run_dir: RunDir = None) -> None:
    """List what is trained, for scripts: a line for each mix and train seed, apart by a tab.

    Line N, from 0, is task N of a job array. A run folder is only asked whether it holds a run of this recipe.
    """
    loaded = load(recipe, overrides)
    if run_dir is not None:
        from harness.pipeline import check_owner

        check_owner(loaded, run_dir.resolve())
    for mix in loaded.mixes:
        for seed in loaded.train_seeds:
            typer.echo(f"{mix.name}\t{seed}")


def _stage_command(name: str, text: str) -> None:
    def command(
        recipe: RecipePath,
        overrides: Overrides = None,
        run_dir: RunDir = None,
        force: Force = False,
        verbose: Verbose = False,
    ) -> None:
        _run(recipe, overrides=overrides, run_dir=run_dir, only=name, force=force, verbose=verbose)

    app.command(name, help=text)(command)


def _proxy_stage_command(name: str, text: str) -> None:
    """A stage that a proxy run has too, with a result of its own."""

    def command(
        recipe: RecipePath,
        proxy: Proxy = False,
        overrides: Overrides = None,
        run_dir: RunDir = None,
        force: Force = False,
        verbose: Verbose = False,
    ) -> None:
        _run(recipe, overrides=overrides, run_dir=run_dir, only=name, proxy=proxy, force=force, verbose=verbose)

    app.command(name, help=text)(command)


# One command a stage, in the order data flows; each needs the tables of the stages before it.
_stage_command("cohort", "Import gold, split it by patient, describe it.")
_stage_command("align", "Draw personas, visits and mentions.")
_stage_command("generate", "Write the synthetic sentences of every arm.")
_stage_command("annotate", "Cut synthetic texts into labelled sentences.")
_stage_command("mix", "Audit and draw the data mixes.")
_stage_command("train", "Fine-tune the base model on every mix and train seed.")
_proxy_stage_command("score", "Score every run and baseline on held-out patients.")
_proxy_stage_command("evaluate", "Metrics by class and subgroup, with intervals and contrasts.")
_proxy_stage_command("report", "Leaderboard, ablation, report page, W&B record.")


def _run(
    path: Path,
    *,
    overrides: list[str] | None,
    run_dir: Path | None,
    force: bool,
    verbose: bool,
    until: str = "reports",
    only: str | None = None,
    proxy: bool = False,
) -> None:
    logs.configure(verbose=verbose)
    recipe = load(path, overrides)
    from harness.pipeline import run_recipe
    from harness.summary import summary_lines

    full = run_folder(recipe, None)
    if proxy:
        recipe = as_proxy(recipe)
    folder = run_folder(recipe, run_dir)
    if only == "train":  # nothing shows afterwards that it learned from other sentences than the recipe says
        from harness.upstream import check_cells

        check_cells(recipe, folder)
    results = list(run_recipe(recipe, folder, until=until, only=only, force=force, reuse=full if proxy else None))
    typer.echo("\n" + "\n".join(summary_lines(results)))
    report = folder / "08_reports" / "report.html"
    typer.echo(f"\n{'report' if report.is_file() else 'tables'}: {shown(report if report.is_file() else folder)}")
