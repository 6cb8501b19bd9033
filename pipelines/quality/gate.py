"""Quality gates: every check of a contract is one number about the new rows, judged by Great Expectations.

What a suite needs is computed in one aggregate (`violations`), so that a gate costs one pass over the new rows and a
validation of a single-row frame, whatever the number of checks.
"""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.contracts import Check, Contract, Severity
from pipelines.errors import DataRefusedError

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite

Gate = Literal["landing→bronze", "bronze→silver", "silver→gold", "gold→served"]

ROWS = "rows_judged"


@dataclass(frozen=True)
class Measured:
    """One number and what it may be; `least` and `most` are inclusive, None is no limit."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None
    severity: Severity = "error"


@dataclass(frozen=True)
class Result:
    """The verdict on one check."""

    gate: Gate
    table: str
    check: Measured
    success: bool
    rows: int

    @property
    def blocks(self) -> bool:
        return not self.success and self.check.severity == "error"

    def sentence(self) -> str:
        """`gold.x: check y: 3 of 10 rows` for a person."""
        value = _plain(self.check.value)
        limits = [f"at least {_plain(self.check.least)}"] if self.check.least is not None else []
        limits += [f"at most {_plain(self.check.most)}"] if self.check.most is not None else []
        return f"{self.table}: {self.check.name}: {value}, allowed {' and '.join(limits)} ({self.rows} rows judged)"

    def row(self, run_id: str, judged_at: datetime) -> dict[str, Any]:
        """As a row of ops.quality_results."""
        return {
            "run_id": run_id,
            "gate": self.gate,
            "table_name": self.table,
            "check_name": self.check.name,
            "severity": self.check.severity,
            "success": self.success,
            "observed": float(self.check.value),
            "allowed_min": self.check.least,
            "allowed_max": self.check.most,
            "rows_judged": self.rows,
            "judged_at": judged_at,
        }


def _plain(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else f"{number:.4g}"


def checks_on(contract: Contract, columns: Iterable[str] | None = None) -> list[Check]:
    """The contract's row checks; with `columns`, those that speak of no other column."""
    if columns is None:
        return contract.row_checks()
    available = set(columns)
    others = set(contract.column_names) - available
    return [check for check in contract.row_checks() if not others & set(_words(check.rule))]


def _words(rule: str) -> list[str]:
    return re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", "", rule))


def violations(checks: Iterable[Check], among: Column | None = None) -> list[Column]:
    """One aggregate column per check: rows (of those `among`) for which its rule is not true."""
    scope = F.lit(True) if among is None else among
    return [F.count_if(scope & ~F.coalesce(F.expr(check.rule), F.lit(False))).alias(check.name) for check in checks]


def row_rules(checks: Iterable[Check], counts: dict[str, Any], rows: int, *, expected: bool) -> list[Measured]:
    """Row checks as numbers: no row may break one; and where rows are expected, there must be some to judge."""
    found = [Measured(check.name, counts[check.name], most=0, severity=check.severity) for check in checks]
    return [Measured(ROWS, rows, least=1 if expected else 0), *found]


def judge(gate: Gate, table: str, measured: list[Measured], rows: int) -> list[Result]:
    """Let Great Expectations judge the numbers; as many results as checks, or an error.

    A number that is missing cannot pass: an expectation on a null would hold by vacuity.
    """
    import pandas as pd

    names = [check.name for check in measured]
    if len(set(names)) != len(names):
        raise ValueError(f"{table}: two checks share a name: {sorted(n for n in names if names.count(n) > 1)}")
    missing = [check.name for check in measured if check.value is None or math.isnan(check.value)]
    if missing:
        raise ValueError(f"{table}: not measured: {', '.join(missing)}")
    frame = pd.DataFrame([{check.name: float(check.value) for check in measured}])
    with _validating:
        outcome = _batch(frame).validate(_suite(table, measured), result_format="BOOLEAN_ONLY")
    verdicts = {result.expectation_config.kwargs["column"]: bool(result.success) for result in outcome.results}
    if len(outcome.results) != len(measured) or set(verdicts) != set(names):
        raise ValueError(f"{table}: {len(measured)} checks but {len(outcome.results)} results")
    return [Result(gate, table, check, verdicts[check.name], rows) for check in measured]


def stop_on_failure(results: list[Result]) -> None:
    """Raise DataRefusedError if a check of severity error does not hold."""
    broken = [result.sentence() for result in results if result.blocks]
    if broken:
        raise DataRefusedError("refused by a quality gate: " + "; ".join(broken))


# --- Great Expectations, loaded only when there is something to judge ------------------------------------------------

_validating = threading.Lock()
_loaded: dict[str, Any] = {}


def preload() -> None:
    """Import Great Expectations (seconds) beside the work that comes before the first verdict."""
    threading.Thread(target=_context, name="great-expectations", daemon=True).start()


_loading = threading.Lock()


def _context() -> Any:
    with _loading:
        if "context" not in _loaded:
            os.environ["GX_ANALYTICS_ENABLED"] = "false"  # a pipeline run tells nobody
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import great_expectations as gx

                context = gx.get_context(mode="ephemeral")
            silent: Any = {"globally": False, "metric_calculations": False}
            context.variables.progress_bars = silent
            _loaded["gx"] = gx
            _loaded["context"] = context
            _loaded["asset"] = context.data_sources.add_pandas("measured").add_dataframe_asset("numbers")
            _loaded["definition"] = _loaded["asset"].add_batch_definition_whole_dataframe("one_row")
    return _loaded["context"]


def _batch(frame: Any) -> Any:
    _context()
    return _loaded["definition"].get_batch(batch_parameters={"dataframe": frame})


def _suite(table: str, measured: list[Measured]) -> ExpectationSuite:
    gx = _loaded["gx"]
    expectations = [
        gx.expectations.ExpectColumnMaxToBeBetween(  # of a single row: the number itself
            column=check.name,
            min_value=check.least,
            max_value=check.most,
            severity="critical" if check.severity == "error" else "warning",
        )
        for check in measured
    ]
    suite: ExpectationSuite = gx.ExpectationSuite(name=table, expectations=expectations)
    return suite
