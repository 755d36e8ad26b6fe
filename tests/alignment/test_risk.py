from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from harness.alignment.carriers import SMALLEST_QUOTA, draw_carriers
from harness.alignment.prevalence import cell_prevalences, joint_prevalence
from harness.alignment.risk import fit_risk_model
from harness.alignment.statistical import draw_personas, fit_personas
from harness.errors import ConfigError
from harness.joint import Joint, raked_joint
from harness.schemas.marks import MarkedTable
from harness.schemas.population import (
    ConditionalPrevalence,
    Population,
    Requirement,
    RiskAssociation,
    RiskFactor,
    RiskRules,
    SameAsLevel,
)
from harness.seeds import generator

OWN = {"status": "assumed", "check": "none", "src": "own"}
Carriers = dict[str, NDArray[np.bool_]]


def made(population: Population, prevalences: dict[str, float], **update: Any) -> Population:
    """The shipped demographics with other risk factors."""
    clean = {"risk_factor_ratios": {}, "risk_factor_reference": {}, "risk_factor_prevalence": {},
             "risk_factor_associations": (), "risk_rules": RiskRules()}  # fmt: skip
    factors = {name: RiskFactor(v=v, group="g", **OWN) for name, v in prevalences.items()}
    return population.model_copy(update={**clean, "risk_factors": factors, **update})


def odds(first: str, second: str, ratio: float, **keys: Any) -> RiskAssociation:
    return RiskAssociation(factors=(first, second), odds_ratio=ratio, **OWN, **keys)


def people(joint: Joint, n: int, seed: int = 0) -> NDArray[np.int64]:
    """Cells of n people drawn independently from the joint."""
    return generator(seed, "people").choice(joint.probability.size, size=n, p=joint.probability.ravel())


def drawn(population: Population, n: int, seed: int = 0) -> tuple[Carriers, Joint, NDArray[np.int64]]:
    joint = raked_joint(population)
    cells = people(joint, n, seed)
    groups: Sequence[NDArray[np.int64]] = list(joint.codes()[:, cells])
    return draw_carriers(fit_risk_model(population, joint), cells, groups, generator(seed, "carriers")), joint, cells


def carriers_of(table: Any, factors: Sequence[str]) -> Carriers:
    """Factor to who carries it, from the lists of the personas table."""
    lists = table["risk_factors"].combine_chunks()
    person, names = lists.value_parent_indices().to_numpy(), np.array(lists.flatten().to_pylist(), dtype=str)
    found = {factor: np.zeros(len(lists), dtype=np.bool_) for factor in factors}
    for factor in factors:
        found[factor][person[names == factor]] = True
    return found


# -- prevalence by cell ------------------------------------------------------------------------------------------------


def test_both_by_odds_ratio_by_hand() -> None:
    # 0.5 and 0.5 with odds ratio 4: x^2 / (0.5 - x)^2 = 4 -> x = 1/3
    assert joint_prevalence(0.5, 0.5, 4.0) == pytest.approx(1 / 3)
    assert joint_prevalence(0.3, 0.2, 1.0) == pytest.approx(0.06)
    both = joint_prevalence(0.37, 0.44, 2.5)
    assert both * (1 - 0.37 - 0.44 + both) / ((0.37 - both) * (0.44 - both)) == pytest.approx(2.5)


def test_conditional_prevalences_hold_for_several_variables_at_once(population: Population) -> None:
    by_sex = {"female": 0.25, "male": 0.38}  # 0.61 x 0.25 + 0.39 x 0.38 = 0.3007
    by_age = {"65-74": 0.20, "75-84": 0.30, "85+": 0.3746}  # with the age margin 0.3000
    target = made(population, {"f": 0.30}, risk_factor_prevalence={
        "sex": {"f": ConditionalPrevalence(values=by_sex, **OWN)},
        "age_band": {"f": ConditionalPrevalence(values=by_age, **OWN)},
    })  # fmt: skip
    joint = raked_joint(target)
    found, mass, labels = cell_prevalences(target, joint)["f"], joint.probability.ravel(), joint.labels()
    assert mass @ found == pytest.approx(0.30, abs=1e-6)
    for variable, wanted in (("sex", by_sex), ("age_band", by_age)):
        for level, share in wanted.items():
            inside = labels[variable] == level
            # The overall prevalence wins: each may move by what its mixture is off.
            assert (mass * found)[inside].sum() / mass[inside].sum() == pytest.approx(share, abs=0.001)


