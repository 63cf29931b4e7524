"""Loading torch, transformers, peft and TRL in two thirds of the time: it is what every job waits for first.

``python -m worker.libraries MODULE …`` loads a module that imports them at its top, and calls its ``main``.
"""

import gc
import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

AS_PROGRAM = ("-m", "worker.libraries")
NOT_COMPILED = "TORCHDYNAMO_DISABLE"
"""torch's own switch: ``torch.compile`` hands back what it was given. No recipe asks for it, and on a GPU bitsandbytes has kernels;
but its fallbacks are decorated with it, and that alone would load torch's compiler: a fifth of the time."""


@contextmanager
def loading() -> Generator[None]:
    """Import the libraries inside; does nothing where they are loaded already.

    What they make lives to the end of the process. The garbage collector would look through it again and again while it grows,
    an eighth of the time, and at every full collection after that. So it waits meanwhile, and then leaves all of that alone.
    """
    if "torch" in sys.modules:
        yield
        return
    os.environ.setdefault(NOT_COMPILED, "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> int:
    with loading():
        program = importlib.import_module(sys.argv.pop(1))
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
