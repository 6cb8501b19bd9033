"""What user agents, referrers and addresses say: asked once for each distinct value, here, and joined back."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.enrichment import agents, channels, geo
from pipelines.lake import Lake
from pipelines.run import Run
from pipelines.silver import enrich


def enriched(run: Run, records: DataFrame, rows: int) -> DataFrame:
    """Records of silver/canonical.py, about so many, with what the lookups say (silver/enrich.py)."""
    answers = _answers(run, records, rows)
    ambiguous = [name for name, told in answers.items() if pc.count_distinct(told[enrich.HASH]).as_py() < told.num_rows]
    return enrich.build(records, {name: run.lake.frame(told) for name, told in answers.items()}, ambiguous)


def _answers(run: Run, records: DataFrame, rows: int) -> dict[str, pa.Table]:
    """The answers of each lookup that the records ask, a row per distinct value, each with its hash."""
    domains = {name: site.domains for name, site in run.context.sites.sites.items()}
    answer: dict[str, Callable[[pa.Table], pa.Table]] = {
        "agents": lambda asked: agents.lookup(asked["user_agent"]),
        "touches": lambda asked: channels.lookup(asked, domains, run.context.sites.defaults.domains),
        "places": lambda asked: geo.lookup(asked["ip"], run.context.settings.geo.mmdb),
    }
    answers = {}
    for name, asked in _asked(run.lake, records, rows).items():
        if asked.num_rows:
            values = asked.drop_columns([enrich.HASH]).rename_columns(list(enrich.ASKED[name].values()))
            answers[name] = answer[name](values).append_column(enrich.HASH, asked[enrich.HASH])
    return answers


def _asked(lake: Lake, records: DataFrame, rows: int) -> dict[str, pa.Table]:
    """Lookup → distinct values that the records hold for it, each with its hash."""
    if not lake.fits_page(rows):
        return {
            name: records.select(*columns, enrich.asked_hash(name).alias(enrich.HASH))
            .where(F.col(enrich.HASH).isNotNull())
            .distinct()
            .toArrow()
            for name, columns in enrich.ASKED.items()
        }
    # Few records are fetched by one query and told apart here, where three with a sort each would take seconds.
    hashes = {name: enrich.asked_hash(name).alias(f"_{name}") for name in enrich.ASKED}
    columns = dict.fromkeys(column for columns in enrich.ASKED.values() for column in columns)
    page = records.select(*columns, *hashes.values()).toArrow()
    return {
        name: page.filter(pc.is_valid(page[f"_{name}"]))
        .group_by([*names, f"_{name}"])
        .aggregate([])
        .rename_columns([*names, enrich.HASH])
        for name, names in enrich.ASKED.items()
    }
