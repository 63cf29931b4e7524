"""schedule.merge_adapter, and the README beside a result: what a run leaves can be loaded as it says there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from tests.worker.attempts import kill_children_at_start, make_attempt
from tests.worker.measured_run import spec_of
from tests.worker.tiny import save_tiny
from tunescope.events import ArtifactEvent, PlanEvent, StageEvent, StateEvent, StepEvent
from tunescope.states import FailureReason, JobState
from tunescope.wire import MergeOptions, MergeOrder, ModelRef
from worker.attempt import FAILED, SUCCEEDED
from worker.death import explain_death
from worker.merging.__main__ import Merge
from worker.merging.__main__ import run as run_merge
from worker.merging.advice import for_merge
from worker.outbox import read_events
from worker.refusal import Refusal
from worker.trainer import card, merge
from worker.trainer.__main__ import Attempt, run

MERGED: dict[str, Any] = {"schedule": {"max_steps": 2, "save_steps": 1000, "merge_adapter": True}}
TOKENS = torch.arange(3, 11)[None]


def told(attempt: Attempt) -> set[str]:
    return {event.name for event in read_events(attempt.folder) if isinstance(event, ArtifactEvent)}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.float().eval()(TOKENS).logits


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


def run_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the README's first program leaves."""
    monkeypatch.chdir(folder)
    program = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[0]
    names: dict[str, Any] = {}
    exec(program, names)
    return names


@pytest.mark.slow
def test_a_job_leaves_its_adapter_and_the_merged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(**MERGED, precision={"quantization": "nf4"}, optimizer={"learning_rate": 0.01})
    mine = make_attempt(tmp_path, monkeypatch, spec)
    assert run(mine) == SUCCEEDED
    names = told(mine)
    assert {"adapter_model.safetensors", "merged/model.safetensors", "merged/tokenizer.json"} <= names
    assert {"README.md", "merged/README.md", "merged/spec.yaml", "merged/config.json"} <= names
    assert "merging the adapter" in [event.stage for event in read_events(mine.folder) if isinstance(event, StageEvent)]
    artifacts, base = mine.folder / "artifacts", Path(mine.order.model.location)
    with_adapter = logits(PeftModel.from_pretrained(load(base), str(artifacts)))
    merged = logits(load(artifacts / "merged"))
    assert torch.allclose(merged, with_adapter, atol=0.02)
    assert not torch.allclose(merged, logits(load(base)), atol=0.02), "the adapter has changed what the model says"
    capsys.readouterr()
    assert isinstance(run_readme(artifacts, monkeypatch)["model"], PeftModel)
    assert run_readme(artifacts / "merged", monkeypatch)["model"].config.model_type == "llama"
    assert capsys.readouterr().out.strip()
    text = (artifacts / "README.md").read_text()
    assert "More Information Needed" not in text and "rows: 24 rows" in text and "rank 8" in text


def adapt(folder: Path, tmp_path: Path, **config: Any) -> tuple[Any, Path]:
    """The model with an adapter that says something, and where it is saved."""
    adapted = get_peft_model(load(folder), LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", **config))
    for name, parameter in adapted.named_parameters():
        if "modules_to_save" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapter = tmp_path / "adapter"
    adapted.save_pretrained(str(adapter))
    merge.load_tokenizer(folder).save_pretrained(adapter)
    return adapted, adapter


@pytest.mark.parametrize(
    ("config", "two_tables"),
    [
        ({"target_modules": ["q_proj", "down_proj"]}, False),
        ({"target_modules": ["q_proj"], "use_dora": True}, False),
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, True),
        ({"target_modules": ["q_proj", "lm_head"]}, True),
    ],
)
def test_a_merged_model_answers_as_base_and_adapter_do(tmp_path: Path, config: Any, two_tables: bool) -> None:
    folder = save_tiny(tmp_path / "tiny", tie_word_embeddings=True)
    adapted, adapter = adapt(folder, tmp_path, **config)
    merge.merge(folder, adapter, tmp_path / "merged")
    assert torch.allclose(logits(load(tmp_path / "merged")), logits(adapted), atol=0.02)
    with safe_open(str(tmp_path / "merged" / "model.safetensors"), "pt") as weights:
        assert ("lm_head.weight" in weights.keys()) is two_tables  # noqa: SIM118


@pytest.mark.slow
def test_a_merge_that_fails_keeps_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make_attempt(tmp_path, monkeypatch, spec_of(**MERGED))
    with monkeypatch.context() as patch:
        kill_children_at_start(tmp_path, patch)
        assert run(mine) == FAILED
    end = [event for event in read_events(mine.folder) if isinstance(event, StateEvent)][-1]
    assert end.failure and end.failure.reason in (FailureReason.TRAINER_KILLED, FailureReason.OUT_OF_MEMORY)
    assert "its adapter saved" in end.failure.detail and "while merging the adapter" in end.failure.detail
    assert "adapter_model.safetensors" in told(mine) and "takes no GPU" in end.failure.advice
    again = mine.folder.parent / "2"
    again.mkdir()
    order = mine.order.model_copy(update={"attempt": 2, "fence": 2, "resume_from_attempt": 1})
    (again / "order.json").write_text(order.model_dump_json())
    retried = Attempt(again / "order.json")
    assert run(retried) == SUCCEEDED
    assert not [event for event in read_events(again) if isinstance(event, StepEvent)], "it only merges"
    assert {"adapter_model.safetensors", "merged/model.safetensors"} <= told(retried)


