"""Faults of a population's demographics: margins, two-way tables, the joint seed, associations, ages.

Each function returns messages; `load_population` raises all of them together with the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.schemas.marks import normalised, proportion_faults, share_faults, unknown_names

if TYPE_CHECKING:
    from harness.schemas.population import Association, ConditionalShare, JointSeed, Population, TwoWay

AGE_VARIABLE = "age_band"
REQUIRED_MARGINS = (AGE_VARIABLE, "sex")  # columns of the personas table that may not be empty
SEED_COUNT = "n"  # the key of a joint seed's combination that holds its count, not a level


def demographic_faults(population: Population, task_levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Everything that can be wrong with who the people are.

    Args:
        population: As read.
        task_levels: Subgroup variable of the task to its levels; a margin of the same name may use no others.
    """
    return [
        *_margin_faults(population, task_levels),
        *_share_faults(population),
        *_association_faults(population),
        *_two_way_faults(population),
        *_seed_faults(population),
        *_age_faults(population),
    ]


def ratio_faults(place: str, ratios: Mapping[str, float]) -> list[str]:
    return [
        f"{place}.{level}: found {ratio:g}; a ratio must be above 0" for level, ratio in ratios.items() if ratio <= 0
    ]


def missing_levels(place: str, found: Mapping[str, object], wanted: Sequence[str]) -> list[str]:
    return [f"{place}: missing level {level!r}" for level in wanted if level not in found]


def _margin_faults(population: Population, task_levels: Mapping[str, Sequence[str]]) -> list[str]:
    faults = [
        f"margins.{name}: missing; personas need it" for name in REQUIRED_MARGINS if name not in population.margins
    ]
    for variable, levels in population.margins.items():
        faults += share_faults(f"margins.{variable}", {level: number.v for level, number in levels.items()})
        if variable in task_levels:
            faults += unknown_names(f"margins.{variable}", levels, list(task_levels[variable]), "level of the task")
    return faults


def _share_faults(population: Population) -> list[str]:
    faults: list[str] = []
    for name, table in population.conditional_shares.items():
        place = f"conditional_shares.{name}"
        unknown = _given_faults(place, table, population)
        faults += unknown
        if not unknown:
            faults += proportion_faults(f"{place}.values", table.values)
            faults += missing_levels(f"{place}.values", table.values, list(population.margins[table.given]))
    return faults


def _association_faults(population: Population) -> list[str]:
    faults: list[str] = []
    seeded = population.joint_seed.variables if population.joint_seed is not None else ()
    for name, table in population.associations.items():
        place = f"associations.{name}"
        faults += _given_faults(place, table, population) + ratio_faults(f"{place}.values", table.values)
        if {table.variable, table.given} <= set(seeded):
            faults.append(f"{place}: joint_seed says already how {table.variable} and {table.given} go together; "
                          "keep one of them")  # fmt: skip
    return faults


def _given_faults(place: str, table: ConditionalShare | Association, population: Population) -> list[str]:
    """Unknown variables, or unknown levels where the variables are known."""
    unknown = unknown_names(place, (table.variable, table.given), list(population.margins), "variable")
    if unknown:
        return unknown
    given = list(population.margins[table.given])
    faults = unknown_names(f"{place}.level", (table.level,), list(population.margins[table.variable]), "level")
    return faults + unknown_names(f"{place}.values", table.values, given, f"level of {table.given}")


# -- two-way tables ----------------------------------------------------------------------------------------------------


def _two_way_faults(population: Population) -> list[str]:
    faults: list[str] = []
    for name, table in population.two_way.items():
        place = f"two_way.{name}"
        unknown = unknown_names(f"{place}.variables", table.variables, list(population.margins), "variable")
        if not unknown and table.variables[0] == table.variables[1]:
            unknown = [f"{place}.variables: found {table.variables[0]!r} twice; name two variables"]
        if not unknown:
            unknown = _two_way_level_faults(place, table, population)
        faults += unknown or _two_way_sum_faults(place, table, population)
    return faults


