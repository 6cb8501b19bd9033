"""What the steps of one run share: the lake, what is configured, what is reported, and the gates' verdicts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import tenacity

from pipelines.context import RunContext
from pipelines.errors import PipelineError
from pipelines.lake import Lake
from pipelines.plan import GOLD, Step, served
from pipelines.progress import Progress
from pipelines.quality import gate
from pipelines.quality.gate import Measured, Result
from pipelines.sources import Source, shipped_sources
from pipelines.transient import is_transient

# A step that fails for what may pass is tried again so often, after about 1, 2 and 4 seconds.
_RETRIES = 3


@dataclass
class Run:
    """One run over one lake. `results` gathers the gates' verdicts, `failures` what did not stop the rest.

    `gold`: the gold tables that it brings up to date and publishes; the others stay as they are, and are not served.
    `goes_on`: whether steps that need Spark follow those that take records into bronze. `reached`: derived table → the
    batch up to which nothing is left to do for it, which its log does not say where a batch changes none of its rows.
    """

    lake: Lake
    context: RunContext
    progress: Progress
    run_id: str
    sources: dict[str, Source] = field(default_factory=dict)
    gold: tuple[Step, ...] = GOLD
    results: list[Result] = field(default_factory=list)
    failures: list[PipelineError] = field(default_factory=list)
    new_records: int = 0
    skipped_files: list[str] = field(default_factory=list)
    new_fields: dict[str, list[str]] = field(default_factory=dict)
    seconds_before_retry: float = 1.0
    goes_on: bool = False
    reached: dict[str, int] = field(default_factory=dict)
    _has_work: bool = False

    @property
    def served(self) -> tuple[str, ...]:
        """Tables of the set that it publishes."""
        return served(self.gold)

    @property
    def build_context(self) -> RunContext:
        """The context of derived tables, which may ask what a source's mapping says of its sessions."""
        known = {**{source.source: source for source in self._shipped}, **self.sources}
        closing = {name for name, source in known.items() if source.session_end == "required"}
        return replace(self.context, closing_sources=frozenset(closing))

    @cached_property
    def _shipped(self) -> tuple[Source, ...]:
        return shipped_sources()

    def expect_work(self) -> None:
        """There is something new: load what judges it, and start Spark if it is needed, beside the reading of it."""
        if self._has_work:
            return
        self._has_work = True
        gate.preload()
        if self.goes_on:
            # Not a daemon: a run that ends early waits until the JVM can be told so.
            threading.Thread(target=self._start_spark, name="start-spark").start()

    def _start_spark(self) -> None:
        with suppress(Exception):  # the step that needs a session asks again, and fails with the reason
            self.lake.session()

    def warm_up(self) -> None:
        """There is work to do for Spark: wait until it has started, while what judges the work is loaded."""
        self.expect_work()
        self.lake.session()

    def judge(self, crossing: gate.Gate, table: str, measured: list[Measured], rows: int) -> None:
        """Record the verdicts; raises DataRefusedError where a check of severity error does not hold."""
        results = gate.judge(crossing, table, measured, rows)
        with _gathering:
            self.results += results
        gate.stop_on_failure(results)

    def attempt(self, step: str, work: Callable[[], None]) -> None:
        """Do `work`; on a failure that may pass (a conflict, a connection) again, with exponential backoff and jitter.

        Every step begins by reading the state of the tables, so doing it again takes up where it stands.
        """

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.progress.log("step_retried", step=step, attempt=state.attempt_number, error=_first_line(error))
            self.progress.say(f"  ↻ {step}: {_first_line(error)}; trying again")

        tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            stop=tenacity.stop_after_attempt(1 + _RETRIES),
            wait=tenacity.wait_exponential_jitter(
                multiplier=self.seconds_before_retry, jitter=self.seconds_before_retry
            ),
            before_sleep=tell,
            reraise=True,
        )(work)

    def spare_others(self, work: Callable[[], None], step: str) -> None:
        """Attempt `work`; its failure is kept in `failures` and does not stop the run."""
        try:
            self.attempt(step, work)
        except PipelineError as error:
            self.failures.append(error)


_gathering = threading.Lock()


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or [""])[0]
