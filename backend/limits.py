"""Refuse a request body that is too large while it arrives, before it fills memory or the disk for temporary files."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.problems import response
from tunescope.problems import TooLarge
from tunescope.units import MIB, format_bytes

MAX_JSON_BYTES = 4 * MIB
"""The longest job spec or preference that makes sense is far below."""
FORM_BYTES = MIB
"""What a form adds to the file in it."""


class BodyLimit:
    """ASGI middleware: uploads may be ``max_upload_bytes`` long, every other body MAX_JSON_BYTES."""

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        form = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        limit = self._max_upload + FORM_BYTES if form else MAX_JSON_BYTES
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            await self._refuse(scope, receive, send, form)
            return
        received, begun = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _Over
            return message

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noting)
        except _Over:
            if begun:
                raise
            await self._refuse(scope, receive, send, form)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, form: bool) -> None:
        limit = self._max_upload if form else MAX_JSON_BYTES
        fix = (
            "Split it, use Parquet, or ask the operator to raise TUNESCOPE_MAX_UPLOAD_BYTES."
            if form
            else "Send a shorter body; files go to /api/datasets as multipart/form-data."
        )
        detail = f"The request is larger than this server's limit of {format_bytes(limit)}."
        answer = response(TooLarge.status, TooLarge.code, TooLarge.title, detail, fix)
        await answer(scope, receive, send)


class _Over(Exception):
    """More bytes came than are allowed."""
