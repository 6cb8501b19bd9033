"""The same work as other engines do it: one module each, written as those who know the engine would write it.

`python -m benchmarks.peers.NAME OUT LANDING…` reads every `*.jsonl` of the landing folders (the `web` format, times
always as benchmarks/events.py writes them) and writes these tables as Parquet files in `OUT/<table>/`. All of it
follows docs/metrics.md for a site that counts in UTC, and counts bots and test users:

- events (one row a distinct event): site_id, event_id, event_type, event_time, event_date, anonymous_id, user_id,
  visitor_id, session_id, session_date, page_url, page_path, user_agent, load_time_ms, scroll_depth_pct, value.
  A line that is no JSON object, or has no site, id, type, identity or readable time, is dropped; a number that cannot
  be read is null. Of the copies of (site_id, event_id, UTC date) the one with the least event_time stays. A pause of
  more than 30 minutes between a visitor's events opens a session.
- sessions: site_id, session_id, visitor_id, start_time, end_time, session_date, event_count, page_view_count
- funnel_daily (sessions by the date they started that went through STEPS in order up to the step, at any time of the
  session): site_id, date, step_number, sessions
- active_users_daily (exact distinct visitors of the date, and of the 30 days that end on it, where there are any):
  site_id, date, dau, mau
- page_metrics_daily (exact percentiles of load_time_ms, interpolated): site_id, date, page, views, visitors, p50_ms,
  p90_ms

Memory, threads and the place for temporary files are the engine's own choice unless the environment says otherwise.
"""

import sys

STEPS = ("^/category(/|$)", "^/product(/|$)", "^/cart(/|$)", "^/checkout(/|$)")
"""The page that a page view must show to reach each step; the same as in benchmarks/conf/funnels.yaml."""
GAP_SECONDS = 1800
MONTH_DAYS = 30
EVENT_TYPES = (
    *("page_view", "click", "scroll", "form_start", "form_submit", "video_play", "purchase", "conversion", "error"),
    *("session_start", "session_end", "like", "comment", "view", "custom_event"),
)
"""Any other type is a custom_event."""
PATH = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)"
"""Its group is the path of a URL."""


def places() -> tuple[str, list[str]]:
    """OUT and LANDING… as the command line gives them."""
    return sys.argv[1], sys.argv[2:]
