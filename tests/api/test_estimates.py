"""Estimates, advice and explanations over HTTP: which GPU and which library versions, and what the server's own GPUs take."""

import time
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.tables import JobRow
from tests.api.make import spec
from tests.api.test_gpus import publish
from tests.api.test_measured import measured
from tunescope.memory.catalogue import catalogue_config
from tunescope.units import GIB, MIB
from tunescope.wire import GpuReport, MachineReport

Sessions = sessionmaker[Session]
BIG: dict[str, Any] = {
    "model": {"id": "Qwen/Qwen2.5-7B", "source": "catalogue"},
    "data": {"dataset": "d"},
    "batch": {"per_device_train_batch_size": 4},
}


def ask(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_servers_gpus_say_whether_the_card_and_whether_what_is_free_is_enough(
    admin: TestClient, redis_url: str
) -> None:
    alone = ask(admin, "estimates", spec=spec())
    assert alone["gpus"] == []
    need = alone["reserve_bytes"]
    assert need == int(alone["total_bytes"] * 1.05)
    sizes = {
        "roomy": {"total_bytes": need, "free_bytes": need},
        "busy": {"total_bytes": need, "free_bytes": need - 1},
        "small": {"total_bytes": need - 1, "free_bytes": alone["total_bytes"]},
        "silent": {},
        "divided": {"total_bytes": 80 * GIB, "free_bytes": 80 * GIB, "divided": True},
        "lost": {"total_bytes": 80 * GIB, "free_bytes": 80 * GIB, "unusable_because": "lost"},
    }
    gpus = [GpuReport(uuid=name, index=0, name=name, **told) for name, told in sizes.items()]
    machine = MachineReport(
        name="m1", at=time.time(), gpus=gpus, host_total_bytes=1, host_available_bytes=1, cpu_count=1
    )
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, machine)
    told = {gpu["uuid"]: (gpu["fits"], gpu["fits_now"]) for gpu in ask(admin, "estimates", spec=spec())["gpus"]}
    assert told == {
        "roomy": (True, True),
        "busy": (True, False),
        "small": (False, False),
        "silent": (None, None),
        "lost": (False, False),
    }
    for other in ({"gpu": "H200-141GB"}, {"stack": "qwen-2023"}):
        assert ask(admin, "estimates", spec=spec(), **other)["reserve_bytes"] == need, "the queue's own figure"
    careless = spec(placement={"gpu_memory_margin": 0.0})
    small = next(gpu for gpu in ask(admin, "estimates", spec=careless)["gpus"] if gpu["uuid"] == "small")
    assert small["fits"] and small["fits_now"], "the margin is the spec's"


def test_a_gpu_of_this_server_is_asked_for_by_its_own_name_and_is_as_its_driver_tells(
    admin: TestClient, redis_url: str
) -> None:
    """Whether the catalogue has its like or not: cuBLAS' workspaces follow the compute capability."""
    cards = {"NVIDIA H20": (97_871, (9, 0)), "NVIDIA A100 80GB PCIe": (81_000, (8, 0)), "NVIDIA Old": (11_264, (7, 5))}
    gpus = [
        GpuReport(uuid=name, index=0, name=name, total_bytes=mib * MIB, free_bytes=0, compute_capability=capability)
        for name, (mib, capability) in cards.items()
    ]
    gpus.append(GpuReport(uuid="gone", index=3, name="Gone", total_bytes=99 * GIB, unusable_because="lost"))
    with redis.Redis.from_url(redis_url) as connection:
        publish(
            connection,
            MachineReport(
                name="m1", at=time.time(), gpus=gpus, host_total_bytes=1, host_available_bytes=1, cpu_count=1
            ),
        )
    here = admin.get("/api/catalogue").json()["server_gpus"]
    assert [gpu["name"] for gpu in here] == list(cards), "the largest first"
    found = {name: ask(admin, "estimates", spec=BIG, gpu=name) for name in cards}
    for name, (mib, _) in cards.items():
        assert found[name]["device"] == {"name": name, "total_bytes": mib * MIB}
    workspaces = [found[name]["ledger"]["workspace"] for name in cards]
    assert workspaces[0] - workspaces[1] == 2 * (32 * MIB - 8_519_680)
    assert any("compute capability" in note for note in found["NVIDIA Old"]["assumptions"]), (
        "bfloat16 needs a newer one"
    )
    assert ask(admin, "advice", spec=BIG, gpu="NVIDIA H20")["largest_batch"] is not None
    unknown = admin.post("/api/estimates", json={"spec": BIG, "gpu": "NVIDIA H9"})
    assert unknown.status_code == 422 and "NVIDIA H20" in unknown.json()["errors"][0]["fix"]


