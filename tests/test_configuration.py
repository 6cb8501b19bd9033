"""conf/settings, conf/sites.yaml and conf/funnels.yaml: what ships is read, and a mistake is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.config import CONF, display_path
from pipelines.errors import ConfigurationError
from pipelines.funnels import Funnels, load_funnels
from pipelines.settings import load_settings, load_sites
from tests.rows import utc

ENVIRONMENTS = sorted(path.stem for path in (CONF / "settings").iterdir() if path.stem != "base")


def mistake(load: Callable[[], object]) -> str:
    """The one line by which a file is refused."""
    with pytest.raises(ConfigurationError) as refused:
        load()
    (line,) = str(refused.value).splitlines()
    assert refused.value.exit_code == 2
    return line


# --- what ships -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_that_ships_is_valid(environment: str) -> None:
    assert load_settings(environment).environment == environment


def test_an_environment_overrides_the_base_key_by_key() -> None:
    base = yaml.safe_load((CONF / "settings" / "base.yaml").read_text())
    local, prod = load_settings("local"), load_settings("prod")
    assert (local.spark.master, prod.spark.master) == ("local[*]", None)
    assert (local.spark.shuffle_partitions, prod.spark.shuffle_partitions) == (2, base["spark"]["shuffle_partitions"])
    assert (local.log_format, prod.log_format) == ("human", "json")
    assert local.anomalies == prod.anomalies
    assert local.anomalies.long_gap_seconds == base["anomalies"]["long_gap_seconds"]
    assert local.earliest_time == datetime(2000, 1, 1, tzinfo=UTC)


def test_only_the_local_environment_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_HASH_KEY", raising=False)
    holders = [name for name in ENVIRONMENTS if load_settings(name).privacy.hash_key]
    assert holders == ["local"]
    assert "set the environment variable PIPELINE_HASH_KEY" in mistake(load_settings("prod").privacy.key)

    monkeypatch.setenv("PIPELINE_HASH_KEY", "from outside")
    assert load_settings("prod").privacy.key() == load_settings("local").privacy.key() == "from outside"


def test_the_sites_and_funnels_that_ship_are_valid() -> None:
    assert load_sites().of("shop").timezone == "Europe/Berlin"
    assert [step.name for step in load_funnels().funnels["stages"].steps] == [
        *("Entry", "Browse", "Product", "Cart", "Checkout", "Confirmation")
    ]


# --- settings -------------------------------------------------------------------------------------------------------


def settings_folder(tmp_path: Path, override: dict[str, Any] | str) -> Path:
    """The shipped base with an environment `mine` of the test's own."""
    (tmp_path / "base.yaml").write_text((CONF / "settings" / "base.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(override if isinstance(override, str) else yaml.safe_dump(override))
    return tmp_path


def test_an_empty_environment_is_the_base(tmp_path: Path) -> None:
    folder = settings_folder(tmp_path, "# nothing differs\n")
    assert load_settings("mine", folder).model_dump(exclude={"environment"}) == {
        **load_settings("prod").model_dump(exclude={"environment"}),
        "lakehouse": ".lake",
    }


def test_lists_and_values_are_replaced_and_mappings_merged(tmp_path: Path) -> None:
    override = {"anomalies": {"error_words": ["oops"]}, "spark": {"conf": {"spark.x": "1"}}, "tiers": {"casual": 2}}
    settings = load_settings("mine", settings_folder(tmp_path, override))
    assert settings.anomalies.error_words == ("oops",)
    assert settings.anomalies.min_sessions == load_settings("prod").anomalies.min_sessions
    assert settings.spark.conf == {**load_settings("prod").spark.conf, "spark.x": "1"}
    assert (settings.tiers.power, settings.tiers.casual) == (20, 2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"lakehous": "x"}, "lakehous: unknown key, got 'x'"),
        ({"spark": {"partitions": 2}}, "spark.partitions: unknown key, got 2"),
        ({"spark": {"shuffle_partitions": 0}}, "spark.shuffle_partitions: Input should be greater than 0, got 0"),
        ({"spark": "local"}, "spark: Input should be a valid dictionary or instance of SparkSettings, got 'local'"),
        ({"log_format": "xml"}, "log_format: Input should be 'human' or 'json', got 'xml'"),
        (
            {"gates": {"dead_letter_share": {"severity": "fatal"}}},
            "gates.dead_letter_share.severity: Input should be 'error' or 'warn', got 'fatal'",
        ),
        ({"anomalies": {"error_words": []}}, "anomalies.error_words: Tuple should have at least 1 item"),
        (
            {"anomalies": {"error_page": {"least_rate": 5}}},
            "anomalies.error_page.least_rate: Input should be less than or equal to 1, got 5",
        ),
        ({"anomalies": {"dead_loop": {"repeat": 4}}}, "anomalies.dead_loop.repeat: unknown key, got 4"),
        ({"metric_anomalies": {"k_close": 6}}, "metric_anomalies: expected k_close <= k_open <= k_critical"),
        ({"metric_anomalies": {"weeks": 3}}, "metric_anomalies: min_weekdays: expected at most weeks"),
        ({"metric_anomalies": {"trailing_days": 5}}, "metric_anomalies: min_trailing_days: expected at most trailing"),
        ({"kpis": {"targets": {"bounces": {"at_most": 1}}}}, "kpis.targets.bounces.[key]: Input should be 'unique"),
        (
            {"kpis": {"targets": {"bounce_rate": {"at_least": 0.1}}}},
            "kpis.targets.bounce_rate: expected either at_least or at_most",
        ),
        (
            {"kpis": {"health": {"anomalies": {"weight": 20}}}},
            "kpis.health: expected weights that add up to 100, got 90",
        ),
        ({"kpis": {"health": {"bot_share": {"from": 0.8}}}}, "kpis.health.bot_share: expected from < to"),
        (
            {"kpis": {"engagement": {"actions": {"full": 0}}}},
            "kpis.engagement.actions.full: Input should be greater than 0, got 0",
        ),
        ({"tiers": {"casual": 6}}, "tiers: expected 30 >= power > core > regular > casual >= 1"),
        ({"segments": ["browser"]}, "segments.0: Input should be 'device_type', 'country', 'channel' or 'tier'"),
        (
            {"engagement": {"declining_below": 1.5}},
            "engagement.declining_below: Input should be less than or equal to 1",
        ),
        (
            {"engagement": {"churn_risk": {"declining": 0.1234}}},
            "engagement.churn_risk.declining: Decimal input should have no more than 3 decimal places",
        ),
        (
            {"engagement": {"churn_risk": {"active_days": [{"below": 6, "risk": 0.1}, {"below": 3, "risk": 0.3}]}}},
            "engagement.churn_risk: active_days: expected rising limits, the first that holds counts",
        ),
        (
            {"engagement": {"churn_risk": {"days_since_active": [{"above": 3, "risk": 0}, {"above": 7, "risk": 0}]}}},
            "engagement.churn_risk: days_since_active: expected falling limits, the first that holds counts",
        ),
        ({"earliest_time": "early"}, "earliest_time: Input should be a valid datetime"),
    ],
)
def test_a_mistake_in_settings_is_one_line(tmp_path: Path, override: dict[str, Any], words: str) -> None:
    folder = settings_folder(tmp_path, override)
    line = mistake(lambda: load_settings("mine", folder))
    assert line.startswith(f"{folder}/base.yaml + mine.yaml: {words}")


