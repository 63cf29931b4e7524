"""Who may do what: every route refuses strangers; changing things needs the owner or an admin."""

from collections.abc import Callable, Iterator

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.conftest import new_member
from tests.api.make import spec

OPEN = {("GET", "/api/health"), ("POST", "/api/session")}


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    for path, item in app.openapi()["paths"].items():
        for method in item:
            yield method.upper(), path
    yield from (("GET", "/metrics"), ("GET", "/api/openapi.json"), ("GET", "/api/docs"))


def test_every_route_refuses_strangers(app: FastAPI, stranger: TestClient) -> None:
    checked = 0
    for method, path in operations(app):
        if (method, path) in OPEN:
            continue
        url = path.replace("{", "").replace("}", "")
        answers = [
            stranger.request(method, url),
            stranger.request(method, url, headers={"Authorization": "Bearer tsc_wrong"}),
            stranger.request(method, url, headers={"Cookie": "tunescope_session=tsc_wrong"}),
        ]
        for answer in answers:
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["fix"]
        checked += 1
    assert checked > 25


def test_health_answers_strangers(stranger: TestClient) -> None:
    body = stranger.get("/api/health").json()
    assert body["status"] == "ok"
    assert body["database"] and body["redis"]
    assert body["worker_connected"] is False and body["controller_connected"] is False


def test_members_may_not_administer(member: TestClient) -> None:
    for method, path in (("GET", "/api/users"), ("DELETE", "/api/users/x"), ("DELETE", "/api/models/x")):
        assert member.request(method, path).status_code == 403, path
    person = {"username": "eve", "password": "a long enough password", "role": "admin"}
    assert member.post("/api/users", json=person).status_code == 403
    assert member.post("/api/models", json={"name": "x", "path": "/x"}).status_code == 403


def test_only_owner_and_admin_change_a_job(
    admin: TestClient, member: TestClient, calling: Callable[[str], TestClient]
) -> None:
    other = new_member(admin, calling, "ada")
    job = member.post("/api/jobs", json=spec()).json()["id"]
    assert other.get(f"/api/jobs/{job}").status_code == 200
    for method, path in (("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")):
        answer = other.request(method, f"/api/jobs/{job}{path}")
        assert answer.status_code == 403, (path, answer.text)
        assert "mei" in answer.json()["fix"]
    assert admin.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_unknown_paths_and_methods_are_problems(admin: TestClient) -> None:
    for method, path, status in (("GET", "/api/nothing", 404), ("PUT", "/api/jobs", 405)):
        answer = admin.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
