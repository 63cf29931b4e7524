"""Fetch a model from its hub: look what is there, refuse what cannot be used, download the rest, tell how far it is."""

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tunescope.states import FailureReason
from tunescope.wire import ModelRef
from worker.hub import refusal
from worker.hub.choice import chosen, has_pickles, has_weights
from worker.hub.progress import Progress, Tell
from worker.refusal import Refusal


class Repository(Protocol):
    model: str

    @property
    def folder(self) -> Path: ...
    def sizes(self) -> dict[str, int]: ...
    def download(self, files: dict[str, int], progress: Progress) -> Path: ...
    def cached(self) -> Path | None: ...
    def refused(self, error: Exception) -> Refusal | None: ...


def repository(model: ModelRef) -> Repository:
    if model.kind == "modelscope":
        from worker.hub import modelscope

        return modelscope.Repository(model.location, model.revision)
    from worker.hub import huggingface

    return huggingface.Repository(model.location, model.revision)


def fetch(model: ModelRef, tell: Tell, stopped: Callable[[], bool]) -> Path:
    """The local directory of a hub's model. Raises Refusal, DownloadStopped, or OSError when the disk is full.

    A copy that is already here is used when the hub cannot be reached.
    """
    repo = repository(model)
    try:
        sizes = repo.sizes()
    except Exception as error:
        refused = repo.refused(error)
        if refused is None:
            raise
        if refused.failure.reason is FailureReason.MODEL_UNREACHABLE and (kept := repo.cached()):
            return kept
        raise refused from error
    files = chosen(sizes)
    if not has_weights(files):
        raise refusal.no_safetensors(repo.model, has_pickles(sizes))
    refuse_too_large(repo, files)
    progress = Progress(sum(files.values()), tell, stopped)
    try:
        folder = repo.download(files, progress)
    except Exception as error:
        raise explained(repo, error) from error
    progress.finish()
    return folder


def refuse_too_large(repo: Repository, files: dict[str, int]) -> None:
    """Files that are here already count too, so a model that just fits is refused only if it is not here at all."""
    needed, folder = sum(files.values()), nearest_existing(repo.folder)
    free = shutil.disk_usage(folder).free
    if needed > free and repo.cached() is None:
        raise refusal.too_large(repo.model, needed, free, str(folder))


def nearest_existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def explained(repo: Repository, error: Exception) -> Exception:
    """What really happened, which the hubs' clients wrap: a full disk, or something about the hub."""
    for inner in causes(error):
        if isinstance(inner, OSError) and inner.errno == errno.ENOSPC:
            return inner
    return repo.refused(error) or error


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, those it came from, and those of single files in it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        failed: dict[str, BaseException] = getattr(seen, "failed_files", {})
        yield from failed.values()
        seen = seen.__cause__ or seen.__context__
