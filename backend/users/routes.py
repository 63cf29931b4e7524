"""Sign in and out, users, API tokens."""

from typing import Literal

import redis
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.dependencies import COOKIE, CurrentAdmin, CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.users import attempts, service
from backend.users.tables import SecretRow, UserRow
from tunescope.problems import FieldError, InvalidInput, NotFound, NotSignedIn
from tunescope.sentences import say

router = APIRouter()
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class Me(BaseModel):
    id: str
    username: str
    role: str
    must_set_password: bool


class SignIn(BaseModel):
    """Either a username and password, or the token of a sign-in link."""

    username: str | None = Field(default=None, max_length=100)
    password: str | None = Field(default=None, max_length=500)
    sign_in_token: str | None = Field(default=None, max_length=200)


class NewPassword(BaseModel):
    password: str = Field(max_length=500)
    current_password: str | None = Field(default=None, max_length=500)


class User(BaseModel):
    id: str
    username: str
    role: str
    created_at: float


class NewUser(BaseModel):
    username: str = Field(
        min_length=1,
        max_length=service.LONGEST_USERNAME,
        description="Letters of any language, digits and . _ - @; no spaces. Case makes no second user.",
    )
    password: str = Field(max_length=500)
    role: Literal["admin", "member"] = "member"


class Users(BaseModel):
    items: list[User]


class NewToken(BaseModel):
    name: str = Field(min_length=1, max_length=120, pattern=PRINTABLE)


class Token(BaseModel):
    id: str
    name: str
    created_at: float
    last_used_at: float | None


class CreatedToken(Token):
    token: str = Field(description="Shown this once; only its hash is kept.")


class Tokens(BaseModel):
    items: list[Token]


def me(user: UserRow) -> Me:
    return Me(id=user.id, username=user.username, role=user.role, must_set_password=user.password_hash is None)


@router.post("/session", tags=["session"])
def sign_in(
    body: SignIn,
    request: Request,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    connection: RedisDep,
) -> Me:
    """Sign a browser in: sets the session cookie. A sign-in link works once."""
    if body.sign_in_token:
        user = service.sign_in_with_link(session, body.sign_in_token)
    elif body.username and body.password:
        address = request.client.host if request.client else "unknown"
        user = with_password(session, connection, body.username, body.password, address)
    else:
        raise InvalidInput(
            say("username_and_password_needed"),
            errors=[FieldError("username", "is missing", "fill it in", "missing")],
        )
    service.forget_old_sessions(session, user)
    seconds = settings.session_days * 24 * 3600
    secret = service.issue(session, user, "session", seconds=seconds)
    response.set_cookie(
        COOKIE, secret, max_age=seconds, httponly=True, samesite="lax", secure=settings.secure_cookies, path="/"
    )
    return me(user)


def with_password(session: Session, connection: redis.Redis, username: str, password: str, address: str) -> UserRow:
    attempts.refuse_after_too_many(connection, username, address)
    try:
        user = service.sign_in(session, username, password)
    except NotSignedIn:
        attempts.count_wrong(connection, username, address)
        raise
    attempts.forget(connection, username, address)
    return user


@router.get("/session", tags=["session"])
def current(user: CurrentUser) -> Me:
    """Who is signed in."""
    return me(user)


@router.delete("/session", tags=["session"], status_code=204)
def sign_out(request: Request, response: Response, session: SessionDep, _user: CurrentUser) -> None:
    """End this browser's session."""
    cookie = request.cookies.get(COOKIE)
    if cookie:
        service.sign_out(session, cookie)
    response.delete_cookie(COOKIE, path="/")


@router.post("/session/password", tags=["session"])
def set_password(body: NewPassword, request: Request, session: SessionDep, user: CurrentUser) -> Me:
    """Every other browser that was signed in as this user must sign in again."""
    service.set_password(session, user, body.password, body.current_password)
    service.forget_old_sessions(session, user, keep=request.cookies.get(COOKIE, ""))
    return me(user)


@router.get("/users", tags=["users"], name="list")
def list_users(session: SessionDep, _admin: CurrentAdmin) -> Users:
    """People with an account, oldest first. Admins only."""
    rows = session.scalars(select(UserRow).where(UserRow.active).order_by(UserRow.created_at))
    return Users(items=[User.model_validate(row, from_attributes=True) for row in rows])


@router.post("/users", tags=["users"], name="create", status_code=201)
def create_user(body: NewUser, session: SessionDep, _admin: CurrentAdmin) -> User:
    """Make an account with a first password. Admins only."""
    row = service.create_user(session, body.username, body.role, body.password)
    return User.model_validate(row, from_attributes=True)


@router.delete("/users/{user_id}", tags=["users"], name="remove", status_code=204)
def remove_user(user_id: str, session: SessionDep, admin: CurrentAdmin) -> None:
    """Close an account: its sessions and tokens stop working at once, its jobs stay. Admins only."""
    service.remove_user(session, admin, user_id)


@router.get("/tokens", tags=["tokens"], name="list")
def list_tokens(session: SessionDep, user: CurrentUser) -> Tokens:
    """Your API tokens, without their secrets."""
    mine = (SecretRow.user_id == user.id, SecretRow.kind == "token")
    rows = session.scalars(select(SecretRow).where(*mine).order_by(SecretRow.created_at))
    return Tokens(items=[Token.model_validate(row, from_attributes=True) for row in rows])


@router.post("/tokens", tags=["tokens"], name="create", status_code=201)
def create_token(body: NewToken, session: SessionDep, user: CurrentUser) -> CreatedToken:
    """Make an API token. It is shown in this answer only."""
    secret = service.issue(session, user, "token", seconds=None, name=body.name)
    row = session.scalars(select(SecretRow).where(SecretRow.hash == service.digest(secret))).one()
    return CreatedToken(
        id=row.id, name=row.name, created_at=row.created_at, last_used_at=row.last_used_at, token=secret
    )


@router.delete("/tokens/{token_id}", tags=["tokens"], name="remove", status_code=204)
def remove_token(token_id: str, session: SessionDep, user: CurrentUser) -> None:
    """Revoke one of your API tokens: it stops working at once."""
    row = session.get(SecretRow, token_id)
    if row is None or row.user_id != user.id or row.kind != "token":
        raise NotFound(say("no_such_token"), say("see_tokens"))
    session.delete(row)
