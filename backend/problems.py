"""Every error leaves the API as RFC 9457 problem details: what happened, and what to do next."""

import errno
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException

from tunescope.problems import FieldError, Problem, TooMany
from tunescope.sentences import Sentence, Value, say
from tunescope.spec import LIMITS
from tunescope.validation import field_errors

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
"""Fields that one answer names; somebody who sends thousands of wrong ones mends these first."""
LONGEST_PATH = 200
NO_SPACE = ("No space on the server", say("server_disk_full"), say("ask_to_free_space"))
HTTP_FIXES = {
    400: say("send_plain_json"),
    404: say("see_docs_for_what_there_is"),
    405: say("see_docs_for_what_can_be_done"),
}


class ProblemField(BaseModel):
    loc: str = Field(description="Dotted path of the field in the input.")
    message: str
    fix: str = ""
    type: str = Field(default="", description="A short name of what is wrong: out_of_range, missing …")
    values: dict[str, Value] = Field(default={}, description="What the message is about: low, high, name …")
    patch: dict[str, bool | str | int | float] = Field(
        default={},
        description="The remedy as new values by dotted path, where one change is enough: {adaptation.use_dora: false}.",
    )


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    fix: str = Field(default="", description="What to do next.")
    detail_sentence: Sentence | None = None
    fix_sentence: Sentence | None = None
    errors: list[ProblemField] = []


def details_of(error: Problem) -> ProblemDetails:
    return ProblemDetails(
        type=f"urn:tunescope:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        fix=error.fix,
        detail_sentence=error.detail_sentence,
        fix_sentence=error.fix_sentence,
        errors=[problem_field(item) for item in error.errors[:MOST_ERRORS]],
    )


class ProblemAnswer(JSONResponse):
    """What is wrong with an input may quote half of a character from it, which UTF-8 does not have and JSON's escapes do."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def response(
    status: int, code: str, title: str, detail: Sentence, fix: Sentence | None = None, errors: Sequence[FieldError] = ()
) -> JSONResponse:
    """For what no ``Problem`` is raised of."""
    error = Problem(detail, fix or "", list(errors))
    error.status, error.code, error.title = status, code, title
    return ProblemAnswer(details_of(error).model_dump(), status)


def problem_field(error: FieldError) -> ProblemField:
    """An unknown field may have a name of any length."""
    loc = error.loc if len(error.loc) <= LONGEST_PATH else f"{error.loc[:LONGEST_PATH]}…"
    return ProblemField.model_validate(replace(error, loc=loc), from_attributes=True)


def problem_response(error: Problem) -> JSONResponse:
    answer = ProblemAnswer(details_of(error).model_dump(), error.status)
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def request_errors(error: RequestValidationError) -> list[FieldError]:
    """Field errors with dotted paths, without FastAPI's leading 'body'."""
    special: list[FieldError] = []
    items: list[dict[str, Any]] = []
    for item in error.errors():
        loc = (
            item["loc"][1:]
            if item["loc"][:1] and item["loc"][0] in ("body", "query", "path", "header")
            else item["loc"]
        )
        where = ".".join(str(part) for part in loc)
        if item["type"] == "json_invalid":
            why = item.get("ctx", {}).get("error", "it cannot be read")
            message, values = f"this is not valid JSON: {why} at character {where}", {"said": why, "character": where}
            special.append(FieldError("body", message, "send one JSON object", "body_not_json", values))
        elif not where and item["type"] in ("missing", "model_attributes_type"):
            special.append(
                FieldError(
                    "body", "a JSON object is needed", "send it with Content-Type: application/json", "body_no_object"
                )
            )
        elif "UploadFile" in str(item["msg"]):
            special.append(
                FieldError(where, "this must be a file", "send it as a file of multipart/form-data", "must_be_a_file")
            )
        else:
            items.append({**item, "loc": loc})
    return special + field_errors(items, whole="body", limits=LIMITS)


def install(app: FastAPI) -> None:
    """Register one handler for each kind of error."""

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, error: Problem) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        errors = request_errors(error)
        return response(422, "invalid-input", "The input is not valid", say("some_fields_are_wrong"), errors=errors)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        what = say("as_said", said=f"{request.method} {request.url.path}")
        fix = HTTP_FIXES.get(error.status_code)
        answer = response(error.status_code, f"http-{error.status_code}", str(error.detail), what, fix)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(DataError)
    async def on_data(_request: Request, _error: DataError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        # Postgres stores no NUL character, SQLite does.
        detail = say("database_cannot_store")
        return response(422, "invalid-input", "The input is not valid", detail, say("leave_out_control_characters"))

    @app.exception_handler(OperationalError)
    async def on_database(_request: Request, error: OperationalError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        log.error("database: %s", error)
        if "is full" in str(error.orig) or "No space left" in str(error.orig):
            return response(503, "unavailable", *NO_SPACE)
        return response(503, "unavailable", "The database does not answer", say("database_silent"), say("try_again"))

    @app.exception_handler(OSError)
    async def on_disk(request: Request, error: OSError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return await on_unexpected(request, error)
        log.error("%s %s: the disk is full", request.method, request.url.path)
        return response(503, "unavailable", *NO_SPACE)

    @app.exception_handler(Exception)
    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return response(500, "internal", "Something went wrong here", say("our_fault"), say("see_servers_log"))
