"""A trainer that finds no more memory, or is killed for it, tells what was held, when, and by what."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.worker.measured_run import spec_of
from tests.worker.test_supervisor import run, states
from tests.worker.tiny import save_rows, save_tiny
from tunescope.events import FailureMemory, StateEvent
from tunescope.states import FailureReason, JobState
from worker.death import explain_death
from worker.oom import account, last_memory, moment
from worker.outbox import read_events
from worker.trainer.failure import explain
from worker.trainer.model import load_model
from worker.whereabouts import Whereabouts, last_whereabouts

GIB = 2**30
LIMIT = 5 * GIB
HELD = FailureMemory(
    device="NVIDIA H100", step=812, phase="backward", categories={"weights": 3 * GIB, "activations": GIB}
)


def test_the_moment_and_the_account_in_words() -> None:
    assert moment(HELD, "training").text == "in the backward phase of step 812"
    assert moment(None, "loading the model").text == "while loading the model"
    assert account(HELD) == "\nHeld then: weights 3.0 GiB, activations 1.0 GiB; 4.0 GiB in all."
    assert "at the peak of step 3" in account(HELD.model_copy(update={"categories_of_step": 3}))
    assert account(None) == ""


def test_the_kernels_killer_is_explained_with_the_last_account() -> None:
    failure = explain_death(-9, 2, 3, [], HELD)
    assert failure.memory == HELD and "weights 3.0 GiB" in failure.detail
    assert explain_death(1, 2, 3, [], HELD).memory is None, "another death has nothing to do with memory"


def test_nothing_was_told_nothing_is_known() -> None:
    assert last_memory([], Whereabouts()) is None


KILLED = """
import os, signal, sys
from worker.outbox import Outbox
from tunescope.events import LedgerEvent, MemoryFigure, StepEvent
outbox = Outbox(os.path.dirname(sys.argv[1]), job="j", attempt=1)
outbox.emit(LedgerEvent, step=2, source="cpu tensors", peak_phase="loss", categories={"weights": 4 << 30}, total_bytes=4 << 30)
outbox.emit(StepEvent, step=7, total_steps=9, epoch=0.5, loss=1.0, learning_rate=None, grad_norm=None, tokens=1,
            tokens_per_second=1.0, step_seconds=1.0, longest_tokens=99,
            memory=[MemoryFigure(source="host.rss", bytes=1, peak_bytes=5 << 30)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_trainer_leaves_its_last_figures(tmp_path: Path) -> None:
    assert run(tmp_path, KILLED) is JobState.FAILED
    failure = states(tmp_path)[-1].failure
    assert failure and failure.reason is FailureReason.TRAINER_KILLED and failure.memory
    memory = failure.memory
    assert (memory.step, memory.longest_tokens, memory.allocated_bytes) == (7, 99, 5 << 30)
    assert memory.categories == {"weights": 4 << 30} and memory.categories_of_step == 2
    assert "weights 4.0 GiB" in failure.detail and "(SIGKILL) after step 7" in failure.detail


@pytest.mark.parametrize(
    ("told", "words", "step", "phase"),
    [
        ('"backward", 8', "in the backward phase of step 8", 8, "backward"),
        ('"checkpoint", 7', "in the checkpoint phase of step 7", 7, "checkpoint"),
        ('"saving"', "while saving", 7, None),
    ],
)
def test_a_killed_trainer_was_where_it_told_last(
    tmp_path: Path, told: str, words: str, step: int, phase: str | None
) -> None:
    trail = f"from worker.whereabouts import Trail\nTrail(outbox.path.parent).tell({told})\nos.kill("
    assert run(tmp_path, KILLED.replace("os.kill(", trail)) is JobState.FAILED
    failure = states(tmp_path)[-1].failure
    assert failure and failure.memory and words in failure.detail
    assert (failure.memory.step, failure.memory.phase) == (step, phase)
    assert failure.memory.longest_tokens == (99 if step == 7 else None), "the longest row of step 7"


@pytest.mark.slow
def test_a_step_too_large_says_what_lived_in_which_phase(tmp_path: Path) -> None:
    """Eager attention over 3 rows of 16,000 tokens wants 2.9 GiB in one piece: more than this process has left."""
    spec = spec_of(
        data={"dataset": "rows", "max_length": 16_000, "assistant_only_loss": False},
        memory_savers={"attention": "eager"},
        batch={"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1},
    )
    folder = tmp_path / "jobs" / "j" / "1"
    folder.mkdir(parents=True)
    save_rows(tmp_path / "rows.jsonl", 0, longer=20_000)
    order = {
        "job": "j", "attempt": 1, "fence": 1, "spec": spec.model_dump(mode="json"),
        "model": {"kind": "path", "location": str(save_tiny(tmp_path / "tiny"))},
        "dataset": {"name": "rows", "path": "rows.jsonl", "sha256": "", "rows": 3},
    }  # fmt: skip
    (folder / "order.json").write_text(json.dumps(order))
    environment = os.environ | {"TUNESCOPE_DATA_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "worker.trainer", str(folder / "order.json")]
    answer = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    assert answer.returncode == 1, answer.stderr[-2000:]
    failure = [event for event in read_events(folder) if isinstance(event, StateEvent)][-1].failure
    assert failure and failure.reason is FailureReason.OUT_OF_MEMORY and failure.memory
    memory = failure.memory
    assert (memory.device, memory.step, memory.phase) == ("CPU", 1, "forward")
    assert memory.longest_tokens == 16_000 and memory.allocated_bytes and memory.device_bytes
    assert memory.categories_of_step is None and memory.categories["weights"] > 0
    assert memory.categories["activations"] > GIB // 2, "the mask alone is a byte for each pair of tokens"
    assert "in the forward phase of step 1" in failure.detail and "Held then" in failure.detail
    assert last_whereabouts(folder) == Whereabouts(step=1, phase="forward"), "what a kill would have left"


@pytest.mark.parametrize(
    "words", ["CUDA error: uncorrectable ECC error encountered", "CUDA error: GPU is lost\nCompile with …"]
)
def test_a_gpu_that_fails_is_told_from_a_program_that_does(words: str) -> None:
    failure = explain(RuntimeError(words), "training", HELD)
    assert failure.reason is FailureReason.GPU_LOST and failure.memory == HELD
    assert "backward phase of step 812" in failure.detail and "weights 3.0 GiB" in failure.detail
    assert explain(RuntimeError("CUDA error: device-side assert triggered"), "training").reason is (
        FailureReason.TRAINER_CRASHED
    )


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory\nCompile with …",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_memory_that_is_taken_past_torchs_allocator_runs_out_too(words: str, kind: type[RuntimeError]) -> None:
    for stage in ("loading the model", "training"):
        assert explain(kind(words), stage, HELD).reason is FailureReason.OUT_OF_MEMORY


def test_a_weight_that_finds_no_room_to_be_quantized_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("transformers.integrations.bitsandbytes.Bnb4bitQuantize.convert", no_room)
    with pytest.raises(RuntimeError) as raised:
        load_model(save_tiny(tmp_path / "tiny"), spec_of(precision={"quantization": "nf4"}))
    assert not isinstance(raised.value, torch.OutOfMemoryError), "transformers says it in words of its own"
    for ooms, reason in ((1, FailureReason.OUT_OF_MEMORY), (0, FailureReason.INVALID_MODEL)):
        monkeypatch.setattr(torch.cuda, "memory_stats", lambda ooms=ooms: {"num_ooms": ooms})
        assert explain(raised.value, "loading the model").reason is reason


def test_an_end_by_bitsandbytes_is_told_by_its_last_line() -> None:
    said = "Error {} at line 88 in file /src/csrc/ops.cu"
    full = explain_death(1, None, None, ["step 3", said.format("out of memory"), "warning"], HELD)
    assert full.reason is FailureReason.OUT_OF_MEMORY and "step 812: CUDA error: out of memory" in full.detail
    lost = explain_death(1, None, None, [said.format("uncorrectable ECC error encountered")])
    assert lost.reason is FailureReason.GPU_LOST
    other = explain_death(1, None, None, [said.format("invalid argument")])
    assert other.reason is FailureReason.TRAINER_CRASHED
