"""Models from the hubs, through their real clients, against a hub on this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import Hub, serving
from tests.support.running import free_port
from tests.worker.fetching import fetched
from tunescope.units import MIB
from tunescope.wire import ModelRef

pytestmark = pytest.mark.slow

WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b'{"of": "main", "auto_map": {"AutoConfig": "modeling_tiny.Config"}}',
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "consolidated.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"raise SystemExit('remote code ran')",
    "README.md": b"readme",
    "onnx/model.json": b"{}",
}
FETCHED = {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files=dict(FILES))) as hub:
        yield hub


@pytest.fixture(params=["huggingface", "modelscope"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fetch(
    hub: Hub, home: Path, kind: str, *words: str, model: str = "org/tiny", revision: str | None = None, **more: str
) -> dict[str, Any]:
    reference = ModelRef.model_validate({"kind": kind, "location": model, "revision": revision})
    return fetched(reference, hub.environment(str(home)) | more, words)


def test_only_safetensors_and_configuration_are_fetched_and_told(hub: Hub, tmp_path: Path, kind: str) -> None:
    got = fetch(hub, tmp_path, kind)
    assert got["files"].keys() >= FETCHED and not got["files"].keys() & (FILES.keys() - FETCHED)
    assert {name for name, _ in hub.served} == FETCHED
    total = sum(len(FILES[name]) for name in FETCHED)
    assert got["told"][0] == (0, total) and got["told"][-1] == (total, total)
    assert all(done <= total for done, _ in got["told"])
    assert json.loads(got["config"])["of"] == "main"

    hub.served.clear()
    fetch(hub, tmp_path, kind)
    assert hub.served == [], "a second job fetches nothing"
    hub.url = f"http://127.0.0.1:{free_port()}"
    assert fetch(hub, tmp_path, kind)["files"].keys() >= FETCHED, "nor does it need the hub"


def test_a_revision_is_fetched(hub: Hub, tmp_path: Path, kind: str) -> None:
    assert json.loads(fetch(hub, tmp_path, kind, revision="v2")["config"])["of"] == "v2"
    refused = fetch(hub, tmp_path, kind, revision="v9")
    assert refused["reason"] == "invalid_model" and "v9" in refused["detail"]


def test_pickled_weights_are_refused_before_any_download(hub: Hub, tmp_path: Path, kind: str) -> None:
    for name in ("model.safetensors", "consolidated.safetensors"):
        del hub.files[name]
    refused = fetch(hub, tmp_path, kind)
    assert refused["reason"] == "invalid_model" and "pickled" in refused["detail"]
    assert hub.served == []


def test_what_the_hub_does_not_give_is_told(hub: Hub, tmp_path: Path, kind: str) -> None:
    missing = fetch(hub, tmp_path, kind, model="org/nothing")
    assert missing["reason"] == "invalid_model" and "org/nothing" in missing["detail"]
    hub.token = "hf_right"
    gated = fetch(hub, tmp_path, kind)
    assert gated["reason"] == "invalid_model" and "gated" in gated["detail"]
    variable = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}[kind]
    assert variable in gated["advice"]
    assert fetch(hub, tmp_path, kind, **{variable: "hf_right"})["files"].keys() >= FETCHED


def test_a_lost_connection_goes_on_where_it_was(hub: Hub, tmp_path: Path, kind: str) -> None:
    size = 12 * MIB  # Hugging Face's client writes to disk in pieces of 10 MiB
    hub.files["model.safetensors"] = os.urandom(size)
    hub.cut["model.safetensors"] = 11 * MIB
    got = fetch(hub, tmp_path, kind)
    assert got["files"]["model.safetensors"] == size
    ranges = [asked for name, asked in hub.served if name == "model.safetensors"]
    assert ranges[0] == "" and any(int(asked[6:].split("-")[0]) >= 10 * MIB for asked in ranges[1:])


def test_a_hub_that_is_away_is_told_as_such(hub: Hub, tmp_path: Path, kind: str) -> None:
    hub.url = f"http://127.0.0.1:{free_port()}"
    refused = fetch(hub, tmp_path, kind)
    assert refused["reason"] == "model_unreachable" and "org/tiny" in refused["detail"]
    assert "Run it again" in refused["advice"]


def test_a_cancelled_download_ends(hub: Hub, tmp_path: Path, kind: str) -> None:
    assert fetch(hub, tmp_path, kind, "stop") == {"stopped": True}


def test_a_model_that_does_not_fit_on_the_disk_is_refused_before_any_download(
    hub: Hub, tmp_path: Path, kind: str
) -> None:
    refused = fetch(hub, tmp_path, kind, "full")
    assert refused["reason"] == "disk_full" and "free" in refused["detail"]
    assert hub.served == []
