"""Files that come with the server but are no Python package: migrations and the built page."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
INSTALLED = Path(sys.prefix) / "share" / "tunescope"


def resource(name: str) -> Path:
    """``name`` below the checkout if we run from one, else where ``pip install`` put it (pyproject.toml, data-files)."""
    here = CHECKOUT / name
    return here if here.exists() else INSTALLED / name
