from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from harness.alignment.statistical import PersonaModel, draw_personas, fit_personas
from harness.errors import ConfigError
from harness.joint import raked_joint
from harness.schemas.population import JointSeed, Population, TwoWay
from harness.seeds import generator

Person = dict[str, Any]
OWN = {"status": "assumed", "check": "none", "src": "own"}


@lru_cache(maxsize=4)
def fitted(content: str) -> PersonaModel:
    return fit_personas(Population.model_validate_json(content))


def table(population: Population, n: int, seed: int = 1) -> pa.Table:
    return draw_personas(fitted(population.model_dump_json()), n, generator(seed, "test"))


def draw(population: Population, n: int, seed: int = 1) -> list[Person]:
    return table(population, n, seed).to_pylist()


def counts(personas: list[Person], variable: str) -> Counter[str]:
    return Counter(persona[variable] for persona in personas)


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
        women = sum(one["sex"] == "female" for one in personas if one["age_band"] == band)
        share = population.conditional_shares["female_by_age_band"].values[band]
        assert abs(women - n_band * share) < 1 + n_band * 0.005


@pytest.mark.parametrize("n", [50, 100, 1000])
def test_prevalences_are_within_one_person(population: Population, n: int) -> None:
    carried = Counter(factor for persona in draw(population, n) for factor in persona["risk_factors"])
    for name, factor in population.risk_factors.items():
        assert abs(carried[name] - n * factor.v) < 1, name


def test_impossible_combinations_never_occur(population: Population) -> None:
    for persona in draw(population, 1000):
        factors = set(persona["risk_factors"])
        assert "apoe_e4_homozygous" not in factors or "apoe_e4_carrier" in factors
        assert not {"current_smoking", "former_smoking"} <= factors
        assert ("lives_alone" in factors) == (persona["living_arrangement"] == "alone")
        assert ("low_education" in factors) == (persona["education"] == "less_than_high_school")


def test_ratios_decide_who_carries_a_factor(population: Population) -> None:
    personas = draw(population, 5000)

    def prevalence(factor: str, variable: str, level: str) -> float:
        group = [one for one in personas if one[variable] == level]
        return sum(factor in one["risk_factors"] for one in group) / len(group)

    ratio = prevalence("sleep_apnea", "sex", "male") / prevalence("sleep_apnea", "sex", "female")
    assert ratio == pytest.approx(1.37 / 0.63, rel=0.1)
    ratio = prevalence("hearing_loss", "age_band", "85+") / prevalence("hearing_loss", "age_band", "65-74")
    assert ratio == pytest.approx(0.220 / 0.127, rel=0.15)
    hispanic = prevalence("low_education", "race_ethnicity", "hispanic")
    assert hispanic > 2 * prevalence("low_education", "race_ethnicity", "nh_white")


def test_ages_lie_in_their_band(population: Population) -> None:
    personas = draw(population, 500)
    for persona in personas:
        ages = population.age_years[persona["age_band"]]
        assert ages.low <= persona["age_years"] <= ages.high
    young = [one["age_years"] for one in personas if one["age_band"] == "65-74"]
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
    assert [one["persona_id"] for one in draw(population, 60)[:20]] == [
        one["persona_id"] for one in draw(population, 20)
    ]


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
        sexes[one["age_band"]].add(one["sex"])
    assert sexes["65-74"] == {"male"}
    assert sexes["85+"] == {"female"}
    assert len(personas) == 37


# -- two-way tables and the seed ---------------------------------------------------------------------------------------

RELATED = {"female": {"alone": 0.22, "with_spouse_partner": 0.30, "other": 0.09},
           "male": {"alone": 0.06, "with_spouse_partner": 0.29, "other": 0.04}}  # fmt: skip


def sex_by_living(**keys: Any) -> TwoWay:
    return TwoWay(variables=("sex", "living_arrangement"), values=RELATED, **OWN, **keys)


def test_the_joint_meets_two_way_tables_and_every_margin(population: Population) -> None:
    joint = raked_joint(changed(population, two_way={"living": sex_by_living()}))
    wanted = [list(row.values()) for row in RELATED.values()]
    assert_allclose(joint.margin("sex", "living_arrangement"), wanted, atol=1e-6)
    for variable in population.margins:
        assert_allclose(joint.margin(variable), list(population.shares(variable).values()), atol=1e-6)


