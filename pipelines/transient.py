"""Which failures may pass by themselves: a conflict with another writer, a connection, a store that is busy."""

from __future__ import annotations

from deltalake.exceptions import CommitFailedError

from pipelines.errors import InfrastructureError, PipelineError

# Names of Java and Rust errors, and of what object stores answer, as they stand in a failure's text.
_SIGNS = (
    "ConcurrentAppendException",
    "ConcurrentDeleteReadException",
    "ConcurrentDeleteDeleteException",
    "ConcurrentTransactionException",
    "ConcurrentWriteException",
    "ConcurrentModificationException",
    "MetadataChangedException",
    "ProtocolChangedException",
    "SocketTimeoutException",
    "SocketException",
    "ConnectException",
    "NoHttpResponseException",
    "UnknownHostException",
    "SlowDown",
    "503 Service Unavailable",
    "TooManyRequests",
    "ExecutorLostFailure",
    "connection reset",
    "connection closed",
    "operation timed out",
)


def is_transient(error: BaseException) -> bool:
    """Whether trying again is worth it; of a one-line error what it was made from decides."""
    if isinstance(error, PipelineError):
        return isinstance(error, InfrastructureError) and error.__cause__ is not None and is_transient(error.__cause__)
    if isinstance(error, (CommitFailedError, ConnectionError, TimeoutError)):
        return True
    text = str(error)
    return any(sign in text for sign in _SIGNS)
