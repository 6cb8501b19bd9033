"""Touch what a run of the pipeline touches, so that the class archive made at set-up holds the classes it loads."""

from __future__ import annotations

import tempfile

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F


def main() -> None:
    spark = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        lines = f"{folder}/lines"
        spark.range(20).select(F.to_json(F.struct("id", (F.col("id") % 2).alias("site")))).write.text(lines)
        parsed = spark.read.text(lines).select(F.from_json("value", "id string, site string").alias("record"))
        rows = parsed.select(F.col("record.site").alias("site"), F.expr("try_cast(record.id as bigint)").alias("id"))

        table = f"{folder}/table"
        rows.write.format("delta").partitionBy("site").save(table)
        rows.write.format("delta").mode("append").save(table)
        rows.where("site = '1'").write.format("delta").mode("overwrite").option("replaceWhere", "site = '1'").save(
            table
        )
        changes = rows.withColumn("id", F.col("id") + 10)
        target = DeltaTable.forPath(spark, table).alias("old")
        target.merge(changes.alias("new"), "old.id = new.id").whenNotMatchedInsertAll().execute()
        read_back(spark.read.format("delta").load(table), rows)
    spark.stop()


def read_back(table: DataFrame, other: DataFrame) -> None:
    """Windows, aggregates and joins, as the sessionizing pass and the gold tables use them."""
    order = Window.partitionBy("site").orderBy("id")
    ranked = table.withColumn("gap", F.col("id") - F.lag("id").over(order)).withColumn("n", F.row_number().over(order))
    totals = ranked.groupBy("site").agg(F.count_distinct("id"), F.sum("gap"), F.collect_list("n"), F.md5(F.max("site")))
    totals.join(other, on="site", how="left").localCheckpoint().collect()


if __name__ == "__main__":
    main()
