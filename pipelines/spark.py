"""The only module that builds a Spark session, and that knows how one is sized."""

from __future__ import annotations

import logging
import os
import sys

from pyspark.sql import SparkSession

from pipelines.errors import InfrastructureError
from pipelines.settings import SparkSettings

# What must hold for the numbers to be right, whatever the environment says.
_FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Instants as every reader knows them, not in the old 96-bit form that has no zone and no statistics.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",  # a record that names a field twice must not stop everybody's run
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

_FEW_ROWS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


def build_session(settings: SparkSettings, app_name: str = "medallion") -> SparkSession:
    """Start a session, or take the one that runs; raises InfrastructureError where Spark cannot start."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # PySpark prints every failed query as a page of JSON; the run's own log keeps the error.
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL + 1)
    builder = SparkSession.builder.appName(app_name)
    if settings.master and "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit has chosen already
        builder = builder.master(settings.master)
    sized = {"spark.sql.shuffle.partitions": str(settings.shuffle_partitions), **settings.conf}
    for key, value in {**sized, **_FIXED}.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # py4j wraps whatever stopped the JVM
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"Spark could not start: {reason} (is the set-up complete? try `make setup`)"
        ) from error


def for_few_rows(session: SparkSession) -> SparkSession:
    """A session beside `session`, of the same application, whose queries start at once.

    Making code for each query and planning it anew between stages takes seconds and pays for itself only over many
    rows: on a hundred records that was almost half of a run's processor time.
    """
    beside = session.newSession()
    for key in session.conf.getAll:
        if key.startswith("spark.sql.") and session.conf.isModifiable(key):
            beside.conf.set(key, str(session.conf.get(key)))
    for key, value in _FEW_ROWS.items():
        beside.conf.set(key, value)
    return beside
