"""OMOP CDM 5.4 in (a folder of CSV or Parquet), people out; DuckDB reads the tables, so none of them is held in memory.

Read: PERSON, CONDITION_OCCURRENCE, CONCEPT; OBSERVATION and CONCEPT_ANCESTOR where they are. Records are matched by
standard and by source concept. Concept sets find their concepts by concept_id, by vocabulary and code, and, with
CONCEPT_ANCESTOR, by descent.

Source: OHDSI, OMOP Common Data Model v5.4, https://ohdsi.github.io/CommonDataModel/cdm54.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from harness.cohort.structured.coded import Coded, as_of_date, reading
from harness.cohort.structured.concepts import LEVEL_MARK, PREFIX_VOCABULARIES, ConceptSets
from harness.cohort.structured.extras import optional
from harness.cohort.structured.people import HELD_OUT, Reading, Wanted
from harness.errors import DataError, Faults
from harness.schemas.cohorts import Cohort

SUFFIXES = (".csv", ".parquet")
NEEDED = {
    "person": ("person_id", "gender_concept_id", "year_of_birth", "race_concept_id", "ethnicity_concept_id"),
    "condition_occurrence": ("person_id", "condition_concept_id", "condition_start_date"),
    "concept": ("concept_id", "concept_name", "vocabulary_id", "concept_code"),
}
USEFUL = {
    "observation": ("person_id", "observation_concept_id", "observation_date"),
    "concept_ancestor": ("ancestor_concept_id", "descendant_concept_id"),
}
# Columns that a table may lack; they are read as empty.
OPTIONAL = {
    "person": ("month_of_birth", "day_of_birth", "person_source_value"),
    "condition_occurrence": ("condition_source_concept_id", "condition_occurrence_id"),
    "observation": ("value_as_concept_id", "observation_source_concept_id", "observation_id"),
}
PLACES_SHOWN = 5


def omop_files(folder: Path) -> dict[str, Path]:
    """Table name in lower case to its file, for the tables that are read."""
    names = {*NEEDED, *USEFUL}
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    return {path.stem.lower(): path for path in found if path.stem.lower() in names}


def read_omop(
    folder: Path, settings: Cohort, wanted: Wanted, *, sets: ConceptSets, held_out: frozenset[str]
) -> Reading:
    """People of a CDM folder.

    Args:
        folder: Holds PERSON, CONDITION_OCCURRENCE and CONCEPT, in any case, as .csv or .parquet.
        settings: `as_of`.
        wanted: Variables, levels and factors of the task.
        sets: What to look for.
        held_out: Ids, as person_id or person_source_value; their rows are gone before anything else is read.

    Raises:
        ConfigError: DuckDB is not installed.
        DataError: Missing tables or columns, all of them at once; concepts without a name; dates that are none.
    """
    duckdb = optional("duckdb", "cohort.kind: omop")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    try:
        _open(connection, omop_files(folder), folder, duckdb)
        n_held_out = _exclude(connection, held_out)
        _resolve(connection, sets)
        _match(connection, settings)
        _check(connection, folder)
        persons = _persons(connection, folder)
        found = reading(persons, sets, settings, wanted, matched=_matched(connection))
        left_out = {**found.left_out, **({HELD_OUT: n_held_out} if n_held_out else {})}
        return Reading(
            people=found.people,
            left_out=left_out,
            n_read=found.n_read + len(n_held_out),
            last_year=found.last_year,
            matched=found.matched,
            n_held_out_found=len(n_held_out),
        )
    finally:
        connection.close()


def _open(connection: Any, files: Mapping[str, Path], folder: Path, duckdb: Any) -> None:
    """One view a table, all columns as text: a faulty cell is then ours to report, and held-out ones never cast."""
    faults = Faults(str(folder))
    for table, needed in {**NEEDED, **USEFUL}.items():
        path = files.get(table)
        if path is None:
            if table in NEEDED:
                why = "; concept names are needed to say what was matched" if table == "concept" else ""
                faults.add(f"no table {table.upper()} (.csv or .parquet){why}; found: "
                           f"{', '.join(sorted(name.upper() for name in files)) or 'none of the CDM'}")  # fmt: skip
            continue
        place = str(path).replace("'", "''")
        source = (
            f"read_csv('{place}', all_varchar=true, header=true)"
            if path.suffix.lower() == ".csv"
            else f"read_parquet('{place}')"
        )
        try:
            columns = [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]  # noqa: S608
        except duckdb.Error as error:
            faults.add(f"{path.name}: not a readable {path.suffix} file ({type(error).__name__})")
            continue
        have = {name.lower() for name in columns}
        missing = [name for name in needed if name not in have]
        if missing:
            faults.add(f"{path.name}: missing column {', '.join(missing)}; found: {', '.join(columns)}")
            continue
        chosen = [f'CAST("{name}" AS VARCHAR) AS {name}' for name in needed]
        chosen += [
            f'CAST("{name}" AS VARCHAR) AS {name}' if name in have else f"CAST(NULL AS VARCHAR) AS {name}"
            for name in OPTIONAL.get(table, ())
        ]
        connection.execute(f"CREATE VIEW {table} AS SELECT {', '.join(chosen)} FROM {source}")  # noqa: S608
    if faults.messages:
        raise DataError(faults.render())
    for table, needed in USEFUL.items():
        if table not in files:
            empty = ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in (*needed, *OPTIONAL.get(table, ())))
            connection.execute(f"CREATE VIEW {table} AS SELECT {empty} WHERE false")


def _exclude(connection: Any, held_out: frozenset[str]) -> list[str]:
    """Persons to read, as the table `kept`; the ids of the held-out ones that are there."""
    connection.execute("CREATE TABLE held_out (id VARCHAR)")
    if held_out:
        connection.executemany("INSERT INTO held_out VALUES (?)", [[one] for one in sorted(held_out)])
    connection.execute(
        "CREATE TABLE kept AS SELECT * FROM person WHERE person_id NOT IN (SELECT id FROM held_out) "
        "AND coalesce(person_source_value, '') NOT IN (SELECT id FROM held_out)"
    )
    rows = connection.execute(
        "SELECT DISTINCT person_id FROM person WHERE person_id NOT IN (SELECT person_id FROM kept) ORDER BY 1"
    ).fetchall()
    return [str(row[0]) for row in rows]


def _resolve(connection: Any, sets: ConceptSets) -> None:
    """Concept sets to concept ids, as the table `resolved` (set_name, concept_id)."""
    connection.execute("CREATE TABLE listed (set_name VARCHAR, vocabulary VARCHAR, code VARCHAR, concept_id VARCHAR, "
                       "prefix BOOLEAN)")  # fmt: skip
    connection.executemany(
        "INSERT INTO listed VALUES (?, ?, ?, ?, ?)",
        [
            [
                one.set,
                one.vocabulary,
                one.code,
                None if one.concept_id is None else str(one.concept_id),
                one.vocabulary in PREFIX_VOCABULARIES,
            ]
            for one in sets.concepts
        ],
    )
    connection.execute("""
        CREATE TABLE named AS
        SELECT set_name, concept_id FROM listed WHERE concept_id IS NOT NULL
        UNION
        SELECT listed.set_name, concept.concept_id FROM listed JOIN concept ON listed.code <> ''
            AND lower(concept.vocabulary_id) = lower(listed.vocabulary)
            AND (concept.concept_code = listed.code
                OR (listed.prefix AND starts_with(concept.concept_code, listed.code)))
    """)
    connection.execute("""
        CREATE TABLE resolved AS
        SELECT set_name, concept_id FROM named
        UNION
        SELECT named.set_name, descendant_concept_id FROM named
            JOIN concept_ancestor ON ancestor_concept_id = named.concept_id
    """)


def _match(connection: Any, settings: Cohort) -> None:
    """Records of the sets, one row per person, set and concept, as the table `matched`."""
    moment = as_of_date(settings)
    until = "" if moment is None else f"WHERE day IS NULL OR day <= DATE '{moment.isoformat()}'"
    connection.execute(
        """
        CREATE TABLE records AS
        SELECT person_id, condition_concept_id AS concept_id, condition_start_date AS written,
            'CONDITION_OCCURRENCE ' || coalesce(condition_occurrence_id, '?') AS place FROM condition_occurrence
        UNION ALL SELECT person_id, condition_source_concept_id, condition_start_date,
            'CONDITION_OCCURRENCE ' || coalesce(condition_occurrence_id, '?') FROM condition_occurrence
        UNION ALL SELECT person_id, observation_concept_id, observation_date,
            'OBSERVATION ' || coalesce(observation_id, '?') FROM observation
        UNION ALL SELECT person_id, observation_source_concept_id, observation_date,
            'OBSERVATION ' || coalesce(observation_id, '?') FROM observation
        UNION ALL SELECT person_id, value_as_concept_id, observation_date,
            'OBSERVATION ' || coalesce(observation_id, '?') FROM observation
    """.replace("CREATE TABLE", "CREATE VIEW")
    )
    connection.execute("""
        CREATE TABLE hits AS
        SELECT records.person_id, resolved.set_name, records.concept_id, records.written, records.place,
            CAST(TRY_CAST(records.written AS TIMESTAMP) AS DATE) AS day
        FROM records JOIN resolved ON resolved.concept_id = records.concept_id
        WHERE records.person_id IN (SELECT person_id FROM kept)
    """)
    connection.execute(f"""
        CREATE TABLE matched AS
        SELECT person_id, set_name, concept_id, min(day) AS first_day, max(day) AS last_day
        FROM (SELECT * FROM hits {until}) GROUP BY ALL
    """)  # noqa: S608 - a date that was parsed


def _check(connection: Any, folder: Path) -> None:
    """Refuse matched records without a date, and matched concepts without a name."""
    faults = Faults(str(folder))
    bad = connection.execute("SELECT DISTINCT place FROM hits WHERE day IS NULL ORDER BY place").fetchall()
    if bad:
        shown = ", ".join(str(row[0]) for row in bad[:PLACES_SHOWN]) + (" ..." if len(bad) > PLACES_SHOWN else "")
        faults.add(f"{len(bad)} matched records have no date (YYYY-MM-DD): {shown}")
    nameless = connection.execute(
        "SELECT DISTINCT concept_id FROM matched WHERE concept_id NOT IN "
        "(SELECT concept_id FROM concept WHERE coalesce(concept_name, '') <> '') ORDER BY 1"
    ).fetchall()
    if nameless:
        faults.add(f"CONCEPT: no name for concept {', '.join(str(row[0]) for row in nameless)}, which records use; "
                   "export CONCEPT in full, names are needed to say what was matched")  # fmt: skip
    twice = connection.execute("SELECT count(*) - count(DISTINCT person_id) FROM kept").fetchone()[0]
    if twice:
        faults.add(f"PERSON: {twice} rows repeat the person_id of another row; give one row a person")
    if faults.messages:
        raise DataError(faults.render())


def _persons(connection: Any, folder: Path) -> list[Coded]:
    rows = connection.execute(
        "SELECT person_id, year_of_birth, month_of_birth, day_of_birth FROM kept ORDER BY person_id"
    ).fetchall()
    faults = Faults(str(folder / "PERSON"))
    persons = {str(row[0]): Coded(str(row[0]), _born(row, faults)) for row in rows}
    if faults.messages:
        raise DataError(faults.render())
    demographics = connection.execute("""
        SELECT person_id, set_name FROM kept JOIN resolved
            ON resolved.concept_id IN (gender_concept_id, race_concept_id, ethnicity_concept_id)
        ORDER BY 1, 2
    """).fetchall()
    for person_id, name in demographics:
        if LEVEL_MARK in name:
            persons[str(person_id)].add(str(name), None)
    for person_id, name, first, last in connection.execute(
        "SELECT person_id, set_name, min(first_day), max(last_day) FROM matched GROUP BY ALL ORDER BY 1, 2"
    ).fetchall():
        persons[str(person_id)].add(str(name), first, last)
    return list(persons.values())


def _born(row: Sequence[Any], faults: Faults) -> date | None:
    """Birth from year, month and day; the middle of what is not known."""
    person_id, year, month, day = row
    if year is None:
        return None
    try:
        if month is None:
            return date(int(year), 7, 1)
        return date(int(year), int(month), 15 if day is None else int(day))
    except ValueError:
        faults.add(f"person {person_id}: year, month and day of birth are no date")
        return None


def _matched(connection: Any) -> list[dict[str, Any]]:
    """Concepts that records matched, by set: code, name and number of people."""
    rows = connection.execute("""
        SELECT matched.set_name, min(concept.vocabulary_id), min(concept.concept_code), min(concept.concept_name),
            count(DISTINCT matched.person_id)
        FROM matched JOIN concept ON concept.concept_id = matched.concept_id
        GROUP BY matched.set_name, matched.concept_id ORDER BY matched.set_name, matched.concept_id
    """).fetchall()
    keys = ("set", "vocabulary", "code", "name", "n")
    return [dict(zip(keys, row, strict=True)) for row in rows]
