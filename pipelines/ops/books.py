"""The conservation law: every record that was received is somewhere, and in one place only."""

from __future__ import annotations

from pipelines.lake import Lake

ACCOUNTED_FOR = ("accepted", "duplicates", "dead", "pending")


def books_of(lake: Lake) -> dict[str, int]:
    """The terms of received = accepted + duplicates + dead + pending, in records, from the state of the tables."""
    done, taken = lake.batch("silver.events"), lake.batch("bronze.events")
    waiting = [
        row["records"] for row in lake.rows("bronze.files", ["records", "batch_id"]) if done < row["batch_id"] <= taken
    ]
    dead = [row for row in lake.rows("ops.dead_letters", ["replayed_at"]) if row["replayed_at"] is None]
    return {
        "received": lake.count("bronze.events"),
        "accepted": lake.count("silver.events"),
        "duplicates": lake.count("ops.duplicates"),
        "dead": len(dead),
        "pending": sum(waiting),
    }
