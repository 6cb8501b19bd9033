"""What went wrong, as problem JSON (RFC 9457): one sentence, never a stack trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

TITLES = {
    400: "Bad request",
    401: "No valid API key",
    403: "Not one of the key's sites",
    404: "Not found",
    405: "Method not allowed",
    411: "Length required",
    413: "Request too large",
    422: "Invalid request",
    500: "Internal error",
    503: "Not available",
}


class Mistake(BaseModel):
    """One thing that is wrong with the request."""

    parameter: str = Field(examples=["from"])
    message: str = Field(examples=["expected a date such as 2026-01-31"])


class Problem(BaseModel):
    """Why a request was not answered."""

    title: str = Field(examples=["Invalid request"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["from: expected a date such as 2026-01-31"])
    errors: list[Mistake] = []


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response that says so."""
    body: dict[str, Any] = {"title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    body["errors"] = errors or []
    return Response(
        json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def install(app: FastAPI) -> None:
    """Every error of `app` becomes a problem."""

    @app.exception_handler(ProblemError)
    def _known(_: Request, error: ProblemError) -> Response:
        return problem(error.status, error.detail, headers=error.headers)

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [{"parameter": _parameter(found["loc"]), "message": _message(found)} for found in error.errors()]
        return problem(422, "; ".join(f"{e['parameter']}: {e['message']}" for e in errors), errors)

    @app.exception_handler(Exception)
    def _unexpected(_: Request, __: Exception) -> Response:  # the server's log has it
        return problem(500, "something went wrong here; the server's log says what")


def _parameter(place: tuple[Any, ...]) -> str:
    named = [str(part) for part in place if part not in ("query", "path", "body", "header")]
    return ".".join(named) or str(place[0] if place else "request")


def _message(found: dict[str, Any]) -> str:
    kind = found["type"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "no such parameter"
    if kind.startswith("date"):
        return "expected a date such as 2026-01-31"
    message: str = found["msg"]
    return message.removeprefix("Value error, ")
