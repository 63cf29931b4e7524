"""The supervisor with real child processes that behave badly."""

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import until
from tunescope.events import LogEvent, StateEvent
from tunescope.spec import parse_spec
from tunescope.states import FailureReason, JobState
from tunescope.wire import DatasetRef, ModelRef, Order
from worker.childlog import LINE_CHARACTERS, ChildLog
from worker.death import explain_death, oom_kills
from worker.outbox import Outbox, read_events
from worker.supervisor import Ask, Supervisor


def order(name: str = "quick", **sections: object) -> Order:
    spec = parse_spec({"name": name, "model": {"id": "m"}, "data": {"dataset": "d"}, **sections})
    dataset = DatasetRef(name="d", path="d.jsonl", sha256="", rows=1)
    return Order(job="j", attempt=1, fence=1, spec=spec, dataset=dataset, model=ModelRef(kind="path", location="/m"))


def run(
    tmp_path: Path, program: str, meanwhile: Callable[[Supervisor], None] | None = None, grace: float = 0.5
) -> JobState | None:
    outbox = Outbox(tmp_path, job="j", attempt=1)
    supervisor = Supervisor(
        order(), tmp_path, outbox, ring=lambda: None, grace_seconds=grace, command=[sys.executable, "-c", program]
    )
    thread = threading.Thread(target=meanwhile, args=(supervisor,)) if meanwhile else None
    if thread:
        thread.start()
    state = supervisor.run()
    if thread:
        thread.join()
    return state


def states(tmp_path: Path) -> list[StateEvent]:
    return [event for event in read_events(tmp_path) if isinstance(event, StateEvent)]


def said(tmp_path: Path) -> list[str]:
    return [event.line for event in read_events(tmp_path) if isinstance(event, LogEvent)]


def test_exit_without_a_word_fails_with_the_last_lines(tmp_path: Path) -> None:
    assert run(tmp_path, "print('before the end'); raise SystemExit(7)") is JobState.FAILED
    failure = states(tmp_path)[-1].failure
    assert failure and failure.reason is FailureReason.TRAINER_CRASHED
    assert "exit code 7" in failure.detail and "before the end" in failure.detail


def test_segmentation_fault_is_named(tmp_path: Path) -> None:
    run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    failure = states(tmp_path)[-1].failure
    assert failure and failure.reason is FailureReason.TRAINER_CRASHED and "SIGSEGV" in failure.detail


def wait_for_line(tmp_path: Path, line: str) -> None:
    until(lambda: line in said(tmp_path), within=10, what=line)


def test_grandchildren_go_with_the_trainer(tmp_path: Path) -> None:
    program = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True)"
    run(tmp_path, program)
    pid = int(said(tmp_path)[0])
    until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE,
        within=5,
        what="the grandchild is gone",
    )


def test_deaf_child_is_killed_after_the_grace_and_counts_as_cancelled(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"

    def cancel(supervisor: Supervisor) -> None:
        wait_for_line(tmp_path, "deaf")
        supervisor.ask(Ask.CANCEL)

    assert run(tmp_path, program, cancel) is JobState.CANCELLED
    assert any("did not leave within 0.5 s" in line for line in said(tmp_path))


def test_stopped_child_is_killed_too(tmp_path: Path) -> None:
    def freeze(supervisor: Supervisor) -> None:
        wait_for_line(tmp_path, "here")
        assert supervisor.pid
        os.kill(supervisor.pid, signal.SIGSTOP)
        supervisor.ask(Ask.CANCEL)

    assert run(tmp_path, "import time; print('here', flush=True); time.sleep(600)", freeze) is JobState.CANCELLED


def test_lost_lease_ends_it_at_once_without_a_word(tmp_path: Path) -> None:
    def lose(supervisor: Supervisor) -> None:
        wait_for_line(tmp_path, "here")
        supervisor.ask(Ask.LOSE)

    assert run(tmp_path, "import time; print('here', flush=True); time.sleep(600)", lose, grace=60) is None
    assert states(tmp_path) == []


def test_cancel_asked_before_the_start_counts(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, job="j", attempt=1)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    supervisor = Supervisor(order(), tmp_path, outbox, ring=lambda: None, grace_seconds=1, command=command)
    supervisor.ask(Ask.CANCEL)
    assert supervisor.run() is JobState.CANCELLED
    supervisor.ask(Ask.CANCEL)  # harmless once it has ended


def test_flood_of_output_is_bounded_in_events_and_whole_in_the_file(tmp_path: Path) -> None:
    run(tmp_path, "for n in range(20000): print('line', n)")
    assert len(said(tmp_path)) < 1000
    assert any("left out" in line for line in said(tmp_path))
    assert len((tmp_path / "trainer.log").read_text().splitlines()) == 20000


def test_of_several_gpus_the_child_sees_the_first(tmp_path: Path) -> None:
    """It starts a process for each of the others, which sees that one only (worker/trainer/other_ranks.py)."""
    on_two = order().model_copy(update={"gpus": ["GPU-a", "GPU-b"]})
    outbox = Outbox(tmp_path, job="j", attempt=1)
    program = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]
    Supervisor(on_two, tmp_path, outbox, ring=lambda: None, grace_seconds=0.5, command=program).run()
    assert said(tmp_path)[0] == "GPU-a"


