"""How far a journey's events get through a funnel's steps, and when: one pass over a sorted array.

Events are folded from the last to the first, so that all that may follow an event is known when it is met: an attempt
is decided at its first event, each for itself, and the best is kept. What is remembered on the way is one chain for
each step, so the cost is events × steps, however many attempts overlap.

A *chain* for position p is struct(times, killed_at): when steps p + 1, p + 2 … are reached, each as early as can be,
and the first exclusion that comes between the steps it must not come between (null: none).

The fold is written as a SQL expression: as Column calls it is thousands of round trips to the JVM, half a second a
funnel. In it `s` is the state and `e` the event that is met; an instant is judged when the fold leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.funnels import Funnel

MICROS = 1_000_000

_TIMES = "cast(array() as array<bigint>)"
_NEVER = "cast(null as bigint)"
_NO_CHAIN = f"named_struct('times', {_TIMES}, 'killed_at', {_NEVER})"
_NO_EVENTS = "cast(array() as array<struct<at: bigint, steps: int>>)"
_IS_NEW = "(not (s.at <=> e.at))"
"""Whether the event leaves the instant of the state behind."""


def best_attempts(days: str, funnel: Funnel, bits: str) -> Column:
    """For each of `days` how far the best attempt that starts on it gets: array<array<bigint>>, in the same order.

    `days`: SQL for an array that holds for each day an array of structs with `at` (µs) and an int field called
    `bits`: bit i is set where the event is of step i + 1, bit `len(steps)` + i where it is of exclusion i. Days and
    their events come latest first. `strict` needs every event, the other modes only those with a bit set. An answer
    holds the µs from the attempt's first event to each step that it reaches, 0 for the first; it is empty where no
    attempt starts or every one is excluded.
    """
    mode = _MODES[funnel.mode](funnel)
    needed = "day" if funnel.mode == "strict" else f"filter(day, e -> e.{bits} <> 0)"
    met = f"transform({needed}, e -> named_struct('at', e.at, 'bits', e.{bits}))"
    # After a day's events one that leaves the last instant, and one that hands in the day's answer.
    ends = f"array(named_struct('at', {_NEVER}, 'bits', 0), named_struct('at', {_NEVER}, 'bits', -1))"
    later = [f"if({_IS_NEW} and (s.excluded & {1 << q}) <> 0, s.at, s.later[{q}])" for q in range(len(funnel.exclude))]
    return F.expr(f"""
        aggregate(
            flatten(transform({days}, day -> concat({met}, {ends}))),
            named_struct(
                'at', {_NEVER},
                'later', cast(array({", ".join(["null"] * len(later))}) as array<bigint>),
                'excluded', 0,
                'memory', {mode.memory},
                'best', {_TIMES},
                'found', cast(array() as array<array<bigint>>)
            ),
            (s, e) -> if(
                e.bits < 0,
                named_struct('at', s.at, 'later', s.later, 'excluded', s.excluded, 'memory', s.memory,
                    'best', {_TIMES}, 'found', concat(s.found, array(s.best))),
                named_struct(
                    'at', e.at,
                    -- When each exclusion first happens strictly after `at`: at the instant of a step it may as well
                    -- have come before or after both, so it is not between.
                    'later', cast(array({", ".join(later)}) as array<bigint>),
                    'excluded', if({_IS_NEW}, 0, s.excluded) | shiftright(e.bits, {len(funnel.steps)}),
                    'memory', {mode.met},
                    'best', if({mode.starts}, {_better(funnel, mode.attempt)}, s.best),
                    'found', s.found
                )
            ),
            s -> s.found
        )
    """)


def _better(funnel: Funnel, attempt: str) -> str:
    """The attempt that starts at `s.at`, where it counts and gets as far as the best, which starts later; else that."""
    reached, is_excluded = "c.times", "c.killed_at is not null"
    if funnel.window_seconds is not None:
        last = f"(s.at + {funnel.window_seconds * MICROS}L)"
        reached, is_excluded = f"filter(c.times, t -> t <= {last})", f"coalesce(c.killed_at <= {last}, false)"
    counts = f"not ({is_excluded}) and size({reached}) >= size(s.best)"
    return _let("c", attempt, f"if({counts}, transform({reached}, t -> t - s.at), s.best)")


# --- modes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mode:
    """SQL of what a mode remembers at first and when it has met `e`, of whether an attempt starts at `s.at`, and it."""

    memory: str
    met: str
    starts: str
    attempt: str


def _ordered(funnel: Funnel) -> _Mode:
    """Remembered: `filled`, what the events met at the instant can fill, and `after`, a chain for each position.

    Events of one instant may follow each other in either order, but each fills one step: `filled` holds the largest
    sets of steps that they can fill (their subsets can be filled as well). The chains begin strictly after the instant.
    """
    size = len(funnel.steps)
    steps, filled = _steps("e", funnel), f"if({_IS_NEW}, array(0), s.memory.filled)"

    def chain(position: int) -> str:
        """As far as the instant's events lead from the position, then on with what follows from there."""
        ahead = f"shiftright(f, {position})"  # how many ones it ends with: how many steps in a row are filled
        run = f"array_max(transform(s.memory.filled, f -> bit_count({ahead} ^ ({ahead} + 1)) - 1))"
        if funnel.strict_increase:
            run = "1"
        on = _prepended(funnel, "s", position, "run", f"s.memory.after[{position} + run]")
        is_filled = f"exists(s.memory.filled, f -> (f & {1 << position}) <> 0)"
        return f"if({is_filled}, {_let('run', run, on)}, s.memory.after[{position}])"

    more = (
        f"array({filled}[0] | {steps})" if funnel.strict_increase else _let("sets", filled, _grown("sets", steps, size))
    )
    chains = ", ".join(chain(position) for position in range(size))
    return _Mode(
        memory=f"named_struct('filled', array(0), 'after', array_repeat({_NO_CHAIN}, {size + 1}))",
        met=f"""named_struct(
            'filled', {more},
            'after', if({_IS_NEW}, array({chains}, s.memory.after[{size}]), s.memory.after)
        )""",
        starts=f"{_IS_NEW} and exists(s.memory.filled, f -> (f & 1) <> 0)",
        attempt=chain(0),
    )


