"""How OpenMP threads that wait bear other work on the same CPU: ``python -m benchmarks.openmp_waiting``.

One small network's arithmetic in processes of their own, with as many threads as cores: alone and beside one busy process, with
OpenMP's default (spin at a barrier) and with OMP_WAIT_POLICY=PASSIVE, which trainers get. Prints seconds and the ratio to PASSIVE alone.
"""

import os
import subprocess
import sys
import time
from statistics import median

ROUNDS = 3
POLICIES = {"default": {}, "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"}}
BUSY = [sys.executable, "-c", "while True: pass"]


def work() -> float:
    """Seconds for 600 products of 128 rows by 576 x 1536, each followed by what a layer does between them."""
    import torch

    rows, matrices = torch.randn(128, 576), [torch.randn(576, 1536) for _ in range(30)]
    began = time.perf_counter()
    for _ in range(20):
        for matrix in matrices:
            product = torch.nn.functional.silu(rows @ matrix)
            (product * product).softmax(-1)
    return time.perf_counter() - began


def seconds(environment: dict[str, str], busy: bool) -> float:
    """Median of the rounds, each in a new process with the environment, beside a busy process or alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    neighbour = subprocess.Popen(BUSY) if busy else None
    try:
        command = [sys.executable, "-m", "benchmarks.openmp_waiting", "--work"]
        answers = [
            subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True).stdout
            for _ in range(ROUNDS)
        ]
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()
    return median(float(answer) for answer in answers)


def main() -> int:
    if "--work" in sys.argv:
        work()
        print(work())
        return 0
    took = {(name, busy): seconds(variables, busy) for name, variables in POLICIES.items() for busy in (False, True)}
    base = took["PASSIVE", False]
    print(f"{'OpenMP threads':<16}{'beside':<14}{'seconds':>9}{'ratio':>8}")
    for (name, busy), count in took.items():
        print(f"{name:<16}{'a busy process' if busy else 'nothing':<14}{count:>9.2f}{count / base:>8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
