from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness.alignment.statistical import Persona, draw_personas, raked_joint
from harness.errors import ConfigError
from harness.schemas.population import Population
from harness.seeds import generator


def draw(population: Population, n: int, seed: int = 1) -> list[Persona]:
    return draw_personas(population, n, generator(seed, "test"))


def counts(personas: list[Persona], variable: str) -> Counter[str]:
    return Counter(persona.demographics[variable] for persona in personas)


def changed(population: Population, **update: object) -> Population:
    return population.model_copy(update=update)


def test_the_joint_meets_every_margin(population: Population) -> None:
    joint = raked_joint(population)
    for variable in population.margins:
        assert_allclose(joint.margin(variable), list(population.shares(variable).values()), atol=1e-6)


def test_women_by_age_band_stay_within_their_last_digit(population: Population) -> None:
    joint = raked_joint(population)
    women = joint.margin("age_band", "sex")[:, 0] / joint.margin("age_band")
    table = population.conditional_shares["female_by_age_band"]
    assert np.abs(women - list(table.values.values())).max() < table.tolerance
    assert women @ joint.margin("age_band") == pytest.approx(0.61, abs=1e-6)


@pytest.mark.parametrize("n", [1, 7, 50, 100, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_margins_are_within_one_person(population: Population, n: int, seed: int) -> None:
    personas = draw(population, n, seed)
    for variable in population.margins:
        found = counts(personas, variable)
        for level, share in population.shares(variable).items():
            assert abs(found[level] - n * share) < 1, (variable, level)


@pytest.mark.parametrize("n", [50, 100, 1000])
def test_women_by_age_band_are_within_one_person(population: Population, n: int) -> None:
    personas = draw(population, n)
    for band, n_band in counts(personas, "age_band").items():
        women = sum(one.demographics["sex"] == "female" for one in personas if one.demographics["age_band"] == band)
        share = population.conditional_shares["female_by_age_band"].values[band]
        assert abs(women - n_band * share) < 1 + n_band * 0.005


@pytest.mark.parametrize("n", [50, 100, 1000])
def test_prevalences_are_within_one_person(population: Population, n: int) -> None:
    carried = Counter(factor for persona in draw(population, n) for factor in persona.risk_factors)
    for name, factor in population.risk_factors.items():
        assert abs(carried[name] - n * factor.v) < 1, name


def test_impossible_combinations_never_occur(population: Population) -> None:
    for persona in draw(population, 1000):
        factors = set(persona.risk_factors)
        assert "apoe_e4_homozygous" not in factors or "apoe_e4_carrier" in factors
        assert not {"current_smoking", "former_smoking"} <= factors
        assert ("lives_alone" in factors) == (persona.demographics["living_arrangement"] == "alone")
        assert ("low_education" in factors) == (persona.demographics["education"] == "less_than_high_school")


def test_ratios_decide_who_carries_a_factor(population: Population) -> None:
    personas = draw(population, 5000)

    def prevalence(factor: str, variable: str, level: str) -> float:
        group = [one for one in personas if one.demographics[variable] == level]
        return sum(factor in one.risk_factors for one in group) / len(group)

    ratio = prevalence("sleep_apnea", "sex", "male") / prevalence("sleep_apnea", "sex", "female")
    assert ratio == pytest.approx(1.37 / 0.63, rel=0.1)
    ratio = prevalence("hearing_loss", "age_band", "85+") / prevalence("hearing_loss", "age_band", "65-74")
    assert ratio == pytest.approx(0.220 / 0.127, rel=0.15)
    hispanic = prevalence("low_education", "race_ethnicity", "hispanic")
    assert hispanic > 2 * prevalence("low_education", "race_ethnicity", "nh_white")


def test_factors_without_a_rule_are_not_tied_to_each_other(population: Population) -> None:
    personas = draw(population, 4000)
    has = {name: np.array([name in one.risk_factors for one in personas]) for name in ("cancer", "copd", "vision_loss")}
    for first, second in (("cancer", "copd"), ("copd", "vision_loss")):
        assert abs(np.corrcoef(has[first], has[second])[0, 1]) < 0.06  # standard error 0.016


def test_ages_lie_in_their_band(population: Population) -> None:
    personas = draw(population, 500)
    for persona in personas:
        ages = population.age_years[persona.demographics["age_band"]]
        assert ages.low <= persona.age_years <= ages.high
    young = [one.age_years for one in personas if one.demographics["age_band"] == "65-74"]
    assert np.mean(young) == pytest.approx(69.5, abs=0.1)  # even over 65 to 74


def test_the_first_personas_are_near_the_margins_too(population: Population) -> None:
    first = draw(population, 1000)[:100]
    for variable in population.margins:
        found = counts(first, variable)
        for level, share in population.shares(variable).items():
            assert abs(found[level] - 100 * share) < 2, (variable, level)


def test_draws_depend_on_the_seed_alone(population: Population) -> None:
    assert draw(population, 60) == draw(population, 60)
    assert draw(population, 60) != draw(population, 60, seed=2)


def test_ids_do_not_depend_on_the_number_of_personas(population: Population) -> None:
    assert [one.persona_id for one in draw(population, 60)[:20]] == [one.persona_id for one in draw(population, 20)]


def test_a_two_way_table_that_contradicts_a_margin_is_named(population: Population) -> None:
    table = population.conditional_shares["female_by_age_band"].model_copy(
        update={"values": {"65-74": 0.8, "75-84": 0.8, "85+": 0.8}}
    )
    with pytest.raises(ConfigError) as raised:
        raked_joint(changed(population, conditional_shares={"female_by_age_band": table}))
    assert str(raised.value) == (
        "targets contradict each other: conditional_shares.female_by_age_band mixes to 0.8000 of female, but margins.sex "
        "wants 0.6100; change one of them, or raise the tolerance of female_by_age_band (now 0.005)"
    ).replace("tolerance of female", "tolerance of conditional_shares.female")


def test_two_way_tables_that_contradict_each_other_are_named(population: Population) -> None:
    table = population.conditional_shares["female_by_age_band"]
    other = table.model_copy(update={"values": {"65-74": 0.61, "75-84": 0.61, "85+": 0.61}})
    with pytest.raises(ConfigError) as raised:
        raked_joint(changed(population, conditional_shares={"one": table, "two": other}))
    assert "conditional_shares.one wants" in str(raised.value)
    assert "conditional_shares.two wants" in str(raised.value)
    assert "margins" not in str(raised.value)


def test_zeros_of_the_joint_are_respected(population: Population) -> None:
    zero = population.conditional_shares["female_by_age_band"].model_copy(
        update={"values": {"65-74": 0.0, "75-84": 0.67, "85+": 1.0}, "tolerance": 0.01}
    )
    personas = draw(changed(population, conditional_shares={"zero": zero}), 37)
    sexes = {band: set() for band in population.margins["age_band"]}
    for one in personas:
        sexes[one.demographics["age_band"]].add(one.demographics["sex"])
    assert sexes["65-74"] == {"male"}
    assert sexes["85+"] == {"female"}
    assert len(personas) == 37
