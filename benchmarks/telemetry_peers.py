"""The same work by others: ``python benchmarks/telemetry_peers.py mlflow|trackio STEPS DIRECTORY`` logs steps of four metrics.

Needs nothing of Tunescope, so that it runs in a virtual environment of its own. Prints JSON: seconds, and the steps that are stored.
"""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path


def figures(step: int) -> dict[str, float]:
    return {
        "loss": 2.0 + 1 / step,
        "learning_rate": 1e-4,
        "grad_norm": 1.0 + (step % 97) / 97,
        "tokens_per_second": 409_600.0 + step % 1013,
    }


def with_mlflow(steps: int, folder: Path) -> tuple[float, int]:
    """One call a step into SQLite, no server between."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.sqlite'}")
    mlflow.set_experiment("steps")
    with mlflow.start_run():
        began = time.perf_counter()
        for step in range(1, steps + 1):
            mlflow.log_metrics(figures(step), step=step)
        seconds = time.perf_counter() - began
    with sqlite3.connect(folder / "mlflow.sqlite") as connection:
        return seconds, connection.execute("SELECT count(DISTINCT step) FROM metrics").fetchone()[0]


def with_trackio(steps: int, folder: Path) -> tuple[float, int]:
    """``log`` puts a step into a queue; ``finish`` waits until all are in its local SQLite."""
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    trackio.init(project="steps", embed=False)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        trackio.log(figures(step), step=step)
    trackio.finish()
    seconds = time.perf_counter() - began
    with sqlite3.connect(next(folder.rglob("*.db"))) as connection:
        return seconds, connection.execute("SELECT count(DISTINCT step) FROM metrics").fetchone()[0]


def main() -> None:
    peer, steps, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    seconds, stored = {"mlflow": with_mlflow, "trackio": with_trackio}[peer](steps, folder)
    print(json.dumps({"seconds": seconds, "stored": stored}))


if __name__ == "__main__":
    main()
