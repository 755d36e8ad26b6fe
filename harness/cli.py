"""The command line. Heavy libraries are imported by the command that needs them, so that `--help` answers at once."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import logs
from harness.errors import HarnessError
from harness.stage_names import BOTH_NAMES

if TYPE_CHECKING:
    from harness.schemas.recipe import Recipe
    from harness.schemas.recipe_parts import TrainingBudget

USER_MISTAKE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="harness",
    help="Is this synthetic clinical text worth anything, for whom, and compared to what?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. training.train_seeds=3.")
]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Where the tables go; runs/<recipe> by default.")]
Proxy = Annotated[bool, typer.Option("--proxy", help="Of the run of cheap learners, in runs/<recipe>-proxy.")]
Force = Annotated[bool, typer.Option("--force", help="Redo what is finished.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More log lines.")]


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
    loaded = _load(recipe, overrides)
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
        typer.echo(f"  {'rows':<12} {_shown(path)}: too large to be read here; `harness {command} RECIPE` checks them")
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
    loaded = _load(recipe, overrides)
    if proxy:
        loaded = _as_proxy(loaded)
    from collections import Counter

    from harness.pipeline import unit_states

    found = list(unit_states(loaded, _run_folder(loaded, run_dir)))
    for unit, state in found:
        typer.echo(f"{state.status:<12} {unit.title}{'' if state.reason is None else f'  ({state.reason})'}")
    counted = Counter(state.status for _, state in found)
    typer.echo(f"\n{len(found)} units: " + ", ".join(f"{n} {name}" for name, n in counted.most_common()))


@app.command()
def cells(recipe: RecipePath, overrides: Overrides = None, run_dir: RunDir = None) -> None:
    """List what is trained, for scripts: a line for each mix and train seed, apart by a tab.

    Line N, from 0, is task N of a job array. A run folder is only asked whether it holds a run of this recipe.
    """
    loaded = _load(recipe, overrides)
    if run_dir is not None:
        from harness.pipeline import check_owner

        check_owner(loaded, run_dir.resolve())
    for mix in loaded.mixes:
        for seed in loaded.train_seeds:
            typer.echo(f"{mix.name}\t{seed}")


@app.command()
def plan(
    recipe: RecipePath,
    accelerate_config: Annotated[
        str | None, typer.Option(help="Launch file by name or path; the recipe's by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Plan training too, on this: cpu, h100, h200, a100-80, a100-40, ...")
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="Processes over all machines; one by default.")] = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    verbose: Verbose = False,
) -> None:
    """Tell requests, tokens, money and time of a recipe; send nothing, load no model.

    The stages up to alignment are run, so that prompts are the very ones that would be sent. With a device, a launch
    file or a number of GPUs, parameters, memory, updates and time of training follow.
    """
    logs.configure(verbose=verbose)
    loaded = _load(recipe, overrides)
    folder = _run_folder(loaded, run_dir)
    from harness.planning.generation import plan_generation
    from harness.planning.text import plan_lines, training_hint

    lines, trains = [training_hint()], any(given is not None for given in (accelerate_config, device, gpus))
    if trains:
        from harness.planning.training import Choice, plan_training
        from harness.planning.training_text import training_lines

        lines = training_lines(plan_training(loaded, folder, Choice(accelerate_config, device or "cpu", gpus)))
    if loaded.used_arms or not trains:
        lines = [*plan_lines(plan_generation(loaded, folder)), "", *lines]
    for line in lines:
        typer.echo(line)


@app.command("export")
def export_model(
    recipe: RecipePath,
    mix: Annotated[str, typer.Option(help="Name of a mix of the recipe.")],
    out: Annotated[Path, typer.Option(help="Where the merged model goes: a new or empty folder.")],
    seed: Annotated[int, typer.Option(help="Train seed, from 0.")] = 0,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    verbose: Verbose = False,
) -> None:
    """Merge a run's adapter into one model that transformers and vLLM load.

    RECIPE is the recipe's file, or the run folder itself.
    """
    logs.configure(verbose=verbose)
    from harness.planning.runs import opened_run
    from harness.training.export import export_run

    folder = export_run(opened_run(recipe, overrides or [], run_dir), mix, seed, out.resolve())
    typer.echo(f"model: {_shown(folder)}")


@app.command()
def prompts(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(help="Folder for one JSONL file per arm.")],
    arms: Annotated[list[str] | None, typer.Option("--arm", help="Only this arm; may be given again.")] = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    verbose: Verbose = False,
) -> None:
    """Write the prompts of each arm, for any other system or people to answer.

    Answers with their text_id and text are taken back by `harness collect`.
    """
    logs.configure(verbose=verbose)
    loaded = _load(recipe, overrides)
    from harness.planning.prompts import write_prompts

    for path, n_prompts in write_prompts(loaded, _run_folder(loaded, run_dir), out, arms or []).items():
        typer.echo(f"{_shown(path.resolve())}: {n_prompts} prompts")


@app.command()
def collect(
    recipe: RecipePath,
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="JSONL, CSV or Parquet with text_id and text.")],
    arm: Annotated[str, typer.Option(help="Whose prompts were answered.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    model_id: Annotated[str, typer.Option(help="Who answered, for the tables.")] = "unknown",
    overrides: Overrides = None,
    run_dir: RunDir = None,
    verbose: Verbose = False,
) -> None:
    """Take in answers to an arm's prompts; the arm's own filters judge them.

    The file written holds prompts and answers, and is an arm by itself: {path: FILE}.
    """
    logs.configure(verbose=verbose)
    loaded = _load(recipe, overrides)
    from harness.planning.answers import collect_answers

    found = collect_answers(loaded, _run_folder(loaded, run_dir), answers, out, arm=arm, model_id=model_id)
    typer.echo(f"{_shown(out.resolve())}: {len(found.kept)} of {found.n_prompts} prompts answered well")
    for reason, n_rejected in found.rejected.most_common():
        typer.echo(f"  rejected     {n_rejected}: {reason}")
    typer.echo(f"  unanswered   {found.n_unanswered}")


@app.command()
def power(
    recipe: RecipePath,
    difference: Annotated[float | None, typer.Option(help="Wished difference in macro-F1, e.g. 0.03.")] = None,
    patient_sd: Annotated[
        float | None, typer.Option(help="No pilot: guessed sd over patients of their own differences, e.g. 0.3.")
    ] = None,
    seed_sd: Annotated[float, typer.Option(help="No pilot: guessed sd over train seeds of the difference.")] = 0.0,
    patients: Annotated[int | None, typer.Option(min=2, help="No pilot: number of test patients.")] = None,
    comparisons: Annotated[int, typer.Option(min=1, help="Comparisons in the family, e.g. mixes against gold.")] = 1,
    overrides: Overrides = None,
    run_dir: RunDir = None,
) -> None:
    """Tell how small a difference this test set and these train seeds can detect.

    From the run folder of a pilot, overall and by subgroup; or from guesses.
    """
    loaded = _load(recipe, overrides)
    from harness.errors import ConfigError
    from harness.planning.power import Guess, from_guess, from_pilot, power_lines

    if (patient_sd is None) != (patients is None):
        raise ConfigError("--patient-sd and --patients: give both, or neither to read a pilot run")
    wrong = {"--difference": difference, "--patient-sd": patient_sd}
    for name, value in wrong.items():
        if value is not None and value <= 0:
            raise ConfigError(f"{name}: found {value:g}; it must be above 0")
    if seed_sd < 0:
        raise ConfigError(f"--seed-sd: found {seed_sd:g}; it must not be below 0")
    if patient_sd is not None and patients is not None:
        places = from_guess(Guess(patient_sd, seed_sd, patients, loaded.file.training.train_seeds))
    else:
        places = from_pilot(loaded, _run_folder(loaded, run_dir))
    confidence = loaded.file.evaluation.confidence
    for line in power_lines(places, confidence=confidence, difference=difference, n_comparisons=comparisons):
        typer.echo(line)


@app.command()
def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, e.g. runs/*.")],
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write every column as CSV.")] = None,
    md: Annotated[Path | None, typer.Option("--md", help="Also write what is printed.")] = None,
    latex: Annotated[Path | None, typer.Option("--latex", help="Also write a booktabs table.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page with a sortable table.")] = None,
    learners: Annotated[
        list[str] | None, typer.Option("--learner", help="Only this learner, e.g. llm; may be given again.")
    ] = None,
) -> None:
    """Print one leaderboard over several runs.

    Runs and mixes that cannot be compared are set apart with the reason; entries that are statistically tied with the
    first are marked.
    """
    from harness.leaderboards.stage import leaderboard_over, write_leaderboard
    from harness.leaderboards.text import board_markdown

    board = leaderboard_over(runs, learners or [])
    write_leaderboard(board, {"csv": csv, "md": md, "latex": latex, "html": html})
    typer.echo(board_markdown(board.entries, board.left_out))


@app.command()
def review(
    recipe: RecipePath,
    n_each: Annotated[int, typer.Option("--n", min=1, help="Sentences of training gold and of each arm.")] = 30,
    out: Annotated[Path | None, typer.Option("--out", help="Where sheet and results go; review/ in the run.")] = None,
    ratings: Annotated[
        list[Path] | None, typer.Option("--read", metavar="CSV", help="Read ratings back; once for each rater.")
    ] = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
) -> None:
    """Write a blinded sheet for clinicians, or read their ratings back.

    The sheet mixes training gold and the sentences of all arms; where each came from stands in a key apart from it.
    """
    from harness.reviewing import stage as reviewing
    from harness.store import Run

    loaded = _load(recipe, overrides)
    run = Run(recipe=loaded, folder=(run_dir or Path("runs") / loaded.name).resolve())
    folder = (out or run.folder / "review").resolve()
    if ratings:
        reviewing.read_back(run, folder, ratings)
        typer.echo((folder / reviewing.RESULTS_MARKDOWN).read_text(encoding="utf-8"))
        typer.echo(f"results: {_shown(folder / reviewing.RESULTS_JSON)}")
        return
    items = reviewing.write_sheet(run, folder, n_each)
    typer.echo(f"{len(items)} sentences: {_shown(folder / reviewing.RATERS_FOLDER)} (give raters this folder, no more)")
    typer.echo(f"key: {_shown(folder / reviewing.KEY)} (keep it from raters; ratings cannot be read without it)")
    typer.echo("warning: the sheet holds note text of training gold; keep it where such text may be kept", err=True)


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


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    from harness.schemas.recipe import load_recipe

    return load_recipe(path, overrides or [])


def _as_proxy(recipe: Recipe) -> Recipe:
    from harness.backends.embedding import resolve

    return recipe.as_proxy(with_vectors=resolve("auto") == "minilm")


def _run_folder(recipe: Recipe, run_dir: Path | None) -> Path:
    return (run_dir or Path("runs") / recipe.name).resolve()


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
    recipe = _load(path, overrides)
    from harness.pipeline import run_recipe
    from harness.summary import summary_lines

    full = _run_folder(recipe, None)
    if proxy:
        recipe = _as_proxy(recipe)
    folder = _run_folder(recipe, run_dir)
    if only == "train":  # nothing shows afterwards that it learned from other sentences than the recipe says
        from harness.upstream import check_cells

        check_cells(recipe, folder)
    results = list(run_recipe(recipe, folder, until=until, only=only, force=force, reuse=full if proxy else None))
    typer.echo("\n" + "\n".join(summary_lines(results)))
    report = folder / "08_reports" / "report.html"
    typer.echo(f"\n{'report' if report.is_file() else 'tables'}: {_shown(report if report.is_file() else folder)}")


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def main() -> None:
    """Entry point: a user's mistake is one message and exit code 2, never a traceback."""
    logs.prepare_environment()
    try:
        app(standalone_mode=True)
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_MISTAKE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"error: {error.filename or 'a file'}: no space left on the disk; free some and run again", err=True)
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
