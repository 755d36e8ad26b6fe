"""What an arm does not see cannot reach its prompt."""

import itertools
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import ConfigError
from harness.prompts.exemplars import Exemplar, load_exemplars
from harness.prompts.notes import Mention, NoteSlot, render_note
from harness.prompts.render import SHARED_TEMPLATES, render_generate, render_instruct
from harness.prompts.sight import Slot, visible
from harness.schemas.task import Label, LabelSet, Prompts, SubgroupVariable, Task, TaskFile

ARMS = [("label", *more) for n in range(3) for more in itertools.combinations(("persona", "trajectory"), n)]
Render = Callable[[Task, Collection[str], Slot], str]
PERSONA_WORDS = ["sexword", "raceword", "schoolword", "homeword", "riskword", "987"]
TRAJECTORY_WORDS = ["stageword", "noteword", "termword"]
NEVER = ["personakey", "cellword", "domainword", "4711"]


def toy_task(**prompts: object) -> Task:
    labels = (
        Label(id="memory", name="memory loss", definition="Forgets."),
        Label(id="other", name="other", definition="Else."),
    )
    file = TaskFile(
        id="toy",
        version=1,
        title="Toy",
        disease="toy disease",
        labels=LabelSet(negative="other", values=labels),
        subgroups={
            "stage": SubgroupVariable(title="Stage", levels={"late": "Late stage"}, prompt={"late": "stageword"})
        },
        prompts=Prompts.model_validate(prompts),
    )
    return Task(file=file, folder=Path(__file__).parent)


def full_slot(suffix: str = "") -> Slot:
    persona = {
        "persona_id": "personakey", "cell_id": "cellword", "age_years": 987, "age_band": "85+", "sex": "sexword" + suffix,
        "race_ethnicity": "raceword" + suffix, "education": "schoolword", "living_arrangement": "homeword",
        "risk_factors": ["riskword"],
    }  # fmt: skip
    return Slot(index=0, label="memory", persona=persona, visit_index=4711, stage="late", note_type="noteword" + suffix,
                domain="domainword", term="termword" + suffix, polarity="present", course="courseword",
                style="styleword")  # fmt: skip


def shot_like(slot: Slot) -> Exemplar:
    persona = dict(slot.persona or {})
    return Exemplar(label=slot.label, text="A plain example.", term=slot.term, polarity="present", persona=persona,
                    stage=slot.stage, note_type=slot.note_type)  # fmt: skip


def few_shot(task: Task, sees: Collection[str], slot: Slot) -> str:
    return render_generate(task, sees, slot, [shot_like(slot)] * 2)  # type: ignore[arg-type]


def note(task: Task, sees: Collection[str], slot: Slot) -> str:
    mention = Mention(label=slot.label, domain=slot.domain, term=slot.term, polarity=slot.polarity, course=slot.course)
    planned = NoteSlot(index=slot.index, mentions=(mention,), persona=slot.persona, visit_index=slot.visit_index,
                       stage=slot.stage, note_type=slot.note_type, style=slot.style)  # fmt: skip
    return render_note(task, sees, planned)  # type: ignore[arg-type]


# Every template that writes for an arm, and the words of a trajectory that it shows.
TEMPLATES: dict[str, tuple[Render, list[str]]] = {
    "generate": (few_shot, TRAJECTORY_WORDS),
    "instruct": (render_instruct, [*TRAJECTORY_WORDS, "courseword", "styleword"]),  # type: ignore[dict-item]
    "note": (note, [*TRAJECTORY_WORDS, "courseword", "styleword"]),
}


def test_every_template_that_writes_for_an_arm_is_here() -> None:
    others = {"classify", "annotate"}  # these read a text and know no slot
    assert {path.stem for path in SHARED_TEMPLATES.glob("*.jinja")} == {*TEMPLATES, *others}


