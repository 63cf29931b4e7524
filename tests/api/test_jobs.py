"""Jobs over HTTP, on both databases: accept, refuse, list, follow, cancel, retry."""

import json
from io import BytesIO
from pathlib import Path
from random import randbytes
from shutil import rmtree
from typing import Any
from zipfile import ZipFile

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.controller.dispatch import assign_queued
from backend.jobs.following import apply_events
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move
from backend.telemetry.recording import Recording
from backend.telemetry.told import as_told
from tests.api.make import assign, line, spec, state, step
from tunescope.events import ArtifactEvent, CheckpointEvent, Failure, FailureMemory, JobEvent, PlanEvent, StateEvent
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.states import FailureReason, JobState
from tunescope.units import GIB, MIB
from tunescope.wire import GpuReport, MachineReport

Sessions = sessionmaker[Session]


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


def create(client: TestClient, **sections: Any) -> str:
    answer = client.post("/api/jobs", json=spec(**sections))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def tell(sessions: Sessions, job: str, events: list[JobEvent]) -> None:
    """What the controller's recorder does with a batch."""
    with sessions.begin() as session:
        Recording().record(session, as_told(events))
        apply_events(session, job, as_told(events))


def run(sessions: Sessions, job: str, steps: int) -> None:
    assign(sessions, job)
    begin = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]
    tell(
        sessions, job, [*begin, *(step(job, 2 + number, number, loss=float(number)) for number in range(1, steps + 1))]
    )


def test_a_new_job_waits_with_its_estimate(member: TestClient) -> None:
    body = member.get(f"/api/jobs/{create(member)}").json()
    assert (body["state"], body["attempt"], body["owner"]["username"]) == ("queued", 1, "mei")
    assert body["estimate"]["total_bytes"] == sum(body["estimate"]["ledger"].values()) > 0
    assert body["spec"]["adaptation"]["r"] == 8


CANNOT_RUN: list[tuple[dict[str, Any], str]] = [
    ({"model": {"id": "nowhere", "source": "library"}}, "model.id"),
    ({"model": {"id": "Qwen/Qwen2.5-7B-Instruct", "source": "catalogue"}}, "model.source"),
    ({"data": {"dataset": "nowhere"}}, "data.dataset"),
    ({"precision": {"quantization": "gptq-int4"}}, "precision.quantization"),
    ({"adaptation": {"r": 0}}, "adaptation.r"),
    ({"adaptation": {"rank": 8}}, "adaptation.rank"),
    ({"adaptation": {"method": "full"}}, "precision.quantization"),
    ({"parallelism": {"gpus": 2}}, "parallelism.strategy"),
    ({"parallelism": {"gpus": 2, "strategy": "zero3"}}, "parallelism.strategy"),
    ({"parallelism": {"gpus": 2, "strategy": "ddp"}, "placement": {"probe": True}}, "placement.probe"),
    ({"data": {}}, "data.dataset"),
    ({"adaptation": {"target_modules": ["q_proj", "c_attn"]}}, "adaptation.target_modules"),
    ({"adaptation": {"modules_to_save": ["lm_haed"]}}, "adaptation.modules_to_save"),
    ({"adaptation": {"target_modules": ["q_proj", "model.lm_head"]}}, "adaptation.target_modules"),
    (
        {"adaptation": {"target_modules": ["q_proj", "lm_head"]}, "memory_savers": {"fused_loss": True}},
        "memory_savers.fused_loss",
    ),
    ({"name": "run \u202etxt.exe"}, "name"),
    ({"name": "run \u009b31m"}, "name"),
    ({"name": "run\u200b"}, "name"),
    ({"model": {"id": "/etc/passwd"}}, "model.id"),
    ({"model": {"id": "../models/mine", "source": "modelscope"}}, "model.id"),
    ({"model": {"id": "gpt2", "source": "modelscope"}}, "model.id"),
    ({"model": {"id": "https://huggingface.co/Qwen/Qwen2.5-7B"}}, "model.id"),
    (
        {"memory_savers": {"attention": "flash_attention_2"}, "precision": {"dtype": "float32"}},
        "memory_savers.attention",
    ),
    ({"precision": {"dtype": "float16", "adapter_dtype": "float16"}}, "precision.adapter_dtype"),
]


