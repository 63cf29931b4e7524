"""``python -m backend.migrate``: bring the database to the newest schema. Safe to run by several processes at once."""

import fcntl

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from backend.database import make_engine
from backend.resources import resource
from tunescope.settings import ServerSettings

LOCK_NUMBER = 7_316_554


def configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resource("alembic")))
    config.attributes["connection"] = connection
    return config


def migrate(settings: ServerSettings) -> None:
    """Upgrade to head, one process at a time: an advisory lock on Postgres, a lock file for SQLite."""
    url = settings.sqlalchemy_url()
    engine = make_engine(url)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})
            command.upgrade(configuration(connection), "head")
    engine.dispose()


if __name__ == "__main__":
    migrate(ServerSettings())
