"""The schema by migration alone: up, no difference from the tables, down again, on both databases."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import inspect

from backend.database import make_engine
from backend.migrate import configuration, migrate
from backend.tables import Base
from tunescope.settings import ServerSettings


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


@pytest.fixture
def migrated() -> bool:
    return False


def tables(settings: ServerSettings) -> set[str]:
    engine = make_engine(settings.sqlalchemy_url())
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_check_down(settings: ServerSettings) -> None:
    migrate(settings)
    assert tables(settings) == set(Base.metadata.tables) | {"alembic_version"}
    engine = make_engine(settings.sqlalchemy_url())
    with engine.begin() as connection:
        command.check(configuration(connection))
    with engine.begin() as connection:
        command.downgrade(configuration(connection), "base")
    engine.dispose()
    assert tables(settings) == {"alembic_version"}
    migrate(settings)


def test_several_processes_may_migrate_at_once(settings: ServerSettings) -> None:
    environment = {
        "TUNESCOPE_DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "PATH": "/usr/bin:/bin",
    }

    def start(_number: int) -> int:
        return subprocess.run([sys.executable, "-m", "backend.migrate"], env=environment, check=False).returncode

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, range(3))) == [0, 0, 0]
    assert "jobs" in tables(settings)