def test_each_mistake_has_its_line(tmp_path: Path) -> None:
    folder = settings_folder(tmp_path, {"log_format": "xml", "lakehous": "x"})
    with pytest.raises(ConfigurationError) as refused:
        load_settings("mine", folder)
    assert len(str(refused.value).splitlines()) == 2


def test_an_unknown_environment_lists_the_known_ones() -> None:
    line = mistake(lambda: load_settings("base"))
    assert line == "--env: expected one of local, prod, staging, got 'base'"


# --- sites ----------------------------------------------------------------------------------------------------------


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_site_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    content = {
        "defaults": {"timezone": "Asia/Tokyo", "session": {"gap_seconds": 60}, "test_users": {"user_id_pattern": "^t"}},
        "sites": {
            "shop": {"session": {"key": "client"}, "test_users": {"user_id_pattern": None}},
            "blog": None,
            42: {},
        },
    }
    sites = load_sites(write(tmp_path / "sites.yaml", content))
    shop = sites.of("shop")
    assert (shop.timezone, shop.session.key, shop.session.gap_seconds) == ("Asia/Tokyo", "client", 60)
    assert shop.test_users.user_id_pattern is None
    assert sites.of("blog") == sites.of("42") == sites.of("unlisted") == sites.defaults
    assert "42" in sites.sites


