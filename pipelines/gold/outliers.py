"""How far a value lies from its group, measured so that the outliers themselves do not move the measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

NORMAL = 0.6745
"""Makes the score comparable to standard deviations: the 0.75 quantile of the standard normal distribution."""


def modified_z_scores(frame: DataFrame, scores: Mapping[str, str], *, by: Sequence[str], min_values: int) -> DataFrame:
    """Add for each `score: value` of `scores` the columns `score` and `score`_median; values are doubles.

    score = 0.6745 * (value - median) / MAD within the group `by` (Iglewicz and Hoaglin 1993), median and MAD taken
    with linear interpolation over the rows that have a value. It is null without a value, in a group where fewer than
    `min_values` rows have one, and where the MAD is 0.
    """
    group = Window.partitionBy(*by).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    medians = {}
    deviations = {}
    judged = {}
    for score, value in scores.items():
        distance = F.col(value) - F.col(f"{score}_median")
        medians[f"{score}_median"] = F.percentile(value, 0.5).over(group)
        medians[f"{score}_values"] = F.count(value).over(group)
        deviations[f"{score}_mad"] = F.percentile(F.abs(distance), 0.5).over(group)
        can_judge = (F.col(f"{score}_values") >= min_values) & (F.col(f"{score}_mad") > 0)
        judged[score] = F.when(can_judge, F.lit(NORMAL) * distance / F.col(f"{score}_mad"))
    steps = [name for score in scores for name in (f"{score}_values", f"{score}_mad")]
    return frame.withColumns(medians).withColumns(deviations).withColumns(judged).drop(*steps)
