"""What a part of the server needs beside the ``tunescope`` command itself, and whether it is here."""

import importlib.util

from tunescope.problems import Unavailable

NEEDED = {
    "server": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "celery", "redis", "argon2", "pyarrow"),
    "worker": ("celery", "redis", "psutil", "pynvml", "torch", "transformers", "peft", "trl", "bitsandbytes"),
}
"""The libraries of each extra of the package without which its part does not start or does no job."""


def missing(*libraries: str) -> list[str]:
    """Those that are not installed; none is imported."""
    return [name for name in libraries if importlib.util.find_spec(name) is None]


def refuse_without(*extras: str) -> None:
    """Raises Unavailable if libraries of these extras are not installed."""
    absent = missing(*dict.fromkeys(name for extra in extras for name in NEEDED[extra]))
    if absent:
        raise Unavailable(
            f"This needs libraries that are not installed here: {', '.join(absent)}.",
            f"In Tunescope's sources: `make up`, or pip install '.[{','.join(extras)}]'.",
        )
