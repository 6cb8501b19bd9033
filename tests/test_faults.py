"""docs/faults.md says what the tests prove."""

from __future__ import annotations

import subprocess
import sys

from tests import faults


def test_the_committed_page_is_up_to_date_and_names_forty_faults() -> None:
    made = "from tests import faults; import sys; sys.stdout.write(faults.page(faults.collect()))"
    told = subprocess.run(
        [sys.executable, "-c", made], cwd=faults.PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert told == faults.PAGE.read_text(encoding="utf-8"), "run `make docs`"
    assert told.count("](../tests/") >= 40
