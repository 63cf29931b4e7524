"""Configuration from the environment: ``TUNESCOPE_*``, plus DATABASE_URL and REDIS_URL. docs/settings.md lists it."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class CommonSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="TUNESCOPE_", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )
    data_dir: Path = Field(
        default=Path("data"), description="Directory of everything Tunescope keeps; shared by API and workers."
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis; unix:///path.sock works too.",
    )
    log_level: str = Field(default="INFO", description="Level of the process's own log.")

    @field_validator("redis_url")
    @classmethod
    def has_a_scheme(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("begin it with redis://, rediss:// or unix://")
        return url

    @field_validator("log_level")
    @classmethod
    def is_a_level(cls, level: str) -> str:
        if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("use DEBUG, INFO, WARNING or ERROR")
        return level

    def datasets_dir(self) -> Path:
        return self.data_dir / "datasets"

    def models_dir(self) -> Path:
        return self.data_dir / "models"

    def attempt_dir(self, job: str, attempt: int) -> Path:
        """Outbox, checkpoints, logs and artifacts of one attempt."""
        return self.data_dir / "jobs" / job / str(attempt)


class ServerSettings(CommonSettings):
    database_url: str = Field(
        default="",
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="SQLAlchemy URL; empty means SQLite in the data directory.",
    )
    admin_token: str | None = Field(default=None, description="If set, accepted as an admin's API token.")
    max_upload_bytes: int = Field(
        default=20 * 1024**3, gt=0, description="Largest data set file that may be uploaded, in bytes."
    )
    session_days: int = Field(default=30, gt=0, le=3650, description="Days after which a browser session ends.")
    ask_hubs: bool = Field(
        default=True, description="Ask Hugging Face and ModelScope for the config.json of models not in the catalogue."
    )
    chat_idle_seconds: float = Field(
        default=600.0, gt=0, description="A chat with a result ends by itself after so long without a message."
    )
    secure_cookies: bool = Field(
        default=False, description="Set true behind HTTPS: cookies are then sent over HTTPS only."
    )

    @field_validator("database_url")
    @classmethod
    def is_of_a_database(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:///", "postgres://", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("begin it with postgresql:// or sqlite:///")
        if not url.startswith("sqlite") and urlsplit(url).port == 0:  # raises ValueError itself for what is no number
            raise ValueError("give the port of the database, or none")
        return url

    def sqlalchemy_url(self) -> str:
        if self.database_url:
            return self.database_url.replace("postgres://", "postgresql+psycopg://", 1).replace(
                "postgresql://", "postgresql+psycopg://", 1
            )
        return f"sqlite:///{self.data_dir.resolve() / 'tunescope.sqlite'}"


class WorkerSettings(CommonSettings):
    machine: str = Field(default_factory=socket.gethostname, description="Name of this machine; unique per server.")
    grace_seconds: float = Field(
        default=30.0, ge=0, description="Time a cancelled trainer has to save a checkpoint before SIGKILL."
    )
    cpu_jobs: int = Field(default=1, ge=1, description="Jobs that may train at once on a machine without a GPU.")
    trace_seconds: float = Field(
        default=60.0,
        ge=0,
        description="CPU seconds that the exact memory trace of one spec may take; 0 turns traces off on this machine.",
    )
    trace_memory_bytes: int = Field(
        default=4 * 1024**3,
        gt=0,
        description="Main memory, in bytes, above which the process that traces specs is stopped.",
    )
