"""Refuse a request body that is too large while it arrives, before it fills memory or the disk for temporary files.

Files are taken from those who are signed in only: FastAPI reads a form to its end before it asks who sends it.
"""

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.problems import problem_response
from tunescope.problems import Problem, TooLarge
from tunescope.sentences import say
from tunescope.units import MIB

MAX_JSON_BYTES = 4 * MIB
"""The longest job spec or preference that makes sense is far below."""
FORM_BYTES = MIB
"""What a form adds to the file in it."""
UPLOADS = frozenset((("POST", "/api/datasets"),))
"""Where files are taken."""


class BodyLimit:
    """ASGI middleware: uploads may be ``max_upload_bytes`` long, every other body MAX_JSON_BYTES.

    ``refuse_strangers`` raises Problem for a request that nobody who is known sends.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int, refuse_strangers: Callable[[Request], None]) -> None:
        self._app = app
        self._max_upload = max_upload_bytes
        self._refuse_strangers = refuse_strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        form = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        upload = form and (scope["method"], scope["path"]) in UPLOADS
        try:
            if upload:
                await self._check_sender(scope)
            limit = self._max_upload + FORM_BYTES if upload else MAX_JSON_BYTES
            declared = headers.get(b"content-length", b"")
            if declared.isdigit() and int(declared) > limit:
                raise self._too_large(upload)
            await self._counted(scope, receive, send, limit, upload)
        except Problem as problem:
            await problem_response(problem)(scope, receive, send)

    async def _check_sender(self, scope: Scope) -> None:
        try:
            await run_in_threadpool(self._refuse_strangers, Request(scope))
        except SQLAlchemyError:
            return  # the route meets it too, and tells it

    async def _counted(self, scope: Scope, receive: Receive, send: Send, limit: int, upload: bool) -> None:
        """Run the application; raises TooLarge if more than ``limit`` bytes come before it answers."""
        received, over, begun = 0, False, False

        async def counting() -> Message:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                over = True
                raise self._too_large(upload)
            return message

        async def answering(message: Message) -> None:
            nonlocal begun
            # FastAPI takes whatever happens while it reads a body for a body that cannot be read.
            if over and not begun:
                return
            begun = True
            await send(message)

        try:
            await self._app(scope, counting, answering)
        except Problem:
            if not over or begun:
                raise
        if over and not begun:
            raise self._too_large(upload)

    def _too_large(self, upload: bool) -> TooLarge:
        limit = self._max_upload if upload else MAX_JSON_BYTES
        return TooLarge(
            say("request_too_large", limit_bytes=limit), say("split_file") if upload else say("send_shorter_body")
        )