@pytest.mark.parametrize("content", ["", "defaults:\n", "sites:\n"])
def test_nothing_said_about_sites_means_the_defaults(tmp_path: Path, content: str) -> None:
    assert load_sites(write(tmp_path / "sites.yaml", content)).of("shop").timezone == "UTC"


def test_an_unquoted_null_is_the_word_null(tmp_path: Path) -> None:
    path = write(
        tmp_path / "sites.yaml", "sites: {shop: {single_event_duration: null}, blog: {single_event_duration: zero}}"
    )
    sites = load_sites(path)
    assert [sites.of(name).single_event_duration for name in ("shop", "blog")] == ["null", "zero"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"site": {}}, "site: unknown key"),
        ({"sites": {"shop": {"gap": 5}}}, "sites.shop.gap: unknown key, got 5"),
        (
            {"sites": {"shop": {"timezone": "Berlin"}}},
            "sites.shop.timezone: expected an IANA time zone such as Europe/Berlin, got 'Berlin'",
        ),
        ({"defaults": {"timezone": "../etc/passwd"}}, "defaults.timezone: expected an IANA time zone"),
        (
            {"sites": {"shop": {"session": {"gap_seconds": 0}}}},
            "sites.shop.session.gap_seconds: Input should be greater than 0",
        ),
        (
            {"sites": {"shop": {"session": {"key": "tab"}}}},
            "sites.shop.session.key: Input should be 'inactivity' or 'client'",
        ),
        (
            {"sites": {"shop": {"test_users": {"user_id_pattern": "(test"}}}},
            "sites.shop.test_users.user_id_pattern: not a regular expression (missing ), unterminated subpattern",
        ),
        (
            {"sites": {"shop": {"activity_threshold": 0}}},
            "sites.shop.activity_threshold: Input should be greater than or equal to 1",
        ),
        ({"sites": {"shop": {"count_bots": "perhaps"}}}, "sites.shop.count_bots: Input should be a valid boolean"),
        ({"sites": {"shop": {"privacy": {"hash": True}}}}, "sites.shop.privacy.hash: unknown key"),
        (
            {"sites": {"shop": {"dedupe": "never"}}},
            "sites.shop.dedupe: Input should be 'same_date' or 'any_time', got 'never'",
        ),
        ({"sites": {"shop": {"link_parameter": "a=b"}}}, "sites.shop.link_parameter: String should match pattern"),
        ({"sites": ["shop"]}, "sites: Input should be a valid dictionary"),
        ({"sites": {"shop": "Europe/Berlin"}}, "sites.shop: Input should be a valid dictionary or instance of Site"),
        ("sites: {no: {timezone: Europe/Oslo}}", "sites: YAML reads a site's name as False: quote it"),
        ("sites: [shop", "not valid YAML: "),
        ("- shop", "expected keys and values, found a list"),
        ("just words", "expected keys and values, found a str"),
    ],
)
def test_a_mistake_in_sites_is_one_line(tmp_path: Path, content: Any, words: str) -> None:
    path = write(tmp_path / "sites.yaml", content)
    assert mistake(lambda: load_sites(path)).startswith(f"{path}: {words}")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("sites: {größe: {}}".encode("latin-1"))
    assert mistake(lambda: load_sites(tmp_path / "latin.yaml")) == f"{tmp_path}/latin.yaml: not UTF-8 text (byte 10)"
    missing = tmp_path / "sites.yaml"
    assert mistake(lambda: load_sites(missing)) == f"{missing}: cannot be read (No such file or directory)"
    assert mistake(lambda: load_sites(tmp_path)) == f"{tmp_path}: cannot be read (Is a directory)"


def test_a_file_of_the_project_is_named_as_one_would_type_it() -> None:
    assert display_path(CONF / "sites.yaml") == "conf/sites.yaml"


