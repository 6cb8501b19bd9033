"""The document as one HTML file: nothing is loaded from anywhere, and only the scripts that belong to it may run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.serving.report.cards import CARDS
from pipelines.serving.report.sections import SECTIONS, definitions, pitfalls

_SCRIPTS = ("format.js", "parts.js", "people.js", "journeys.js", "origins.js", "trust.js", "app.js")


def render(document: dict[str, Any], made_at: datetime) -> str:
    """One self-contained page.

    Plotly is carried compressed (a third of its size) and started by the page itself; the policy names the hash of what
    comes out of the packing, as it names the page's own script.
    """
    environment = Environment(
        loader=PackageLoader("pipelines.serving.report", "templates"), autoescape=True, undefined=StrictUndefined
    )
    own = files("pipelines.serving.report") / "templates"
    script = "".join((own / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    theme = (own / "theme.js").read_text(encoding="utf-8")
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    style = (own / "report.css").read_text(encoding="utf-8")
    allowed = " ".join(map(_hash, (theme.encode(), script.encode(), plotly)))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    first = document["sites"][0]
    return environment.get_template("report.html.j2").render(
        policy=policy,
        style=style,
        theme=theme,
        script=script,
        plotly=base64.b64encode(gzip.compress(plotly, 9, mtime=0)).decode(),
        document=_json({**document, "cards": [vars(card) for card in CARDS]}),
        sections=[(section, definitions(section), pitfalls(section)) for section in SECTIONS],
        sites=[site["id"] for site in document["sites"]],
        first=next((p for p in first["periods"] if p["kind"] == "week"), first["periods"][0]),
        made_at=made_at,
    )


def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _json(document: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
