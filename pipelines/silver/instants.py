"""Text → instant: ISO-8601 with any offset, epoch seconds, milliseconds or microseconds, or a declared format."""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_DATE_FIRST = r"^\d{4}-\d{2}-\d{2}"
# Date and time of day and nothing after it. What does follow is an offset or a zone's name, in one of many spellings.
_WITHOUT_OFFSET = r"^\d{4}-\d{2}-\d{2}([Tt ](\d{1,2}(:\d{1,2}(:\d{1,2}([.,]\d*)?)?)?)?)?\s*$"


def parse(text: Column, time_format: str | None, zone: str) -> Column:
    """The instant in UTC, to the microsecond; null where it cannot be read.

    A time without an offset is taken in `zone`. A number is an epoch: seconds below 1e11, milliseconds below 1e14,
    microseconds below 1e17. With a declared format only that is tried, and before a number, which may be of that form.
    """
    if time_format is not None:
        written = F.try_to_timestamp(text, F.lit(time_format))
        symbols = re.sub(r"'[^']*'", "", time_format)  # without quoted words, which say nothing
        has_offset = F.lit(any(symbol in symbols for symbol in "zZXxVO"))
    else:
        # A date must come first: Spark would read `12:30` as today and `2026` as a year.
        # What Spark does not read at once is tried in Spark's spelling: 12:00,5 and 12:00Z and +0100 and small letters.
        spelled = F.regexp_replace(F.upper(text), r",(\d)", ".$1")
        spelled = F.regexp_replace(spelled, r"^(.{10}[T ]\d{2}:\d{2})(Z|[+-])", "$1:00$2")
        spelled = F.regexp_replace(spelled, r"([+-]\d{2})(\d{2})$", "$1:$2")
        read = F.coalesce(text.try_cast("timestamp"), spelled.try_cast("timestamp"))
        written = F.when(text.rlike(_DATE_FIRST), read)
        has_offset = ~text.rlike(_WITHOUT_OFFSET)
    local = written if zone == "UTC" else F.when(has_offset, written).otherwise(F.to_utc_timestamp(written, zone))
    if time_format is not None:
        return F.coalesce(local, F.when(text.rlike(_NUMBER), _epoch(text)))
    # What most sources send, 2026-01-05T12:00:00Z with any fraction, needs no pattern to be told from all others.
    dashes = (F.substring(text, 5, 1) == "-") & (F.substring(text, 8, 1) == "-") & (F.substring(text, 11, 1) == "T")
    usual = F.when(dashes & F.endswith(text, F.lit("Z")), text.try_cast("timestamp"))
    return F.coalesce(usual, F.when(text.rlike(_NUMBER), _epoch(text)).otherwise(local))


def _epoch(text: Column) -> Column:
    number = text.try_cast("decimal(38,9)")
    size = F.abs(number)
    micros = (
        F.when(size < F.lit(10**11).cast("decimal(38,0)"), number * 1_000_000)
        .when(size < F.lit(10**14).cast("decimal(38,0)"), number * 1_000)
        .when(size < F.lit(10**17).cast("decimal(38,0)"), number * 1)
    )
    return F.timestamp_micros(F.round(micros).cast("bigint"))