def test_what_cannot_run_is_refused_at_its_field(member: TestClient) -> None:
    for sections, loc in CANNOT_RUN:
        answer = member.post("/api/jobs", json=spec(**sections))
        assert answer.status_code == 422, sections
        assert answer.headers["content-type"] == "application/problem+json"
        told = {error["loc"]: bool(error["fix"] and error["type"]) for error in answer.json()["errors"]}
        assert told == {loc: True}, sections
    assert member.get("/api/jobs").json()["items"] == []


@pytest.mark.parametrize(
    "adaptation",
    [
        {"target_modules": ["q_proj", "self_attn.v_proj", "model.layers.3.mlp.down_proj"]},
        {"modules_to_save": ["embed_tokens", "lm_head", "input_layernorm"]},
        {"method": "full", "target_modules": ["c_attn"]},
    ],
)
def test_modules_that_the_model_has_are_accepted(member: TestClient, adaptation: dict[str, Any]) -> None:
    create(member, adaptation=adaptation, precision={"quantization": "none"})


def test_names_in_every_script_are_accepted(member: TestClient) -> None:
    for name in ("试跑 1", "मोहन", "👩‍🔬 run", "été", "x" * 120):
        assert member.post("/api/jobs", json=spec(name=name)).json()["name"] == name


def test_thousands_of_wrong_fields_get_a_short_answer(member: TestClient) -> None:
    wrong = {f"{number}{'x' * 1000}": 1 for number in range(3000)}
    answer = member.post("/api/jobs", json=spec(**wrong))
    assert answer.status_code == 422 and len(answer.content) < 60_000
    assert all(error["loc"].endswith("…") for error in answer.json()["errors"])


def test_every_reason_is_told_at_once(member: TestClient) -> None:
    wrong = {"model": {"id": "/x"}, "data": {"dataset": "nowhere"}, "precision": {"quantization": "gptq-int4"}}
    errors = member.post("/api/jobs", json=spec(**wrong)).json()["errors"]
    assert {error["loc"] for error in errors} == {"model.id", "data.dataset", "precision.quantization"}