PLAN = PlanEvent(
    job="j", attempt=1, sequence=1, at=0, total_steps=2, train_rows=24, trainable_parameters=1, all_parameters=2,
    device="CPU",
)  # fmt: skip


def make_merge(root: Path, base: Path, adapter: Path, attempt: int = 1) -> Merge:
    """The merge of a job's adapter, as the worker starts it."""
    folder = root / "jobs" / "m" / str(attempt)
    folder.mkdir(parents=True)
    options = MergeOptions(result=str(adapter.relative_to(root)), plan=PLAN, steps=2, loss=1.5)
    model = ModelRef(kind="path", location=str(base))
    order = MergeOrder(job="m", attempt=attempt, fence=attempt, spec=spec_of(), model=model, merge=options)
    (folder / "order.json").write_text(order.model_dump_json())
    return Merge(folder / "order.json")


@pytest.mark.slow
def test_a_job_that_has_ended_is_merged_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESCOPE_DATA_DIR", str(tmp_path))
    base = save_tiny(tmp_path / "tiny")
    adapted, adapter = adapt(base, tmp_path, target_modules=["q_proj", "down_proj"])
    killed = make_merge(tmp_path, base, adapter)
    with monkeypatch.context() as patch:
        kill_children_at_start(tmp_path, patch)
        assert run_merge(killed) == FAILED
    end = [event for event in read_events(killed.folder) if isinstance(event, StateEvent)][-1]
    assert end.failure and "while merging the adapter" in end.failure.detail and "trainer" not in end.failure.detail
    assert end.failure.advice.startswith("Merge again when more main memory is free")
    left = killed.folder / "artifacts" / "merged" / "model.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    mine = make_merge(tmp_path, base, adapter, attempt=2)
    assert run_merge(mine) == SUCCEEDED
    assert not left.exists(), "what a killed attempt left of the model is gone"
    states = [event.state for event in read_events(mine.folder) if isinstance(event, StateEvent)]
    assert states == [JobState.RUNNING, JobState.SUCCEEDED]
    names = {event.name for event in read_events(mine.folder) if isinstance(event, ArtifactEvent)}
    assert {"merged/model.safetensors", "merged/README.md", "merged/spec.yaml", "merged/tokenizer.json"} <= names
    merged = mine.folder / "artifacts" / "merged"
    assert torch.allclose(logits(load(merged)), logits(adapted), atol=0.02)
    assert "| Training loss at the end | 1.5000 |" in (merged / "README.md").read_text()
    assert not (adapter / "merged").exists(), "what the training left stays as it is"


def test_a_later_merge_says_what_to_do_when_it_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESCOPE_DATA_DIR", str(tmp_path))
    base = save_tiny(tmp_path / "tiny")
    adapter = tmp_path / "adapter"
    gone = make_merge(tmp_path, base, adapter, attempt=1)
    with pytest.raises(Refusal, match="not on this machine"):
        run_merge(gone)
    adapter.mkdir()
    for number, (patched, value, advice) in enumerate(
        [
            ("machine_memory", lambda: (1000, 1000), "main memory is free"),
            ("weights_bytes", lambda _base: 1 << 60, "main memory is free"),
            ("told_in", lambda _file: {"quantization_config": {"bits": 4}}, "unquantized release"),
        ],
        start=2,
    ):
        with monkeypatch.context() as patch, pytest.raises(Refusal) as told:
            patch.setattr(merge, patched, value)
            run_merge(make_merge(tmp_path, base, adapter, attempt=number))
        assert advice in for_merge(told.value.failure).advice
    ended = for_merge(explain_death(3, None, None, []))
    assert ended.detail.startswith("Merging ended with exit code 3") and "Files tab" in ended.advice


def test_what_cannot_be_merged_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny(tmp_path / "tiny")
    merge.refuse_unmergeable(folder, tmp_path)

    def refused() -> FailureReason:
        with pytest.raises(Refusal) as told:
            merge.refuse_unmergeable(folder, tmp_path)
        return told.value.failure.reason

    with monkeypatch.context() as patch:
        patch.setattr(merge, "machine_memory", lambda: (1000, 1000))
        assert refused() is FailureReason.OUT_OF_MEMORY
    weights = (folder / "model.safetensors").stat().st_size
    (folder / "consolidated.safetensors").write_bytes(bytes(10 * weights))
    with monkeypatch.context() as patch:
        patch.setattr(merge, "machine_memory", lambda: (2 * weights, weights))
        merge.refuse_unmergeable(folder, tmp_path)  # a copy in another layout is not loaded
    config = json.loads((folder / "config.json").read_text())
    quantized = config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps(quantized))
    assert refused() is FailureReason.INVALID_SETTINGS


def test_the_card_names_a_hubs_model_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = make_attempt(tmp_path, monkeypatch, spec_of())
    model = ModelRef(kind="huggingface", location="owner/name", revision="abc")
    done = card.Run(attempt.order.model_copy(update={"model": model}), tmp_path, PLAN, 2, None, chat=False)
    text = card.card(done, "adapter")
    assert 'from_pretrained("owner/name", revision="abc"' in text and str(tmp_path) not in text
    assert text.startswith("---\nbase_model: owner/name\n") and "loss" not in text
