"""``python -m worker.tracer.serve``: traces that stay warm. Reads one JSON request a line, writes one JSON answer a line.

Started and watched by worker/tracechild.py. Its first line says that torch is loaded.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from tunescope.problems import Problem
from tunescope.sentences import say
from tunescope.spec import parse_spec
from worker.libraries import loading

NICENESS = 10
"""Trainers come first."""


def answer(line: str, trace: Callable[..., Any]) -> dict[str, Any]:
    """{"trace": …}, or {"reason": …} in words, with its "sentence" where we say it and not a model's own code."""
    try:
        request: dict[str, Any] = json.loads(line)
        found = trace(parse_spec(request["spec"]), request["config"])
    except Problem as problem:
        return {"reason": str(problem)}
    except MemoryError:
        full = say("main_memory_full")
        return {"reason": full.text, "sentence": full.model_dump()}
    except Exception as error:  # whatever a model's own code raises on meta tensors is a reason, not our end
        first = (str(error).strip().splitlines() or [""])[0]
        return {"reason": f"{type(error).__name__}: {first}"[:500]}
    return {"trace": found.model_dump(mode="json")}


def main() -> int:
    os.nice(NICENESS)
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Each trace collects garbage first; what the libraries have loaded is then not looked through each time.
    with loading():
        import torch

        from worker.tracer.trace import trace

    torch.set_num_threads(1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(line, trace)), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
