"""Lookups over distinct values: user agents, referrers and campaigns, addresses. Plain Python and Arrow, no Spark."""
