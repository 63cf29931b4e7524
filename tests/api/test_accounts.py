"""Signing in and out: the first admin's link, passwords, cookies, tokens."""

import logging
from collections.abc import Callable

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.users import service
from backend.users.service import first_sign_in_link, new_admin_link
from backend.users.tables import SecretRow, UserRow
from tunescope.settings import ServerSettings

PASSWORD = "a long enough password"
CSRF = {"X-Tunescope-CSRF": "1"}
MANY_TRIES = pytest.mark.parametrize("slow_hashing", [False], ids=["many tries"])


@pytest.fixture
def slow_hashing() -> bool:
    return True


@pytest.fixture
def link_token(sessions: sessionmaker[Session]) -> str:
    with sessions.begin() as session:
        link = first_sign_in_link(session)
    assert link is not None
    return link.partition("token=")[2]


def test_two_processes_that_need_the_first_admin_at_once_get_the_same(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``tunescope up`` makes the sign-in link while somebody already calls the API with the admin token."""
    quicker: list[str] = []
    make_id = service.new_id

    def interrupted() -> str:
        monkeypatch.setattr(service, "new_id", make_id)
        with sessions.begin() as other:
            quicker.append(service.first_admin(other).id)
        return make_id()

    monkeypatch.setattr(service, "new_id", interrupted)
    with sessions.begin() as session:
        assert [service.first_admin(session).id] == quicker


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


@MANY_TRIES
def test_guessing_becomes_slow_and_does_not_lock_others_out(
    admin: TestClient, stranger: TestClient, settings: ServerSettings
) -> None:
    for name in ("bo", "cy"):
        admin.post("/api/users", json={"username": name, "password": PASSWORD, "role": "member"})

    def answer(username: str, password: str) -> Response:
        return stranger.post("/api/session", json={"username": username, "password": password})

    assert [answer("bo", "wrong").status_code for _ in range(10)] == [401] * 10
    refused = answer("bo", PASSWORD)
    assert refused.status_code == 429 and 0 < int(refused.headers["Retry-After"]) <= 900
    fix = refused.json()["fix_sentence"]
    assert (fix["kind"], fix["values"], fix["text"]) == (
        "try_again_in_minutes", {"minutes": 15}, "Try again in 15 minutes.",
    )  # fmt: skip
    assert "minutes" in refused.json()["fix"]
    assert answer("cy", PASSWORD).status_code == 200, "another user from the same address"
    with redis.Redis.from_url(settings.redis_url) as connection:
        connection.flushall()
    assert answer("bo", PASSWORD).status_code == 200, "once the window is over"


@MANY_TRIES
def test_a_right_password_forgets_the_wrong_ones(admin: TestClient, stranger: TestClient) -> None:
    admin.post("/api/users", json={"username": "bo", "password": PASSWORD, "role": "member"})
    for _ in range(2):
        for _ in range(9):
            stranger.post("/api/session", json={"username": "bo", "password": "wrong"})
        assert stranger.post("/api/session", json={"username": "bo", "password": PASSWORD}).status_code == 200


def test_a_session_and_a_link_end_by_themselves(
    stranger: TestClient, link_token: str, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        session.query(SecretRow).update({"expires_at": 1.0})
    assert stranger.post("/api/session", json={"sign_in_token": link_token}).status_code == 401
    with sessions.begin() as session:
        token = new_admin_link(session).partition("token=")[2]
    assert stranger.post("/api/session", json={"sign_in_token": token}).status_code == 200
    assert stranger.get("/api/session").status_code == 200
    with sessions.begin() as session:
        session.query(SecretRow).filter(SecretRow.kind == "session").update({"expires_at": 1.0})
    assert stranger.get("/api/session").status_code == 401


def test_a_new_link_replaces_the_old_one_and_the_password(
    stranger: TestClient, link_token: str, sessions: sessionmaker[Session]
) -> None:
    stranger.post("/api/session", json={"sign_in_token": link_token})
    stranger.post("/api/session/password", json={"password": PASSWORD}, headers=CSRF)
    with sessions.begin() as session:
        old, new = (new_admin_link(session).partition("token=")[2] for _ in range(2))
    assert stranger.post("/api/session", json={"sign_in_token": old}).status_code == 401
    answer = stranger.post("/api/session", json={"sign_in_token": new})
    assert answer.json()["must_set_password"] is True
    assert stranger.post("/api/session", json={"username": "admin", "password": PASSWORD}).status_code == 401


def test_a_new_password_signs_out_other_browsers(admin: TestClient, stranger: TestClient, app: FastAPI) -> None:
    admin.post("/api/users", json={"username": "bo", "password": PASSWORD, "role": "member"})
    other = TestClient(app, base_url="http://server")
    for browser in (stranger, other):
        assert browser.post("/api/session", json={"username": "bo", "password": PASSWORD}).status_code == 200
    changed = {"password": "an even longer password", "current_password": "wrong"}
    assert stranger.post("/api/session/password", json=changed, headers=CSRF).status_code == 422
    changed["current_password"] = PASSWORD
    assert stranger.post("/api/session/password", json=changed, headers=CSRF).status_code == 200
    assert stranger.get("/api/session").status_code == 200
    assert other.get("/api/session").status_code == 401


def test_an_admin_always_remains(admin: TestClient, calling: Callable[[str], TestClient]) -> None:
    me = admin.get("/api/session").json()["id"]
    assert admin.delete(f"/api/users/{me}").status_code == 403
    second = admin.post("/api/users", json={"username": "zoe", "password": PASSWORD, "role": "admin"}).json()
    assert admin.delete(f"/api/users/{second['id']}").status_code == 204
    assert admin.delete(f"/api/users/{second['id']}").status_code == 404


def test_passwords_are_hashed_as_owasp_and_rfc_9106_advise(admin: TestClient, sessions: sessionmaker[Session]) -> None:
    admin.post("/api/users", json={"username": "bo", "password": PASSWORD, "role": "member"})
    with sessions() as session:
        kept = session.scalars(select(UserRow.password_hash).where(UserRow.username == "bo")).one()
    assert kept is not None and kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    "username",
    ["", " ", " bo", "bo ", "a b", "a\u00a0b", "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "<b>", "a/b", "x" * 61],
)
def test_names_that_mislead_are_refused_at_their_field(admin: TestClient, username: str) -> None:
    answer = admin.post("/api/users", json={"username": username, "password": PASSWORD, "role": "member"})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["loc"] == "username" and error["fix"]


@pytest.mark.parametrize("username", ["李雷", "mei.lin", "ana@example.org", "_o-k_9", "Zoë", "मोहन"])
def test_names_of_any_script_can_sign_in(admin: TestClient, username: str) -> None:
    person = {"username": username, "password": PASSWORD, "role": "member"}
    assert admin.post("/api/users", json=person).status_code == 201
    assert admin.post("/api/session", json={"username": username, "password": PASSWORD}).status_code == 200


def test_one_name_has_one_user_however_it_is_written(admin: TestClient) -> None:
    for username, status in (
        ("Zoe\u0308", 201),
        ("Zo\u00eb", 409),
        ("ZOE\u0308", 409),
        ("zoë", 409),
        ("zoe", 201),
        ("ÖZ", 201),
        ("öz", 409),
    ):
        answer = admin.post("/api/users", json={"username": username, "password": PASSWORD, "role": "member"})
        assert answer.status_code == status, username
        if status == 409:
            assert answer.json()["errors"][0]["loc"] == "username" and answer.json()["fix"]


def test_no_secret_reaches_a_log(
    stranger: TestClient, link_token: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    stranger.post("/api/session", json={"sign_in_token": link_token})
    stranger.post("/api/session/password", json={"password": PASSWORD}, headers=CSRF)
    token = stranger.post("/api/tokens", json={"name": "cli"}, headers=CSRF).json()["token"]
    stranger.get("/api/session", headers={"Authorization": f"Bearer {token}"})
    stranger.post("/api/session", json={"username": "admin", "password": PASSWORD, "sign_in_token": 5})
    said = capfd.readouterr()
    everything = caplog.text + said.out + said.err
    secrets = (link_token, PASSWORD, token, stranger.cookies["tunescope_session"])
    assert not any(secret in everything for secret in secrets)
