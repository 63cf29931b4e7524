"""Keep Hugging Face's hub out of work that is purely local, and notes to programmers out of a job's log."""

import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_hub() -> Generator[None]:
    """Within this block no hub is asked, so that a machine without a network does not wait for one."""
    import huggingface_hub.constants as constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        os.environ.pop("HF_HUB_OFFLINE")


def without_notes_to_programmers() -> None:
    """What the reader of a log can do nothing about: names that a library will change, and a faster kernel that no release brings."""
    for kind in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=kind)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