def test_a_library_model_whose_weights_went_away_is_refused(
    admin: TestClient, member: TestClient, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    shards = [folder / f"model-{number}.safetensors" for number in (1, 2)]
    for shard in shards:
        shard.touch()
    index = {"weight_map": {"a": shards[0].name, "b": shards[1].name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert admin.post("/api/models", json={"name": "mine", "path": str(folder)}).status_code == 201
    mine = {"id": "mine", "source": "library"}
    create(member, model=mine)
    for gone, told in ((1, shards[1].name), (0, "*.safetensors")):
        shards[gone].unlink()
        (error,) = member.post("/api/jobs", json=spec(model=mine)).json()["errors"]
        assert error["loc"] == "model.id" and told in error["message"]


def test_an_unknown_state_to_filter_by_is_answered_with_the_states(member: TestClient) -> None:
    answer = member.get("/api/jobs?state=queued,finished")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["loc"]) == (422, "state")
    assert "finished" in error["message"] and all(name in error["fix"] for name in JobState)
    assert member.get("/api/jobs?state=queued,failed").status_code == 200


def test_an_unknown_architecture_runs_without_an_estimate(member: TestClient) -> None:
    job = create(member, model={"id": "someone/unheard-of", "source": "huggingface"})
    body = member.get(f"/api/jobs/{job}").json()
    assert body["estimate"] is None and body["estimate_unknown_because"]
    asked = {"spec": spec(model={"id": "someone/unheard-of"})}
    assert member.post("/api/estimates", json=asked).status_code == 422


def test_pages_hold_every_job_once(member: TestClient) -> None:
    made = [create(member, name=f"run {number}") for number in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = member.get("/api/jobs", params=query).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]
    assert [item["id"] for item in member.get("/api/jobs?q=RUN 3").json()["items"]] == [made[3]]
    assert member.get("/api/jobs?owner=nobody").json()["items"] == []
    some = member.get(f"/api/jobs?ids={made[1]},none,{made[4]}").json()["items"]
    assert [item["id"] for item in some] == [made[4], made[1]]
    assert member.get("/api/jobs?ids=").json()["items"] == [], "none of them, not all"
    assert member.get("/api/jobs?state=dreaming").status_code == 422


def test_events_drive_the_job_however_often_they_come(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=5)
    tell(sessions, job, [step(job, 7, 5), line(job, 8), state(job, 9, JobState.SUCCEEDED)])
    tell(sessions, job, [step(job, 7, 5), line(job, 8), state(job, 9, JobState.SUCCEEDED)])
    body = member.get(f"/api/jobs/{job}").json()
    assert body["state"] == "succeeded" and body["finished_at"] and body["progress"]["step"] == 5
    assert body["latest"]["memory"][1]["bytes"] is None
    assert [item["sequence"] for item in member.get(f"/api/jobs/{job}/logs").json()["items"]] == [8]


def test_metrics_keep_least_and_greatest_of_each_point(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=100)
    body = member.get(f"/api/jobs/{job}/metrics?points=10").json()
    assert body["steps_per_point"] == 16 and body["last_step"] == 100
    assert body["steps"] == [15, 31, 47, 63, 79, 95, 100]
    assert body["series"]["loss"]["min"][0] == 1 and body["series"]["loss"]["max"][0] == 15
    assert body["series"]["loss"]["mean"][0] == 8
    assert body["series"]["meter_seconds"]["mean"][0] == pytest.approx(0.02), "what measuring costs is shown"
    assert body["series"]["memory.host.rss"]["max"][-1] == 1_000_100
    assert body["unknown"] == {"nvml.device": "no GPU on this machine"}
    assert "memory.nvml.device" not in body["series"]


def test_cancel_ends_a_queued_job_and_asks_a_running_one(member: TestClient, sessions: Sessions) -> None:
    queued, running = create(member), create(member)
    run(sessions, running, steps=1)
    assert member.post(f"/api/jobs/{queued}/cancel").json()["state"] == "cancelled"
    assert member.post(f"/api/jobs/{running}/cancel").json()["state"] == "cancelling"
    assert member.post(f"/api/jobs/{queued}/cancel").status_code == 409
    assert member.delete(f"/api/jobs/{running}").status_code == 409
    assert member.delete(f"/api/jobs/{queued}").status_code == 204
    assert member.get(f"/api/jobs/{queued}").status_code == 404


def test_a_retry_ignores_what_the_old_attempt_still_says(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    tell(sessions, job, [state(job, 6, JobState.FAILED)])
    body = member.post(f"/api/jobs/{job}/retry").json()
    assert (body["state"], body["attempt"], body["failure"]) == ("queued", 2, None)
    tell(sessions, job, [step(job, 7, 4), state(job, 8, JobState.SUCCEEDED)])
    body = member.get(f"/api/jobs/{job}").json()
    assert (body["state"], body["progress"]["step"]) == ("queued", 0)


def test_a_run_that_goes_on_from_a_checkpoint_is_as_far_as_its_worker_says(
    member: TestClient, sessions: Sessions
) -> None:
    """Also if it takes no step more, since the checkpoint was that of the last one."""
    job = create(member)
    run(sessions, job, steps=3)
    saved = CheckpointEvent(job=job, attempt=1, sequence=6, at=1006.0, step=3, path="checkpoints/checkpoint-3")
    tell(sessions, job, [saved, state(job, 7, JobState.FAILED)])
    assert member.post(f"/api/jobs/{job}/retry").json()["progress"]["step"] == 3, "before anything is heard of it"
    assign(sessions, job)
    counts = {"total_steps": 3, "train_rows": 9, "trainable_parameters": 1, "all_parameters": 2}
    plan = PlanEvent(job=job, attempt=2, sequence=2, at=1010.0, device="CPU", resumed_step=3, **counts)
    tell(sessions, job, [state(job, 1, JobState.STARTING, attempt=2), plan])
    body = member.get(f"/api/jobs/{job}").json()
    assert (body["progress"]["step"], body["latest"]) == (3, {"loss": 3.0})
    tell(
        sessions,
        job,
        [state(job, sequence, to, attempt=2) for sequence, to in ((3, JobState.RUNNING), (4, JobState.SUCCEEDED))],
    )
    body = member.get(f"/api/jobs/{job}").json()
    assert (body["state"], body["progress"]["step"], body["latest"]["loss"]) == ("succeeded", 3, 3.0)


def test_a_run_whose_checkpoint_is_gone_begins_at_its_first_step(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    saved = CheckpointEvent(job=job, attempt=1, sequence=6, at=1006.0, step=3, path="checkpoints/checkpoint-3")
    tell(sessions, job, [saved, state(job, 7, JobState.FAILED)])
    member.post(f"/api/jobs/{job}/retry")
    assign(sessions, job)
    counts = {"total_steps": 3, "train_rows": 9, "trainable_parameters": 1, "all_parameters": 2}
    plan = PlanEvent(job=job, attempt=2, sequence=2, at=1010.0, device="CPU", resumed_step=0, **counts)
    tell(sessions, job, [state(job, 1, JobState.STARTING, attempt=2), plan])
    assert member.get(f"/api/jobs/{job}").json()["progress"]["step"] == 0
    tell(sessions, job, [state(job, 3, JobState.RUNNING, attempt=2), step(job, 4, 1, attempt=2)])
    assert member.get(f"/api/jobs/{job}").json()["progress"]["step"] == 1


def test_a_retry_goes_on_from_the_newest_checkpoint_though_a_later_attempt_left_none(
    member: TestClient, sessions: Sessions
) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    saved = CheckpointEvent(job=job, attempt=1, sequence=6, at=1006.0, step=3, path="checkpoints/checkpoint-3")
    tell(sessions, job, [saved])
    assert member.get(f"/api/jobs/{job}").json()["checkpoint_step"] is None, "a run that goes on is not retried"
    tell(sessions, job, [state(job, 7, JobState.FAILED)])
    assert member.get(f"/api/jobs/{job}").json()["checkpoint_step"] == 3
    body = member.post(f"/api/jobs/{job}/retry").json()
    assert (body["attempt"], body["resume_from_attempt"]) == (2, 1)
    # Cancelled before it took a step, it can still be gone on with from there.
    assert member.post(f"/api/jobs/{job}/cancel").json()["checkpoint_step"] == 3
    assert member.post(f"/api/jobs/{job}/retry").json()["checkpoint_step"] is None
    assign(sessions, job)
    steps = [(1, JobState.STARTING), (2, JobState.RUNNING), (3, JobState.FAILED)]
    tell(sessions, job, [state(job, sequence, to, attempt=3) for sequence, to in steps])
    body = member.post(f"/api/jobs/{job}/retry").json()
    assert (body["attempt"], body["resume_from_attempt"]) == (4, 1)


def test_how_each_attempt_ended_stays_with_the_job(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    why = Failure(reason=FailureReason.TRAINER_KILLED, detail="Somebody killed it.", advice="Retry.")
    tell(sessions, job, [StateEvent(job=job, attempt=1, sequence=6, at=1006.0, state=JobState.FAILED, failure=why)])
    assert member.get(f"/api/jobs/{job}").json()["earlier_attempts"] == []
    for wish, ended in (("retry", 1), ("cancel", 1), ("retry", 2)):
        assert len(member.post(f"/api/jobs/{job}/{wish}").json()["earlier_attempts"]) == ended
    first, second = member.get(f"/api/jobs/{job}").json()["earlier_attempts"]
    assert (first["attempt"], first["state"], first["step"]) == (1, "failed", 3)
    assert first["failure"]["detail"] == "Somebody killed it."
    assert first["machine"] and first["started_at"] and first["finished_at"] >= first["started_at"]
    assert (second["attempt"], second["state"], second["failure"]) == (2, "cancelled", None)
    assert second["started_at"] is None


def test_what_a_run_does_otherwise_than_asked_is_told_of_its_newest_attempt(
    member: TestClient, sessions: Sessions
) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    counts = {"total_steps": 3, "train_rows": 9, "trainable_parameters": 1, "all_parameters": 2}
    left_out = say("problem_rows_left_out", left_out=2, rows=11)
    plan = PlanEvent(job=job, attempt=1, sequence=6, at=1006.0, device="CPU", notes=[left_out.text], **counts)
    tell(sessions, job, [plan.model_copy(update={"note_sentences": [left_out]}), state(job, 7, JobState.FAILED)])
    body = member.get(f"/api/jobs/{job}").json()
    assert body["notes"] == ["2 of 11 rows have problems and were left out."]
    assert body["note_sentences"] == [left_out.model_dump()]
    assert member.post(f"/api/jobs/{job}/retry").status_code == 200
    assert member.get(f"/api/jobs/{job}").json()["notes"] == []


@pytest.mark.parametrize(
    "older", [("reason", "detail", "advice", "memory"), ("reason", "detail", "memory", "last_lines")]
)
def test_a_failure_of_an_older_release_tells_its_parts_once(
    member: TestClient, sessions: Sessions, older: tuple[str, ...]
) -> None:
    """Of an older server, or of an older worker as a newer server stored it: with last lines that there were none of."""
    job = create(member)
    run(sessions, job, steps=3)
    memory = FailureMemory(device="CPU", categories={"weights": GIB}, categories_of_step=3)
    detail = (
        "Killed.\nHeld at the peak of step 3: weights 1.0 GiB; 1.0 GiB in all.\nLast lines of its log:\nstep 2\nstep 3"
    )
    why = Failure(reason=FailureReason.TRAINER_KILLED, detail=detail, memory=memory)
    tell(sessions, job, [StateEvent(job=job, attempt=1, sequence=6, at=1006.0, state=JobState.FAILED, failure=why)])
    with sessions.begin() as session:
        row = session.get_one(JobRow, job)
        row.failure = {name: value for name, value in (row.failure or {}).items() if name in older}
    failure = member.get(f"/api/jobs/{job}").json()["failure"]
    assert failure["detail"] == detail, "what the command line shows is whole"
    assert failure["detail_sentence"]["text"] == "Killed."
    assert failure["last_lines"] == ["step 2", "step 3"]


def test_a_retry_without_a_checkpoint_begins_anew(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    run(sessions, job, steps=3)
    tell(sessions, job, [state(job, 6, JobState.FAILED)])
    assert member.get(f"/api/jobs/{job}").json()["checkpoint_step"] is None
    assert member.post(f"/api/jobs/{job}/retry").json()["resume_from_attempt"] is None


def test_a_waiting_job_is_written_only_when_its_words_change(member: TestClient, sessions: Sessions) -> None:
    """What others hold of a GPU changes a little with every report."""
    job = create(member)

    def free_bytes(free: int) -> int:
        gpu = GpuReport(uuid="GPU-0", index=0, name="A GPU", total_bytes=24 * GIB, free_bytes=free)
        machine = MachineReport(
            name="m1", at=0.0, gpus=[gpu], host_total_bytes=1, host_available_bytes=1, cpu_count=1, running=[]
        )
        with sessions.begin() as session:
            assert assign_queued(session, [machine]) == 0
        return member.get(f"/api/jobs/{job}").json()["waiting_sentence"]["values"]["free_bytes"]

    little = int(1.2 * GIB)
    assert [free_bytes(little), free_bytes(little + 2 * MIB), free_bytes(little + 100 * MIB)] == [
        little, little, little + 100 * MIB,
    ]  # fmt: skip


def test_a_stale_fence_moves_nothing(member: TestClient, sessions: Sessions) -> None:
    job = create(member)
    with sessions.begin() as session:
        assert not move(session, job, JobState.ASSIGNED, fence=7)
        assert not move(session, job, JobState.RUNNING)
        assert move(session, job, JobState.ASSIGNED, fence=0)
    assert member.get(f"/api/jobs/{job}").json()["state"] == "assigned"


def test_a_clone_is_a_new_job_with_the_same_spec(member: TestClient) -> None:
    job = create(member, name="twin")
    answer = member.post(f"/api/jobs/{job}/clone")
    assert answer.status_code == 201
    assert answer.json()["id"] != job and answer.json()["name"] == "twin"


def test_artifacts_stay_inside_their_directory(member: TestClient, tmp_path: Any) -> None:
    job = create(member)
    for name in ("../../../tunescope.sqlite", "%2e%2e/%2e%2e/order.json", "/etc/passwd", "nothing"):
        assert member.get(f"/api/jobs/{job}/artifacts/{name}").status_code == 404


def left(sessions: Sessions, settings: ServerSettings, job: str, files: dict[str, bytes]) -> Path:
    """A job's artifacts as a worker leaves and tells them; their folder."""
    folder = settings.attempt_dir(job, 1) / "artifacts"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    told(sessions, job, list(files))
    return folder


def told(sessions: Sessions, job: str, names: list[str]) -> None:
    events = [
        ArtifactEvent(job=job, attempt=1, sequence=number, at=1.0, name=name, bytes=1, sha256="0" * 64)
        for number, name in enumerate(names, 1)
    ]
    tell(sessions, job, [*events])


def test_what_a_worker_calls_an_artifact_is_handed_out_from_its_folder_only(
    member: TestClient, sessions: Sessions, settings: ServerSettings, tmp_path: Path
) -> None:
    job = create(member)
    folder = settings.attempt_dir(job, 1) / "artifacts"
    folder.mkdir(parents=True)
    (folder / "kept").write_bytes(b"x")
    (folder.parent / "order.json").write_text("{}")
    secret = tmp_path / "secret"
    secret.write_text("s")
    (folder / "link").symlink_to(secret)
    told(sessions, job, ["kept", "../order.json", "/etc/hostname", str(secret), "link", "a\x7f" * 3000, "."])
    assert [item["name"] for item in member.get(f"/api/jobs/{job}/artifacts").json()] == ["kept"]
    with ZipFile(BytesIO(member.get(f"/api/jobs/{job}/artifacts.zip").content)) as whole:
        assert whole.namelist() == [f"{job}/kept"]
    for name in ("%2e%2e/order.json", "/etc/hostname", str(secret), "link"):
        assert member.get(f"/api/jobs/{job}/artifacts/{name}").status_code == 404


def test_a_pickle_that_an_older_trainer_left_is_neither_told_nor_served(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = create(member)
    names = ("adapter_model.safetensors", "training_args.bin")
    left(sessions, settings, job, dict.fromkeys(names, b"x"))
    assert [item["name"] for item in member.get(f"/api/jobs/{job}/artifacts").json()] == [names[0]]
    found = [member.get(f"/api/jobs/{job}/artifacts/{name}").status_code for name in names]
    assert found == [200, 404]


def test_an_archive_holds_every_file_to_the_byte(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = create(member)
    files = {"adapter_model.safetensors": randbytes(3 * MIB), "sub/x": b"x", "empty": b""}
    left(sessions, settings, job, files | {"training_args.bin": b"a pickle"})
    answer = member.get(f"/api/jobs/{job}/artifacts.zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job}.zip"'
    with ZipFile(BytesIO(answer.content)) as whole:
        assert whole.testzip() is None
        assert {name: whole.read(name) for name in whole.namelist()} == {
            f"{job}/{name}": content for name, content in files.items()
        }


def test_the_address_of_a_file_leads_to_it_whatever_it_is_called(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = create(member)
    left(sessions, settings, job, {"sub/a #1?.json": b"x"})
    [told] = member.get(f"/api/jobs/{job}/artifacts").json()
    assert told["name"] == "sub/a #1?.json" and member.get(told["url"]).content == b"x"


def test_a_job_without_files_has_no_archive(member: TestClient) -> None:
    answer = member.get(f"/api/jobs/{create(member)}/artifacts.zip")
    assert answer.status_code == 404 and "no files" in answer.json()["detail"]


def test_an_archive_of_files_that_are_gone_says_so(
    member: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = create(member)
    rmtree(left(sessions, settings, job, {"adapter_model.safetensors": b"x"}))
    with sessions.begin() as session:
        session.get_one(JobRow, job).state = JobState.SUCCEEDED
    answer = member.get(f"/api/jobs/{job}/artifacts.zip")
    assert answer.status_code == 404 and "no longer on the server" in answer.json()["detail"]
