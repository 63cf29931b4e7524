"""What routes ask for: a session with one transaction a request, the signed-in user, Redis."""

import secrets
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

import redis
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from backend.database import transaction
from backend.users import service as users
from backend.users.tables import UserRow
from tunescope.problems import Forbidden, NotSignedIn
from tunescope.sentences import say
from tunescope.settings import ServerSettings

COOKIE = "tunescope_session"
CSRF_HEADER = "x-tunescope-csrf"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def get_settings(request: Request) -> ServerSettings:
    return request.app.state.settings


def get_session(request: Request) -> Iterator[Session]:
    with transaction(request.app.state.sessions) as session:
        yield session


def get_redis(request: Request) -> redis.Redis:
    return request.app.state.redis


SettingsDep = Annotated[ServerSettings, Depends(get_settings)]
# scope="function" ends the transaction before the answer is sent, so that a client that reads at once sees its own write.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
RedisDep = Annotated[redis.Redis, Depends(get_redis)]


def bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


def refuse_cross_site(request: Request) -> None:
    """A cookie is sent by the browser even for another site's form, so unsafe methods need more proof."""
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    if not request.headers.get(CSRF_HEADER) or (origin and urlsplit(origin).netloc != request.headers.get("host")):
        raise Forbidden(say("not_from_our_page"), say("send_csrf_header", header=CSRF_HEADER))


def signed_in(request: Request, session: Session, settings: ServerSettings) -> UserRow:
    """The user behind a request's token or cookie. Raises NotSignedIn or Forbidden."""
    token = bearer(request)
    if token:
        if settings.admin_token and secrets.compare_digest(token.encode(), settings.admin_token.encode()):
            return users.first_admin(session)
        user = users.user_of(session, token, "token")
        if user is None:
            raise NotSignedIn(say("token_not_known"), say("make_new_token"))
        return user
    cookie = request.cookies.get(COOKIE)
    user = users.user_of(session, cookie, "session") if cookie else None
    if user is None:
        raise NotSignedIn(say("not_signed_in"), say("sign_in"))
    refuse_cross_site(request)
    return user


def current_user(request: Request, session: SessionDep, settings: SettingsDep) -> UserRow:
    return signed_in(request, session, settings)


CurrentUser = Annotated[UserRow, Depends(current_user)]


def current_admin(user: CurrentUser) -> UserRow:
    if user.role != "admin":
        raise Forbidden(say("admins_only"), say("ask_admin"))
    return user


CurrentAdmin = Annotated[UserRow, Depends(current_admin)]
