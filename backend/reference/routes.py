"""``/api/openapi.json`` and ``/api/docs``: what the API offers, for those who may use it."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from backend.dependencies import CurrentUser, SessionDep, SettingsDep, signed_in
from backend.page import SECURITY_HEADERS
from backend.reference.page import render
from tunescope.problems import NotSignedIn

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def schema(request: Request, _user: CurrentUser) -> JSONResponse:
    """The OpenAPI schema."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", response_class=HTMLResponse)
def docs(request: Request, session: SessionDep, settings: SettingsDep) -> Response:
    """The schema as a page. A browser that is not signed in is led to where it can, and then back."""
    try:
        signed_in(request, session, settings)
    except NotSignedIn:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"/sign-in?next={quote(request.url.path, safe='')}", 303)
        raise
    return HTMLResponse(render(request.app.openapi()), headers=SECURITY_HEADERS)
