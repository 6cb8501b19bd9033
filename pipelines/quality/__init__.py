"""Contracts → Great Expectations → verdicts."""
