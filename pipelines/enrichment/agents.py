"""User agent → device class, browser, system, and why it is a bot's.

Browser and system are ua-parser's families. Bots are those of the crawler-user-agents list and of our own words
(`agent_words`). All of them run in ua-parser's Rust core, which tries a pattern only where its letters occur: the 1,500
patterns of the list take 4 ms per 1,000 agents, where the list's own Python takes 220.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.enrichment import agent_words as words
from pipelines.enrichment import rows

# Real agents have 50 to 300 letters. What follows is not read, so that no agent costs more than the others.
_READ = 1024

SCHEMA = rows.schema("user_agent", "device_type", "browser", "os", "bot_reason")


class Agent(NamedTuple):
    """What an agent says of itself; null where it does not say."""

    device_type: str | None
    browser: str | None
    os: str | None
    bot_reason: str | None


_NOTHING = Agent(None, None, None, None)
_EMPTY = Agent("bot", None, None, "empty_user_agent")


def lookup(values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """One row per value, in order: `user_agent` as given and the columns of Agent.

    `device_type`: desktop, mobile, tablet, bot or other (televisions, consoles, watches, glasses, unknown); it is
    `bot` exactly where `bot_reason` (empty_user_agent, automation, declared_bot) is set. A null agent (the source maps
    none) gives nulls. Hand over distinct values: 35 to 80 ms per 1,000 on a slow core, and 0.25 s once per process
    for imports and patterns. Memory is that of the values and the result.
    """
    return rows.table(((value, *describe(value)) for value in values.to_pylist()), SCHEMA)


def describe(user_agent: str | None) -> Agent:
    """The columns of one agent."""
    if user_agent is None:
        return _NOTHING
    text = user_agent[:_READ].strip()
    if text in ("", "-"):
        return _EMPTY
    patterns = _patterns()
    named = _family(patterns.devices, text)
    reason = _bot_reason(text, named, patterns)
    return Agent(
        device_type="bot" if reason else _device(text, named, patterns),
        browser=_family(patterns.browsers, text),
        os=_family(patterns.systems, text),
        bot_reason=reason,
    )


class _Patterns(NamedTuple):
    """Extractors of the Rust core."""

    browsers: Any
    systems: Any
    devices: Any
    bots: Any
    in_app: Any
    listed: Any


@cache
def _patterns() -> _Patterns:
    """Made at the first agent: a run without agents does not wait for them."""
    import crawleruseragents
    from ua_parser.loaders import load_lazy_builtins
    from ua_parser.regex import Resolver

    browsers, systems, _ = load_lazy_builtins()
    resolver = Resolver((browsers, systems, []))  # devices, two thirds of all patterns, name models: not needed
    listed = [rule["pattern"] for rule in crawleruseragents.CRAWLER_USER_AGENTS_DATA]
    return _Patterns(
        browsers=resolver.ua,
        systems=resolver.os,
        devices=_any_case(words.DEVICES),
        bots=_any_case((("automation", words.AUTOMATION), ("declared_bot", words.DECLARED))),
        in_app=_any_case((("in_app", words.IN_APP),)),
        listed=_extractor([(pattern, "declared_bot") for pattern in listed if pattern not in words.TOO_COMMON]),
    )


def _any_case(rules: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    return _extractor([(f"(?i){pattern}", name) for name, patterns in rules for pattern in patterns])


def _extractor(rules: list[tuple[str, str]]) -> Any:
    """A matcher whose `family` is the name of the first rule that matches."""
    import ua_parser_rs

    return ua_parser_rs.UserAgentExtractor([(pattern, name, None, None, None, None) for pattern, name in rules])


def _family(extractor: Any, text: str) -> str | None:
    found = extractor.extract(text)
    return found.family if found else None


def _bot_reason(text: str, named: str | None, patterns: _Patterns) -> str | None:
    """`named`: the device or system that the agent names, if any."""
    if reason := _family(patterns.bots, text):
        return reason
    start, _, rest = text.partition(" ")
    if named is None and rest and start.lower().startswith("mozilla/"):
        return "declared_bot"  # `Mozilla/5.0 (compatible; Name/1.0)`: a browser would name its system
    # Browsers inside apps show pages to people, whatever the list makes of the app's name.
    return None if _family(patterns.in_app, text) else _family(patterns.listed, text)


def _device(text: str, named: str | None, patterns: _Patterns) -> str:
    """Device class of a person's agent."""
    if named == "android":
        # Browsers on Android say `Mobile` on telephones only; what is no browser (Dalvik, an app) never does.
        agent = text.lower()
        return "tablet" if agent.startswith("mozilla/") and "mobile" not in agent else "mobile"
    if named is None:  # an app's own agent, `Name/1 CFNetwork/… Darwin/…`, from which ua-parser knows the system
        return {"iOS": "mobile", "Mac OS X": "desktop"}.get(_family(patterns.systems, text) or "", "other")
    return named
