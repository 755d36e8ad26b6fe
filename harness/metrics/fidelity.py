"""What the fidelity report measures: every measure with its meaning, direction, bounds and source, in reading order.

A measure without a direction is not better high or low: it is to be near its target, or it is a fact about size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", "target"]

GOLD = "gold"
PLAN = "(plan)"  # what alignment drew, before any text; brackets cannot stand in the name of an arm
UNBOUNDED = float("inf")

WHO, WHEN, TEXT, COPY, KEYWORDS = "who", "when", "text", "copy", "keywords"
PARTS = {
    WHO: "Who the texts are about",
    WHEN: "What they mention, and when",
    TEXT: "How they read",
    COPY: "How close they are to gold",
    KEYWORDS: "What gives the label away",
}


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: As the table `fidelity` has it.
        title: As reports say it.
        part: Key of PARTS.
        meaning: What a value says, for a reader who was not there.
        direction: `lower` or `higher` is better; `target`: the nearer to the row's target, the better.
        bounds: Smallest and largest possible value.
        source: Where the formula comes from.
    """

    name: str
    title: str
    part: str
    meaning: str
    direction: Direction
    bounds: tuple[float, float]
    source: str


TV_SOURCE = "Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), prop. 4.2"
JS_SOURCE = "Lin, IEEE Trans. Inf. Theory 37 (1991) 145; Endres and Schindelin, same journal 49 (2003) 1858"
SHARE_SOURCE = "a proportion"
F1_SOURCE = "van Rijsbergen, Information Retrieval, 2nd ed. (1979), ch. 7"