def test_ratios_of_one_variable_and_prevalences_of_another_go_together(population: Population) -> None:
    target = made(population, {"f": 0.30}, risk_factor_ratios={
        "sex": {"f": population.risk_factor_ratios["sex"]["depression"]}
    }, risk_factor_prevalence={
        "age_band": {"f": ConditionalPrevalence(values={"65-74": 0.20, "75-84": 0.30, "85+": 0.3746}, **OWN)},
    })  # fmt: skip
    joint = raked_joint(target)
    before = cell_prevalences(target.model_copy(update={"risk_factor_prevalence": {}}), joint)["f"]
    found, mass, labels = cell_prevalences(target, joint)["f"], joint.probability.ravel(), joint.labels()
    inside = labels["age_band"] == "65-74"
    assert (mass * found)[inside].sum() / mass[inside].sum() == pytest.approx(0.20, abs=0.001)
    # Inside an age band, raking keeps the odds ratio that the ratios gave to the sexes.
    female, male = (int(np.flatnonzero(inside & (labels["sex"] == sex))[0]) for sex in ("female", "male"))
    ratio = [p[female] / (1 - p[female]) / (p[male] / (1 - p[male])) for p in (before, found)]
    assert before[female] / before[male] == pytest.approx(1.25 / 0.72)
    assert ratio[1] == pytest.approx(ratio[0], rel=1e-4)


def test_no_cell_breaks_a_rule(population: Population) -> None:
    joint = raked_joint(population)
    found = cell_prevalences(population, joint)
    assert (found["apoe_e4_homozygous"] <= found["apoe_e4_carrier"] + 1e-12).all()
    assert (found["current_smoking"] + found["former_smoking"] <= 1 + 1e-12).all()
    assert set(np.unique(found["lives_alone"])) == {0.0, 1.0}


def test_factors_that_exclude_each_other_share_the_people_of_a_cell(population: Population) -> None:
    """Both commoner among men: 0.4 x 1.4 / 1.0 and 0.5 x 1.4 / 1.0 would be more than all of them."""
    men = MarkedTable(values={"female": 0.75, "male": 1.4}, **OWN)
    target = made(population, {"x": 0.4, "y": 0.5}, risk_rules=RiskRules(exclusive=(("x", "y"),)),
                  risk_factor_ratios={"sex": {"x": men, "y": men}})  # fmt: skip
    joint = raked_joint(target)
    found, mass = cell_prevalences(target, joint), joint.probability.ravel()
    assert (found["x"] + found["y"] <= 1 + 1e-12).all()
    assert [mass @ found["x"], mass @ found["y"]] == pytest.approx([0.4, 0.5])


def test_prevalences_by_the_variable_of_a_level_stand_before_its_association(population: Population) -> None:
    rules = RiskRules(same_as=(SameAsLevel(factor="lonely", variable="living_arrangement", level="alone"),))
    by = {"alone": 0.3, "with_spouse_partner": 0.15, "other": 0.2115}  # 0.28 x 0.3 + 0.59 x 0.15 + 0.13 x 0.2115 = 0.2
    # 0.28 x 0.3 = 0.084 carry both: odds ratio 0.084 x 0.604 / (0.196 x 0.116) = 2.2315, here rounded.
    target = made(population, {"lonely": 0.28, "f": 0.2}, risk_rules=rules,
                  risk_factor_associations=(odds("lonely", "f", 2.2),), risk_factor_prevalence={
        "living_arrangement": {"f": ConditionalPrevalence(values=by, **OWN)}
    })  # fmt: skip
    joint = raked_joint(target)
    model = fit_risk_model(target, joint)
    inside = joint.labels()["living_arrangement"] == "alone"
    mass = joint.probability.ravel()
    assert mass[inside] @ model.prevalence["f"][inside] == pytest.approx(0.084, abs=1e-5)
    assert 0 < abs(model.gaps[("lonely", "f")]) < 0.001


def test_prevalences_that_the_rules_leave_no_room_for_are_named(population: Population) -> None:
    rules = RiskRules(requires=(Requirement(factor="child", requires="parent"),))
    target = made(population, {"parent": 0.4, "child": 0.3}, risk_rules=rules, risk_factor_prevalence={
        "sex": {"parent": ConditionalPrevalence(values={"female": 0.1, "male": 0.8693}, **OWN),
                "child": ConditionalPrevalence(values={"female": 0.3, "male": 0.3}, **OWN)},
    })  # fmt: skip
    with pytest.raises(ConfigError) as raised:
        cell_prevalences(target, raked_joint(target))
    assert str(raised.value) == (
        "risk_factor_prevalence.sex.child: the risk rules leave too few people who could carry it in female"
    )


# -- associations ------------------------------------------------------------------------------------------------------

TRIO = {"a": 0.4, "b": 0.25, "c": 0.1}
TIES = (odds("a", "b", 4.0), odds("b", "c", 0.4), odds("a", "c", 1.0))