def test_all_answers_are_for_the_gpu_that_was_asked_for_as_this_server_measured_it(
    member: TestClient, sessions: Sessions
) -> None:
    for _ in range(5):
        measured(member, sessions, "NVIDIA H100", "cuda tensors")
    for gpu, context in (("H100-80GB", 500), ("A100-80GB", 1205 * 1024**2)):
        found = ask(member, "estimates", spec=BIG, gpu=gpu)
        assert found["device"]["name"] == gpu and found["ledger"]["runtime_context"] == context
        sides = ask(member, "explanations", a=BIG, b=BIG, gpu=gpu)
        assert sides["a"]["total_bytes"] == sides["b"]["total_bytes"] == found["total_bytes"]
        change = ask(member, "advice", spec=BIG, gpu=gpu)["suggestions"][0]
        assert change["total_bytes"] + change["bytes_saved"] == found["total_bytes"]


def test_library_versions_can_be_asked_for(member: TestClient) -> None:
    own, old = ask(member, "estimates", spec=BIG), ask(member, "estimates", spec=BIG, stack="qwen-2023")
    assert own["total_bytes"] != old["total_bytes"]
    pair = {"a": "qwen-official-lora", "b": "swift-2024-lora"}
    assert "libraries" in {part["section"] for part in ask(member, "explanations", **pair)["sections"]}
    same = ask(member, "explanations", **pair, stack="current")
    assert "libraries" not in {part["section"] for part in same["sections"]}
    change = ask(member, "advice", spec=BIG, stack="qwen-2023")["suggestions"][0]
    assert change["total_bytes"] + change["bytes_saved"] == old["total_bytes"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("estimates", {"spec": BIG}), ("advice", {"spec": BIG}), ("explanations", {"a": BIG, "b": BIG})],
)
def test_an_unknown_gpu_stack_or_field_is_named(member: TestClient, path: str, body: dict[str, Any]) -> None:
    for field in ("gpu", "stack", "colour"):
        answer = member.post(f"/api/{path}", json={**body, field: "no such thing"})
        assert answer.status_code == 422 and answer.json()["errors"][0]["loc"] == field, answer.text


def test_a_job_of_an_older_release_is_shown_explained_and_cloned(member: TestClient, sessions: Sessions) -> None:
    def stored(**sections: Any) -> str:
        job = str(member.post("/api/jobs", json=spec()).json()["id"])
        with sessions.begin() as session:
            row = session.get(JobRow, job)
            assert row
            row.spec, row.state = {**row.spec, **sections}, "failed"
        return job

    old = stored(gone={"x": 1}, data={"dataset": "vram-questions", "max_length": 4, "colour": "red"})
    shown = member.get(f"/api/jobs/{old}")
    assert shown.status_code == 200 and shown.json()["spec"]["data"]["max_length"] == 4, "as it was"
    assert ask(member, "explanations", a=old, b="unsloth-qlora")["sections"]
    cloned = member.post(f"/api/jobs/{old}/clone", json={"patch": {"adaptation.r": 16}})
    assert cloned.status_code == 201 and cloned.json()["spec"]["adaptation"]["r"] == 16

    apart = stored(parallelism={"gpus": 1, "strategy": "none", "offload": "all"})
    assert member.get("/api/gpus").status_code == 200
    assert ask(member, "explanations", a=apart, b=apart)["difference_bytes"] == 0
    for path in ("clone", "retry"):
        refused = member.post(f"/api/jobs/{apart}/{path}")
        assert refused.status_code == 422 and refused.json()["errors"][0]["loc"] == "parallelism.offload"
    mended = member.post(f"/api/jobs/{apart}/clone", json={"patch": {"parallelism.offload": "none"}})
    assert mended.status_code == 201


