"""tunescope.client against a real server."""

from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, WholeServer
from tests.support.running import ADMIN_TOKEN, free_port
from tunescope.client import CannotReach, Client, server_sent_events
from tunescope.events import LogEvent, StateEvent, StepEvent
from tunescope.problems import Conflict, InvalidInput, NotFound, NotSignedIn
from tunescope.spec import load_spec


def test_a_job_from_submission_to_its_figures(client: Client) -> None:
    job = client.submit(load_spec(SPEC.format(name="telling 5")))
    events = list(client.follow(job["id"]))
    assert [event.step for event in events if isinstance(event, StepEvent)] == [1, 2, 3, 4, 5]
    assert [event.state for event in events if isinstance(event, StateEvent)][-1] == "succeeded"
    middle = events[len(events) // 2]
    rest = list(client.follow(job["id"], f"{middle.attempt}-{middle.sequence}"))
    heard = events[len(events) // 2 + 1 :]
    assert rest[: len(heard)] == heard
    assert all(isinstance(event, LogEvent) for event in rest[len(heard) :]), "only lines can come after the last word"
    assert client.metrics(job["id"])["steps"] == [1, 2, 3, 4, 5]
    assert client.logs(job["id"])["items"]
    assert client.artifacts(job["id"]) == []
    again = client.clone(job["id"])
    assert again["id"] != job["id"] and list(client.follow(again["id"]))
    assert job["id"] in [item["id"] for item in client.jobs(state="succeeded", limit=200)["items"]]
    assert [item["id"] for item in client.jobs(ids=["none", job["id"]])["items"]] == [job["id"]]
    assert client.jobs(ids=[])["items"] == []
    answer = client.explain(job["id"], "unsloth-qlora")
    assert answer["sections"] and "unsloth-qlora" in [recipe["name"] for recipe in client.recipes()]
    assert client.estimate(load_spec(SPEC.format(name="x")), "H100-80GB")["fits"]


def test_errors_are_the_problems_that_the_server_sent(client: Client, server: WholeServer, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        client.job("nowhere")
    with pytest.raises(NotFound):
        list(client.follow("nowhere"))
    spec = load_spec(SPEC.format(name="x"))
    spec.data.dataset = "nowhere"
    with pytest.raises(InvalidInput) as refused:
        client.submit(spec)
    assert [error.loc for error in refused.value.errors] == ["data.dataset"]
    file = tmp_path / "vram-questions.jsonl"
    file.write_text('{"text": "x"}')
    with pytest.raises(Conflict):
        client.add_dataset(file)
    with Client(server.url, "tsc_wrong") as stranger, pytest.raises(NotSignedIn):
        stranger.jobs()


def test_a_server_that_is_away_is_told_once_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunescope.client.RECONNECT_SECONDS", 0.01)
    told: list[str] = []
    with Client(f"http://127.0.0.1:{free_port()}", ADMIN_TOKEN) as client:
        with pytest.raises(CannotReach):
            client.jobs()
        with pytest.raises(CannotReach):
            list(client.follow("x", patience_seconds=0.1, on_lost=told.append))
    assert len(told) == 1


def test_events_of_a_stream_are_read_as_the_standard_says() -> None:
    lines = [": comment", "id: 1-1", "event: step", "data: {", "data: }", "", "data:x", "", "id: 9", ""]
    assert list(server_sent_events(iter(lines))) == [("step", "1-1", "{\n}"), ("message", "", "x")]
