"""``python -m tests.worker.fetching MODEL_REF [stop] [full]``: fetch a model in a process of its own, as the trainer does; prints what came of it.

The hubs' clients read their environment when they are imported, hence the process.
"""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

from tunescope.wire import ModelRef
from worker.hub.fetch import fetch
from worker.hub.refusal import DownloadStopped
from worker.refusal import Refusal

Usage = namedtuple("Usage", "total used free")


def main() -> None:
    model = ModelRef.model_validate_json(sys.argv[1])
    told: list[tuple[int, int]] = []
    if "full" in sys.argv:
        shutil.disk_usage = lambda _: Usage(10, 9, 1)
    try:
        folder = fetch(model, lambda done, total: told.append((done, total)), lambda: "stop" in sys.argv)
        files = {path.name: path.stat().st_size for path in Path(folder).iterdir() if path.is_file()}
        config = Path(folder, "config.json").read_text()
        print(json.dumps({"files": files, "told": told, "config": config}))
    except Refusal as error:
        print(
            json.dumps({"reason": error.failure.reason, "detail": error.failure.detail, "advice": error.failure.advice})
        )
    except DownloadStopped:
        print(json.dumps({"stopped": True}))


if __name__ == "__main__":
    main()
