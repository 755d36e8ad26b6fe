"""How synthetic text comes about: the models that write, the arms they write for, and who labels the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.schemas.base import Settings

Sight = Literal["label", "persona", "trajectory"]


class EmbeddedBackend(Settings):
    """SmolLM2-135M-Instruct from the pinned wheel: no download, no GPU, weak text."""

    kind: Literal["embedded"]
    batch_size: int = Field(default=32, ge=1)


class TransformersBackend(Settings):
    """Any causal language model that transformers loads."""

    kind: Literal["transformers"]
    model: str
    """Hub id or local folder."""
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = Field(default=16, ge=1)
    chat: bool = False
    """Wrap the prompt in the tokenizer's chat template as one user turn."""


class OpenAIBackend(Settings):
    """Any OpenAI-compatible server: vLLM, SGLang, TGI, `transformers serve`."""

    kind: Literal["openai_api"]
    base_url: str = Field(pattern=r"^https?://")
    """Up to and including `/v1`."""
    model: str
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself never stands in a recipe."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Requests in flight at once."""
    timeout_s: float = Field(default=120, gt=0)
    max_retries: int = Field(default=4, ge=0, le=20)
    """Further tries after 429, 5xx or a broken connection, with exponential back-off."""
    endpoint: Literal["chat", "completions"] = "chat"
    structured_output: Literal["json_schema", "json_object", "none"] = "none"
    """What the server offers for answers that must be JSON (an annotator's): a schema it enforces, JSON of any shape,
    or nothing but the prompt's own request. The answer is checked on arrival whatever it is."""
    tokenizer: str | None = None
    """Of the model, for `harness plan` alone: a hub id, a local folder or `embedded:smollm2-135m`; null: estimated."""


BackendSettings = Annotated[EmbeddedBackend | TransformersBackend | OpenAIBackend, Field(discriminator="kind")]


class Sampling(Settings):
    temperature: float = Field(default=0.9, gt=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_new_tokens: int = Field(default=48, ge=4, le=4096)
    max_attempts: int = Field(default=8, ge=1, le=100)
    """Candidates asked for per sentence before the sentence is given up and counted as rejected."""


class Annotation(Settings):
    """Who decides the label of a synthetic sentence."""

    labels: Literal["plan", "llm", "file"] = "plan"
    """plan: what the sentence was asked to say. llm: a model that reads the task's guideline. file: labels that people
    gave (`harness review` writes such a sheet)."""
    backend: BackendSettings | None = None
    """The annotator, for llm."""
    votes: int = Field(default=1, ge=1, le=25)
    """Answers asked of the annotator per sentence; the most frequent label wins, its share is the confidence."""
    temperature: float = Field(default=0.3, gt=0, le=2)
    """Of the annotator."""
    max_new_tokens: int = Field(default=64, ge=4, le=4096)
    """Of one answer; raise it for a model that thinks before it answers."""
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """Sentences whose label is less sure than this are dropped, with the reason."""
    disagreement: Literal["annotator", "drop"] = "annotator"
    """Where plan and annotator differ: the annotator's label stands, or the sentence is dropped. Both are recorded."""
    path: Path | None = None
    """CSV, JSONL or Parquet with sentence_id and label, for file; rows of other arms are passed over. Sentences without
    a row keep the plan's label."""

    @model_validator(mode="after")
    def complete(self) -> Self:
        if self.labels == "llm" and self.backend is None:
            raise ValueError("labels: llm needs a backend, e.g. {kind: openai_api, ...}")
        if self.labels == "file" and self.path is None:
            raise ValueError("labels: file needs a path with the columns sentence_id and label")
        return self


class Spending(Settings):
    """Caps on what servers may cost over all arms of the recipe. Reaching one stops cleanly; a higher one goes on."""

    max_tokens_total: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens together."""
    max_usd: float | None = Field(default=None, gt=0)
    prices: Path | None = None
    """CSV: model, usd_per_million_prompt_tokens, usd_per_million_completion_tokens."""

    @model_validator(mode="after")
    def priced(self) -> Self:
        if self.max_usd is not None and self.prices is None:
            raise ValueError("max_usd needs prices: a CSV with a row per model")
        return self


class Arm(Settings):
    """How one kind of synthetic text comes about: generated under what `sees` allows, or read from a file."""

    sees: tuple[Sight, ...] | None = None
    """[label]: unguided. With persona: statistical alignment. With trajectory: semantic. With both: DualAlign."""
    unit: Literal["sentence", "note"] = "sentence"
    """What one prompt asks for: a sentence that shows one label, or a SOAP note that carries a visit's mentions."""
    prompt: Literal["few_shot", "instruct"] = "few_shot"
    """few_shot: examples to be continued, for a base model; instruct: a task to be followed, for a chat model."""
    n_sentences: int = Field(default=200, ge=1)
    """Of the unit `sentence`. Of the unit `note` where the arm sees no trajectory: planned over all its notes."""
    n_notes: int = Field(default=50, ge=1)
    """Of the unit `note`."""
    max_mentions: int = Field(default=21, ge=1)
    """Of the unit `note`: mentions planned for one note at most. 21 is the published densest stage (4.2 x 5)."""
    min_coverage: float = Field(default=1.0, gt=0, le=1)
    """Of the unit `note`: share of its planned mentions that a note must carry to be kept."""
    n_personas: int | None = Field(default=None, ge=1)
    """Personas drawn for this arm's prompts; null: one for every four sentences, at least 20."""
    labels: Literal["gold", "trajectory"] = "gold"
    """Label distribution asked for: the training gold's, so that arms differ in content alone; or the trajectory's."""
    backend: BackendSettings | None = None
    sampling: Sampling = Sampling()
    annotation: Annotation | None = None
    """How this arm is labelled; null: as the recipe says."""
    path: Path | None = None
    """JSONL, CSV or Parquet of somebody else's synthetic sentences: columns text and label, subgroups if known. It is
    looked for beside the recipe, then in the task's folder."""
    saw: tuple[Sight, ...] | None = None
    """Of a file: what the prompts behind it showed, so that the report can place it in the 2 x 2; null: unknown."""
    columns: dict[str, str] = Field(default_factory=dict)

    @property
    def sight(self) -> tuple[Sight, ...] | None:
        """What is known of the prompts, whoever answered them; None for a file that does not say."""
        return self.saw if self.sees is None else self.sees

    @field_validator("sees", "saw")
    @classmethod
    def label_first(cls, given: tuple[Sight, ...] | None, info: ValidationInfo) -> tuple[Sight, ...] | None:
        if given is not None and ("label" not in given or len(set(given)) != len(given)):
            raise ValueError(
                f"found {list(given)}; {info.field_name} must hold label, and each of persona, trajectory at most once"
            )
        return given

    @model_validator(mode="after")
    def generated_or_file(self) -> Self:
        if (self.path is None) == (self.sees is None):
            raise ValueError("give exactly one of sees (generate) and path (read somebody else's sentences)")
        if self.path is None and self.saw is not None:
            raise ValueError("saw is for an arm that is a file; a generated arm says sees")
        if self.sees is not None and self.backend is None:
            raise ValueError("a generated arm needs a backend, e.g. {kind: embedded}")
        if self.path is not None and self.unit == "note":
            raise ValueError("unit: note is for arms that are generated; a file (path) holds one sentence a row")
        return self
