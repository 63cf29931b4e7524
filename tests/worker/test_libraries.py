"""What every job waits for first: the libraries, without the compiler that no job uses, and out of the garbage collector's way."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.utils import import_utils
from trl import import_utils as import_trl

from worker.libraries import NOT_COMPILED
from worker.quick_imports import DistributionsWhenAsked

LOADED = """
import gc, sys
from worker.libraries import loading

with loading():
    import bitsandbytes
assert "torch" in sys.modules
print("torch._inductor.compile_fx" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def run(program: str) -> str:
    """What it prints, in a process that nothing was told beforehand."""
    own = {name: value for name, value in os.environ.items() if name != NOT_COMPILED}
    return subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True).stdout


def test_the_compiler_is_left_out_and_the_collector_goes_on_without_what_was_loaded() -> None:
    assert run(LOADED).split() == ["False", "True", "True"]


def test_what_a_model_exports_is_found_as_transformers_finds_it_and_once() -> None:
    """In this process, which has loaded the libraries as a job does (tests/conftest.py)."""
    quick: Any = import_utils.fetch__all__
    assert import_utils.create_import_structure_from_path.cache_info().maxsize is None
    sources = [file.read_text() for file in Path(transformers.__file__).parent.glob("models/**/*.py")]
    assert len(sources) > 1000
    for source in [
        *sources,
        "",
        "a = 1",
        "x = '__all__'",
        "__all__ = ['b']",
        "__all__ = ['a']\n__all__ = [\n 'b',\n]\n",
    ]:
        assert quick(source) == quick.__wrapped__(source)


def test_packages_are_told_their_distributions() -> None:
    found = import_trl.PACKAGE_DISTRIBUTION_MAPPING
    assert isinstance(found, DistributionsWhenAsked)
    known = importlib.metadata.packages_distributions()
    for package in ("transformers", "trl", "yaml"):
        assert found[package] == known[package]
    with pytest.raises(KeyError):
        found["no_such_package"]
