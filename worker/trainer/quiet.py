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
    """What the reader of a log can do nothing about: names that a library will change, a faster kernel that no release brings, and that
    LLM.int8 rounds through float16, which bitsandbytes says at each product: on a GPU hundreds of times in a step."""
    for kind in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=kind)
    for module in ("backends.cpu.ops", "autograd._functions"):
        logging.getLogger(f"bitsandbytes.{module}").setLevel(logging.ERROR)
