"""Takes TraceRequests for this machine from Redis, has them traced, and answers. One at a time, in a thread of its own."""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import redis
from pydantic import ValidationError

from tunescope import wire
from tunescope.memory.trace import Trace
from tunescope.sentences import Sentence, say
from tunescope.settings import WorkerSettings
from tunescope.wire import TraceAnswer, TraceRequest
from worker.tracechild import TRACER, Died, Limits, NotTraced, Stopped, TracerChild

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
REMEMBERED = 32
"""Answers that a doubled request gets again without a second trace; about 100 KB each."""


class TraceDesk:
    """The worker's side of traces."""

    def __init__(self, settings: WorkerSettings, client: "redis.Redis", command: Sequence[str] = TRACER) -> None:
        self._machine = settings.machine
        self._client = client
        self._stop = threading.Event()
        limits = Limits(settings.trace_seconds, settings.trace_memory_bytes)
        self._child = TracerChild(settings.data_dir / f"tracer-{settings.machine}.log", limits, self._stop, command)
        self._answers: OrderedDict[str, str] = OrderedDict()
        self._thread = threading.Thread(target=self._loop, name="traces", daemon=True)
        self.open = settings.trace_seconds > 0
        """Whether this machine traces at all."""
        self.under_way: str | None = None
        """Key of the request that is being traced."""

    @property
    def pid(self) -> int | None:
        """Process id of the tracer, if it runs."""
        return self._child.pid

    def start(self) -> None:
        if self.open:
            self._thread.start()

    def stop(self) -> None:
        """End the tracer, whatever it is at: the controller sends the request again elsewhere."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _loop(self) -> None:
        queue = wire.trace_requests(self._machine)
        while not self._stop.is_set():
            try:
                found: Any = self._client.blpop([queue], timeout=1)
                if found is None:
                    self._child.end_if_idle()
                    continue
                self._serve(found[1])
            except redis.RedisError as error:
                log.debug("trace requests not read: %s", error)
                self._stop.wait(RETRY_SECONDS)
            except Exception:
                log.exception("a trace request failed")
            finally:
                self.under_way = None
        self._child.end()

    def _serve(self, data: bytes) -> None:
        try:
            request = TraceRequest.model_validate_json(data)
        except ValidationError as error:
            self._refuse_unreadable(data, error)
            return
        if request.key in self._answers:
            self._send(self._answers[request.key])
            return
        self.under_way = request.key
        try:
            answer = TraceAnswer(key=request.key, machine=self._machine, trace=self._trace(request))
        except Stopped:
            return
        except NotTraced as error:
            log.info("%s… was not traced: %s", request.key[:12], error)
            reason = say("not_traceable", because=error.because)
            answer = TraceAnswer(key=request.key, machine=self._machine, reason=reason.text, reason_sentence=reason)
        text = answer.model_dump_json()
        if answer.trace is not None:
            self._answers[request.key] = text
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        self._send(text)

    def _trace(self, request: TraceRequest) -> Trace:
        """Trace a spec; once more in a new process if the first one dies. Raises NotTraced."""
        line = json.dumps({"spec": request.spec.model_dump(mode="json"), "config": request.config}).encode()
        try:
            answer = self._child.ask(line)
        except Died as death:
            log.warning("%s; trying once more", death)
            answer = self._child.ask(line)
        told: dict[str, Any] = json.loads(answer)
        if told.get("reason"):
            raise NotTraced(Sentence.model_validate(told["sentence"]) if told.get("sentence") else told["reason"])
        return Trace.model_validate(told["trace"])

    def _refuse_unreadable(self, data: bytes, error: ValidationError) -> None:
        log.error("a trace request could not be read; is this worker older than the server? %s", error)
        try:
            key = str(json.loads(data)["key"])
        except (ValueError, TypeError, KeyError):
            return
        reason = say("worker_too_old", machine=self._machine)
        self._send(
            TraceAnswer(key=key, machine=self._machine, reason=reason.text, reason_sentence=reason).model_dump_json()
        )

    def _send(self, text: str) -> None:
        """Deliver an answer; if Redis is away, until it is back or the worker stops."""
        while True:
            try:
                self._client.rpush(wire.TRACE_ANSWERS, text)
                self._client.publish(wire.WAKE, "traced")
                return
            except redis.RedisError:
                if self._stop.wait(RETRY_SECONDS):
                    return
