"""Fetch a model in a process of its own, as the trainer does. The hubs' clients read their environment when they are imported, hence the process.

It is forked from one that has loaded torch, as a trainer has by then; ModelScope's client would load it each time otherwise.
"""

import multiprocessing
import os
import shutil
from collections import namedtuple
from collections.abc import Collection, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tunescope.wire import ModelRef
from worker.hub.fetch import fetch
from worker.hub.refusal import DownloadStopped
from worker.refusal import Refusal

WITHIN_SECONDS = 120
Usage = namedtuple("Usage", "total used free")
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["torch", __name__])


def fetched(model: ModelRef, environment: Mapping[str, str], words: Collection[str] = ()) -> dict[str, Any]:
    """What came of it. ``words``: "stop" asks for the end at once, "full" leaves no room on the disk."""
    answers, telling = _forks.Pipe(duplex=False)
    process = _forks.Process(target=_fetch, args=(model, environment, words, telling))
    process.start()
    telling.close()
    try:
        assert answers.poll(WITHIN_SECONDS), "no answer in time"
        return answers.recv()
    finally:
        process.kill()
        process.join()


def _fetch(model: ModelRef, environment: Mapping[str, str], words: Collection[str], telling: Connection) -> None:
    os.environ.update(environment)
    if "full" in words:
        shutil.disk_usage = lambda _: Usage(10, 9, 1)
    told: list[tuple[int, int]] = []
    try:
        folder = fetch(model, lambda done, total: told.append((done, total)), lambda: "stop" in words)
        files = {path.name: path.stat().st_size for path in Path(folder).iterdir() if path.is_file()}
        telling.send({"files": files, "told": told, "config": Path(folder, "config.json").read_text()})
    except Refusal as error:
        telling.send(error.failure.model_dump(include={"reason", "detail", "advice"}))
    except DownloadStopped:
        telling.send({"stopped": True})
