"""Mistaken mappings: each is refused with a line that says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from pipelines.config import parse
from pipelines.errors import ConfigurationError
from pipelines.silver import canonical
from pipelines.sources import Source, load_source
from tests.conftest import MakeContext
from tests.rows import records_frame

FINE: dict[str, Any] = {
    "source": "own",
    "description": "x",
    "format": "json_lines",
    "fields": ["site", "type", "at", "who"],
    "columns": {"site_id": "site", "event_type": "type", "event_time": "at", "user_id": "who"},
}
TEXT = {"format": "text_lines", "fields": ["site", "type"], "pattern": "^(?P<site>.) (?P<type>.)$"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "Own"}, "source: String should match pattern"),
        ({"format": "csv"}, "format: Input should be 'json_lines' or 'text_lines', got 'csv'"),
        ({"colums": {}}, "colums: unknown key"),
        ({"event_id": "line"}, "event_id: Input should be 'source', 'content' or 'position', got 'line'"),
        ({"time_zone": "Berlin"}, "time_zone: expected an IANA time zone such as Europe/Berlin, got 'Berlin'"),
        (
            {"future_tolerance_seconds": -1},
            "future_tolerance_seconds: Input should be greater than or equal to 0, got -1",
        ),
        ({"columns": {**FINE["columns"], "session": "x"}}, "columns: not canonical: session"),
        ({"columns": {"site_id": "site"}}, "columns: missing: event_time, event_type"),
        ({"columns": {**FINE["columns"], "user_id": {"keyed_hash": []}}}, "columns.user_id.KeyedHash.keyed_hash"),
        ({"event_time": "ingested"}, "event_time: ingested goes only with event_id: position"),
        ({"pattern": "^x$"}, "`pattern` goes with `format: text_lines`, and only with it"),
        ({"format": "text_lines"}, "`pattern` goes with `format: text_lines`, and only with it"),
        ({**TEXT, "pattern": "^(?P<site>.$"}, "pattern: not a regular expression"),
        ({**TEXT, "pattern": "(?P<site>.) (?P<type>.)"}, "pattern: must describe the whole line, from ^ to $"),
        ({**TEXT, "fields": ["site"]}, "fields: must be the named groups of `pattern`"),
    ],
)
def test_a_mistake_in_a_mapping_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(FINE))
    assert load_source(str(path)).source == "own"

    path.write_text(yaml.safe_dump({**FINE, **changes}))
    with pytest.raises(ConfigurationError) as refused:
        load_source(str(path))
    assert any(line.startswith(str(path)) and words in line for line in str(refused.value).splitlines())


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"page_url": "adress"}, "columns.page_url: .*adress.* cannot be resolved"),
        ({"page_url": "concat(site, "}, "columns.page_url: .*[Ss]yntax error"),
        ({"page_url": "nonsense(site)"}, "columns.page_url: .*nonsense"),
        ({"user_id": {"keyed_hash": ["who", "agent"]}}, "columns.user_id: .*agent.* cannot be resolved"),
        ({"properties": "who"}, "columns.properties: .*cannot cast .* to .MAP<STRING, STRING>"),
    ],
)
def test_an_expression_that_spark_does_not_accept_is_named(
    spark: SparkSession, context: MakeContext, columns: dict[str, Any], words: str
) -> None:
    source = parse(Source, {**FINE, "columns": {**FINE["columns"], **columns}}, "own.yaml")
    with pytest.raises(ConfigurationError, match=f"^source own: {words}") as refused:
        canonical.build(records_frame(spark, "own", []), source, context=context())
    assert "\n" not in str(refused.value)


def test_an_unknown_source_lists_the_known_ones() -> None:
    known = "access_log, engagement, flow, sessions, tracer, web"
    with pytest.raises(ConfigurationError) as refused:
        load_source("snow")
    assert str(refused.value) == f"--source: expected one of {known}, or a .yaml file, got 'snow'"


def test_a_mapping_that_is_not_there_or_is_named_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read \(No such file or directory\)"):
        load_source(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(FINE))
    with pytest.raises(ConfigurationError, match=r"other\.yaml: source: expected 'other', got 'own'"):
        load_source("other", tmp_path)
