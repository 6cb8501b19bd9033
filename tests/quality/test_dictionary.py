"""docs/tables.md says what the contracts say."""

from __future__ import annotations

from pipelines.config import parse
from pipelines.contracts import Contract, load_contracts
from pipelines.quality.dictionary import PAGE, render


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(load_contracts()), "run `make docs`"


def test_every_table_has_its_section_and_every_column_its_line() -> None:
    page = render(load_contracts())
    for name, declared in load_contracts().items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert declared.grain in section
        described = {line.split("`")[1]: line for line in section.splitlines() if line.startswith("| `")}
        for column in declared.columns:
            assert column.type in described[column.name]
            assert column.description.replace("|", "\\|") in described[column.name]


def test_a_section_spells_out_what_the_contract_declares() -> None:
    declared = parse(
        Contract,
        {
            "table": "gold.tea_daily",
            "description": "Cups of tea.",
            "grain": "one row per site and date",
            "owner": "kitchen",
            "inputs": {"silver.events": "event_date"},
            "looks_back_days": 6,
            "write": "replace_slices",
            "slice": "date",
            "key": ["site_id", "date"],
            "retention_days": 10,
            "columns": [
                {"name": "site_id", "type": "string", "required": True, "max_length": 9, "description": "Site."},
                {"name": "date", "type": "date", "required": True, "description": "Date."},
                {"name": "kind", "type": "string", "accepted": ["green", "black"], "description": "One | other."},
                {"name": "cups", "type": "bigint", "min": 0, "max": 99, "unit": "cups", "description": "Drunk."},
            ],
            "checks": [{"name": "enough", "rule": "cups > 1", "severity": "warn", "description": "One is none."}],
        },
        "the test's contract",
    )
    section = render({declared.table: declared}).split("\n## ")[1]
    assert section.splitlines() == [
        "gold.tea_daily",
        "",
        "Cups of tea.",
        "",
        "- Grain: one row per site and date",
        "- Owner: kitchen",
        "- Inputs: `silver.events` by `event_date`, 6 days back",
        "- Written: whole slices (site, `date`) are replaced",
        "- Key: `site_id`, `date`",
        "- Retention: 10 days",
        "",
        "| column | type | required | unit | allowed | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `site_id` | `string` | yes |  | at most 9 characters | Site. |",
        "| `date` | `date` | yes |  |  | Date. |",
        "| `kind` | `string` |  |  | green, black | One \\| other. |",
        "| `cups` | `bigint` |  | cups | 0 to 99 | Drunk. |",
        "",
        "Declared checks:",
        "",
        "| check | every row satisfies | severity | meaning |",
        "| --- | --- | --- | --- |",
        "| `enough` | `cups > 1` | warn | One is none. |",
    ]