def _strict(funnel: Funnel) -> _Mode:
    """Remembered: the chains that begin with the event met, none where it is not of the position's next step."""
    size = len(funnel.steps)

    def chain(position: int) -> str:
        following = f"s.memory[{position + 1}]"
        if funnel.strict_increase:
            following = f"if(get({following}.times, 0) > e.at, {following}, {_NO_CHAIN})"
        on = _let("after", following, _prepended(funnel, "e", position, "1", "after"))
        return f"if((e.bits & {1 << position}) <> 0, {on}, {_NO_CHAIN})"

    chains = ", ".join(chain(position) for position in range(size))
    return _Mode(
        memory=f"array_repeat({_NO_CHAIN}, {size + 1})",
        met=f"if(e.at is null, s.memory, array({chains}, {_NO_CHAIN}))",
        starts="s.at is not null and size(s.memory[0].times) > 0",
        attempt="s.memory[0]",
    )


def _unordered(funnel: Funnel) -> _Mode:
    """Remembered: the earliest events, in order, that each fill one more step than those before them.

    They are the greedy basis of a matroid (sets of events that can fill different steps): of all events from here on,
    the first k of them fill k steps as early as k steps can be filled, and a new first event displaces at most one.
    """
    size, steps = len(funnel.steps), _steps("e", funnel)
    event = f"named_struct('at', e.at, 'steps', {steps})"
    kept = "named_struct('filled', sets, 'events', concat(k.events, array(x)))"
    keep = f"if(bit_count(sets[0]) > bit_count(k.filled[0]), {kept}, k)"
    basis = f"""aggregate(
        concat(array({event}), s.memory),
        named_struct('filled', array(0), 'events', {_NO_EVENTS}),
        (k, x) -> {_let("sets", _grown("k.filled", "x.steps", size), keep)},
        k -> k.events
    )"""
    is_plain = f"bit_count({steps}) = 1 and forall(s.memory, x -> bit_count(x.steps) = 1)"
    displaced = f"concat(array({event}), filter(s.memory, x -> x.steps <> {steps}))"
    rest = f"named_struct('times', transform(slice(s.memory, 2, {size}), x -> x.at), 'killed_at', {_NEVER})"
    return _Mode(
        memory=_NO_EVENTS,
        met=f"case when {steps} = 0 then s.memory when {is_plain} then {displaced} else {basis} end",
        starts="size(s.memory) > 0 and get(s.memory, 0).at = s.at",
        attempt=_let("after", rest, _prepended(funnel, "s", 0, "1", "after")),
    )


_MODES = {"ordered": _ordered, "strict": _strict, "unordered": _unordered}


# --- chains and sets of steps ---------------------------------------------------------------------------------------


def _prepended(funnel: Funnel, at: str, position: int, run: str, following: str) -> str:
    """The chain for a position of which the next `run` steps are reached at the instant of `at`, and then `following`.

    An exclusion between steps i and j kills it where it happens after i and before j, or after i where j is not
    reached; whether that is still within the attempt's window is judged where the attempt starts.
    """
    kills = [f"{following}.killed_at"]
    for number, (first, last) in enumerate(funnel.exclusions):
        happens = f"s.later[{number}]"
        if at == "e":
            happens = f"if({_IS_NEW} and (s.excluded & {1 << number}) <> 0, s.at, {happens})"
        if first > position:
            ends = f"get({following}.times, {last - 1 - position} - {run})"
            reached, open_ = f"{position} + {run} >= {first}", f"{position} + {run} < {last}"
            kills.append(f"if({reached} and {open_} and ({ends} is null or {happens} < {ends}), {happens}, null)")
    killed_at = f"least({', '.join(kills)})" if len(kills) > 1 else kills[0]
    times = f"concat(array_repeat({at}.at, {run}), {following}.times)"
    return f"named_struct('times', {times}, 'killed_at', {killed_at})"


def _grown(sets: str, steps: str, size: int) -> str:
    """The largest sets of steps that can be filled with one event more, which is of any of `steps`.

    Where one set can grow, each that cannot is part of one that did: any can be completed to a largest one.
    """
    every = ", ".join(str(1 << i) for i in range(size))
    free = f"filter(array({every}), b -> (b & {steps} & ~taken) <> 0)"
    grown = f"flatten(transform({sets}, taken -> transform({free}, b -> taken | b)))"
    return f"""if(
        size({sets}) = 1 and bit_count({steps} & ~{sets}[0]) <= 1,
        array({sets}[0] | {steps}),
        {_let("grown", grown, f"if(size(grown) = 0, {sets}, array_distinct(grown))")}
    )"""


def _steps(event: str, funnel: Funnel) -> str:
    return f"({event}.bits & {2 ** len(funnel.steps) - 1})"


def _let(name: str, value: str, body: str) -> str:
    """`body`, in which `name` stands for a value that is worked out once."""
    return f"transform(array({value}), {name} -> {body})[0]"
