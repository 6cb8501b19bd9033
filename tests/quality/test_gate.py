"""Gates: every check gives a verdict, what was not measured cannot pass, and errors stop a run."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.config import parse
from pipelines.contracts import Check, Contract, contract
from pipelines.errors import DataRefusedError
from pipelines.quality import gate
from pipelines.quality.gate import Measured, Result
from tests.rows import utc


def judge(*measured: Measured, rows: int = 10) -> list[Result]:
    return gate.judge("silver→gold", "gold.x", list(measured), rows)


def check(name: str, rule: str) -> Check:
    return Check(name=name, rule=rule, description="x")


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_each_check_gets_its_own_verdict() -> None:
    measured = [
        Measured("none_broken", 0, most=0),
        Measured("one_broken", 1, most=0),
        Measured("at_the_least", 1, least=1),
        Measured("below_the_least", 0, least=1),
        Measured("share_at_the_limit", 0.05, most=0.05),
        Measured("share_above", 0.0501, most=0.05, severity="warn"),
        Measured("balanced", 0, least=0, most=0),
        Measured("unbalanced", -1, least=0, most=0),
    ]
    results = judge(*measured)
    assert [result.check for result in results] == measured
    assert [result.success for result in results] == [True, False, True, False, True, False, True, False]
    assert [result.blocks for result in results] == [False, True, False, True, False, False, False, True]


@pytest.mark.parametrize("value", [None, float("nan")])
@pytest.mark.fault(of="gates", injected="a check's number is missing", holds="it counts as broken")
def test_a_number_that_is_missing_cannot_pass(value: Any) -> None:
    with pytest.raises(ValueError, match=r"gold\.x: not measured: lost"):
        judge(Measured("found", 0, most=0), Measured("lost", value, most=0))


def test_two_checks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two checks share a name: .*'twice'"):
        judge(Measured("twice", 0, most=0), Measured("twice", 1, most=0))


@pytest.mark.fault(of="gates", injected="fewer verdicts than checks", holds="an error, not a pass")
def test_fewer_verdicts_than_checks_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = gate._suite
    monkeypatch.setattr(gate, "_suite", lambda table, measured: suite(table, measured[:1]))
    with pytest.raises(ValueError, match="2 checks but 1 results"):
        judge(Measured("a", 0, most=0), Measured("b", 0, most=0))


def test_a_warning_does_not_stop_and_an_error_says_table_check_and_rows() -> None:
    warned = Measured("dead_letter_share", 0.25, most=0.05, severity="warn")
    gate.stop_on_failure(judge(warned, Measured("fine", 0, most=0)))

    results = judge(
        warned, Measured("views_in_range", 1234567, most=0), Measured("rows_judged", 0, least=1), rows=2345678
    )
    with pytest.raises(DataRefusedError) as refused:
        gate.stop_on_failure(results)

    assert str(refused.value) == (
        "refused by a quality gate: gold.x: views_in_range: 1234567, allowed at most 0 (2345678 rows judged); "
        "gold.x: rows_judged: 0, allowed at least 1 (2345678 rows judged)"
    )
    assert refused.value.exit_code == 1


def test_a_verdict_is_a_row_of_quality_results() -> None:
    (result,) = judge(Measured("share", 0.25, least=0, most=0.05, severity="warn"))
    row = result.row("run-1", utc("2026-01-05 12:00:00"))
    assert list(row) == contract("ops.quality_results").column_names
    assert row == {
        "run_id": "run-1",
        "gate": "silver→gold",
        "table_name": "gold.x",
        "check_name": "share",
        "severity": "warn",
        "success": False,
        "observed": 0.25,
        "allowed_min": 0,
        "allowed_max": 0.05,
        "rows_judged": 10,
        "judged_at": utc("2026-01-05 12:00:00"),
    }


# --- rules on rows --------------------------------------------------------------------------------------------------


@pytest.mark.fault(of="gates", injected="a rule that is null", holds="it counts as broken")
def test_a_row_breaks_a_rule_that_is_false_or_null(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1, True), (-1, True), (None, True), (-1, False)], "n int, ours boolean")
    rules = [check("positive", "n > 0"), check("known", "n is not null"), check("any", "true")]
    everyone = frame.agg(*gate.violations(rules)).first()
    among = frame.agg(*gate.violations(rules, among=F.col("ours"))).first()
    assert everyone is not None
    assert among is not None
    assert everyone.asDict() == {"positive": 3, "known": 1, "any": 0}
    assert among.asDict() == {"positive": 2, "known": 1, "any": 0}


def declared(**changes: Any) -> Contract:
    """A table of one column that must be positive."""
    column = {"name": "n", "type": "int", "description": "x", "required": True, "min": 1}
    own = {"name": "own", "rule": "n <> 7", "description": "x", "severity": "warn"}
    fine = {"table": "gold.x", "description": "x", "grain": "x", "owner": "x", "inputs": {}, "write": "append"}
    return parse(
        Contract, {**fine, "key": ["n"], "retention_days": 1, "columns": [column], "checks": [own], **changes}, "x.yaml"
    )


def test_every_rule_of_a_contract_is_measured_beside_the_number_of_rows() -> None:
    counts = {"n_present": 0, "n_in_range": 2, "own": 3}
    assert gate.row_rules(declared().row_checks(), counts, rows=9, expected=True) == [
        Measured(gate.ROWS, 9, least=1),
        Measured("n_present", 0, most=0),
        Measured("n_in_range", 2, most=0),
        Measured("own", 3, most=0, severity="warn"),
    ]


def test_a_rule_that_was_not_measured_is_missed() -> None:
    with pytest.raises(KeyError, match="n_in_range"):
        gate.row_rules(declared().row_checks(), {"n_present": 0, "own": 0}, rows=9, expected=True)


@pytest.mark.parametrize(("rows", "expected", "passes"), [(0, True, False), (0, False, True), (1, True, True)])
@pytest.mark.fault(of="gates", injected="no rows where there should be some", holds="refused")
def test_no_rows_pass_only_where_none_are_expected(rows: int, expected: bool, passes: bool) -> None:
    rules = declared().row_checks()
    measured = gate.row_rules(rules, {rule.name: 0 for rule in rules}, rows, expected=expected)
    assert all(result.success for result in judge(*measured, rows=rows)) is passes


def test_only_rules_about_columns_at_hand_are_asked() -> None:
    words = {"name": "words", "rule": "other <> 'n'", "description": "x"}
    columns = [*declared().model_dump()["columns"], {"name": "other", "type": "string", "description": "x"}]
    table = declared(columns=columns, checks=[words])
    assert [rule.name for rule in gate.checks_on(table, ["n", "more"])] == ["n_present", "n_in_range"]
    assert [rule.name for rule in gate.checks_on(table, ["other"])] == ["words"]
    assert gate.checks_on(table) == table.row_checks()
