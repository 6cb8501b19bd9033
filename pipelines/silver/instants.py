"""Text → instant: ISO-8601 with any offset, epoch seconds, milliseconds or microseconds, or a declared format."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_DATE_FIRST = r"^\d{4}-\d{2}-\d{2}"
_OFFSET = r"([Zz]|[+-]\d{2}(:?\d{2})?|[A-Za-z]+/[A-Za-z_/]+|UTC|GMT)$"


def parse(text: Column, time_format: str | None, zone: str) -> Column:
    """The instant in UTC, to the microsecond; null where it cannot be read.

    A time without an offset is taken in `zone`. A number is an epoch: seconds below 1e11, milliseconds below 1e14,
    microseconds below 1e17. With a declared format only that is tried besides a number.
    """
    if time_format is not None:
        written = F.try_to_timestamp(text, F.lit(time_format))
        has_offset = F.lit(any(symbol in time_format for symbol in "zZXxVO"))
    else:
        # A date must come first: Spark would read `12:30` as today and `2026` as a year.
        normal = F.regexp_replace(F.regexp_replace(text, r"z$", "Z"), r"([+-]\d{2})(\d{2})$", "$1:$2")
        written = F.when(text.rlike(_DATE_FIRST), normal.try_cast("timestamp"))
        has_offset = F.substring(text, 11, 100).rlike(_OFFSET)
    local = written if zone == "UTC" else F.when(has_offset, written).otherwise(F.to_utc_timestamp(written, zone))
    return F.when(text.rlike(_NUMBER), _epoch(text)).otherwise(local)


def _epoch(text: Column) -> Column:
    number = text.try_cast("decimal(38,9)")
    size = F.abs(number)
    micros = (
        F.when(size < F.lit(10**11).cast("decimal(38,0)"), number * 1_000_000)
        .when(size < F.lit(10**14).cast("decimal(38,0)"), number * 1_000)
        .when(size < F.lit(10**17).cast("decimal(38,0)"), number * 1)
    )
    return F.timestamp_micros(F.round(micros).cast("bigint"))
