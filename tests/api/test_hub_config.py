"""Estimates of models that only a hub knows: config.json is fetched, kept, and never waited for long."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.models import hub_config
from tests.api.make import spec
from tests.support.hub import Hub, serving
from tests.support.running import free_port
from tunescope.settings import ServerSettings

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "tie_word_embeddings": True,
}


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return settings.model_copy(update={"ask_hubs": True})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub_config._asked.clear()
    with serving(Hub(files={"config.json": json.dumps(CONFIG).encode()})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def estimate(client: TestClient, model: str, source: str = "huggingface") -> Any:
    asked = spec(model={"id": model, "source": source}, adaptation={"r": 4})
    return client.post("/api/estimates", json={"spec": asked})


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_model_of_a_hub_is_estimated_from_its_config(hub: Hub, admin: TestClient, source: str) -> None:
    answer = estimate(admin, "org/tiny", source)
    assert answer.status_code == 200, answer.text
    assert answer.json()["ledger"]["weights"] > 0
    assert [name for name, _ in hub.served] == ["config.json"]
    hub_config._asked.clear()
    assert estimate(admin, "org/tiny", source).status_code == 200
    assert len(hub.served) == 1, "kept on disk"
    job = admin.post("/api/jobs", json=spec(model={"id": "org/tiny", "source": source}, adaptation={"r": 4})).json()
    assert job["estimate"]["total_bytes"] > 0


def test_what_the_hub_does_not_have_is_told_and_not_asked_again(hub: Hub, admin: TestClient) -> None:
    for _ in range(2):
        answer = estimate(admin, "org/nothing")
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["loc"] == "spec.model.id" and "Hugging Face" in error["message"]
    hub.token = "secret"
    assert "gated" in estimate(admin, "org/tiny").json()["detail"]
    job = admin.post("/api/jobs", json=spec(model={"id": "org/nothing"}))
    assert job.status_code == 201 and "Hugging Face" in job.json()["estimate_unknown_because"]
    problem = job.json()["estimate_unknown_problem"]
    assert problem["detail_sentence"]["kind"] == "memory_cannot_be_estimated"
    (error,) = problem["errors"]
    assert (error["loc"], error["type"]) == ("model.id", "no_config_known")
    assert error["values"]["why"]["values"] == {"hub": "Hugging Face"}


def test_a_name_that_is_no_hub_id_is_never_asked_for(hub: Hub, admin: TestClient) -> None:
    for name in ("nothing", "../etc/passwd", "a/b/c", "http://elsewhere/x", "org/.."):
        assert estimate(admin, name).status_code == 422
    assert hub.served == [] and not hub_config._asked


def test_a_hub_that_is_away_or_slow_costs_no_wait(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch, hub: Hub, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in estimate(admin, "org/tiny").json()["detail"]
    monkeypatch.setattr(hub_config, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(hub_config, "ask", lambda url, hub: time.sleep(1))
    answer = estimate(admin, "org/slow")
    assert answer.status_code == 422 and "ask again" in answer.json()["detail"]