@pytest.mark.parametrize("sees", ARMS)
@pytest.mark.parametrize("template", TEMPLATES)
@given(suffix=st.text("abcXYZ019_", max_size=5))
def test_a_prompt_holds_what_its_arm_sees_and_nothing_else(template: str, sees: tuple[str, ...], suffix: str) -> None:
    render, trajectory_words = TEMPLATES[template]
    prompt = render(toy_task(), sees, full_slot(suffix))
    for part, found in (("persona", PERSONA_WORDS), ("trajectory", trajectory_words)):
        for word in found:
            assert (word in prompt) == (part in sees), (sees, word)
    assert not [word for word in NEVER if word in prompt]
    assert "memory loss" in prompt
    assert "Forgets." in prompt


@pytest.mark.parametrize("sees", ARMS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_changing_what_an_arm_does_not_see_changes_no_prompt(template: str, sees: tuple[str, ...]) -> None:
    render, _ = TEMPLATES[template]
    whole = full_slot()
    hidden = Slot(
        index=9,
        label="memory",
        persona=whole.persona if "persona" in sees else None,
        stage=whole.stage if "trajectory" in sees else "elsewhere",
        note_type=whole.note_type if "trajectory" in sees else "elsewhere",
        term=whole.term if "trajectory" in sees else "another term",
        polarity="present" if "trajectory" in sees else "absent",
        course=whole.course if "trajectory" in sees else "worse",
        style=whole.style if "trajectory" in sees else "terse",
    )
    assert render(toy_task(), sees, whole) == render(toy_task(), sees, hidden)


@pytest.mark.parametrize("template", TEMPLATES)
def test_all_four_arms_have_different_prompts(template: str) -> None:
    assert len(ARMS) == 4
    prompts = {TEMPLATES[template][0](toy_task(), sees, full_slot()) for sees in ARMS}
    assert len(prompts) == 4


def test_a_prompt_ends_right_before_its_sentence() -> None:
    for sees in ARMS:
        assert render_generate(toy_task(), sees, full_slot(), []).endswith("\nSentence:")  # type: ignore[arg-type]


def test_a_denied_term_reads_as_denied() -> None:
    slot = Slot(index=0, label="other", stage="late", note_type="clinic", term="tremor", polarity="absent")
    prompt = render_generate(toy_task(), ("label", "trajectory"), slot, [])
    assert "Denied: tremor" in prompt


def test_course_and_style_are_seen_with_the_trajectory_and_a_denied_term_has_no_course() -> None:
    task, slot = toy_task(), full_slot()
    for sees in ARMS:
        view = visible(task, slot, sees)  # type: ignore[arg-type]
        assert (view.course, view.style) == (("courseword", "styleword") if "trajectory" in sees else (None, None))
    assert visible(task, replace(slot, polarity="absent"), ("label", "trajectory")).course is None


def test_few_shot_prompts_show_no_course() -> None:
    """A base model copies it, in parentheses, from a header that no example has."""
    slot = full_slot()
    assert "courseword" not in few_shot(toy_task(), ("label", "trajectory"), slot)


def write_exemplars(folder: Path, *lines: str) -> Task:
    (folder / "few.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return toy_task(exemplars="few.jsonl").model_copy(update={"folder": folder})


def test_exemplars_keep_the_order_of_their_file(tmp_path: Path) -> None:
    task = write_exemplars(tmp_path, '{"label": "other", "text": "b"}', "", '{"label": "memory", "text": "a"}')
    assert [one.text for one in load_exemplars(task)] == ["b", "a"]


def test_faults_of_exemplars_come_together_with_their_lines(tmp_path: Path) -> None:
    task = write_exemplars(
        tmp_path,
        "{",
        '{"label": "memry", "text": "a"}',
        '{"label": "memory", "text": ""}',
        '{"label": "memory", "txt": "a"}',
    )
    with pytest.raises(ConfigError) as caught:
        load_exemplars(task)
    message = str(caught.value)
    for part in ("line 1: not JSON", "line 2: label 'memry'; did you mean 'memory'?", "line 3: text", "line 4: txt"):
        assert part in message


def test_an_exemplar_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        Exemplar.model_validate({"label": "memory", "text": "a", "lable": "b"})