def test_margins_win_over_a_rounded_two_way_table(population: Population) -> None:
    rounded = {"female": {**RELATED["female"], "alone": 0.23}, "male": RELATED["male"]}
    rough = sex_by_living(tolerance=0.02).model_copy(update={"values": rounded})
    joint = raked_joint(changed(population, two_way={"living": rough}))
    assert_allclose(joint.margin("sex"), [0.61, 0.39], atol=1e-6)
    assert_allclose(joint.margin("living_arrangement"), [0.28, 0.59, 0.13], atol=1e-6)
    # Fitting keeps the table's odds ratios, here of living alone against living with a spouse or partner.
    cells = joint.margin("sex", "living_arrangement")
    assert cells[0, 0] * cells[1, 1] / (cells[0, 1] * cells[1, 0]) == pytest.approx(
        0.23 * 0.29 / (0.30 * 0.06), rel=1e-5
    )


def test_two_way_tables_that_no_joint_can_meet_are_named(population: Population) -> None:
    """Two tables that each agree with the margins, and with each other in nothing."""
    other = {"female": {"alone": 0.10, "with_spouse_partner": 0.40, "other": 0.11},
             "male": {"alone": 0.18, "with_spouse_partner": 0.19, "other": 0.02}}  # fmt: skip
    with pytest.raises(ConfigError) as raised:
        raked_joint(changed(population, two_way={"one": sex_by_living(),
                                                 "two": sex_by_living().model_copy(update={"values": other})}))  # fmt: skip
    message = str(raised.value)
    assert message.startswith("targets contradict each other: ")
    assert "two_way.one wants" in message
    assert "two_way.two wants" in message
    assert "margins" not in message


def test_what_no_target_speaks_of_comes_from_the_seed(population: Population) -> None:
    counted = {("female", "alone"): 60.0, ("female", "other"): 20.0, ("male", "alone"): 10.0, ("male", "other"): 30.0}
    cells = tuple({"sex": sex, "living_arrangement": living, "n": n} for (sex, living), n in counted.items())
    joint = raked_joint(changed(population, joint_seed=JointSeed(cells=cells, rest=5.0, **OWN)))
    found = joint.margin("sex", "living_arrangement")
    # female alone 60, male other 30, female other 20, male alone 10: odds ratio 60 x 30 / (20 x 10) = 9
    assert found[0, 0] * found[1, 2] / (found[0, 2] * found[1, 0]) == pytest.approx(9.0, rel=1e-5)
    # with_spouse_partner has the rest, 5 and 5: odds ratio against alone 60 x 5 / (5 x 10) = 6
    assert found[0, 0] * found[1, 1] / (found[0, 1] * found[1, 0]) == pytest.approx(6.0, rel=1e-5)
    assert_allclose(joint.margin("education"), list(population.shares("education").values()), atol=1e-6)


def test_combinations_without_people_in_the_seed_stay_empty(population: Population) -> None:
    cells = tuple(
        {"sex": sex, "education": level, "n": 0.0 if (sex, level) == ("male", "high_school") else 1.0}
        for sex in population.margins["sex"]
        for level in population.margins["education"]
    )
    personas = draw(changed(population, joint_seed=JointSeed(cells=cells, **OWN)), 400)
    assert not [one for one in personas if (one["sex"], one["education"]) == ("male", "high_school")]
    assert abs(counts(personas, "education")["high_school"] - 400 * 0.33) < 1


def test_personas_carry_their_cell(population: Population) -> None:
    for one in draw(population, 30):
        assert one["cell_id"] == "|".join(one[variable] for variable in population.margins)
        assert one["risk_factors"] == sorted(one["risk_factors"])


def test_a_population_of_two_variables_and_no_risk_factor_can_be_drawn(population: Population) -> None:
    small = population.model_copy(
        update={
            "margins": {name: population.margins[name] for name in ("age_band", "sex")},
            "associations": {}, "risk_factors": {}, "risk_factor_ratios": {}, "risk_factor_reference": {},
            "risk_factor_associations": (), "risk_rules": type(population.risk_rules)(),
        }
    )  # fmt: skip
    drawn = table(small, 50)
    assert drawn["education"].null_count == 50
    assert drawn["risk_factors"].to_pylist() == [[]] * 50
