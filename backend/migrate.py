"""``python -m backend.migrate``: bring the database to the newest schema. Safe to run by several processes at once."""

import fcntl
import sys

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError, OperationalError

from backend.database import make_engine, unusable
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


def main() -> int:
    """What the operator can mend is told in words; a fault of a migration itself keeps its traceback."""
    settings = ServerSettings()
    try:
        migrate(settings)
    except DatabaseError as error:
        # SQLite says so of a file that is no database, by no subclass; the other subclasses are faults of ours.
        if type(error) not in (OperationalError, DatabaseError):
            raise
        print(unusable(settings.sqlalchemy_url(), error), file=sys.stderr)
        return 1
    except CommandError as error:
        print(
            f"This database is of another release of Tunescope ({error}).\nStart the newest release.", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
