"""Signing in and out: the first admin's link, passwords, cookies, tokens."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.users.service import first_sign_in_link
from backend.users.tables import SecretRow, UserRow

PASSWORD = "a long enough password"
CSRF = {"X-Tunescope-CSRF": "1"}


@pytest.fixture
def link_token(sessions: sessionmaker[Session]) -> str:
    with sessions.begin() as session:
        link = first_sign_in_link(session)
    assert link is not None
    return link.partition("token=")[2]


def test_first_admin_signs_in_once_by_link_and_sets_a_password(
    stranger: TestClient, link_token: str, sessions: sessionmaker[Session]
) -> None:
    answer = stranger.post("/api/session", json={"sign_in_token": link_token})
    assert answer.status_code == 200
    assert answer.json()["role"] == "admin" and answer.json()["must_set_password"] is True
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert stranger.post("/api/session", json={"sign_in_token": link_token}).status_code == 401
    body = stranger.post("/api/session/password", json={"password": PASSWORD}, headers=CSRF).json()
    assert body["must_set_password"] is False
    with sessions.begin() as session:
        assert first_sign_in_link(session) is None
    answer = stranger.post("/api/session", json={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 200


def test_a_cookie_alone_changes_nothing(stranger: TestClient, link_token: str) -> None:
    stranger.post("/api/session", json={"sign_in_token": link_token})
    assert stranger.get("/api/session").status_code == 200
    assert stranger.post("/api/tokens", json={"name": "x"}).status_code == 403
    foreign = CSRF | {"Origin": "http://elsewhere.example"}
    assert stranger.post("/api/tokens", json={"name": "x"}, headers=foreign).status_code == 403
    own = CSRF | {"Origin": "http://server"}
    assert stranger.post("/api/tokens", json={"name": "x"}, headers=own).status_code == 201


def test_signing_out_ends_the_session_on_the_server(stranger: TestClient, link_token: str) -> None:
    stranger.post("/api/session", json={"sign_in_token": link_token})
    kept = stranger.cookies["tunescope_session"]
    assert stranger.delete("/api/session", headers=CSRF).status_code == 204
    stranger.cookies.clear()
    answer = stranger.get("/api/session", headers={"Cookie": f"tunescope_session={kept}"})
    assert answer.status_code == 401


def test_secrets_are_kept_as_hashes_only(
    stranger: TestClient, link_token: str, sessions: sessionmaker[Session]
) -> None:
    stranger.post("/api/session", json={"sign_in_token": link_token})
    stranger.post("/api/session/password", json={"password": PASSWORD}, headers=CSRF)
    token = stranger.post("/api/tokens", json={"name": "cli"}, headers=CSRF).json()["token"]
    secrets = (token, PASSWORD, stranger.cookies["tunescope_session"])
    with sessions() as session:
        rows = [*session.scalars(select(SecretRow)), *session.scalars(select(UserRow))]
        kept = [str(value) for row in rows for value in vars(row).values()]
    assert not any(secret in value for value in kept for secret in secrets)
    listed = stranger.get("/api/tokens").json()["items"]
    assert [item["name"] for item in listed] == ["cli"] and "token" not in listed[0]


def test_a_deleted_token_stops_working(admin: TestClient, member: TestClient) -> None:
    mine = member.get("/api/tokens").json()["items"]
    assert admin.delete(f"/api/tokens/{mine[0]['id']}").status_code == 404
    assert member.delete(f"/api/tokens/{mine[0]['id']}").status_code == 204
    assert member.get("/api/session").status_code == 401


def test_a_removed_user_can_no_longer_call(admin: TestClient, member: TestClient) -> None:
    user = member.get("/api/session").json()["id"]
    assert admin.delete(f"/api/users/{user}").status_code == 204
    assert member.get("/api/session").status_code == 401
    person = {"username": "mei", "password": PASSWORD, "role": "member"}
    assert admin.post("/api/users", json=person).status_code == 201


def test_bad_passwords_are_refused(admin: TestClient, app: FastAPI, calling: Callable[[str], TestClient]) -> None:
    answer = admin.post("/api/users", json={"username": "bo", "password": "short", "role": "member"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == "password"
    admin.post("/api/users", json={"username": "bo", "password": PASSWORD, "role": "member"})
    assert admin.post("/api/session", json={"username": "bo", "password": "wrong"}).status_code == 401
    assert admin.post("/api/session", json={"username": "nobody", "password": "wrong"}).status_code == 401
    again = admin.post("/api/users", json={"username": "bo", "password": PASSWORD, "role": "member"})
    assert again.status_code == 409
