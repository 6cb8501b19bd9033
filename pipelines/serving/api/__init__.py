"""The published tables over HTTP: read-only, by API key, each key its own sites."""
