"""Chats over HTTP, on both databases: with what, by whom, what is said, how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.chats.delivery import untold
from backend.controller.dispatch import assign_queued, make_order
from backend.controller.leases import Leases
from backend.jobs.tables import JobRow
from backend.models.service import find_model
from tests.api.make import assign, state
from tests.api.test_jobs import create, run, tell
from tunescope.events import ChatAnswerEvent, ChatReadyEvent, ChatTakenEvent, MemoryFigure
from tunescope.memory.catalogue import catalogue_config
from tunescope.settings import ServerSettings
from tunescope.states import JobState
from tunescope.units import GIB, MIB
from tunescope.wire import ChatOrder, GpuReport, MachineReport

Sessions = sessionmaker[Session]


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


def trained(client: TestClient, sessions: Sessions, settings: ServerSettings, adapter: bool = True) -> str:
    """A job that has succeeded and left its files."""
    job = create(client)
    run(sessions, job, 1)
    tell(sessions, job, [state(job, 4, JobState.SUCCEEDED)])
    folder = settings.attempt_dir(job, 1) / "artifacts"
    folder.mkdir(parents=True)
    (folder / ("adapter_model.safetensors" if adapter else "model.safetensors")).write_bytes(b"")
    if adapter:
        (folder / "adapter_config.json").write_text("{}")
    return job


def chat_with(client: TestClient, job: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/jobs/{job}/chat", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def begin(sessions: Sessions, chat: str) -> None:
    assign(sessions, chat)
    figure = MemoryFigure(source="nvml.process", bytes=900 * MIB, peak_bytes=901 * MIB)
    ready = ChatReadyEvent(
        job=chat, attempt=1, sequence=2, at=1.0, device="H100", context_tokens=4096, parameters=10, adapter=True,
        dtype="bfloat16", held={"weights": 20}, memory=[figure],
    )  # fmt: skip
    tell(sessions, chat, [state(chat, 1, JobState.STARTING), ready, state(chat, 3, JobState.RUNNING)])


def test_its_memory_is_predicted_reserved_and_measured(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = trained(member, sessions, settings)
    short, long = (
        member.get(f"/api/jobs/{job}/chat?context_tokens={tokens}").json()["estimate"] for tokens in (1024, 2048)
    )
    assert sum(short["ledger"].values()) == short["total_bytes"] < long["total_bytes"]
    assert long["ledger"]["kv_cache"] == 2 * short["ledger"]["kv_cache"] == 2048 * long["kv_bytes_per_token"]
    with sessions() as session:
        model = find_model(session, settings, "smollm2-135m-instruct")
    assert model
    Path(model.path).mkdir(parents=True)
    config = catalogue_config("smollm2-135m-instruct") | {"max_position_embeddings": 8192}
    (Path(model.path) / "config.json").write_text(json.dumps(config))
    too_long = member.get(f"/api/jobs/{job}/chat?context_tokens=100000")
    assert too_long.status_code == 422 and too_long.json()["errors"][0]["loc"] == "context_tokens"
    chat = chat_with(member, job, context_tokens=2048)
    assert chat["estimate"]["total_bytes"] == long["total_bytes"] and chat["chat"]["result_of"] == job
    with sessions.begin() as session:
        gpu = GpuReport(uuid="GPU-1", index=0, name="H100", total_bytes=80 * GIB, free_bytes=GIB, used_bytes=79 * GIB)
        machine = MachineReport(
            name="m1", at=0, gpus=[gpu], host_total_bytes=GIB, host_available_bytes=GIB, cpu_count=1
        )
        assert assign_queued(session, [machine]) == 0, "its memory is not there"
        assert "free on GPU 0 of m1" in (session.get_one(JobRow, chat["id"]).waiting_because or "")
        gpu.free_bytes = 80 * GIB
        assert assign_queued(session, [machine]) == 1
        order = make_order(session, settings, session.get_one(JobRow, chat["id"]))
    assert isinstance(order, ChatOrder) and order.chat.result == f"jobs/{job}/1/artifacts" and order.gpus == ["GPU-1"]
    figure = MemoryFigure(source="nvml.process", bytes=900 * MIB, peak_bytes=901 * MIB)
    answer = ChatAnswerEvent(
        job=chat["id"], attempt=1, sequence=3, at=1.0, number=1, text="Half.", tokens=2, ended="end", memory=[figure]
    )
    tell(
        sessions, chat["id"], [state(chat["id"], 1, JobState.STARTING), state(chat["id"], 2, JobState.RUNNING), answer]
    )
    shown = member.get(f"/api/jobs/{chat['id']}").json()
    assert shown["peaks"] == {"nvml.process": 901 * MIB} and shown["latest"]["memory"][0]["bytes"] == 900 * MIB


def test_messages_are_sent_until_the_worker_has_them(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    chat = chat_with(member, trained(member, sessions, settings))["id"]
    path = f"/api/jobs/{chat}/messages"
    assert member.post(path, json={"text": "Hello"}).json()["number"] == 1
    with sessions() as session:
        assert untold(session) == [], "it waits for the model to be there"
    begin(sessions, chat)
    assert member.post(path, json={"text": "And?", "adapter": False, "again_of": 1}).json()["number"] == 2
    for number, field in ((7, "again_of"),):
        assert member.post(path, json={"text": "x", field: number}).json()["errors"][0]["loc"] == field
    with sessions() as session:
        machine, control = untold(session)[0]
    assert machine == "m1" and [message.number for message in control.messages] == [1, 2]
    assert not control.messages[1].adapter
    tell(sessions, chat, [ChatTakenEvent(job=chat, attempt=1, sequence=4, at=1.0, number=1, prompt_tokens=9)])
    assert member.post(f"/api/jobs/{chat}/stop").status_code == 200
    with sessions() as session:
        control = untold(session)[0][1]
    assert [message.number for message in control.messages] == [2] and control.stopped == [1, 2]
    said = {"tokens": 1, "text": "Hi", "ended": "stopped"}
    answers = [
        ChatAnswerEvent(job=chat, attempt=1, sequence=4 + number, at=1.0, number=number, **said) for number in (1, 2)
    ]
    tell(sessions, chat, [*answers])
    with sessions() as session:
        assert untold(session) == []
    assert [(item["taken"], item["ended"]) for item in member.get(path).json()["items"]] == [(True, True)] * 2
    for text in range(8):
        member.post(path, json={"text": str(text)})
    assert member.post(path, json={"text": "one more"}).status_code == 409, "answers are waited for"


def test_who_may_what(admin: TestClient, member: TestClient, sessions: Sessions, settings: ServerSettings) -> None:
    waiting = create(admin)
    assert admin.post(f"/api/jobs/{waiting}/chat").status_code == 409, "there is no result yet"
    assert admin.get(f"/api/jobs/{waiting}/chat").json()["unavailable_because"]
    admin.post(f"/api/jobs/{waiting}/cancel")
    job = trained(admin, sessions, settings, adapter=False)
    chat = chat_with(admin, job)["id"]
    assert admin.post(f"/api/jobs/{job}/chat").status_code == 409, "one open chat each"
    mine = chat_with(member, job)["id"]
    assert member.post(f"/api/jobs/{chat}/messages", json={"text": "Hello"}).status_code == 403
    refused = member.post(f"/api/jobs/{mine}/messages", json={"text": "Hello", "adapter": False})
    assert refused.json()["errors"][0]["type"] == "no_adapter_to_leave_out"
    assert [item["id"] for item in member.get(f"/api/jobs/{job}/chats").json()["items"]] == [mine, chat]
    assert {item["id"] for item in member.get("/api/jobs").json()["items"]} == {waiting, job}, "a chat is no training"
    assert {item["id"] for item in member.get("/api/jobs?task=chat").json()["items"]} == {mine, chat}
    assert 'tunescope_chats{state="queued"} 2.0' in admin.get("/metrics").text
    for action in ("retry", "clone", "chat", "measure"):
        assert admin.post(f"/api/jobs/{chat}/{action}").status_code == 409
    assert member.post(f"/api/jobs/{job}/messages", json={"text": "Hello"}).status_code in (403, 404)
    assert admin.delete(f"/api/jobs/{job}").status_code == 409, "somebody talks to it"
    for each in (chat, mine):
        assert admin.post(f"/api/jobs/{each}/cancel").json()["state"] == "cancelled"
    assert admin.post(f"/api/jobs/{chat}/messages", json={"text": "Hello"}).status_code == 409
    assert admin.delete(f"/api/jobs/{job}").status_code == 204
    assert admin.get(f"/api/jobs/{mine}").status_code == 404, "what was said goes with the job"


def test_an_open_chat_is_known_however_many_came_after_it(
    admin: TestClient, member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = trained(admin, sessions, settings)
    mine = chat_with(member, job)["id"]
    for _ in range(51):
        admin.post(f"/api/jobs/{chat_with(admin, job)['id']}/cancel")
    assert mine not in [item["id"] for item in member.get(f"/api/jobs/{job}/chats").json()["items"]]
    assert member.post(f"/api/jobs/{job}/chat").status_code == 409


def test_a_chat_whose_machine_is_lost_is_not_begun_again(
    member: TestClient, sessions: Sessions, settings: ServerSettings, redis_url: str
) -> None:
    chat = chat_with(member, trained(member, sessions, settings))["id"]
    begin(sessions, chat)
    now = [0.0]
    with redis.Redis.from_url(redis_url) as connection:
        leases = Leases(connection, lambda _job: True, lambda: now[0])
        for at in (0.0, 60.0):
            now[0] = at
            with sessions.begin() as session:
                leases.check(session, {})
    shown = member.get(f"/api/jobs/{chat}").json()
    assert (shown["state"], shown["failure"]["reason"], shown["attempt"]) == ("failed", "machine_lost", 1)
    assert "new chat" in shown["failure"]["advice"]
