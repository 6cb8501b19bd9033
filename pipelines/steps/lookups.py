"""What user agents, referrers and addresses say: asked once for each distinct value, here, and joined back."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyspark.sql import DataFrame

from pipelines.enrichment import agents, channels, geo
from pipelines.lake import Lake
from pipelines.run import Run
from pipelines.silver import enrich


def enriched(run: Run, records: DataFrame, rows: int) -> DataFrame:
    """Records of silver/canonical.py, about so many, with what the lookups say (silver/enrich.py)."""
    return enrich.build(records, _answers(run, records, rows))


def _answers(run: Run, records: DataFrame, rows: int) -> dict[str, DataFrame]:
    """The answers of each lookup that the records ask, a row per distinct value."""
    domains = {name: site.domains for name, site in run.context.sites.sites.items()}
    answer: dict[str, Callable[[pa.Table], pa.Table]] = {
        "agents": lambda asked: agents.lookup(asked["user_agent"]),
        "touches": lambda asked: channels.lookup(asked, domains, run.context.sites.defaults.domains),
        "places": lambda asked: geo.lookup(asked["ip"], run.context.settings.geo.mmdb),
    }
    answers = {}
    for name, asked in _asked(run.lake, records, rows).items():
        if asked.num_rows:
            answers[name] = run.lake.frame(answer[name](asked.rename_columns(list(enrich.ASKED[name].values()))))
    return answers


def _asked(lake: Lake, records: DataFrame, rows: int) -> dict[str, pa.Table]:
    """Lookup → distinct values that the records hold for it."""
    if not lake.fits_page(rows):
        return {
            name: records.where(enrich.is_asked(name)).select(*columns).distinct().toArrow()
            for name, columns in enrich.ASKED.items()
        }
    # Few records are fetched by one query and told apart here, where three with a sort each would take seconds.
    flags = {name: enrich.is_asked(name).alias(f"_{name}") for name in enrich.ASKED}
    columns = dict.fromkeys(column for columns in enrich.ASKED.values() for column in columns)
    page = records.select(*columns, *flags.values()).toArrow()
    return {
        name: page.filter(page[f"_{name}"]).group_by(list(names)).aggregate([]) for name, names in enrich.ASKED.items()
    }
