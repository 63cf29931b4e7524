"""Runs migrations on the connection that backend.migrate hands over, or on the configured database."""

from alembic import context

from backend.database import make_engine
from backend.tables import Base
from tunescope.settings import ServerSettings


def run(connection) -> None:
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with make_engine(ServerSettings().sqlalchemy_url()).connect() as connection:
        run(connection)
        connection.commit()
