"""Python SDK over the REST API.

    with Client("http://127.0.0.1:8000", token="tsc_…") as client:
        job = client.submit(load_spec(text))
        for event in client.follow(job["id"]):
            ...

Errors are those of tunescope.problems, as the server sent them, and

ClientError
└── CannotReach     the server did not answer at this address
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tunescope import problems
from tunescope.events import JobEvent, job_event
from tunescope.problems import FieldError, Problem
from tunescope.spec import JobSpec

DEFAULT_URL = "http://127.0.0.1:8000"
RECONNECT_SECONDS = 1.0
POLL_SECONDS = 0.5
BY_STATUS: dict[int, type[Problem]] = {
    kind.status: kind
    for kind in (
        problems.InvalidInput,
        problems.NotSignedIn,
        problems.Forbidden,
        problems.NotFound,
        problems.Conflict,
        problems.TooLarge,
        problems.Unavailable,
    )
}


class ClientError(Exception):
    """Something between this client and the server went wrong."""


class CannotReach(ClientError):
    """Nothing answers at the server's address."""


class Client:
    """One server, as one user. ``url`` and ``token`` come from TUNESCOPE_URL and TUNESCOPE_TOKEN if not given."""

    def __init__(self, url: str | None = None, token: str | None = None, timeout_seconds: float = 30) -> None:
        self.url = (url or os.environ.get("TUNESCOPE_URL") or DEFAULT_URL).rstrip("/")
        token = token or os.environ.get("TUNESCOPE_TOKEN") or os.environ.get("TUNESCOPE_ADMIN_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call ``/api`` + path; the decoded JSON, or None. Raises Problem or CannotReach."""
        try:
            response = self._http.request(method, f"/api{path}", **options)
        except httpx.HTTPError as error:
            raise CannotReach(
                f"No Tunescope answers at {self.url} ({error}). Is it running? Set TUNESCOPE_URL."
            ) from error
        if response.is_error:
            raise problem_of(response)
        return response.json() if response.content else None

    def submit(self, spec: JobSpec) -> dict[str, Any]:
        """Queue a job; the job."""
        return self.request("POST", "/jobs", json=spec.model_dump(mode="json"))

    def jobs(self, *, state: str | None = None, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """A page of jobs, newest first: ``items`` and ``next_cursor``."""
        params = {"state": state, "limit": limit, "cursor": cursor}
        return self.request("GET", "/jobs", params={key: value for key, value in params.items() if value is not None})

    def job(self, job_id: str) -> dict[str, Any]:
        return self.request("GET", f"/jobs/{job_id}")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask a job to save a checkpoint and leave; its state is then ``cancelling`` or ``cancelled``."""
        return self.request("POST", f"/jobs/{job_id}/cancel")

    def retry(self, job_id: str) -> dict[str, Any]:
        return self.request("POST", f"/jobs/{job_id}/retry")

    def clone(self, job_id: str, spec: JobSpec | None = None) -> dict[str, Any]:
        """Queue a new job with the same spec, or with ``spec``."""
        body = {"spec": spec.model_dump(mode="json")} if spec else None
        return self.request("POST", f"/jobs/{job_id}/clone", json=body)

    def trace(self, spec: JobSpec, wait_seconds: float = 300) -> dict[str, Any]:
        """The exact memory trace of a spec: ``state`` is ready (``trace``, ``comparison``) or failed (``reason``).

        A worker computes it in a few seconds; still ``pending`` after ``wait_seconds``.
        """
        deadline = time.monotonic() + wait_seconds
        status = self.request("POST", "/traces", json=spec.model_dump(mode="json"))
        while status["state"] == "pending" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            status = self.request("GET", f"/traces/{status['key']}")
        return status

    def job_trace(self, job_id: str) -> dict[str, Any]:
        """The exact trace that was made when a job was submitted; the same shape as ``trace``."""
        return self.request("GET", f"/jobs/{job_id}/trace")

    def metrics(self, job_id: str, points: int = 1000) -> dict[str, Any]:
        """Series of every figure: ``steps`` and, by name, ``mean``, ``min`` and ``max``. Memory is in bytes."""
        return self.request("GET", f"/jobs/{job_id}/metrics", params={"points": points})

    def logs(self, job_id: str, after: int = 0) -> dict[str, Any]:
        """Log lines after a sequence number: ``items`` and ``next_after``."""
        return self.request("GET", f"/jobs/{job_id}/logs", params={"after": after})

    def artifacts(self, job_id: str) -> list[dict[str, Any]]:
        return self.request("GET", f"/jobs/{job_id}/artifacts")

    def estimate(self, spec: JobSpec, gpu: str | None = None) -> dict[str, Any]:
        """Bytes of VRAM at the job's peak on one GPU, by category."""
        return self.request("POST", "/estimates", json={"spec": spec.model_dump(mode="json"), "gpu": gpu})

    def datasets(self) -> list[dict[str, Any]]:
        return self.request("GET", "/datasets")["items"]

    def add_dataset(self, path: Path, name: str = "") -> dict[str, Any]:
        """Upload a data set file; every row is checked, ``problems`` lists the bad ones by line."""
        with path.open("rb") as file:
            files = {"file": (path.name, file)}
            return self.request("POST", "/datasets", files=files, data={"name": name}, timeout=None)

    def models(self) -> list[dict[str, Any]]:
        return self.request("GET", "/models")["items"]

    def add_model(self, name: str, path: str) -> dict[str, Any]:
        """Add a directory on the server to its library (admins only)."""
        return self.request("POST", "/models", json={"name": name, "path": path})

    def machines(self) -> list[dict[str, Any]]:
        return self.request("GET", "/gpus")["machines"]

    def follow(self, job_id: str, last_event_id: str | None = None) -> Iterator[JobEvent]:
        """Every event of a job, each once, until it ends; reconnects by itself where it left off."""
        while True:
            try:
                for name, identity, data in self._listen(job_id, last_event_id):
                    if name == "end":
                        return
                    last_event_id = identity or last_event_id
                    yield job_event.validate_json(data)
            except httpx.HTTPError:
                pass
            time.sleep(RECONNECT_SECONDS)

    def _listen(self, job_id: str, last_event_id: str | None) -> Iterator[tuple[str, str, str]]:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        timeout = httpx.Timeout(30, read=60)
        with self._http.stream("GET", f"/api/jobs/{job_id}/events", headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise problem_of(response)
            yield from server_sent_events(response.iter_lines())


def server_sent_events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """(event, id, data) of each event, by the rules of the HTML standard that our server uses."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield fields.get("event", "message"), fields.get("id", ""), fields["data"]
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and "data" in fields else value


def problem_of(response: httpx.Response) -> Problem:
    """The server's problem details as the exception that raised them."""
    try:
        body: dict[str, Any] = response.json()
    except json.JSONDecodeError:
        body = {}
    kind = BY_STATUS.get(response.status_code, Problem)
    detail = str(body.get("detail") or body.get("title") or f"The server answered {response.status_code}.")
    errors = [FieldError(item["loc"], item["message"], item.get("fix", "")) for item in body.get("errors", [])]
    return kind(detail, str(body.get("fix", "")), errors)
