"""Each command against a real server: what it prints for people, for programs, and for wrong input."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tunescope, WholeServer
from tests.support.running import ADMIN_TOKEN, ROOT, free_port
from tests.support.waiting import until
from tunescope.client import Client, NotTunescope
from tunescope.spec import load_spec

SpecFile = Callable[[str], str]


def document(text: str) -> Any:
    """Exactly one JSON document."""
    return json.loads(text)


def finished_job(tunescope: Tunescope, spec_file: SpecFile, name: str = "telling") -> str:
    ran = tunescope("jobs", "submit", spec_file(name), "--follow", "--json")
    assert ran.code == 0, ran.err
    assert document(ran.out)["state"] == "succeeded"
    return document(ran.out)["id"]


def test_submit_follow_show_list_and_logs(tunescope: Tunescope, spec_file: SpecFile) -> None:
    ran = tunescope("jobs", "submit", spec_file("telling 4"), "--follow")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    job = lines[0].split()[1]
    assert "Estimated peak" in lines[1]
    assert [line for line in lines if line.startswith("step 4/4  loss 0.250")]
    assert any("1.0 MiB of 2.0 MiB" in line for line in lines), "a download's progress"
    assert any("of 100 parameters are trained" in line for line in lines)
    assert "succeeded" in lines
    assert "\x1b" not in ran.out

    shown = tunescope("jobs", "show", job)
    assert job in shown.out and "telling 4" in shown.out and "4/4" in shown.out
    assert document(tunescope("jobs", "show", job, "--json").out)["progress"]["step"] == 4
    listed = tunescope("jobs", "list", "--state", "succeeded").out
    assert job in listed and "ann" in listed
    assert job in [item["id"] for item in document(tunescope("jobs", "list", "--json").out)["items"]]
    assert "step 4" in tunescope("jobs", "logs", job).out.splitlines()
    assert "step 4" in [item["line"] for item in document(tunescope("jobs", "logs", job, "--json").out)]
    kinds = [event["kind"] for event in document(tunescope("jobs", "follow", job, "--json").out)]
    assert kinds.count("step") == 4


def test_a_failed_job_ends_with_code_1_and_says_why(tunescope: Tunescope, spec_file: SpecFile) -> None:
    ran = tunescope("jobs", "submit", spec_file("suicide"), "--follow")
    assert ran.code == 1
    assert "killed" in ran.err and "run it again" in ran.err
    assert "failed" in ran.out.splitlines()


def test_cancel_and_retry(tunescope: Tunescope, spec_file: SpecFile, client: Client) -> None:
    job = document(tunescope("jobs", "submit", spec_file("slow 2000"), "--json").out)["id"]
    until(lambda: client.job(job)["progress"]["step"] > 1, within=30, what="steps")
    assert "cancelling" in tunescope("jobs", "cancel", job).out
    until(lambda: client.job(job)["state"] == "cancelled", within=30, what="the cancelled state")
    assert tunescope("jobs", "follow", job).code == 1
    again = tunescope("jobs", "cancel", job)
    assert again.code == 2 and "already ended: it is cancelled" in again.err
    assert document(tunescope("jobs", "retry", job, "--json").out)["attempt"] == 2
    assert tunescope("jobs", "cancel", job).code == 0


def test_a_job_is_cloned_with_changes_and_deleted_when_one_says_so(
    tunescope: Tunescope, spec_file: SpecFile, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished_job(tunescope, spec_file)
    changes = ("--set", "adaptation.r=16", "--set", "precision.quantization=none", "--set", "name=second")
    cloned = document(tunescope("jobs", "clone", job, *changes, "--json").out)
    assert (cloned["spec"]["adaptation"]["r"], cloned["spec"]["precision"]["quantization"]) == (16, "none")
    assert cloned["name"] == cloned["spec"]["name"] == "second"
    assert cloned["spec"]["data"] == client.job(job)["spec"]["data"] and cloned["id"] != job
    for wrong in ("adaptation.r", "=16", "adaptation.rank=16", "adaptation.r=-1", "adaptation.r={"):
        assert tunescope("jobs", "clone", job, "--set", wrong).code == 2, wrong
    # Nobody is there to ask; then somebody says no, and yes.
    ran = tunescope("jobs", "delete", job)
    assert ran.code == 2 and "--yes" in ran.err
    for answer, code in (("\n", 1), ("y\n", 0)):
        stdin = io.StringIO(answer)
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        client.job(job)
        ran = tunescope("jobs", "delete", job)
        assert ran.code == code and f"Delete job {job}" in ran.err
    assert tunescope("jobs", "delete", job, "--yes").code == 2, "it is gone"
    until(lambda: client.job(cloned["id"])["state"] == "succeeded", within=60, what="the clone's end")
    assert document(tunescope("jobs", "delete", cloned["id"], "--yes", "--json").out)["deleted"] is True


def test_what_a_job_left_is_saved_in_a_directory(tunescope: Tunescope, spec_file: SpecFile, client: Client) -> None:
    job = document(tunescope("jobs", "submit", spec_file("leaving"), "--follow", "--json").out)["id"]
    ran = tunescope("jobs", "download", job)
    assert ran.code == 0 and "adapter_model.safetensors  3.0 MiB" in ran.out
    assert {path.name: path.stat().st_size for path in Path(job).iterdir()} == {
        "adapter_config.json": 2, "adapter_model.safetensors": 3 << 20,
    }  # fmt: skip
    saved = document(tunescope("jobs", "download", job, "--to", "some/where", "--json").out)
    assert saved == [str(Path("some/where") / name) for name in ("adapter_config.json", "adapter_model.safetensors")]
    gone = finished_job(tunescope, spec_file)
    ran = tunescope("jobs", "download", gone)
    assert ran.code == 1 and "no longer on the server" in ran.err and not Path(gone).exists()
    none = document(tunescope("jobs", "submit", spec_file("suicide"), "--follow", "--json").out)["id"]
    ran = tunescope("jobs", "download", none)
    assert ran.code == 1 and "left no files" in ran.err and not Path(none).exists()
    assert tunescope("jobs", "download", "nowhere").code == 2
    Path("file").write_text("")
    assert tunescope("jobs", "download", job, "--to", "file").code == 2


def test_an_adapter_is_merged_and_what_cannot_be_is_told(
    tunescope: Tunescope, spec_file: SpecFile, client: Client
) -> None:
    bare = finished_job(tunescope, spec_file)
    ran = tunescope("merge", bare)
    assert ran.code == 2 and "left no adapter" in ran.err and "Choose a LoRA" in ran.err
    assert tunescope("merge", "nowhere").code == 2
    job = document(tunescope("jobs", "submit", spec_file("leaving"), "--follow", "--json").out)["id"]
    ran = tunescope("merge", job)
    assert ran.code == 0 and "Merging is queued: job" in ran.out and "tunescope jobs follow" in ran.err
    merging = document(tunescope("merge", job, "--json").out)
    assert merging["merge"]["result_of"] == job and merging["id"] in ran.out, "asked for again it is the same"
    assert client.merge(job)["id"] == merging["id"]
    assert client.cancel(merging["id"])["state"] in ("cancelling", "cancelled")
    assert tunescope("jobs", "follow", merging["id"]).code == 1
    assert client.job(job)["state"] == "succeeded"


def test_a_file_that_came_otherwise_than_it_was_sent_is_not_kept(
    tunescope: Tunescope, spec_file: SpecFile, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = document(tunescope("jobs", "submit", spec_file("leaving"), "--follow", "--json").out)["id"]
    told = [artifact | {"sha256": "0" * 64} for artifact in client.artifacts(job)]
    monkeypatch.setattr(client, "artifacts", lambda job_id: told)
    with pytest.raises(NotTunescope, match="did not arrive"):
        client.download(job, tmp_path / "saved")
    monkeypatch.setattr(client, "artifacts", lambda job_id: [told[0] | {"name": "../out"}])
    with pytest.raises(NotTunescope, match="outside"):
        client.download(job, tmp_path / "saved")
    assert list((tmp_path / "saved").iterdir()) == []


def test_a_terminal_sees_a_live_progress_bar(server: WholeServer, tunescope: Tunescope, spec_file: SpecFile) -> None:
    job = finished_job(tunescope, spec_file)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tunescope", "jobs", "follow", job], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    while chunk := read_or_end(ours):
        seen += chunk
    assert process.wait(30) == 0
    text = seen.decode()
    assert "━" in text and "3/3" in text and "loss 0.333" in text and "succeeded" in text


def read_or_end(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_gpus_says_why_there_is_none(tunescope: Tunescope) -> None:
    machines = document(tunescope("gpus", "--json").out)
    assert [machine["name"] for machine in machines] == ["m1"]
    assert "m1" in tunescope("gpus").out


def test_data_sets_are_added_once(tunescope: Tunescope) -> None:
    Path("mine.jsonl").write_text('{"text": "one"}\n{"text": 2}\n')
    ran = tunescope("datasets", "add", "mine.jsonl", "--name", "mine")
    assert ran.code == 0 and "1 usable row, 1 with problems" in ran.out
    assert "line 2" in ran.err
    assert "mine" in tunescope("datasets", "list").out
    again = tunescope("datasets", "add", "mine.jsonl", "--name", "mine", "--json")
    assert (again.code, again.out) == (2, "") and "already a data set named mine" in again.err


def test_models_are_added_from_a_directory(tunescope: Tunescope, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    refused = tunescope("models", "add", "mine", str(folder))
    assert refused.code == 2 and "config.json" in refused.err
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    assert tunescope("models", "add", "mine", str(folder)).code == 0
    assert "mine" in [item["name"] for item in document(tunescope("models", "list", "--json").out)]


def test_estimate_and_explain_sum_to_the_byte(tunescope: Tunescope, spec_file: SpecFile) -> None:
    file = spec_file("x")
    answer = document(tunescope("estimate", file, "--gpu", "H100-80GB", "--json").out)
    assert sum(answer["ledger"].values()) == answer["total_bytes"] and answer["fits"] is True
    assert "weights" in tunescope("estimate", file).out
    job = finished_job(tunescope, spec_file)
    for pair in (("qwen-official-lora", "swift-2024-lora"), (file, "swift-2024-qlora"), (job, "qwen-official-full")):
        answer = document(tunescope("explain", *pair, "--json").out)
        difference = answer["b"]["total_bytes"] - answer["a"]["total_bytes"]
        assert sum(part["bytes"] for part in answer["sections"]) == difference != 0
    assert "because" in tunescope("explain", "qwen-official-lora", "swift-2024-lora").out


def test_recipes(tunescope: Tunescope) -> None:
    assert "unsloth-qlora" in tunescope("recipes").out
    assert "unsloth-qlora" in [recipe["name"] for recipe in document(tunescope("recipes", "--json").out)]


WRONG = {
    "no.yaml": None,
    "bad.yaml": "a: [1",
    "unknown.yaml": "model: {id: x}\ndata: {dataset: d}\nadaptation: {rank: 3}",
    "range.yaml": "model: {id: x}\ndata: {dataset: d}\nadaptation: {r: 0}",
    "binary.yaml": b"\xff\xfe\x00",
    "deep.yaml": "[" * 2000,
    "long.yaml": "#" * 2_000_000,
    "empty.yaml": "",
    "list.yaml": "[1, 2]",
    "blank.yaml": 'name: "\\e[2J"\nmodel: {id: x}\ndata: {dataset: d}',
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", [("estimate",), ("jobs", "submit"), ("explain", "unsloth-qlora")])
def test_wrong_specs_end_with_code_2(tunescope: Tunescope, name: str, command: tuple[str, ...]) -> None:
    content = WRONG[name]
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = tunescope(*command, name, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip()
    named = {"unknown.yaml": "adaptation.rank", "range.yaml": "adaptation.r"}.get(name)
    assert named is None or named in ran.err


def test_a_spec_from_standard_input(tunescope: Tunescope, monkeypatch: pytest.MonkeyPatch, spec_file: SpecFile) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(Path(spec_file("x")).read_text()))
    assert document(tunescope("estimate", "-", "--json").out)["total_bytes"] > 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("jobs",),
        ("jobs", "show"),
        ("jobs", "show", "nowhere", "--json"),
        ("jobs", "show", ".."),
        ("jobs", "show", ""),
        ("jobs", "cancel", " "),
        ("jobs", "show", "../users"),
        ("jobs", "follow", "nowhere"),
        ("jobs", "list", "--limit", "0"),
        ("jobs", "list", "--state", "dreaming"),
        ("jobs", "list", "--cursor", "nan~x"),
        ("datasets", "add", "nowhere.jsonl"),
        ("datasets", "add", "."),
        ("models", "add", "x", "/nowhere"),
        ("explain", "nowhere", "unsloth-qlora"),
        ("up", "--port", "0"),
    ],
)
def test_wrong_words_end_with_code_2(tunescope: Tunescope, words: tuple[str, ...]) -> None:
    ran = tunescope(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip()


def test_a_job_without_log_lines_says_so(tunescope: Tunescope, spec_file: SpecFile, client: Client) -> None:
    first, second = (
        client.submit(load_spec(Path(spec_file(name)).read_text()))["id"] for name in ("slow 2000", "quick")
    )
    ran = tunescope("jobs", "logs", second)  # it waits: a machine without a GPU trains one job at a time
    assert (ran.code, ran.out) == (0, "") and "no log lines so far" in ran.err
    for job in (second, first):
        client.cancel(job)


def test_an_empty_id_is_no_list(tunescope: Tunescope) -> None:
    for action in ("show", "follow", "cancel", "retry", "logs"):
        ran = tunescope("jobs", action, "", "--json")
        assert (ran.code, ran.out) == (2, "") and "The id of a job is missing." in ran.err


@pytest.mark.parametrize(
    ("variable", "value", "code", "said"),
    [
        ("TUNESCOPE_TOKEN", "tsc_wrong", 1, "not known"),
        ("TUNESCOPE_TOKEN", "tsc ü", 2, "Copy it again"),
        ("TUNESCOPE_URL", "http://127.0.0.1:{free}", 1, "Is it running?"),
        ("TUNESCOPE_URL", "http://nowhere.invalid", 1, "Is it running?"),
        ("TUNESCOPE_URL", "localhost:8000", 2, "not the address"),
        ("TUNESCOPE_URL", "ftp://x", 2, "not the address"),
        ("TUNESCOPE_URL", "{server}/elsewhere", 1, "not as Tunescope"),
    ],
)
def test_a_wrong_address_or_token_is_told(
    tunescope: Tunescope,
    server: WholeServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value.format(free=free_port(), server=server.url))
    ran = tunescope("jobs", "list", "--json")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_what_a_server_sends_is_never_read_as_markup(tunescope: Tunescope, client: Client, spec_file: SpecFile) -> None:
    job = document(tunescope("jobs", "submit", spec_file('"[/b] :smile: [red]"'), "--json").out)["id"]
    for words in (("jobs", "list"), ("jobs", "show", job), ("jobs", "follow", job)):
        assert tunescope(*words).code == 0
    assert "[/b] :smile: [red]" in tunescope("jobs", "show", job).out


def test_a_closed_pipe_is_no_error_to_talk_about(server: WholeServer) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TUNESCOPE_URL": server.url, "TUNESCOPE_TOKEN": ADMIN_TOKEN}
    command = f"{sys.executable} -m tunescope recipes --json | head -c 1"
    ran = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[", "")


def test_an_admin_who_lost_the_way_in_gets_a_new_link(server: WholeServer, client: Client) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tunescope", "admin-link", "--data-dir", str(server.data_dir), "--url", server.url]
    made = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    tokens = [link.partition("/sign-in?token=")[2] for link in made]
    answers = [client._http.post("/api/session", json={"sign_in_token": token}) for token in [*tokens, tokens[1]]]
    assert [answer.status_code for answer in answers] == [401, 200, 401], "the newest works, once"
