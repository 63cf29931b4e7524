"""The command against what is no Tunescope, or one that is lost on the way: told in words, never by a traceback."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from tunescope.cli.main import main

Answer = Callable[[httpx.Request], httpx.Response]
Serve = Callable[[Answer], None]
SPEC = "model: {id: smollm2-135m-instruct, source: library}\ndata: {dataset: d}"
JOB = {"id": "0123456789", "state": "running"}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    def set_up(answer: Answer) -> None:
        monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(answer)))

    monkeypatch.setenv("TUNESCOPE_URL", "http://elsewhere")
    return set_up


def json_of(value: Any, status: int = 200, kind: str = "application/json") -> Answer:
    return lambda _: httpx.Response(status, content=json.dumps(value), headers={"content-type": kind})


@pytest.mark.parametrize("value", [[], {}, None, "ok", {"status": "ok"}])
@pytest.mark.parametrize(
    "words", [("jobs", "show", "x"), ("jobs", "follow", "x"), ("jobs", "logs", "x"), ("gpus",), ("models", "list")]
)
def test_another_service_that_speaks_json_is_told_as_one(
    serve: Serve, capsys: pytest.CaptureFixture[str], value: Any, words: tuple[str, ...]
) -> None:
    serve(json_of(value))
    assert main(words) == 1
    assert "no answer of Tunescope. Check TUNESCOPE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body", [[], {"detail": "no", "errors": [{"pointer": "#/a"}]}, {"detail": "no", "errors": "x"}]
)
def test_problem_details_of_another_program_are_told_as_such(
    serve: Serve, capsys: pytest.CaptureFixture[str], body: Any
) -> None:
    serve(json_of(body, 422, "application/problem+json"))
    assert main(["jobs", "list"]) == 1
    assert "not as Tunescope does" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (httpx.Response(308, headers={"location": "https://elsewhere/"}), "sends on to https://elsewhere/"),
        (httpx.Response(413, html="<h1>Too large</h1>"), "client_max_body_size"),
    ],
)
def test_what_a_proxy_answers_leads_to_its_remedy(
    serve: Serve, capsys: pytest.CaptureFixture[str], response: httpx.Response, told: str
) -> None:
    serve(lambda _: response)
    assert main(["jobs", "list"]) == 1
    assert told in capsys.readouterr().err


def test_a_stream_that_is_a_web_page_is_not_followed_for_ever(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, html="<h1>Sign in</h1>")
        return httpx.Response(200, json=JOB)

    serve(answer)
    assert main(["jobs", "follow", JOB["id"]]) == 1
    assert "not as Tunescope does" in capsys.readouterr().err


def test_a_submission_without_an_answer_may_have_been_done(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    serve(answer)
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    assert main(["jobs", "submit", str(file)]) == 1
    assert "may have been done" in capsys.readouterr().err
    assert main(["jobs", "list"]) == 1
    assert "may have been done" not in capsys.readouterr().err


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_whoever_stops_watching_a_new_job_knows_its_id_and_that_it_goes_on(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Any, flags: tuple[str, ...]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            raise KeyboardInterrupt
        return httpx.Response(201, json=JOB | {"estimate": None, "estimate_unknown_because": "it is not known"})

    serve(answer)
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    assert main(["jobs", "submit", str(file), "--follow", *flags]) == 130
    said = capsys.readouterr()
    assert "Job 0123456789 is running." in said.err + said.out
    assert "tunescope jobs follow 0123456789" in said.err
    assert not flags or not said.out


def test_a_misspelt_recipe_asks_no_server(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("no server needs to be asked")

    serve(answer)
    assert main(["explain", "swift-2024-lora", "qwen-oficial-lora"]) == 2
    assert "Did you mean qwen-official-lora?" in capsys.readouterr().err


def test_a_section_is_not_set_as_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "clone", "0123456789", "--set", "model=Qwen/Qwen2.5-7B"]) == 2
    said = capsys.readouterr().err
    assert "model is a section" in said and "model.id=" in said
