"""Errors that a user can act on; each ends a job with one line and its exit code."""

from __future__ import annotations


class PipelineError(Exception):
    """Base: the message is for the user, `exit_code` for the scheduler."""

    exit_code = 3


class DataRefusedError(PipelineError):
    """A quality gate of severity error did not hold; nothing downstream saw the batch."""

    exit_code = 1


class ConfigurationError(PipelineError):
    """Wrong usage or configuration."""

    exit_code = 2


class InfrastructureError(PipelineError):
    """Storage, network or another process stands in the way."""

    exit_code = 3
