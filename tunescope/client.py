"""Python SDK over the REST API.

    with Client("http://127.0.0.1:8000", token="tsc_…") as client:
        job = client.submit(load_spec(text))
        for event in client.follow(job["id"]):
            ...

Errors are those of tunescope.problems, as the server sent them, and

ClientError
├── CannotReach     nothing answered at this address
└── NotTunescope    something answered, but not as Tunescope does
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from tunescope import problems
from tunescope.events import JobEvent, job_event
from tunescope.memory.advise import Language
from tunescope.problems import FieldError, InvalidInput, Problem, Unavailable
from tunescope.spec import JobSpec

DEFAULT_URL = "http://127.0.0.1:8000"
RECONNECT_SECONDS = 1.0
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 300.0
JOB_FIELDS = ("id", "state")
"""By which a job is told from whatever else answers in JSON."""

BY_STATUS: dict[int, Callable[[str, str, list[FieldError]], Problem]] = {
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


class NotTunescope(ClientError):
    """What answers at the server's address is something else."""


class Client:
    """One server, as one user. ``url`` and ``token`` come from TUNESCOPE_URL and TUNESCOPE_TOKEN if not given.

    Raises InvalidInput for a URL or token that can be none.
    """

    def __init__(self, url: str | None = None, token: str | None = None, timeout_seconds: float = 30) -> None:
        self.url = checked_url(url or os.environ.get("TUNESCOPE_URL") or DEFAULT_URL)
        token = token or os.environ.get("TUNESCOPE_TOKEN") or os.environ.get("TUNESCOPE_ADMIN_TOKEN")
        headers = {"Authorization": f"Bearer {checked_token(token)}"} if token else {}
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
        """Call ``/api`` + path; the decoded JSON, or None. Raises Problem or ClientError."""
        try:
            response = self._http.request(method, f"/api{path}", **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise CannotReach(
                f"No Tunescope answers at {self.url} ({error}). Is it running? Set TUNESCOPE_URL."
            ) from error
        except httpx.HTTPError as error:
            raise CannotReach(unanswered(self.url, method, error)) from error
        if not response.is_success:
            raise problem_of(response)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise not_tunescope(response) from error

    def _told(self, method: str, path: str, *fields: str, **options: Any) -> dict[str, Any]:
        """The answer of ``request`` as an object with at least these fields. Raises NotTunescope for another service's JSON."""
        answer = self.request(method, path, **options)
        if not isinstance(answer, dict) or not all(field in answer for field in fields):
            raise NotTunescope(f"What {self.url} answered is no answer of Tunescope. Check TUNESCOPE_URL.")
        return cast(dict[str, Any], answer)

    def submit(self, spec: JobSpec) -> dict[str, Any]:
        """Queue a job; the job."""
        return self._told("POST", "/jobs", *JOB_FIELDS, json=spec.model_dump(mode="json"))

    def jobs(
        self, *, state: str | None = None, ids: Sequence[str] | None = None, limit: int = 50, cursor: str | None = None
    ) -> dict[str, Any]:
        """A page of jobs, newest first: ``items`` and ``next_cursor``. ``ids``: of these only, as far as they exist."""
        params = {"state": state, "ids": None if ids is None else ",".join(ids), "limit": limit, "cursor": cursor}
        given = {key: value for key, value in params.items() if value is not None}
        return self._told("GET", "/jobs", "items", "next_cursor", params=given)

    def job(self, job_id: str) -> dict[str, Any]:
        return self._told("GET", job_path(job_id), *JOB_FIELDS)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask a job to save a checkpoint and leave; its state is then ``cancelling`` or ``cancelled``."""
        return self._told("POST", job_path(job_id, "cancel"), *JOB_FIELDS)

    def retry(self, job_id: str) -> dict[str, Any]:
        return self._told("POST", job_path(job_id, "retry"), *JOB_FIELDS)

    def clone(self, job_id: str, spec: JobSpec | None = None, patch: dict[str, Any] | None = None) -> dict[str, Any]:
        """Queue a new job with the same spec, or with ``spec``; ``patch`` has new values by dotted field, as suggestions do."""
        body = {"spec": spec.model_dump(mode="json") if spec else None, "patch": patch or {}}
        return self._told("POST", job_path(job_id, "clone"), *JOB_FIELDS, json=body)

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its figures, log, checkpoints and files, for good."""
        self.request("DELETE", job_path(job_id))

    def merge(self, job_id: str) -> dict[str, Any]:
        """Merge the adapter that a job has left into its model: a job of its own, without a GPU, that ``follow`` waits for and ``cancel`` ends.

        Once it has succeeded, the merged model is among the files of ``job_id``, in ``merged/``. The one under way where there is one.
        """
        return self._told("POST", job_path(job_id, "merge"), *JOB_FIELDS)

    def chat(self, job_id: str, context_tokens: int | None = None) -> dict[str, Any]:
        """Begin a chat with what a job has trained: a job of its own, that ``say`` speaks to and ``cancel`` ends.

        ``context_tokens``: the longest conversation, for which memory is kept.
        """
        body = {"context_tokens": context_tokens}
        return self._told("POST", job_path(job_id, "chat"), *JOB_FIELDS, json=body)

    def say(self, chat_id: str, text: str, **settings: Any) -> dict[str, Any]:
        """Say something in a chat: the message with its ``number``. ``settings``: adapter, system, temperature, max_new_tokens, again_of.

        The answer comes with the chat's events, see ``follow``: each ChatAnswerEvent of that number has the next piece, the last ``ended``.
        """
        return self._told("POST", job_path(chat_id, "messages"), "number", json={"text": text, **settings})

    def stop_answers(self, chat_id: str) -> list[dict[str, Any]]:
        """End the answer under way, and those that wait; the messages of the chat, which stays open."""
        return self._told("POST", job_path(chat_id, "stop"), "items")["items"]

    def trace(self, spec: JobSpec, wait_seconds: float = 300) -> dict[str, Any]:
        """The exact memory trace of a spec: ``state`` is ready (``trace``, ``comparison``) or failed (``reason``).

        A worker computes it in a few seconds; still ``pending`` after ``wait_seconds``.
        """
        deadline = time.monotonic() + wait_seconds
        status = self._told("POST", "/traces", "state", "key", json=spec.model_dump(mode="json"))
        while status["state"] == "pending" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            status = self._told("GET", f"/traces/{status['key']}", "state", "key")
        return status

    def job_trace(self, job_id: str) -> dict[str, Any]:
        """The exact trace that was made when a job was submitted; the same shape as ``trace``."""
        return self._told("GET", job_path(job_id, "trace"), "state")

    def metrics(self, job_id: str, points: int = 1000) -> dict[str, Any]:
        """Series of every figure: ``steps`` and, by name, ``mean``, ``min`` and ``max``. Memory is in bytes."""
        return self._told("GET", job_path(job_id, "metrics"), "steps", params={"points": points})

    def logs(self, job_id: str, after: int = 0) -> dict[str, Any]:
        """Log lines after a sequence number: ``items`` and ``next_after``."""
        return self._told("GET", job_path(job_id, "logs"), "items", "next_after", params={"after": after})

    def artifacts(self, job_id: str) -> list[dict[str, Any]]:
        return self.request("GET", job_path(job_id, "artifacts"))

    def download(self, job_id: str, folder: Path) -> list[Path]:
        """Save every file that a job left, such as its adapter, in ``folder``; their paths. One that is there is replaced.

        Raises NotTunescope where a file that arrived has another SHA-256 than the server told.
        """
        return [self._save(job_id, artifact, folder) for artifact in self.artifacts(job_id)]

    def _save(self, job_id: str, artifact: dict[str, Any], folder: Path) -> Path:
        name = PurePosixPath(artifact["name"])
        if name.is_absolute() or ".." in name.parts:
            raise NotTunescope(f"{self.url} names a file outside of the folder: {name}.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name until it is whole, so that a broken download does not pass for an adapter.
        partial = path.with_name(f"{path.name}.partial")
        hashed = hashlib.sha256()
        try:
            with self._http.stream("GET", f"/api{job_path(job_id, 'artifacts')}/{quote(str(name))}") as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                with partial.open("wb") as out:
                    for chunk in response.iter_bytes():
                        hashed.update(chunk)
                        out.write(chunk)
            if artifact["sha256"] and hashed.hexdigest() != artifact["sha256"]:
                raise NotTunescope(f"{name} did not arrive as it was sent; download it again.")
            partial.replace(path)
        except httpx.HTTPError as error:
            raise CannotReach(f"The connection to {self.url} was lost while {name} came ({error}).") from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def estimate(
        self, spec: JobSpec, gpu: str | None = None, stack: str | None = None, config: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Bytes of VRAM at the job's peak on one GPU, by category, and which of the server's GPUs would take it.

        ``gpu`` is one of the server's by its driver's name, or of the catalogue; ``stack`` names library versions. The reference GPU and
        the worker's own versions if not given.
        ``config`` is the model's config.json, for a model that the server does not know.
        """
        body = {"spec": spec.model_dump(mode="json"), "gpu": gpu, "stack": stack}
        return self._told("POST", "/estimates", "total_bytes", json=body | _with_config(config))

    def advise(
        self,
        spec: JobSpec,
        gpu: str | None = None,
        stack: str | None = None,
        language: Language = "en",
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What to change so that a spec fits, or needs less, cheapest first, each with its ``patch``; and what fits as it is."""
        body = {
            "spec": spec.model_dump(mode="json"),
            "gpu": gpu,
            "stack": stack,
            "language": language,
        }
        return self.request("POST", "/advice", json=body | _with_config(config))

    def explain(
        self,
        a: JobSpec | str,
        b: JobSpec | str,
        gpu: str | None = None,
        stack: str | None = None,
        language: Language = "en",
    ) -> dict[str, Any]:
        """Why b needs more or less memory than a, in bytes by section. Each is a spec, a recipe's name or a job's id.

        ``gpu`` and ``stack`` hold for both sides.
        """
        sides = [side if isinstance(side, str) else side.model_dump(mode="json") for side in (a, b)]
        body = {"a": sides[0], "b": sides[1], "gpu": gpu, "stack": stack, "language": language}
        return self._told("POST", "/explanations", "sections", json=body)

    def recipes(self) -> list[dict[str, Any]]:
        return self._told("GET", "/recipes", "items")["items"]

    def datasets(self) -> list[dict[str, Any]]:
        return self._told("GET", "/datasets", "items")["items"]

    def add_dataset(self, path: Path, name: str = "") -> dict[str, Any]:
        """Upload a data set file; every row is checked, ``problems`` lists the bad ones by line."""
        with path.open("rb") as file:
            files = {"file": (path.name, file)}
            return self._told("POST", "/datasets", "name", files=files, data={"name": name}, timeout=None)

    def models(self) -> list[dict[str, Any]]:
        return self._told("GET", "/models", "items")["items"]

    def add_model(self, name: str, path: str) -> dict[str, Any]:
        """Add a directory on the server to its library (admins only)."""
        return self._told("POST", "/models", "name", json={"name": name, "path": path})

    def machines(self) -> list[dict[str, Any]]:
        return self._told("GET", "/gpus", "machines")["machines"]

    def follow(
        self,
        job_id: str,
        last_event_id: str | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        on_lost: Callable[[str], None] | None = None,
    ) -> Iterator[JobEvent]:
        """Every event of a job, each once, until it ends; reconnects by itself where it left off.

        ``on_lost`` hears once each time that the connection is lost. Raises CannotReach after ``patience_seconds`` without.
        """
        lost_at: float | None = None
        while True:
            try:
                for name, identity, data in self._listen(job_id, last_event_id):
                    lost_at = None
                    if name == "end":
                        return
                    last_event_id = identity or last_event_id
                    event = known_event(data)
                    if event is not None:
                        yield event
            except (httpx.HTTPError, CannotReach, Unavailable) as error:
                reason = f"The connection to {self.url} is lost ({error or type(error).__name__})"
                if lost_at is None:
                    lost_at = time.monotonic()
                    if on_lost:
                        on_lost(reason)
                elif time.monotonic() - lost_at > patience_seconds:
                    raise CannotReach(f"{reason}, for {patience_seconds:.0f} s by now.") from error
            time.sleep(RECONNECT_SECONDS)

    def _listen(self, job_id: str, last_event_id: str | None) -> Iterator[tuple[str, str, str]]:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        timeout = httpx.Timeout(30, read=60)
        path = f"/api{job_path(job_id, 'events')}"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise problem_of(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise not_tunescope(response)
            yield from server_sent_events(response.iter_lines())


def checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"{url} is not the address of a server.", "Set TUNESCOPE_URL, e.g. to http://127.0.0.1:8000."
        )
    return url.rstrip("/")


def checked_token(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput("The API token has characters that no token has.", "Copy it again into TUNESCOPE_TOKEN.")
    return token


def job_path(job_id: str, *rest: str) -> str:
    """Path of a job below /api. An id is one segment, whatever characters it has. Raises InvalidInput for one that can be none."""
    if not job_id.strip(". "):
        raise InvalidInput("The id of a job is missing.", "See the ids of jobs: tunescope jobs list.")
    if "/" in job_id:  # servers take an escaped one for a slash too
        raise InvalidInput(f"{job_id} cannot be the id of a job.", "See the ids of jobs: tunescope jobs list.")
    return "/".join(["/jobs", quote(job_id, safe=""), *rest])


def known_event(data: str) -> JobEvent | None:
    """An event, or None for a kind that a newer server has and this client does not know."""
    try:
        return job_event.validate_json(data)
    except ValidationError:
        return None


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


def problem_of(response: httpx.Response) -> Problem | ClientError:
    """The server's problem details as the exception that raised them."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return not_tunescope(response)
    try:
        body = cast(dict[str, Any], response.json())
        detail = str(body.get("detail") or body.get("title") or f"The server answered {response.status_code}.")
        errors = [
            FieldError(
                item["loc"],
                item["message"],
                item.get("fix", ""),
                item.get("type", ""),
                item.get("values", {}),
                item.get("patch", {}),
            )
            for item in body.get("errors") or []
        ]
    except (ValueError, AttributeError, KeyError, TypeError):  # no JSON, or another program's problem details
        return not_tunescope(response)
    return BY_STATUS.get(response.status_code, Problem)(detail, str(body.get("fix") or ""), errors)


def unanswered(url: str, method: str, error: httpx.HTTPError) -> str:
    """What to say when the connection stood, but no whole answer came: what was asked for may have been done."""
    said = f"{url} did not answer to the end ({error or type(error).__name__})."
    if method == "GET":
        return f"{said} Ask again, or see the server's log."
    return f"{said} What you asked for may have been done all the same: look before you ask again."


def not_tunescope(response: httpx.Response) -> ClientError:
    url = response.request.url.copy_with(path="/", query=None)
    if response.status_code in (502, 503, 504):
        return CannotReach(f"A proxy at {url} answers, but no Tunescope behind it ({response.status_code}).")
    if response.status_code == 413:
        return NotTunescope(
            f"A proxy at {url} takes nothing of this size (413). Let it take more, in nginx by client_max_body_size."
        )
    if response.has_redirect_location:
        to = response.headers["location"]
        return NotTunescope(
            f"{url} sends on to {to}. If Tunescope is there, set TUNESCOPE_URL to the start of that address."
        )
    return NotTunescope(f"{url} answered {response.status_code}, but not as Tunescope does. Check TUNESCOPE_URL.")


def _with_config(config: dict[str, Any] | None) -> dict[str, Any]:
    """Only where one is given: a server of an older release refuses the field."""
    return {} if config is None else {"config": config}