def test_prevalences_and_associations_come_back(population: Population) -> None:
    """At 20,000 people a share of 0.2 has a standard error of 0.0028 when drawn freely; four of them are allowed."""
    n = 20_000
    model = fit_personas(population)
    carried = carriers_of(draw_personas(model, n, generator(5, "come back")), list(population.risk_factors))
    for association in population.risk_factor_associations:
        first, second = (population.risk_factors[name].v for name in association.factors)
        wanted = joint_prevalence(first, second, association.odds_ratio)
        found = np.mean(carried[association.factors[0]] & carried[association.factors[1]])
        noise = 4 * np.sqrt(wanted * (1 - wanted) / n)
        assert abs(found - wanted) < noise + abs(model.risk.gaps[association.factors]), association.factors
    # Current and former smoking share one latent variable, so with COPD both are met in the middle: within a point still.
    assert max(abs(gap) for gap in model.risk.gaps.values()) < 0.005


def test_conditional_prevalences_come_back_by_quota(population: Population) -> None:
    n = 20_000
    model = fit_personas(population)
    table = draw_personas(model, n, generator(6, "conditional"))
    carried = carriers_of(table, list(population.risk_factors))
    labels, mass = model.joint.labels(), model.joint.probability.ravel()
    worst = 0.0
    for variable in ("age_band", "sex", "race_ethnicity"):
        column = np.array(table[variable].to_pylist())
        for level in population.margins[variable]:
            if (column == level).sum() < SMALLEST_QUOTA:
                continue
            inside = labels[variable] == level
            for factor in population.risk_factors:
                wanted = mass[inside] @ model.risk.prevalence[factor][inside] / mass[inside].sum()
                found = carried[factor][column == level].mean()
                worst = max(worst, abs(found - wanted) * (column == level).sum())
    # Freely drawn, women alone (12,200) would be off by some 55 people.
    assert worst < 12


def test_associations_are_kept_in_small_cohorts(population: Population) -> None:
    """60 cohorts of 100: the mean share of carriers of both, with its own standard error."""
    target = made(population, TRIO, risk_factor_associations=TIES)
    model = fit_personas(target)
    both: dict[tuple[str, str], list[float]] = {association.factors: [] for association in TIES}
    for seed in range(60):
        carried = carriers_of(draw_personas(model, 100, generator(seed, "small")), list(TRIO))
        for name, prevalence in TRIO.items():
            assert abs(carried[name].sum() - 100 * prevalence) < 1
        for (first, second), shares in both.items():
            shares.append(float(np.mean(carried[first] & carried[second])))
    for association in TIES:
        found = both[association.factors]
        wanted = joint_prevalence(*(TRIO[name] for name in association.factors), association.odds_ratio)
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        assert abs(np.mean(found) - wanted) < 4 * error, association.factors
    assert abs(joint_prevalence(0.4, 0.25, 4.0) - 0.1) > 0.04  # the first is far from independence


def test_associations_hold_although_prevalences_differ_between_groups(population: Population) -> None:
    """Both factors are commoner among men; that alone ties them, and the copula adds only what is missing."""
    by = {"a": {"female": 0.27, "male": 0.6033}, "b": {"female": 0.15, "male": 0.4064}}
    target = made(population, {"a": 0.4, "b": 0.25}, risk_factor_associations=(odds("a", "b", 3.0),), risk_factor_prevalence={
        "sex": {name: ConditionalPrevalence(values=values, **OWN) for name, values in by.items()}
    })  # fmt: skip
    model = fit_risk_model(target, raked_joint(target))
    alone = made(population, {"a": 0.4, "b": 0.25}, risk_factor_associations=(odds("a", "b", 3.0),))
    assert abs(model.gaps[("a", "b")]) < 1e-5
    assert model.correlation[0, 1] < fit_risk_model(alone, raked_joint(alone)).correlation[0, 1] - 0.05


def test_factors_without_an_association_are_not_tied_to_each_other(population: Population) -> None:
    carried, _, _ = drawn(made(population, {"a": 0.3, "b": 0.5, "c": 0.1}), 4000)
    for first, second in (("a", "b"), ("b", "c"), ("a", "c")):
        assert abs(np.corrcoef(carried[first], carried[second])[0, 1]) < 0.06  # standard error 0.016


def test_an_association_with_a_demographic_level_holds(population: Population) -> None:
    rules = RiskRules(same_as=(SameAsLevel(factor="lonely", variable="living_arrangement", level="alone"),))
    target = made(population, {"lonely": 0.28, "f": 0.2}, risk_rules=rules,
                  risk_factor_associations=(odds("lonely", "f", 5.0),))  # fmt: skip
    carried, joint, cells = drawn(target, 20_000)
    assert abs(fit_risk_model(target, joint).gaps[("lonely", "f")]) < 1e-6
    assert (carried["lonely"] == (joint.labels()["living_arrangement"][cells] == "alone")).all()
    assert np.mean(carried["lonely"] & carried["f"]) == pytest.approx(joint_prevalence(0.28, 0.2, 5.0), abs=0.008)


