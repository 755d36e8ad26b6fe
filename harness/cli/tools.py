"""Commands beside a run: forecasts, prompts and answers, power, leaderboards, review sheets, exported models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import logs
from harness.cli.common import (
    Overrides,
    RecipePath,
    RunDir,
    Verbose,
    app,
    load,
    run_folder,
    shown,
)


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
    loaded = load(recipe, overrides)
    folder = run_folder(loaded, run_dir)
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
    typer.echo(f"model: {shown(folder)}")


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
    loaded = load(recipe, overrides)
    from harness.planning.prompts import write_prompts

    for path, n_prompts in write_prompts(loaded, run_folder(loaded, run_dir), out, arms or []).items():
        typer.echo(f"{shown(path.resolve())}: {n_prompts} prompts")


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
    loaded = load(recipe, overrides)
    from harness.planning.answers import collect_answers

    found = collect_answers(loaded, run_folder(loaded, run_dir), answers, out, arm=arm, model_id=model_id)
    typer.echo(f"{shown(out.resolve())}: {len(found.kept)} of {found.n_prompts} prompts answered well")
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
    loaded = load(recipe, overrides)
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
        places = from_pilot(loaded, run_folder(loaded, run_dir))
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

    loaded = load(recipe, overrides)
    run = Run(recipe=loaded, folder=(run_dir or Path("runs") / loaded.name).resolve())
    folder = (out or run.folder / "review").resolve()
    if ratings:
        reviewing.read_back(run, folder, ratings)
        typer.echo((folder / reviewing.RESULTS_MARKDOWN).read_text(encoding="utf-8"))
        typer.echo(f"results: {shown(folder / reviewing.RESULTS_JSON)}")
        return
    items = reviewing.write_sheet(run, folder, n_each)
    typer.echo(f"{len(items)} sentences: {shown(folder / reviewing.RATERS_FOLDER)} (give raters this folder, no more)")
    typer.echo(f"key: {shown(folder / reviewing.KEY)} (keep it from raters; ratings cannot be read without it)")
    typer.echo("warning: the sheet holds note text of training gold; keep it where such text may be kept", err=True)