@pytest.mark.parametrize("path", ["estimates", "advice"])
@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"adaptation": {"r": 0}}, "adaptation.r"),
        ({"adaptation": {"r": 4096}}, "adaptation.r"),
        ({"parallelism": {"gpus": 2}}, "parallelism.strategy"),
        ({"model": {"id": "nobody/nothing", "source": "catalogue"}}, "model.id"),
        ({"adaptation": {"target_modules": ["nope"]}}, "adaptation.target_modules"),
    ],
)
def test_a_field_has_one_name_whoever_finds_it_wrong(
    member: TestClient, path: str, sections: dict[str, Any], field: str
) -> None:
    """The checks of the types, and what only the model's dimensions tell: by the path in the input, as for two sides."""
    wrong = {**BIG, **sections}
    answer = member.post(f"/api/{path}", json={"spec": wrong})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [f"spec.{field}"]
    answer = member.post("/api/explanations", json={"a": BIG, "b": wrong})
    assert [error["loc"] for error in answer.json()["errors"]] == [f"b.{field}"]


def test_several_gpus_without_a_strategy_are_answered_with_the_one_that_trains(member: TestClient) -> None:
    answer = member.post("/api/estimates", json={"spec": {**BIG, "parallelism": {"gpus": 2}}})
    assert answer.json()["errors"][0]["patch"] == {"parallelism.strategy": "ddp"}


@pytest.mark.parametrize("model", ["google/gemma-2-9b", "mistralai/Mixtral-8x7B-Instruct-v0.1"])
def test_a_default_that_the_model_refuses_is_answered_with_its_remedy(admin: TestClient, model: str) -> None:
    wanted = spec(model={"id": model, "source": "catalogue"})
    answer = admin.post("/api/estimates", json={"spec": wanted})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert list(error["patch"]) == [error["loc"].removeprefix("spec.")]
    for path, value in error["patch"].items():
        section, field = path.split(".")
        wanted = wanted | {section: {field: value}}
    ask(admin, "estimates", spec=wanted)


def test_a_model_that_nobody_knows_is_estimated_by_its_config_json(admin: TestClient) -> None:
    unknown = spec(model={"id": "ours/never-published", "source": "catalogue"})
    assert admin.post("/api/estimates", json={"spec": unknown}).status_code == 422
    config = catalogue_config("Qwen/Qwen2.5-7B")
    like = spec(model={"id": "Qwen/Qwen2.5-7B", "source": "catalogue"})
    assert (
        ask(admin, "estimates", spec=unknown, config=config)["ledger"] == ask(admin, "estimates", spec=like)["ledger"]
    )
    told = [ask(admin, "advice", spec=unknown, config=config), ask(admin, "advice", spec=like)]
    assert told[0]["suggestions"] == told[1]["suggestions"]
    for path in ("estimates", "advice"):
        for wrong, field in (
            ({**config, "hidden_size": -1}, "config.hidden_size"),
            ({}, "config.model_type"),
        ):
            answer = admin.post(f"/api/{path}", json={"spec": unknown, "config": wrong})
            assert answer.status_code == 422 and field in {item["loc"] for item in answer.json()["errors"]}
        assert admin.post(f"/api/{path}", json={"spec": unknown, "config": [1]}).json()["errors"][0]["loc"] == "config"
