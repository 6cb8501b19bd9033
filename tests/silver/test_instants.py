"""Texts that say when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.silver import instants
from tests.rows import utc

NOON = utc("2026-01-05 12:00:00")


def read(
    spark: SparkSession, texts: list[str], time_format: str | None = None, zone: str = "UTC"
) -> dict[str, datetime | None]:
    """Text → instant."""
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    micros = F.unix_micros(instants.parse(F.col("text"), time_format, zone))
    return {
        text: None if value is None else datetime.fromtimestamp(value // 10**6, UTC).replace(microsecond=value % 10**6)
        for text, value in frame.select("text", micros).collect()
    }


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles"])
def test_an_offset_says_when_whatever_the_mappings_zone(spark: SparkSession, zone: str) -> None:
    expected = {
        "2026-01-05T12:00:00Z": NOON,
        "2026-01-05t12:00:00z": NOON,
        "2026-01-05 12:00:00Z": NOON,
        "2026-01-05T12:00Z": NOON,
        "2026-01-05T13:00+0100": NOON,
        "2026-01-05T12:00:00,5Z": NOON.replace(microsecond=500000),
        "2026-01-05T13:00:00+01:00": NOON,
        "2026-01-05T17:30:00+0530": NOON,
        "2026-01-05T04:00:00-08": NOON,
        "2026-01-05 13:00:00 +0100": NOON,
        "2026-01-05T13:00:00 Europe/Berlin": NOON,
        "2026-01-05T07:00:00 America/Port-au-Prince": NOON,
        "2026-01-05T12:00:00 UTC": NOON,
        "2026-01-05T13:00:00 CET": NOON,
        "2026-01-05T12:00:00.123456Z": NOON.replace(microsecond=123456),
        "2026-01-05T12:00:00.5+00:00": NOON.replace(microsecond=500000),
        "2026-01-05T12:00:00.1234567Z": NOON.replace(microsecond=123456),
    }
    assert read(spark, list(expected), zone=zone) == expected


def test_a_time_without_offset_is_taken_in_the_mappings_zone(spark: SparkSession) -> None:
    texts = ["2026-01-05t12:00:00", "2026-01-05 12:00:00,25", "2026-01-05T12:00", "2026-01-05", "2026-07-05T12:00:00"]
    in_utc = [NOON, NOON.replace(microsecond=250000), NOON, utc("2026-01-05 00:00:00"), utc("2026-07-05 12:00:00")]
    in_berlin = [
        utc("2026-01-05 11:00:00"),
        utc("2026-01-05 11:00:00.250000"),
        utc("2026-01-05 11:00:00"),
        utc("2026-01-04 23:00:00"),
        utc("2026-07-05 10:00:00"),
    ]
    assert read(spark, texts) == dict(zip(texts, in_utc, strict=True))
    assert read(spark, texts, zone="Europe/Berlin") == dict(zip(texts, in_berlin, strict=True))


@pytest.mark.fault(
    of="time",
    injected="epoch milliseconds and microseconds where seconds are expected",
    holds="the instant that was meant, not the year 55840",
)
def test_a_number_is_an_epoch_in_the_unit_that_its_size_says(spark: SparkSession) -> None:
    expected = {
        "1767614400": NOON,
        "1767614400.5": NOON.replace(microsecond=500000),
        "1767614400.1234567": NOON.replace(microsecond=123457),
        "1.7676144005E9": NOON.replace(microsecond=500000),
        "1.7676144e+09": NOON,
        "1767614400123": NOON.replace(microsecond=123000),
        "1767614400123.456": NOON.replace(microsecond=123456),
        "1.767614400123E12": NOON.replace(microsecond=123000),
        "1767614400123456": NOON.replace(microsecond=123456),
        "1.767614400123456E15": NOON.replace(microsecond=123456),
        "-1": utc("1969-12-31 23:59:59"),
        # The borders: the largest seconds, the least milliseconds, the largest of them, the least microseconds.
        "99999999999": utc("5138-11-16 09:46:39"),
        "100000000000": utc("1973-03-03 09:46:40"),
        "99999999999999": utc("5138-11-16 09:46:39.999000"),
        "100000000000000": utc("1973-03-03 09:46:40"),
        "99999999999999999": utc("5138-11-16 09:46:39.999999"),
        "100000000000000000": None,
        "1e28": None,
        "1e400": None,
    }
    assert read(spark, list(expected)) == expected
    assert read(spark, list(expected), zone="Europe/Berlin") == expected  # an epoch has no zone


@pytest.mark.fault(
    of="time", injected="30 February, hour 25, `now`, NaN", holds="a dead letter `bad_timestamp`, never a guess"
)
def test_what_is_no_instant_cannot_be_read(spark: SparkSession) -> None:
    texts = [
        "",
        "yesterday",
        "now",
        "today",
        "epoch",
        "NaN",
        "Infinity",
        "true",
        "12:30",
        "T12:30",
        "2026-1-5",
        "2026-01",
    ]
    texts += [
        "2026-02-30",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-05T25:00:00Z",
        "2026-01-05T12:61:00Z",
    ]
    texts += ["2026-01-05T12:00:00+25:00", "2026-01-05 12:00:00 nowhere", "2026-01-05junk", "10000-01-01", "0x10"]
    assert read(spark, texts) == dict.fromkeys(texts)


@pytest.mark.fault(of="time", injected="`2026` as a time", holds="before the earliest time: refused")
def test_a_bare_year_or_compact_date_is_an_early_epoch_and_never_today(spark: SparkSession) -> None:
    # Both lie before the earliest time that settings allow, so such a record is refused.
    assert read(spark, ["2026", "20260105"]) == {
        "2026": utc("1970-01-01 00:33:46"),
        "20260105": utc("1970-08-23 11:48:25"),
    }


def test_a_declared_format_is_the_only_one_besides_a_number(spark: SparkSession) -> None:
    expected = {
        "05/Jan/2026:13:00:00 +0100": NOON,
        "05/Jan/2026:04:00:00 -0800": NOON,
        "31/Feb/2026:12:00:00 +0000": None,
        "05/Jan/2026:12:00:00": None,
        "05/Jan/2026:12:00:00 +0000 more": None,
        "2026-01-05T12:00:00Z": None,
        "1767614400": NOON,
    }
    form = "dd/MMM/yyyy:HH:mm:ss Z"
    assert read(spark, list(expected), form) == expected
    assert read(spark, list(expected), form, "Europe/Berlin") == expected  # the offset says when


def test_a_declared_format_without_offset_is_taken_in_the_mappings_zone(spark: SparkSession) -> None:
    assert read(spark, ["05.01.2026 13:00"], "dd.MM.yyyy HH:mm", "Europe/Berlin") == {"05.01.2026 13:00": NOON}
    # Letters within quotes are no offset.
    quoted = "2026-01-05 Zeit 13:00"
    assert read(spark, [quoted], "yyyy-MM-dd 'Zeit' HH:mm", "Europe/Berlin") == {quoted: NOON}


def test_digits_of_the_declared_format_are_no_epoch(spark: SparkSession) -> None:
    assert read(spark, ["20260105120000"], "yyyyMMddHHmmss") == {"20260105120000": NOON}
    assert read(spark, ["20260105"], "yyyyMMdd") == {"20260105": utc("2026-01-05 00:00:00")}
