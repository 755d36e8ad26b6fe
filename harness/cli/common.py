"""What all commands share: the application, their options, and how a recipe and its run are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.schemas.recipe import Recipe

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


def load(path: Path, overrides: list[str] | None) -> Recipe:
    from harness.schemas.recipe import load_recipe

    return load_recipe(path, overrides or [])


def as_proxy(recipe: Recipe) -> Recipe:
    from harness.backends.embedding import resolve

    return recipe.as_proxy(with_vectors=resolve("auto") == "minilm")


def run_folder(recipe: Recipe, run_dir: Path | None) -> Path:
    return (run_dir or Path("runs") / recipe.name).resolve()


def shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
