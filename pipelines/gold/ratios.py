"""How gold tables divide."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def ratio(numerator: Column, denominator: Column) -> Column:
    """Two whole numbers divided once, as double; 0 where there is nothing to divide by."""
    return F.when(denominator == 0, F.lit(0.0)).otherwise(numerator / denominator)
