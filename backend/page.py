"""The built page: hashed assets cached for ever, every other path answered with index.html for its own router."""

import gzip
import os
from functools import lru_cache
from typing import Any

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


COMPRESSED = (".js", ".css")
"""Fonts are compressed as they are."""


class PageFiles(StaticFiles):
    def __init__(self, **options: Any) -> None:
        super().__init__(html=True, **options)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path == "api" or path.startswith("api/"):
            raise HTTPException(404)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or path.startswith("assets/"):
                raise
            response = await super().get_response("index.html", scope)
        if path.startswith("assets/") and isinstance(response, FileResponse):
            response = await _compressed(response, scope)
        response.headers.update(SECURITY_HEADERS)
        kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


async def _compressed(whole: FileResponse, scope: Scope) -> Response:
    """The same for a browser that takes gzip: a third of the bytes before anything is drawn."""
    accepted = Headers(scope=scope).get("accept-encoding", "")
    path = str(whole.path)
    if not path.endswith(COMPRESSED):
        return whole
    whole.headers["Vary"] = "Accept-Encoding"
    if scope["method"] != "GET" or "range" in Headers(scope=scope) or not _takes_gzip(accepted):
        return whole
    content = await to_thread.run_sync(_gzipped, path, os.stat(path).st_mtime_ns)
    return Response(
        content, media_type=whole.media_type, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip without refusing it (``q=0``)."""
    for offer in accepted.split(","):
        name, _, weight = offer.strip().lower().partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@lru_cache(maxsize=128)
def _gzipped(path: str, _changed: int) -> bytes:
    """A file of the page, compressed once for each of its versions."""
    with open(path, "rb") as file:
        return gzip.compress(file.read(), compresslevel=9, mtime=0)
