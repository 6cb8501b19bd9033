"""The report that a product manager reads on Monday: one HTML file from the published tables, without Spark."""
