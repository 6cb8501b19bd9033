"""docs/faults.md: what is injected and what holds, from the marks on the tests that prove it.

`python -m tests.faults` writes the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs/faults.md"
GROUPS = {
    "files": "Landing files",
    "topics": "Topics",
    "records": "Records",
    "time": "Time",
    "identity": "Identity and bots",
    "duplicates": "Duplicates",
    "arrival": "Order and cut of arrivals",
    "crashes": "Crashes",
    "lost state": "Lost or damaged state",
    "concurrency": "Concurrency and failures that pass",
    "delta": "Delta",
    "gates": "Gates",
    "drift": "Schema drift",
    "configuration": "Configuration and calls",
    "serving": "What is served",
}
_HEAD = """# Faults

Each row is a test that injects a fault or a bad input and proves what holds then. The page is made from the tests' own
marks by `make docs`; `make test` checks that it is up to date. {count} faults, proved by {cases:,} cases.
"""


class Collection:
    """A pytest plugin: the marks of the tests that are collected, in their order, and the number of cases of each."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, str], int] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            test = item.nodeid.split("[")[0]
            for mark in reversed(list(item.iter_markers("fault"))):
                if mark.args or set(mark.kwargs) != {"of", "injected", "holds"} or mark.kwargs["of"] not in GROUPS:
                    raise pytest.UsageError(
                        f"{test}: expected fault(of=…, injected=…, holds=…), `of` one of {', '.join(GROUPS)}"
                    )
                row = (mark.kwargs["of"], mark.kwargs["injected"], mark.kwargs["holds"], test)
                self.rows[row] = self.rows.get(row, 0) + 1


def collect() -> Collection:
    """The marks of the whole suite."""
    found = Collection()
    code = pytest.ExitCode(
        pytest.main(["--collect-only", "-p", "no:terminal", str(PROJECT / "tests")], plugins=[found])
    )
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"the tests cannot be collected: `pytest --collect-only` ends with {code.name}")
    return found


def page(found: Collection) -> str:
    """The page in Markdown."""
    lines = [_HEAD.format(count=len(found.rows), cases=sum(found.rows.values()))]
    for group, title in GROUPS.items():
        rows = [(row, cases) for row, cases in found.rows.items() if row[0] == group]
        if rows:
            lines += [f"## {title}", "", "| injected | what holds | proved by |", "|---|---|---|"]
            lines += [_line(*row[1:], cases) for row, cases in rows]
            lines.append("")
    return "\n".join(lines)


def _line(injected: str, holds: str, test: str, cases: int) -> str:
    path, name = test.split("::", 1)
    words = name.removeprefix("test_").replace("_", " ")
    many = f" ({cases} cases)" if cases > 1 else ""
    return f"| {injected} | {holds} | [{words}](../{path}){many} |".replace("\n", " ")


def main() -> int:
    """Write the page."""
    text = page(collect())
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
