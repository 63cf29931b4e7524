"""The engine and sessions. SQLite (WAL) by default, Postgres by DATABASE_URL; the same code for both."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import MetaData, create_engine, event, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


CHECKPOINT_PAGES = 8000
"""Size of SQLite's write-ahead log, in pages of 4 KiB, at which it goes into the database: a busy recorder fills the default of 1,000
in a single commit."""


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


def make_engine(url: str) -> Engine:
    """An engine for ``url``; SQLite gets WAL, foreign keys and a 10 s wait for other writers."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    engine = create_engine(url, connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.close()

    return engine


def move_log(session: Session) -> None:
    """Write what SQLite's write-ahead log holds into the database, beside readers and a writer. Nothing with another database."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def unusable(url: str, error: DatabaseError) -> str:
    """Why a database cannot be used, for whoever starts the server; without its password."""
    reason = str(error.orig or error).strip().splitlines()[0]
    shown = make_url(url).render_as_string(hide_password=True)
    where = "the data directory" if url.startswith("sqlite") else "DATABASE_URL, and whether that server runs"
    return f"The database {shown} cannot be used: {reason}.\nCheck {where}."


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Generator[Session]:
    """A session that commits at the end and rolls back on any error."""
    with sessions() as session, session.begin():
        yield session
