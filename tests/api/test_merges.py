"""Merging later over HTTP, on both databases: of what, by whom, where it runs, how it ends, and what is then among the files."""

import io
import json
import shutil
import zipfile
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.controller.dispatch import assign_queued, make_order
from backend.controller.leases import Leases
from backend.jobs import service as jobs
from backend.jobs.tables import JobRow
from backend.models.service import find_model
from tests.api.make import assign, state
from tests.api.test_chats import trained
from tests.api.test_jobs import create, run, tell
from tunescope.events import ArtifactEvent, Failure, PlanEvent, StateEvent
from tunescope.memory.catalogue import catalogue_config
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.states import FailureReason, JobState
from tunescope.units import GIB, MIB
from tunescope.wire import GpuReport, MachineReport, MergeOrder, task_of

Sessions = sessionmaker[Session]


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


def adapted(client: TestClient, sessions: Sessions, settings: ServerSettings) -> str:
    """A LoRA job that has succeeded, with its adapter and its plan."""
    job = trained(client, sessions, settings)
    tell_plan(sessions, job)
    return job


def tell_plan(sessions: Sessions, job: str) -> None:
    counts = {"total_steps": 2, "train_rows": 24, "trainable_parameters": 1, "all_parameters": 2}
    tell(sessions, job, [PlanEvent(job=job, attempt=1, sequence=9, at=1.0, device="CPU", **counts)])


def merge(client: TestClient, job: str) -> dict[str, Any]:
    answer = client.post(f"/api/jobs/{job}/merge")
    assert answer.status_code == 202, answer.text
    return answer.json()


def plan(client: TestClient, job: str) -> dict[str, Any]:
    answer = client.get(f"/api/jobs/{job}/merge")
    assert answer.status_code == 200, answer.text
    return answer.json()


def machine(name: str, free: int = 8 * GIB, gpu: bool = False) -> MachineReport:
    gpus = [GpuReport(uuid="GPU-1", index=0, name="H100", total_bytes=80 * GIB, free_bytes=80 * GIB)] if gpu else []
    return MachineReport(name=name, at=0, gpus=gpus, host_total_bytes=8 * GIB, host_available_bytes=free, cpu_count=1)


def finish(sessions: Sessions, settings: ServerSettings, merging: str, attempt: int = 1) -> None:
    """What a worker does with a merge that it was given."""
    folder = settings.attempt_dir(merging, attempt) / "artifacts" / "merged"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    artifact = ArtifactEvent(
        job=merging, attempt=attempt, sequence=3, at=1.0, name="merged/model.safetensors", bytes=7, sha256="b"
    )
    states = [
        state(merging, number, to, attempt)
        for number, to in ((1, JobState.STARTING), (2, JobState.RUNNING), (4, JobState.SUCCEEDED))
    ]
    tell(sessions, merging, [states[0], states[1], artifact])
    tell(sessions, merging, [states[2]])