@pytest.mark.parametrize(
    ("site", "now", "expected"),
    [
        ("shop", "2026-01-05 22:59:59", date(2026, 1, 4)),
        ("shop", "2026-01-05 23:00:00", date(2026, 1, 5)),
        ("blog", "2026-01-06 04:59:59", date(2026, 1, 4)),
        ("unlisted", "2026-01-06 00:00:00", date(2026, 1, 5)),
    ],
)
def test_the_last_complete_date_goes_by_the_sites_clock(site: str, now: str, expected: date) -> None:
    assert load_sites().of(site).last_complete_date(utc(now)) == expected


# --- funnels --------------------------------------------------------------------------------------------------------


def funnel(**step: Any) -> dict[str, Any]:
    return {"funnels": {"f": {"steps": [{"name": "First", **step}]}}}


def test_a_funnel_may_have_no_steps_and_a_file_no_funnels(tmp_path: Path) -> None:
    assert load_funnels(write(tmp_path / "a.yaml", {"funnels": {"f": {}}})).funnels["f"].steps == ()
    assert load_funnels(write(tmp_path / "b.yaml", "")).funnels == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (funnel(pages="/x"), "funnels.f.steps.0.pages: unknown key, got '/x'"),
        (
            funnel(page="/cart["),
            "funnels.f.steps.0.page: not a regular expression (unterminated character set at position 5)",
        ),
        (funnel(name=""), "funnels.f.steps.0.name: String should have at least 1 character"),
        (
            {"funnels": {"f": {"mode": "loose"}}},
            "funnels.f.mode: Input should be 'presence', 'ordered', 'strict' or 'unordered', got 'loose'",
        ),
        ({"funnels": {"f": {"steps": "Entry"}}}, "funnels.f.steps: Input should be a valid tuple, got 'Entry'"),
        ({"funnels": {"f": {"sites": [1]}}}, "funnels.f.sites.0: Input should be a valid string, got 1"),
    ],
)
def test_a_mistake_in_funnels_is_one_line(tmp_path: Path, content: Any, words: str) -> None:
    path = write(tmp_path / "funnels.yaml", content)
    assert mistake(lambda: load_funnels(path)).startswith(f"{path}: {words}")


TWO = [{"name": "One"}, {"name": "Two"}]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "presence", "window_seconds": 60}, "window_seconds: expected a mode with an order or a window"),
        ({"mode": "presence", "scope": "person"}, "scope: expected session"),
        ({"scope": "person"}, "window_seconds: expected for scope person"),
        ({"mode": "unordered", "strict_increase": True}, "strict_increase: expected mode ordered or strict"),
        (
            {"exclude": [{"between": [2, 1]}]},
            "exclude.0.between: expected two positions in order, from 1 to 2, got [2, 1]",
        ),
        (
            {"exclude": [{"between": [1, 3]}]},
            "exclude.0.between: expected two positions in order, from 1 to 2, got [1, 3]",
        ),
        ({"mode": "unordered", "exclude": [{"between": [1, 2]}]}, "exclude.0.between: expected none"),
        ({"steps": TWO[:1], "exclude": [{}]}, "exclude: expected two steps at least"),
        ({"steps": TWO * 9}, "steps: expected at most 16"),
    ],
)
def test_a_funnel_that_cannot_be_is_one_line(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "funnels.yaml", {"funnels": {"f": {"mode": "ordered", "steps": TWO, **given}}})
    assert mistake(lambda: load_funnels(path)).startswith(f"{path}: funnels.f: {words}")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"breakdown": "weather"}, "breakdown: Input should be 'channel', 'traffic_source', "),
        ({"window_seconds": -1}, "window_seconds: Input should be greater than or equal to 0, got -1"),
        ({"window_seconds": 8_000_000}, "window_seconds: Input should be less than or equal to 7776000, got 8000000"),
        ({"exclude": [{"between": [1]}]}, "exclude.0.between.1: Field required"),
    ],
)
def test_a_value_of_a_funnel_that_cannot_be_is_named(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "funnels.yaml", {"funnels": {"f": {"mode": "ordered", "steps": TWO, **given}}})
    assert mistake(lambda: load_funnels(path)).startswith(f"{path}: funnels.f.{words}")


def test_only_funnels_of_persons_look_ahead() -> None:
    person = {"mode": "ordered", "scope": "person", "steps": TWO}
    funnels = {"a": {**person, "window_seconds": 60}, "b": {**person, "window_seconds": 86_400}}
    assert load_funnels().days_ahead is None
    assert Funnels.model_validate({"funnels": funnels}).days_ahead == 3
