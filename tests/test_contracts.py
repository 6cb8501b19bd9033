"""Contracts: every table is declared, built, tested and described; a mistaken declaration is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines import plan
from pipelines.config import CONF, PROJECT, parse
from pipelines.contracts import LAYERS, Column, Contract, contract, load_contracts, sql_string
from pipelines.errors import ConfigurationError
from pipelines.plan import GOLD, SERVED, SILVER, Step
from tests.rows import table_frame

STEPS = (*SILVER, *GOLD)
BUILT = ("bronze.events", *SERVED)
CONTRACTS = load_contracts()


def named(step: Step) -> str:
    return step.table


# --- the tables that there are --------------------------------------------------------------------------------------


def test_every_file_in_conf_is_a_contract_and_every_built_table_has_one() -> None:
    files = {f"{path.parent.name}.{path.stem}" for path in (CONF / "tables").rglob("*.yaml")}
    assert set(CONTRACTS) == files
    assert set(BUILT) <= files
    derived = {table for table in files if table.split(".")[0] in ("silver", "gold")}
    assert derived == set(SERVED)


@pytest.mark.parametrize("table", BUILT)
def test_a_table_has_a_test_file_of_its_name(table: str) -> None:
    layer, name = table.split(".")
    assert (PROJECT / "tests" / layer / f"test_{name}.py").is_file()


@pytest.mark.parametrize("step", STEPS, ids=named)
def test_a_table_is_built_by_the_module_of_its_name_from_the_inputs_of_its_contract(step: Step) -> None:
    assert step.build.__module__ == f"pipelines.{step.table}"
    assert step.build.__name__ == "build"
    parameters = inspect.signature(step.build).parameters.values()
    inputs = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert inputs == [table.split(".")[1] for table in step.contract.inputs]
    assert len(set(inputs)) == len(inputs)
    assert [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY] == ["context"]


@pytest.mark.parametrize("step", STEPS, ids=named)
def test_a_step_is_replaced_whole_or_by_slices_and_each_input_says_which(step: Step) -> None:
    assert step.contract.write in ("replace_slices", "replace")
    for table, column in step.contract.inputs.items():
        types = {known.name: known.type for known in contract(table).columns}
        assert types.get(str(column)) == "date" or (column is None and step.contract.write == "replace")


@pytest.mark.parametrize("table", CONTRACTS)
def test_a_table_has_an_owner_and_describes_itself_and_every_column(table: str) -> None:
    declared = CONTRACTS[table]
    assert declared.owner
    assert all(text.endswith(".") for text in (declared.description, *[c.description for c in declared.columns]))
    assert declared.grain.startswith("one row per ")
    assert declared.layer in LAYERS


@pytest.mark.parametrize("table", CONTRACTS)
def test_the_columns_of_a_key_are_required(table: str) -> None:
    declared = CONTRACTS[table]
    required = {column.name for column in declared.columns if column.required}
    assert set(declared.key) <= required


def test_spark_reads_every_schema_and_every_rule(spark: SparkSession) -> None:
    for table, declared in CONTRACTS.items():
        frame = spark.createDataFrame([], declared.ddl)
        assert frame.columns == declared.column_names, table
        rules = frame.select(*[F.expr(check.rule).alias(check.name) for check in declared.row_checks()])
        assert {kind for _, kind in rules.dtypes} <= {"boolean"}, table
        if declared.expects_rows_where is not None:
            first = contract(next(iter(declared.inputs)))
            assert spark.createDataFrame([], first.ddl).where(declared.expects_rows_where).isEmpty()


def test_steps_run_after_the_steps_that_they_read() -> None:
    def step(table: str, *inputs: str) -> Step:
        made = Step(table, lambda: None)  # type: ignore[arg-type,return-value]
        return _WithInputs(made.table, made.build, inputs)

    steps = (step("gold.c", "gold.a", "gold.b"), step("gold.b", "gold.a"), step("gold.a", "silver.x"), step("gold.d"))
    ready, waves = plan.order(steps), []
    while ready.is_active():
        waves.append(set(ready.get_ready()))
        ready.done(*waves[-1])
    assert waves == [{"gold.a", "gold.d"}, {"gold.b"}, {"gold.c"}]


class _WithInputs(Step):
    """A step whose inputs are given, not declared in conf."""

    def __init__(self, table: str, build: Any, inputs: tuple[str, ...]) -> None:
        super().__init__(table, build)
        object.__setattr__(self, "_inputs", list(inputs))

    @property
    def inputs(self) -> list[str]:
        found: list[str] = self.__dict__["_inputs"]
        return found


# --- declarations ---------------------------------------------------------------------------------------------------

FINE: dict[str, Any] = {
    "table": "gold.x",
    "description": "x",
    "grain": "one row per x",
    "owner": "x",
    "inputs": {},
    "write": "replace_slices",
    "slice": "date",
    "key": ["site_id", "date"],
    "retention_days": 1,
    "columns": [
        {"name": "site_id", "type": "string", "description": "x", "required": True},
        {"name": "date", "type": "date", "description": "x", "required": True},
        {"name": "n", "type": "bigint", "description": "x", "min": 0},
    ],
}
RULE = {"name": "n_in_range", "rule": "true", "description": "x"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": "platinum.x"}, "table: String should match pattern"),
        ({"table": "gold.X"}, "table: String should match pattern"),
        ({"owner": ""}, "owner: String should have at least 1 character"),
        ({"owner": None}, "owner: Input should be a valid string"),
        (
            {"write": "overwrite"},
            "write: Input should be 'append', 'upsert', 'replace_slices' or 'replace', got 'overwrite'",
        ),
        ({"retention_days": 0}, "retention_days: Input should be greater than 0, got 0"),
        ({"key": ["site_id", "day"]}, "not among the columns: day"),
        ({"partition_by": ["day"]}, "not among the columns: day"),
        ({"cluster_by": ["day"]}, "not among the columns: day"),
        ({"slice": "day"}, "not among the columns: day"),
        ({"slice": None}, "`slice` goes with `write: replace_slices`, and only with it"),
        ({"write": "append"}, "`slice` goes with `write: replace_slices`, and only with it"),
        ({"as_of": True}, "`as_of` goes only with `write: replace`"),
        ({"columns": [*FINE["columns"], FINE["columns"][0]]}, "columns declared twice: site_id"),
        ({"columns": [{"name": "n", "type": "int", "description": ""}]}, "columns.0.description: String should have"),
        ({"columns": [{"name": "N", "type": "int", "description": "x"}]}, "columns.0.name: String should match"),
        ({"checks": [RULE]}, "checks declared twice: n_in_range"),
        (
            {"checks": [{**RULE, "severity": "fatal"}]},
            "checks.0.severity: Input should be 'error' or 'warn', got 'fatal'",
        ),
        ({"colums": []}, "colums: unknown key"),
    ],
)
def test_a_mistake_in_a_contract_is_refused(changes: dict[str, Any], words: str) -> None:
    assert parse(Contract, FINE, "x.yaml").table == "gold.x"
    with pytest.raises(ConfigurationError) as refused:
        parse(Contract, {**FINE, **changes}, "x.yaml")
    assert str(refused.value).startswith("x.yaml: ")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": "gold.y"}, "x.yaml: table: expected 'gold.x', got 'gold.y'"),
        ({"inputs": {"gold.nowhere": "date"}}, "x.yaml: inputs: no such table: gold.nowhere"),
    ],
)
def test_a_contract_must_fit_its_place(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold" / "x.yaml").write_text(yaml.safe_dump({**FINE, **changes}))
    with pytest.raises(ConfigurationError) as refused:
        load_contracts(tmp_path)
    assert words in str(refused.value)


def test_a_table_that_reads_one_of_the_last_complete_date_depends_on_it_too(tmp_path: Path) -> None:
    (tmp_path / "gold").mkdir()
    dated = {**FINE, "write": "replace", "slice": None, "as_of": True}
    (tmp_path / "gold" / "x.yaml").write_text(yaml.safe_dump(dated))
    (tmp_path / "gold" / "y.yaml").write_text(yaml.safe_dump({**FINE, "table": "gold.y", "inputs": {"gold.x": "date"}}))
    with pytest.raises(ConfigurationError, match=r"y\.yaml: as_of: expected true, as for its input gold\.x"):
        load_contracts(tmp_path)


# --- rules that follow from columns -----------------------------------------------------------------------------------


def column(**given: Any) -> Column:
    return Column.model_validate({"name": "n", "type": "bigint", "description": "x", **given})


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({}, {}),
        ({"required": True}, {"n_present": "n is not null"}),
        ({"accepted": ["a", "it's"]}, {"n_accepted": "n is null or (n in ('a', 'it\\'s'))"}),
        ({"min": 0}, {"n_in_range": "n is null or (n >= 0)"}),
        ({"min": 0.5, "max": 12345678}, {"n_in_range": "n is null or (n <= 12345678 and n >= 0.5)"}),
        ({"max_length": 3}, {"n_short_enough": "n is null or (length(n) <= 3)"}),
        (
            {"required": True, "min": 1, "max_length": 3},
            {
                "n_present": "n is not null",
                "n_in_range": "n is null or (n >= 1)",
                "n_short_enough": "n is null or (length(n) <= 3)",
            },
        ),
    ],
)
def test_a_columns_declaration_makes_its_rules(given: dict[str, Any], rules: dict[str, str]) -> None:
    assert {check.name: check.rule for check in column(**given).checks()} == rules


def test_a_contracts_rules_are_its_columns_then_its_own() -> None:
    made = parse(Contract, {**FINE, "checks": [{**RULE, "name": "own"}]}, "x.yaml")
    assert [check.name for check in made.row_checks()] == ["site_id_present", "date_present", "n_in_range", "own"]


def test_the_schema_says_what_may_be_null() -> None:
    assert parse(Contract, FINE, "x.yaml").ddl == "site_id string not null, date date not null, n bigint"


def test_what_says_when_a_row_came_to_be_is_not_compared() -> None:
    made = contract("silver.sessions")
    assert "created_at" in made.first_written_columns
    assert "created_at" not in made.comparable_columns
    assert "session_id" in made.comparable_columns


def test_a_text_is_quoted_for_spark(spark: SparkSession) -> None:
    texts = ["plain", "it's", 'a "word"', "back\\slash", "\\'", "100%", "line\nbreak"]
    found = spark.range(1).select(*[F.expr(sql_string(text)).alias(f"t{i}") for i, text in enumerate(texts)]).first()
    assert list(found or ()) == texts


def test_neutral_rows_of_tests_keep_their_contracts_schema(spark: SparkSession) -> None:
    assert table_frame(spark, "gold.journey_stats_daily", [{"site_id": "shop"}]).count() == 1
    with pytest.raises(KeyError, match="no column nonsense"):
        table_frame(spark, "gold.journey_stats_daily", [{"nonsense": 1}])