def test_the_merged_model_is_among_the_jobs_files(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = adapted(member, sessions, settings)
    offered = plan(member, job)
    assert offered["unavailable"] is None and offered["merge"] is None and not offered["merged"]
    assert 200 * MIB < offered["disk_bytes"] < 300 * MIB, "135 million parameters in 16 bit"
    assert offered["disk_bytes"] + GIB < offered["memory_bytes"] < 2 * GIB
    merging = merge(member, job)
    assert (merging["task"], merging["state"], merging["merge"]["result_of"]) == ("merge", "queued", job)
    assert merge(member, job)["id"] == merging["id"], "a second click while it waits is the same merge"
    assert plan(member, job)["merge"]["id"] == merging["id"]
    with sessions.begin() as session:
        busy = machine("m1", free=100 * MIB)
        assert assign_queued(session, [busy]) == 0
        assert "main memory; on m1 100.0 MiB are free" in (session.get_one(JobRow, merging["id"]).waiting_because or "")
        assert assign_queued(session, [machine("m1", gpu=True)]) == 1
        order = make_order(session, settings, session.get_one(JobRow, merging["id"]))
    assert isinstance(order, MergeOrder) and order.gpus == [] and task_of(order) == "tunescope.merge"
    assert order.merge.result == f"jobs/{job}/1/artifacts" and order.merge.plan.train_rows == 24
    finish(sessions, settings, merging["id"])
    told = plan(member, job)
    assert told["merged"] and told["merge"]["state"] == "succeeded"
    files = {file["name"]: file for file in member.get(f"/api/jobs/{job}/artifacts").json()}
    assert files["merged/model.safetensors"]["sha256"] == "b"
    assert member.get(files["merged/model.safetensors"]["url"]).content == b"weights"
    whole = zipfile.ZipFile(io.BytesIO(member.get(f"/api/jobs/{job}/artifacts.zip").content))
    assert f"{job}/merged/model.safetensors" in whole.namelist()
    assert member.get(f"/api/jobs/{job}").json()["state"] == "succeeded"
    refused = member.post(f"/api/jobs/{job}/merge")
    assert refused.status_code == 409 and "merged/" in refused.json()["fix"], "it says where it is"
    folder = settings.data_dir / "jobs" / merging["id"]
    assert member.delete(f"/api/jobs/{job}").status_code == 204
    assert not folder.exists() and member.get(f"/api/jobs/{merging['id']}").status_code == 404


def test_a_merge_that_fails_is_no_failed_training_and_is_tried_again(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = adapted(member, sessions, settings)
    merging = merge(member, job)["id"]
    assert member.delete(f"/api/jobs/{job}").status_code == 409, "its adapter is being read"
    assign(sessions, merging)
    failure = Failure.of(
        FailureReason.OUT_OF_MEMORY, say("merge_killed_for_memory", when="now"), say("merge_needs_room")
    )
    ended = StateEvent(job=merging, attempt=1, sequence=2, at=1.0, state=JobState.FAILED, failure=failure)
    tell(sessions, merging, [state(merging, 1, JobState.STARTING), ended])
    assert member.get(f"/api/jobs/{job}").json()["state"] == "succeeded"
    failed = plan(member, job)
    assert failed["merge"]["failure"]["advice_sentence"]["kind"] == "merge_needs_room"
    assert failed["unavailable"] is None, "it can be tried again"
    assert member.get(f"/api/jobs/{merging}").json()["failure"]["suggestions"] == [], "no setting of the training helps"
    again = merge(member, job)
    assert (again["id"], again["attempt"], again["state"]) == (merging, 2, "queued")
    assert [earlier["state"] for earlier in again["earlier_attempts"]] == ["failed"]
    assign(sessions, merging)
    finish(sessions, settings, merging, attempt=2)
    folder = settings.attempt_dir(merging, 2)
    shutil.rmtree(folder)
    assert not plan(member, job)["merged"] and merge(member, job)["attempt"] == 3, "its files were taken away"


def test_who_may_and_what_cannot_be_merged(
    admin: TestClient, member: TestClient, sessions: Sessions, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(job: str) -> str:
        answer = admin.post(f"/api/jobs/{job}/merge")
        assert answer.status_code == 409 and answer.json()["fix"], answer.text
        shown = admin.get(f"/api/jobs/{job}/merge")
        told = shown.json()["unavailable"] if shown.status_code == 200 else shown.json()
        assert told["detail"] == answer.json()["detail"]
        return answer.json()["detail_sentence"]["kind"]

    waiting = create(admin)
    assert refused(waiting) == "merge_needs_end"
    admin.post(f"/api/jobs/{waiting}/cancel")
    assert refused(waiting) == "no_adapter_left"
    full = create(admin, adaptation={"method": "full"}, precision={"quantization": "none"})
    run(sessions, full, 1)
    tell(sessions, full, [state(full, 4, JobState.SUCCEEDED)])
    assert refused(full) == "nothing_to_merge"
    job = adapted(admin, sessions, settings)
    assert member.post(f"/api/jobs/{job}/merge").status_code == 403
    assert plan(member, job)["unavailable"] is None, "everybody sees how it stands"
    chat = admin.post(f"/api/jobs/{job}/chat").json()["id"]
    assert refused(chat) == "not_of_a_chat"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 99, 1))
        assert refused(job) == "merged_not_kept"
    with sessions() as session:
        model = find_model(session, settings, "smollm2-135m-instruct")
    assert model
    model.path.mkdir(parents=True)
    quantized = catalogue_config("smollm2-135m-instruct") | {
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}
    }
    (model.path / "config.json").write_text(json.dumps(quantized))
    assert refused(job) == "merge_needs_plain_weights"
    (model.path / "config.json").write_text(json.dumps(catalogue_config("smollm2-135m-instruct")))
    merging = merge(admin, job)["id"]
    assert refused(merging) == "not_of_a_merge"
    for action in ("retry", "clone", "chat", "measure"):
        assert admin.post(f"/api/jobs/{merging}/{action}").status_code == 409
    assert merging not in {item["id"] for item in admin.get("/api/jobs").json()["items"]}, "a merge is no training"
    listed = admin.get("/api/jobs?task=merge").json()["items"]
    assert [(item["id"], item["merge"]["result_of"]) for item in listed] == [(merging, job)]
    assert 'tunescope_merges{state="queued"} 1.0' in admin.get("/metrics").text
    assert admin.post(f"/api/jobs/{merging}/cancel").json()["state"] == "cancelled"
    assert merge(admin, job)["attempt"] == 2
    assert admin.post("/api/jobs/nothing/merge").status_code == 404


