"""Every error leaves the API as RFC 9457 problem details: what happened, and what to do next."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from tunescope.problems import FieldError, Problem

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


def response(
    status: int, code: str, title: str, detail: str, fix: str = "", errors: list[FieldError] | None = None
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": f"urn:tunescope:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "fix": fix,
        "errors": [{"loc": error.loc, "message": error.message, "fix": error.fix} for error in errors or []],
    }
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


def request_errors(error: RequestValidationError) -> list[FieldError]:
    """Field errors with dotted paths, without FastAPI's leading 'body'."""
    found: list[FieldError] = []
    for item in error.errors():
        loc = [str(part) for part in item["loc"]]
        if loc and loc[0] in ("body", "query", "path"):
            loc = loc[1:]
        found.append(FieldError(".".join(loc) or "body", str(item["msg"]).removeprefix("Value error, ")))
    return found


def install(app: FastAPI) -> None:
    """Register one handler for each kind of error."""

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, error: Problem) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return response(error.status, error.code, error.title, error.detail, error.fix, error.errors)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return response(
            422, "invalid-input", "The input is not valid", "Some fields are wrong.", errors=request_errors(error)
        )

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        answer = response(
            error.status_code, f"http-{error.status_code}", str(error.detail), f"{request.method} {request.url.path}"
        )
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(OperationalError)
    async def on_database(_request: Request, error: OperationalError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        log.error("database: %s", error)
        return response(
            503,
            "unavailable",
            "The database does not answer",
            "The request was not carried out.",
            "Try again in a moment.",
        )

    @app.exception_handler(Exception)
    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return response(
            500,
            "internal",
            "Something went wrong here",
            "This is our fault, not yours.",
            "The server's log has the details.",
        )