def _two_way_level_faults(place: str, table: TwoWay, population: Population) -> list[str]:
    first, second = (list(population.margins[variable]) for variable in table.variables)
    faults = unknown_names(f"{place}.values", table.values, first, f"level of {table.variables[0]}")
    faults += missing_levels(f"{place}.values", table.values, first)
    for level, row in table.values.items():
        faults += unknown_names(f"{place}.values.{level}", row, second, f"level of {table.variables[1]}")
        faults += missing_levels(f"{place}.values.{level}", row, second)
    cells = {f"{level}.{other}": share for level, row in table.values.items() for other, share in row.items()}
    return faults or share_faults(f"{place}.values", cells)


def _two_way_sum_faults(place: str, table: TwoWay, population: Population) -> list[str]:
    """Sums that lie further from a margin than the tolerance."""
    cells = normalised({f"{a}\x1f{b}": share for a, row in table.values.items() for b, share in row.items()})
    faults = []
    for axis, variable in enumerate(table.variables):
        for level, wanted in population.shares(variable).items():
            found = sum(share for key, share in cells.items() if key.split("\x1f")[axis] == level)
            if abs(found - wanted) > table.tolerance or (found == 0) != (wanted == 0):
                faults.append(
                    f"{place}: gives {found:.4f} of {variable} {level}, but margins.{variable} wants {wanted:.4f}; "
                    f"change one of them, or raise the tolerance (now {table.tolerance:g})"
                )
    return faults


# -- where raking starts -----------------------------------------------------------------------------------------------


def _seed_faults(population: Population) -> list[str]:
    seed = population.joint_seed
    if seed is None:
        return []
    if not seed.variables:
        return ["joint_seed.cells: found no combination with a level; give counts by combination, or leave it out"]
    faults = unknown_names("joint_seed.cells.0", seed.variables, list(population.margins), "variable")
    if not faults:
        faults = _seed_cell_faults(seed, population)
    return faults or _empty_level_faults(seed, population)


def _seed_cell_faults(seed: JointSeed, population: Population) -> list[str]:
    faults, seen = [], set[tuple[str, ...]]()
    for index, cell in enumerate(seed.cells):
        place = f"joint_seed.cells.{index}"
        if set(cell) != {*seed.variables, SEED_COUNT}:
            faults.append(f"{place}: found {', '.join(sorted(cell))}; every combination needs "
                          f"{', '.join((*seed.variables, SEED_COUNT))}")  # fmt: skip
            continue
        for variable in seed.variables:
            level = str(cell[variable])
            faults += unknown_names(f"{place}.{variable}", (level,), list(population.margins[variable]), "level")
        count = cell[SEED_COUNT]
        if isinstance(count, str) or count < 0:
            faults.append(f"{place}.{SEED_COUNT}: found {count!r}; must be a count of 0 or more")
        combination = tuple(str(cell[variable]) for variable in seed.variables)
        if combination in seen:
            faults.append(f"{place}: {' and '.join(combination)} are listed twice")
        seen.add(combination)
    return faults


def _empty_level_faults(seed: JointSeed, population: Population) -> list[str]:
    """Levels that a margin wants and the seed has nobody in: raking multiplies, so nobody would ever be there."""
    if seed.rest > 0:
        return []
    faults = []
    for variable in seed.variables:
        people = dict.fromkeys(population.margins[variable], 0.0)
        for cell in seed.cells:
            people[str(cell[variable])] += float(cell[SEED_COUNT])
        faults += [
            f"joint_seed: nobody in {variable} {level}, but margins.{variable} wants {wanted:.4f}; give a count, or a "
            "`rest` above 0"
            for level, wanted in population.shares(variable).items()
            if wanted > 0 and people[level] == 0
        ]
    return faults


def _age_faults(population: Population) -> list[str]:
    bands = list(population.margins.get(AGE_VARIABLE, ()))
    faults = unknown_names("age_years", population.age_years, bands, AGE_VARIABLE)
    faults += [f"age_years: missing band {band!r}" for band in bands if band not in population.age_years]
    for band, ages in population.age_years.items():
        if ages.low > ages.high:
            faults.append(f"age_years.{band}: low {ages.low} is above high {ages.high}")
        if (ages.p is None) != (ages.dist == "uniform_int"):
            faults.append(f"age_years.{band}.p: give it for truncated_geometric and for nothing else")
    return faults