def test_clicks_at_the_same_moment_are_one_merge(
    member: TestClient, sessions: Sessions, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = adapted(member, sessions, settings)
    first = merge(member, job)["id"]
    monkeypatch.setattr(jobs, "merge_of", lambda _session, _job: None)
    assert merge(member, job)["id"] == first


def test_an_admins_merge_is_the_owners(
    admin: TestClient, member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = adapted(member, sessions, settings)
    merging = merge(admin, job)
    assert member.post(f"/api/jobs/{merging['id']}/cancel").status_code == 200


def test_a_job_is_not_run_again_while_its_adapter_is_read(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = create(member)
    run(sessions, job, 1)
    tell_plan(sessions, job)
    folder = settings.attempt_dir(job, 1) / "artifacts"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    tell(sessions, job, [state(job, 10, JobState.FAILED)])
    assert "no adapter" in plan(member, job)["unavailable"]["detail"], "its weights are gone"
    (folder / "adapter_model.safetensors").write_bytes(b"")
    merging = merge(member, job)["id"]
    assert member.post(f"/api/jobs/{job}/retry").status_code == 409
    assign(sessions, merging)
    finish(sessions, settings, merging)
    assert plan(member, job)["merged"]
    assert member.post(f"/api/jobs/{job}/retry").status_code == 200
    assert member.get(f"/api/jobs/{job}/artifacts").json() == [], "the merged model was of the attempt before"


def test_a_merge_whose_machine_is_lost_goes_on_elsewhere(
    member: TestClient, sessions: Sessions, settings: ServerSettings, redis_url: str
) -> None:
    merging = merge(member, adapted(member, sessions, settings))["id"]
    now = [0.0]
    with redis.Redis.from_url(redis_url) as connection:
        for attempt in (1, 2, 3):
            assign(sessions, merging)
            tell(sessions, merging, [state(merging, 1, JobState.STARTING, attempt)])
            leases = Leases(connection, lambda _job: True, lambda: now[0])
            for _ in range(2):
                now[0] += 60.0
                with sessions.begin() as session:
                    leases.check(session, {})
            shown = member.get(f"/api/jobs/{merging}").json()
            assert shown["attempt"] == min(attempt + 1, 3)
    assert shown["state"] == "failed" and shown["failure"]["advice_sentence"]["kind"] == "merge_later"
