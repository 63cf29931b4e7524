"""ModelScope's hub through its own client. MODELSCOPE_ENDPOINT, MODELSCOPE_API_TOKEN and MODELSCOPE_CACHE mean what they mean to it."""

from pathlib import Path

from modelscope.hub.snapshot_download import snapshot_download
from modelscope_hub import HubApi
from modelscope_hub._download import ProgressCallback
from modelscope_hub.config import HubConfig
from modelscope_hub.errors import (
    APIError,
    AuthenticationError,
    CacheError,
    FileDownloadError,
    HubError,
    NetworkError,
    NotExistError,
    PermissionDeniedError,
)

from tunescope.sentences import say
from worker.hub import refusal
from worker.hub.progress import Progress
from worker.refusal import Refusal

NAME = "ModelScope"
TOKEN_VARIABLE = "MODELSCOPE_API_TOKEN"


class Repository:
    """One model at one revision."""

    def __init__(self, model: str, revision: str | None) -> None:
        self.model = model
        self.revision = revision
        self._api = HubApi()

    @property
    def folder(self) -> Path:
        return Path(HubConfig().cache_dir)

    def sizes(self) -> dict[str, int]:
        """Every file of the repository with its size in bytes."""
        files = self._api.list_repo_files(self.model, "model", revision=self.revision, recursive=False)
        return {file.path: int(file.size or 0) for file in files}

    def download(self, files: dict[str, int], progress: Progress) -> Path:
        class Counting(ProgressCallback):
            def update(self, size: int) -> None:
                progress.add(size)

        return Path(
            snapshot_download(
                self.model, revision=self.revision, allow_patterns=list(files), progress_callbacks=[Counting]
            )
        )

    def cached(self) -> Path | None:
        """The newest complete copy on this disk; None if there is none."""
        try:
            return Path(snapshot_download(self.model, revision=self.revision, local_files_only=True))
        except (CacheError, HubError, ValueError):
            return None

    def refused(self, error: Exception) -> Refusal | None:
        """What an error of ModelScope's client means; None for one that says nothing about hub or model."""
        if isinstance(error, FileDownloadError) and error.failed_files:
            first = next(iter(error.failed_files.values()))
            return self.refused(first) if isinstance(first, Exception) else None
        if isinstance(error, AuthenticationError | PermissionDeniedError):
            return refusal.no_access(NAME, self.model, TOKEN_VARIABLE)
        if isinstance(error, NotExistError):
            missing = "revision" in str(error).lower()
            if missing and self.revision:
                return refusal.no_revision(NAME, self.model, self.revision)
            return refusal.not_found(NAME, self.model)
        if isinstance(error, APIError):
            return refusal.unreachable(NAME, self.model, str(error).splitlines()[0])
        if isinstance(error, NetworkError | HubError | ConnectionError | TimeoutError) or type(
            error
        ).__module__.startswith(("requests", "urllib3")):
            return refusal.unreachable(NAME, self.model, say("connection_failed"))
        return None
