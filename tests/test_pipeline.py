from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ConfigError, DataError
from harness.pipeline import STAGES, run_recipe, run_unit
from harness.schemas.manifest import Counts
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.stage_names import STAGE_OF
from harness.store import STAGE_FOLDERS, Run, Unit, hash_inputs, read_manifest, write_text


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(shipped("recipes") / "quickstart.yaml")


def unit(source: Path, calls: list[Path], *, settings: dict[str, object] | None = None) -> Unit:
    def work(folder: Path) -> Counts:
        calls.append(folder)
        write_text(folder / "out.txt", source.read_text().upper())
        return Counts(rows_in=1, rows_out=1)

    return Unit(
        stage="cohort",
        name="",
        inputs=[source],
        settings=settings or {},
        seed_path=("cohort",),
        work=work,
        outputs=("out.txt",),
        resumable=("cache",),
    )


@pytest.fixture
def make(tmp_path: Path, recipe: Recipe) -> Callable[..., tuple[Run, Unit, list[Path]]]:
    source = tmp_path / "source.txt"
    source.write_text("a")
    calls: list[Path] = []
    run = Run(recipe=recipe, folder=tmp_path / "run")
    return lambda **more: (run, unit(source, calls, **more), calls)


def test_stages_and_their_folders_are_in_the_same_order() -> None:
    assert list(STAGES) == list(STAGE_FOLDERS)
    assert sorted(STAGE_FOLDERS.values()) == list(STAGE_FOLDERS.values())


def test_a_train_seed_learns_from_its_own_patients_and_cheap_learners_from_those_of_seed_0(tmp_path: Path) -> None:
    run = Run(load_recipe(shipped("recipes") / "exchange_rate.yaml"), tmp_path)
    reads = {unit.title: unit.inputs[0] for stage in ("training", "scoring") for unit in STAGES[stage](run)}
    for k in range(3):
        assert reads[f"training/gold_25/seed_{k}"] == run.path("mixes", "gold_25", f"seed_{k}", "train.parquet")
        assert reads[f"training/gold/seed_{k}"] == run.path("mixes", "gold", "train.parquet")
    assert reads["scoring/gold_25/tfidf"] == run.path("mixes", "gold_25", "seed_0", "train.parquet")
    written = {run.path("mixes", unit.name, "train.parquet") for unit in STAGES["mixes"](run)}
    assert {path for title, path in reads.items() if title.startswith("training")} == written


def test_a_finished_unit_is_skipped(make: Callable[..., tuple[Run, Unit, list[Path]]]) -> None:
    run, one, calls = make()
    assert not run_unit(run, one).skipped
    assert run_unit(run, one).skipped
    assert len(calls) == 1


def test_force_redoes_a_finished_unit(make: Callable[..., tuple[Run, Unit, list[Path]]]) -> None:
    run, one, calls = make()
    run_unit(run, one)
    assert not run_unit(run, one, force=True).skipped
    assert len(calls) == 2


@pytest.mark.parametrize("change", ["settings", "input", "output gone", "output changed", "manifest broken"])
def test_a_unit_is_redone_when_anything_that_decides_it_changed(
    make: Callable[..., tuple[Run, Unit, list[Path]]], change: str
) -> None:
    run, one, calls = make()
    run_unit(run, one)
    out = run.path("cohort", "out.txt")
    if change == "settings":
        one = make(settings={"n": 2})[1]
    elif change == "input":
        one.inputs[0].write_text("b")
    elif change == "output gone":
        out.unlink()
    elif change == "output changed":
        out.write_text("tampered")
    else:
        run.path("cohort", "manifest.json").write_text('{"stage": "cohort"')
    assert not run_unit(run, one).skipped
    assert len(calls) == 2
    assert out.read_text() == one.inputs[0].read_text().upper()


def test_the_manifest_says_what_decided_the_numbers(make: Callable[..., tuple[Run, Unit, list[Path]]]) -> None:
    run, one, _ = make()
    run_unit(run, one)
    manifest = read_manifest(run.path("cohort"))
    assert manifest is not None
    assert manifest.root_seed == run.seed
    assert set(manifest.outputs) == {"out.txt"}
    assert set(manifest.inputs) == {"source.txt"}
    assert manifest.versions["torch"]
    assert manifest.peak_rss_mb > 0


def test_a_missing_input_names_the_stage_to_run(make: Callable[..., tuple[Run, Unit, list[Path]]]) -> None:
    run, one, _ = make()
    one.inputs[0].unlink()
    with pytest.raises(DataError, match="missing; run the stage that writes it first"):
        run_unit(run, one)


def test_a_run_folder_of_another_recipe_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    list(run_recipe(recipe, tmp_path / "run", until="cohort"))
    other = recipe.model_copy(update={"name": "another"})
    with pytest.raises(
        ConfigError, match="holds a run of recipe 'quickstart', task 'alzheimers'; this is recipe 'another'"
    ):
        list(run_recipe(other, tmp_path / "run", until="cohort"))


def test_a_folder_with_somebody_elses_files_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="is not empty and holds no run.json"):
        list(run_recipe(recipe, tmp_path, until="cohort"))
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path: Path, recipe: Recipe) -> None:
    first = run_recipe(recipe, tmp_path / "run", until="alignment")
    next(first)
    with pytest.raises(ConfigError, match="another harness run is working here"):
        list(run_recipe(recipe, tmp_path / "run", until="cohort"))
    first.close()


def test_an_unknown_stage_lists_the_known_ones(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="no stage 'mixs'; did you mean 'mixes'"):
        list(run_recipe(recipe, tmp_path / "run", until="mixs"))


def test_a_stage_may_be_called_by_its_name_or_its_commands(tmp_path: Path, recipe: Recipe) -> None:
    assert list(STAGE_OF.values()) == list(STAGES)
    for until in ("align", "alignment"):
        results = list(run_recipe(recipe, tmp_path / "run", until=until))
        assert [result.unit.stage for result in results][-1] == "alignment"


def test_an_interrupted_run_is_named_as_such_and_not_read(tmp_path: Path, recipe: Recipe) -> None:
    run = Run(recipe=recipe, folder=tmp_path / "run")
    weights = run.path("training", "gold", "seed_0", "adapter", "adapter_model.safetensors")
    with pytest.raises(DataError, match="missing; run `harness train RECIPE` first"):
        hash_inputs(run, [weights])
    write_text(run.path("training", "gold", "seed_0", "settings.json"), "{}")
    with pytest.raises(DataError, match=r"seed_0 is interrupted \(its files are not complete\); run it again first"):
        hash_inputs(run, [weights])