_MEASURES = (
    Measure("margin_share", "Share of a level", WHO,
            "Share of the arm's personas (gold: patients) with this level.", "target", (0, 1), SHARE_SOURCE),
    Measure("margin_tv", "Margin, total variation", WHO,
            "Share of the people who would have to change level for the margin to be the target's.",
            "lower", (0, 1), TV_SOURCE),
    Measure("margin_js", "Margin, Jensen-Shannon distance", WHO,
            "Distance between margin and target that weighs rare levels more than total variation does.",
            "lower", (0, 1), JS_SOURCE),
    Measure("sentence_margin_tv", "Margin over sentences, total variation", WHO,
            "The same where people count by their sentences: what a model trained on the arm meets.",
            "lower", (0, 1), TV_SOURCE),
    Measure("pair_tv", "Pair, total variation", WHO,
            "As for a margin, over all combinations of two variables. With few people many combinations must miss.",
            "lower", (0, 1), TV_SOURCE),
    Measure("pair_js", "Pair, Jensen-Shannon distance", WHO,
            "Jensen-Shannon distance over all combinations of two variables.", "lower", (0, 1), JS_SOURCE),
    Measure("prevalence", "Prevalence of a risk factor", WHO,
            "Share of the arm's personas who carry the factor.", "target", (0, 1), SHARE_SOURCE),
    Measure("prevalence_error", "Prevalence error", WHO,
            "Absolute difference between prevalence and target: the mean over all factors, and the largest.",
            "lower", (0, 1), "an absolute difference of proportions"),
    Measure("mentions_per_note", "Mentions per note", WHEN,
            "Planned mentions per note of a stage; for an arm of notes, those that its accepted notes really carry.",
            "target", (0, UNBOUNDED), "a mean"),
    Measure("domain_share", "Domain share", WHEN,
            "Share of a domain among the lexicon terms mentioned at a stage, denied ones included; of an arm and of "
            "gold, terms found in the sentences by their word stems.", "target", (0, 1), SHARE_SOURCE),
    Measure("domain_tv", "Domain shares, total variation", WHEN,
            "Share of a stage's mentions that would have to change domain to meet the target.",
            "lower", (0, 1), TV_SOURCE),
    Measure("onset_years", "First mention", WHEN,
            "Years before the diagnosis at which a domain is first stated: the median over the personas in whose texts "
            "it is; negative is after it.", "target", (-UNBOUNDED, UNBOUNDED), "a median"),
    Measure("onset_tau", "Order of onsets, Kendall's tau", WHEN,
            "Whether symptoms are first stated in the published or declared order: 1 the same order, 0 no relation, -1 "
            "the opposite one.", "higher", (-1, 1), "Kendall, Biometrika 33 (1945) 239"),
    Measure("co_occurrence_tv", "Co-occurrence, total variation", WHEN,
            "Which domains are mentioned together in one text: share of the pairs of terms that would have to change "
            "domains to be as in the reference.", "lower", (0, 1), TV_SOURCE),
    Measure("term_coverage", "Term coverage", WHEN,
            "Share of the lexicon's terms found at least once. Grows with the number of sentences, which is the same "
            "for all arms and gold.", "higher", (0, 1), SHARE_SOURCE),
    Measure("label_share", "Label share", TEXT,
            "Share of the sentences with this label; the target is the training gold's.", "target", (0, 1),
            SHARE_SOURCE),
    Measure("label_tv", "Label distribution, total variation", TEXT,
            "Share of the sentences that would have to change label: against training gold, or against what the "
            "trajectory leads one to expect.", "lower", (0, 1), TV_SOURCE),
    Measure("words_mean", "Words per sentence", TEXT,
            "Mean number of words.", "target", (0, UNBOUNDED), "a mean"),
    Measure("words_sd", "Words per sentence, standard deviation", TEXT,
            "How much the number of words varies.", "target", (0, UNBOUNDED), "a sample standard deviation"),
    Measure("length_ks", "Length, Kolmogorov-Smirnov distance", TEXT,
            "Largest gap between the cumulative distributions of words per sentence, arm and training gold.",
            "lower", (0, 1), "Smirnov, Ann. Math. Stat. 19 (1948) 279"),
    Measure("distinct", "Distinct n-grams", TEXT,
            "Share of all n-grams that are different ones: low where sentences repeat each other's wording.",
            "target", (0, 1), "Li et al., NAACL 2016"),
    Measure("self_bleu", "Self-BLEU-4", TEXT,
            "How far each sentence can be put together from the wording of the others.", "target", (0, 1),
            "Zhu et al., Texygen, SIGIR 2018"),
    Measure("vendi", "Vendi score", TEXT,
            "Effective number of different sentences, by the cosines of their embeddings.", "target", (1, UNBOUNDED),
            "Friedman and Dieng, TMLR 2023"),
    Measure("two_sample_auc", "Told apart from gold, AUROC", TEXT,
            "Chance that a TF-IDF classifier ranks a sentence of the arm above one of the training gold, "
            "cross-validated: 0.5 cannot be told apart, 1 always.", "target", (0, 1),
            "Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017"),
    Measure("nearest_gold", "Nearest gold sentence, mean cosine", COPY,
            "Mean cosine of each sentence to the nearest gold sentence. The target is gold's own: the cosine to the "
            "nearest training sentence of another patient. Far above it is copying, far below another language.",
            "target", (-1, 1), "cosine of sentence embeddings"),
    Measure("near_gold_share", "Too near to gold", COPY,
            "Share of the sentences whose nearest gold sentence lies above the threshold.", "lower", (0, 1),
            SHARE_SOURCE),
    Measure("nearest_gold_share", "Nearest gold sentence, distribution", COPY,
            "Share of the sentences whose nearest training sentence lies in this bin of cosines.", "target", (0, 1),
            SHARE_SOURCE),
    Measure("audit_found", "Duplicates found by the audit", COPY,
            "Share of the arm's sentences that the audit of a mix found to repeat, or nearly repeat, another or gold.",
            "lower", (0, 1), "Broder 1997, see the audit"),
    Measure("majority_macro_f1", "Label guessed as the most frequent", KEYWORDS,
            "Macro-F1 of always answering the most frequent label: the floor.", "target", (0, 1), F1_SOURCE),
    Measure("keyword_macro_f1", "Label guessed from keywords alone", KEYWORDS,
            "Cross-validated macro-F1 of a classifier that sees only which lexicon terms a sentence holds. High: the "
            "keyword is the label, and a model may learn no more than that.", "target", (0, 1), F1_SOURCE),
    Measure("text_macro_f1", "Label guessed from the whole sentence", KEYWORDS,
            "The same of a TF-IDF classifier that sees every word.", "target", (0, 1), F1_SOURCE),
    Measure("text_over_keywords", "Whole sentence minus keywords", KEYWORDS,
            "What the text says about the label beyond its keywords.", "higher", (-1, 1), F1_SOURCE),
)  # fmt: skip

MEASURES = {measure.name: measure for measure in _MEASURES}
