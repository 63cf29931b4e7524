"""Hugging Face's hub through huggingface_hub. HF_ENDPOINT, HF_TOKEN and HF_HOME mean what they mean to it."""

from pathlib import Path
from typing import Any

import huggingface_hub.constants as constants
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import tqdm

from tunescope.sentences import say
from worker.hub import refusal
from worker.hub.choice import LEFT_OUT, WANTED
from worker.hub.progress import Progress
from worker.refusal import Refusal

NAME = "Hugging Face"
TOKEN_VARIABLE = "HF_TOKEN"


class Repository:
    """One model at one revision."""

    def __init__(self, model: str, revision: str | None) -> None:
        self.model = model
        self.revision = revision
        self._api = HfApi()

    @property
    def folder(self) -> Path:
        return Path(constants.HF_HUB_CACHE)

    def sizes(self) -> dict[str, int]:
        """Every file of the repository with its size in bytes."""
        entries = self._api.list_repo_tree(self.model, revision=self.revision, recursive=False)
        return {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}

    def download(self, files: dict[str, int], progress: Progress) -> Path:
        return Path(
            snapshot_download(
                self.model, revision=self.revision, allow_patterns=list(files), tqdm_class=counting(progress)
            )
        )

    def cached(self) -> Path | None:
        """The newest complete copy on this disk; None if there is none."""
        try:
            folder = snapshot_download(
                self.model,
                revision=self.revision,
                local_files_only=True,
                allow_patterns=list(WANTED),
                ignore_patterns=["*/*", *LEFT_OUT],
            )
            return Path(folder)
        except (LocalEntryNotFoundError, HFValidationError):
            return None

    def refused(self, error: Exception) -> Refusal | None:
        """What an error of huggingface_hub means; None for one that says nothing about hub or model."""
        if isinstance(error, HFValidationError):
            return refusal.not_found(NAME, self.model)
        if isinstance(error, GatedRepoError):
            return refusal.no_access(NAME, self.model, TOKEN_VARIABLE)
        if isinstance(error, RevisionNotFoundError):
            return refusal.no_revision(NAME, self.model, self.revision or "main")
        if isinstance(error, RepositoryNotFoundError):
            return refusal.not_found(NAME, self.model)
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            if status in (401, 403):
                return refusal.no_access(NAME, self.model, TOKEN_VARIABLE)
            return refusal.unreachable(NAME, self.model, say("hub_answered", status=status))
        if type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")) or isinstance(
            error, ConnectionError | TimeoutError | LocalEntryNotFoundError
        ):
            return refusal.unreachable(NAME, self.model, say("connection_failed"))
        return None


def counting(progress: Progress) -> type[tqdm]:
    """huggingface_hub's progress bar, that draws nothing and counts the bytes written to disk."""

    class Counting(tqdm):
        def __init__(self, *words: Any, **options: Any) -> None:
            self._counts = options.get("unit") == "B" and "transfer" not in str(options.get("name"))
            super().__init__(*words, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts and n:
                progress.add(int(n))
            return None

    return Counting