def test_child_sees_its_gpus_and_no_secrets(tmp_path: Path) -> None:
    os.environ["TUNESCOPE_ADMIN_TOKEN"] = "secret"
    try:
        run(tmp_path, "import os; e = os.environ; print(repr(e['CUDA_VISIBLE_DEVICES']), 'TUNESCOPE_ADMIN_TOKEN' in e)")
    finally:
        del os.environ["TUNESCOPE_ADMIN_TOKEN"]
    assert said(tmp_path)[0] == "'' False"


ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def taken_by_torch(environment: dict[str, str | None]) -> str:
    """The allocator's settings, which torch reads once in a process: in a fork of one that has loaded it."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["torch", __name__])
    answers, telling = forks.Pipe(duplex=False)
    process = forks.Process(target=_tell_settings, args=(environment, telling))
    process.start()
    assert answers.poll(60)
    process.join()
    return str(answers.recv())


def _tell_settings(environment: dict[str, str | None], telling: Connection) -> None:
    import torch

    for name in ALLOCATOR_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in environment.items() if value is not None})
    telling.send(torch._C._accelerator_getAllocatorSettings())


@pytest.mark.parametrize(
    ("expandable", "environment", "settings"),
    [
        (True, {}, "expandable_segments:True"),
        (True, {"PYTORCH_ALLOC_CONF": "max_split_size_mb:512"}, "max_split_size_mb:512,expandable_segments:True"),
        (True, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64,"}, "max_split_size_mb:64,expandable_segments:True"),
        (
            True,
            {
                "PYTORCH_ALLOC_CONF": "max_split_size_mb:512",
                "PYTORCH_CUDA_ALLOC_CONF": "garbage_collection_threshold:0.8",
            },
            "max_split_size_mb:512,garbage_collection_threshold:0.8,expandable_segments:True",
        ),
        (
            False,
            {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:64"},
            "expandable_segments:True,max_split_size_mb:64,expandable_segments:False",
        ),
        (False, {"PYTORCH_ALLOC_CONF": "max_split_size_mb:512"}, "max_split_size_mb:512"),
    ],
)
def test_the_spec_decides_whether_segments_expand_beside_what_the_operator_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expandable: bool, environment: dict[str, str], settings: str
) -> None:
    """Torch itself says what it takes; it reads two variables, of which only one may be left to it."""
    for name in ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    program = f"import json, os; print(json.dumps({{name: os.environ.get(name) for name in {ALLOCATOR_VARIABLES}}}))"
    wish = order(memory_savers={"expandable_segments": expandable})
    command = [sys.executable, "-c", program]
    outbox = Outbox(tmp_path, job="j", attempt=1)
    Supervisor(wish, tmp_path, outbox, ring=lambda: None, grace_seconds=1, command=command).run()
    given = json.loads(said(tmp_path)[0])
    assert given["PYTORCH_CUDA_ALLOC_CONF"] is None and taken_by_torch(given) == settings


def test_lines_are_cut_cleaned_and_progress_bars_shown_once(tmp_path: Path) -> None:
    heard: list[str] = []
    log = ChildLog(tmp_path / "log", lambda _stream, line: heard.append(line))
    log.feed("stdout", b"x" * (LINE_CHARACTERS + 5) + b"\n")
    log.feed("stderr", b"10%\r50%\r100%\n\x1b[31mred\x1b[0m \xff\n")
    log.feed("stdout", b"no end")
    log.close()
    assert heard[0].endswith("(5 more characters in trainer.log)")
    assert heard[1:] == ["100%", "red \ufffd", "no end"]


def test_kernel_oom_kill_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 3\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    assert oom_kills(tmp_path, tmp_path / "cgroup") == 3
    assert oom_kills(tmp_path, tmp_path / "absent") is None
    assert explain_death(-9, 2, 3, []).reason is FailureReason.OUT_OF_MEMORY
    assert explain_death(-9, 3, 3, []).reason is FailureReason.TRAINER_KILLED
    assert "out-of-memory killer" in explain_death(-9, None, None, []).detail


@pytest.mark.parametrize("status", [-9, -11, 3])
def test_a_death_without_a_word_says_so_in_its_sentence_too(status: int) -> None:
    silent, with_log = explain_death(status, None, None, []), explain_death(status, None, None, ["step 3"])
    assert silent.detail_sentence and silent.detail_sentence.kind == "printed_nothing"
    assert silent.detail == silent.detail_sentence.text and silent.detail.endswith("It had printed nothing.")
    assert with_log.detail_sentence == silent.detail_sentence.values["ended"]
    assert with_log.detail.endswith("\nLast lines of its log:\nstep 3") and with_log.last_lines == ["step 3"]
