"""Estimates know how long a data set's rows really are, where the model's tokenizer is on this server."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import save_file
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from backend.datasets import preview
from backend.traces.tables import TraceRow
from tests.api.make import spec
from tunescope.datasets import rendering
from tunescope.spec import parse_spec

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}


@pytest.fixture
def model(admin: TestClient, tmp_path: Path) -> str:
    """A library model whose tokenizer counts words."""
    folder = tmp_path / "counts-words"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({"word": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({"w": numpy.zeros(1, dtype=numpy.float32)}, folder / "model.safetensors")
    added = admin.post("/api/models", json={"name": "counts-words", "path": str(folder)})
    assert added.status_code == 201, added.text
    return "counts-words"


def upload(admin: TestClient, name: str, lengths: list[int]) -> None:
    text = "\n".join(json.dumps({"text": " ".join(["word"] * count)}) for count in lengths)
    answer = admin.post("/api/datasets", files={"file": (f"{name}.jsonl", text.encode())})
    assert answer.status_code == 201, answer.text


def estimated(admin: TestClient, model: str, dataset: str) -> dict[str, Any]:
    body = spec(model={"id": model, "source": "library"}, data={"dataset": dataset, "max_length": 4096})
    body["adaptation"] = {"r": 4}
    answer = admin.post("/api/estimates", json={"spec": body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_short_rows_need_less_than_max_length_would(admin: TestClient, model: str) -> None:
    upload(admin, "short", [5, 20, 50])
    upload(admin, "long", [5, 20, 5000])
    short, long = estimated(admin, model, "short"), estimated(admin, model, "long")
    assert "longest micro batch: 1 x 50 tokens" in short["assumptions"]
    assert "longest micro batch: 1 x 4096 tokens" in long["assumptions"]
    assert short["ledger"]["activations"] < long["ledger"]["activations"] / 10


def test_rows_that_were_not_read_may_be_as_long_as_allowed(admin: TestClient, model: str) -> None:
    upload(admin, "many", [10] * 3000)
    assert "longest micro batch: 1 x 4096 tokens" in estimated(admin, model, "many")["assumptions"]


def test_a_trace_is_asked_for_at_the_length_of_the_rows(admin: TestClient, model: str) -> None:
    upload(admin, "short", [5, 20, 50])
    keys: set[str] = set()
    for longest in (50, 100, 4096):
        body = spec(model={"id": model, "source": "library"}, data={"dataset": "short", "max_length": longest})
        body["adaptation"] = {"r": 4}
        answer = admin.post("/api/traces", json=body)
        assert answer.status_code == 202, answer.text
        keys.add(answer.json()["key"])
    assert len(keys) == 1


def test_rows_of_one_token_can_be_traced(admin: TestClient, model: str, sessions: sessionmaker[Session]) -> None:
    """Shorter than a spec's max_length may be: such a request could not be read by the controller, round after round."""
    upload(admin, "tiny", [1, 2])
    body = spec(model={"id": model, "source": "library"}, data={"dataset": "tiny", "max_length": 4096})
    answer = admin.post("/api/traces", json=body)
    assert answer.status_code == 202, answer.text
    with sessions() as session:
        kept = session.scalars(select(TraceRow)).one()
        assert parse_spec(kept.spec).data.max_length == 8


def test_a_row_as_long_as_a_book_is_neither_counted_nor_shown_whole(
    admin: TestClient, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting 15 MB in one row took 18 s, and the answer held it twice."""
    for module in (rendering, preview):
        monkeypatch.setattr(module, "SAMPLE_CHARACTERS", 100_000)
    upload(admin, "book", [10, 30_000, 10])
    shown = admin.get("/api/datasets/book/rows", params={"model": model}).json()
    assert [row["tokens"] for row in shown["rows"]] == [10, None, None]
    assert "too long" in shown["rendered_unknown_because"] and shown["lengths"]["measured_rows"] == 1
    assert shown["rows"][1]["raw"]["text"].endswith("… (149,999 characters)") and len(json.dumps(shown)) < 30_000
    assert "longest micro batch: 1 x 4096 tokens" in estimated(admin, model, "book")["assumptions"]