def test_associations_that_cannot_hold_together_are_named(population: Population) -> None:
    impossible = (odds("a", "b", 60.0), odds("b", "c", 60.0), odds("a", "c", 1 / 60))
    target = made(population, {"a": 0.4, "b": 0.4, "c": 0.4}, risk_factor_associations=impossible)
    with pytest.raises(ConfigError) as raised:
        fit_risk_model(target, raked_joint(target))
    message = str(raised.value)
    assert message.startswith("risk_factor_associations contradict each other: a and b with odds ratio 60 want 0.3441")
    assert message.count("of all people to carry both, the other targets leave") == 3
    assert message.endswith("(tolerance 0.01); change one of them")
    relaxed = tuple(one.model_copy(update={"tolerance": 0.3}) for one in impossible)
    model = fit_risk_model(target.model_copy(update={"risk_factor_associations": relaxed}), raked_joint(target))
    assert model.gaps[("a", "b")] < -0.01


# -- rules -------------------------------------------------------------------------------------------------------------


def test_three_that_exclude_each_other_never_meet_and_may_fill_everybody(population: Population) -> None:
    rules = RiskRules(exclusive=(("x", "y", "z"),))
    target = made(population, {"x": 0.2, "y": 0.5, "z": 0.3, "f": 0.3}, risk_rules=rules,
                  risk_factor_associations=(odds("x", "f", 2.0),))  # fmt: skip
    carried, joint, _ = drawn(target, 3000)
    assert (carried["x"].astype(int) + carried["y"] + carried["z"] == 1).all()
    assert [int(carried[name].sum()) for name in ("x", "y", "z")] == [600, 1500, 900]
    assert abs(fit_risk_model(target, joint).gaps[("x", "f")]) < 1e-5


def test_children_of_one_parent_go_together_as_chance_has_it(population: Population) -> None:
    rules = RiskRules(
        requires=(Requirement(factor="eye", requires="sugar"), Requirement(factor="nerve", requires="sugar"))
    )
    target = made(population, {"sugar": 0.4, "eye": 0.2, "nerve": 0.3, "f": 0.3}, risk_rules=rules,
                  risk_factor_associations=(odds("sugar", "f", 4.0),))  # fmt: skip
    carried, _, _ = drawn(target, 20_000)
    for child in ("eye", "nerve"):
        assert not (carried[child] & ~carried["sugar"]).any()
    # Among carriers of sugar half have eye and three quarters nerve: 0.4 x 0.5 x 0.75 = 0.15 of all have both
    assert np.mean(carried["eye"] & carried["nerve"]) == pytest.approx(0.15, abs=0.01)
    assert np.mean(carried["sugar"] & carried["f"]) == pytest.approx(joint_prevalence(0.4, 0.3, 4.0), abs=0.01)


def test_a_second_child_takes_part_in_associations_only_through_its_parent(population: Population) -> None:
    rules = RiskRules(
        requires=(Requirement(factor="eye", requires="sugar"), Requirement(factor="nerve", requires="sugar"))
    )
    factors = {"sugar": 0.4, "eye": 0.2, "nerve": 0.3, "f": 0.3}
    ties = (odds("sugar", "f", 4.0), odds("nerve", "f", 1.0))
    target = made(population, factors, risk_rules=rules, risk_factor_associations=ties)
    # Through sugar, nerve and f go together: 0.75 x P(sugar and f), not 0.3 x 0.3.
    implied = 0.75 * joint_prevalence(0.4, 0.3, 4.0)
    with pytest.raises(ConfigError, match=f"nerve and f with odds ratio 1 want 0.0900 .* leave {implied:.4f}"):
        fit_risk_model(target, raked_joint(target))


def test_a_grandchild_lies_inside_its_parent(population: Population) -> None:
    rules = RiskRules(requires=(Requirement(factor="c", requires="b"), Requirement(factor="b", requires="a")))
    carried, _, _ = drawn(made(population, {"a": 0.5, "b": 0.3, "c": 0.1}, risk_rules=rules), 1000)
    assert not (carried["c"] & ~carried["b"]).any()
    assert not (carried["b"] & ~carried["a"]).any()
    assert [int(carried[name].sum()) for name in "abc"] == [500, 300, 100]


def test_everybody_or_nobody_can_carry_a_factor(population: Population) -> None:
    carried, _, _ = drawn(made(population, {"all": 1.0, "none": 0.0, "f": 0.5}), 201)
    assert carried["all"].all()
    assert not carried["none"].any()
    assert carried["f"].sum() == 101


def test_carriers_depend_on_the_seed_alone(population: Population) -> None:
    target = made(population, TRIO, risk_factor_associations=TIES)
    first, again, other = (drawn(target, 300, seed)[0] for seed in (1, 1, 2))
    assert_allclose(first["a"], again["a"])
    assert (first["a"] != other["a"]).any()
