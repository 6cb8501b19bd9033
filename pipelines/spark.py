"""The only module that builds a Spark session, and that knows how one is sized."""

from __future__ import annotations

import logging
import os
import sys

from py4j.java_gateway import JavaClass, JavaMember, JVMView
from pyspark import SparkConf, SparkContext
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
    # Left to its default, Spark 4.2 reads an environment variable for each value that it takes from an array.
    "spark.sql.types.framework.enabled": "false",
    # Else each call that makes a column tells the JVM where in the Python code it stands, by ten messages.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}

# What PySpark looks up in the JVM by name whenever it makes a column or asks for the session.
_CLASSES = (
    *("functions", "org.apache.spark.sql.functions", "PythonUtils", "PythonSQLUtils"),
    *("org.apache.spark.sql.expressions.Window", "org.apache.spark.sql.classic.SparkSession"),
)

_FEW_ROWS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",  # so many files are looked at without a job
}


def build_session(settings: SparkSettings, app_name: str = "medallion") -> SparkSession:
    """Start a session, or take the one that runs; raises InfrastructureError where Spark cannot start."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # PySpark prints every failed query as a page of JSON; the run's own log keeps the error.
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL + 1)
    builder = SparkSession.builder.appName(app_name)
    if settings.master and not _is_submitted():
        builder = builder.master(settings.master)
    sized = {"spark.sql.shuffle.partitions": str(settings.shuffle_partitions), **settings.conf}
    for key, value in {**sized, **_FIXED}.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # py4j wraps whatever stopped the JVM
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"Spark could not start: {reason} (is the set-up complete? try `make setup`)"
        ) from error
    _remember_classes(session.sparkContext._jvm)
    return session


def runs_locally(settings: SparkSettings) -> bool:
    """Whether Spark's tasks run on this machine, as far as is known before a session starts."""
    if settings.master and not _is_submitted():
        return settings.master.startswith("local")
    SparkContext._ensure_initialized()  # only the JVM knows what spark-submit was told; it runs already
    return SparkConf().get("spark.master", "local").startswith("local")


def _is_submitted() -> bool:
    """Whether spark-submit started this process, and so has chosen the master already."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


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


class _Remembered(JavaClass):  # type: ignore[misc]  # py4j says nothing of its types
    """A class of the JVM that is asked once for each of its static methods.

    PySpark asks for class and method anew at each call: of the messages that a run exchanges with the JVM, most of them
    to describe columns, that was more than half.
    """

    def __getattr__(self, name: str) -> object:
        found = super().__getattr__(name)
        if isinstance(found, JavaMember):
            self.__dict__[name] = found
        return found


def _remember_classes(jvm: JVMView) -> None:
    for name in _CLASSES:
        found = getattr(jvm, name)
        setattr(jvm, name, _Remembered(found._fqn, found._gateway_client))
