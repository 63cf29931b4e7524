"""``tunescope estimate``, ``advise`` and ``explain`` without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunescope.cli.main import main
from tunescope.cli.memory import measured_lines
from tunescope.units import GIB

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def spec_file(tmp_path: Path) -> str:
    file = tmp_path / "spec.json"
    spec = {"model": {"id": "Qwen/Qwen2.5-7B"}, "data": {"dataset": "d"}, "batch": {"per_device_train_batch_size": 4}}
    file.write_text(json.dumps(spec))
    return str(file)


def ran(captured: Captured, *words: str) -> str:
    assert main(words) == 0, captured.readouterr().err
    return captured.readouterr().out


def told(captured: Captured, *words: str) -> dict[str, Any]:
    return json.loads(ran(captured, *words, "--json"))


def test_an_estimate_tells_how_sure_it_is_where_the_peak_lies_and_what_it_assumes(
    spec_file: str, capsys: Captured
) -> None:
    text = ran(capsys, "estimate", spec_file, "--gpu", "RTX4090")
    answer = told(capsys, "estimate", spec_file, "--gpu", "RTX4090")
    assert "RTX4090-24GB (24.0 GiB)" in text and "Between " in text and "Tier: formula" in text
    lines = [line.split() for line in text.splitlines()]
    sites = [line[0] for line in lines if line and line[0] in {item["name"] for item in answer["sites"]}]
    assert sites == [item["name"] for item in answer["sites"]], "the peak first, then the runners-up"
    assert f"{answer['site']} (peak)" in text
    assert all(assumption in text for assumption in answer["assumptions"])
    assert "effective batch: 4 x 16 accumulation x 1 GPU = 64 rows a step" in answer["assumptions"]


def test_an_estimate_tells_what_comes_of_a_card_that_the_cache_fills(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "full.json"
    spec = {
        "model": {"id": "mistralai/Mistral-7B-v0.1"}, "data": {"dataset": "d", "max_length": 4096},
        "adaptation": {"method": "full"}, "precision": {"quantization": "none"}, "memory_savers": {"attention": "flash_attention_2"},
        "batch": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},
    }  # fmt: skip
    file.write_text(json.dumps(spec))
    text, answer = ran(capsys, "estimate", str(file)), told(capsys, "estimate", str(file))
    assert answer["fit"] == "tight" and answer["settled_bytes"] < answer["total_bytes"]
    assert answer["when_full"]["text"] in text and "fill this card in the first steps" in text
    assert told(capsys, "estimate", str(file), "--gpu", "H200-141GB")["when_full"] is None


def test_library_versions_and_gpu_are_what_was_asked_for(spec_file: str, capsys: Captured) -> None:
    own, old = told(capsys, "estimate", spec_file), told(capsys, "estimate", spec_file, "--stack", "qwen-2023")
    assert own["total_bytes"] != old["total_bytes"] and "transformers 4.32" in old["assumptions"][0]
    recipe = told(capsys, "estimate", "qwen-official-lora")
    assert recipe["assumptions"][0] == old["assumptions"][0], "a recipe has its own versions"
    asked = told(capsys, "estimate", "qwen-official-lora", "--stack", "current")
    assert asked["assumptions"][0] == own["assumptions"][0]
    pair = ("explain", "qwen-official-lora", "swift-2024-lora")
    parts = {part["section"] for part in told(capsys, *pair)["sections"]}
    same = told(capsys, *pair, "--stack", "current", "--gpu", "H100-80GB")
    assert parts - {part["section"] for part in same["sections"]} == {"libraries"}
    for wrong in (("--gpu", "Voodoo"), ("--stack", "x")):
        assert main(["advise", spec_file, *wrong]) == 2
        assert "use one of" in capsys.readouterr().err


def test_advice_for_a_spec_that_does_not_fit_and_for_one_that_does(spec_file: str, capsys: Captured) -> None:
    short = told(capsys, "advise", spec_file, "--gpu", "RTX3060-12GB")
    assert not short["fits"] and any(item["fits"] for item in short["suggestions"])
    text = ran(capsys, "advise", spec_file, "--gpu", "RTX3060-12GB")
    assert "does not fit on RTX3060-12GB. What helps:" in text and short["suggestions"][0]["title"] in text
    assert "memory_savers.fused_loss: true" in text, "what to write into the spec"
    assert f"Cheapest GPU that runs it as it is: {short['cheapest_gpu']}." in text
    assert "Not T4-16GB" not in text, "it has not the memory either"
    roomy = ran(capsys, "advise", spec_file, "--gpu", "H200")
    assert "fits on H200-141GB. To save more:" in roomy and "data.max_length can be " in roomy


def test_a_recipe_is_advised_with_its_own_versions(capsys: Captured) -> None:
    answer = told(capsys, "advise", "qwen-official-lora")
    before = told(capsys, "estimate", "qwen-official-lora")["total_bytes"]
    assert all(before - item["bytes_saved"] == item["total_bytes"] for item in answer["suggestions"])


def test_what_was_measured_of_two_runs_is_told_with_what_stays_open() -> None:
    sides: dict[str, dict[str, int | None]] = {"a": {"measured_bytes": 4 * GIB}, "b": {"measured_bytes": None}}
    assert measured_lines({**sides, "measured": None}) == ["A was measured to need 4.0 GiB at the highest."]
    sides["b"] = {"measured_bytes": 3 * GIB}
    both = {"difference_bytes": -GIB, "unexplained_bytes": 100 * 2**20}
    assert measured_lines({**sides, "measured": both})[2] == (
        "B minus A as measured: -1.0 GiB, of which 100.0 MiB is not explained by the sections."
    )


def test_a_name_that_is_neither_file_nor_recipe_leads_to_the_recipes(capsys: Captured) -> None:
    assert main(("estimate", "llama-factory-qlora")) == 2
    told = capsys.readouterr().err
    assert "llama-factory-qlora is neither a file nor a recipe." in told and "Did you mean llamafactory-qlora?" in told


@pytest.mark.parametrize(("asked", "most"), [("", 100), ("70", 70), ("wide", 100)])
def test_an_explanation_in_a_pipe_keeps_within_the_width(
    asked: str, most: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", asked)
    lines = ran(capsys, "explain", "qwen-official-lora", "swift-2024-lora").splitlines()
    assert max(map(len, lines)) <= most and not any(line.endswith(" ") for line in lines)
    parts = told(capsys, "explain", "qwen-official-lora", "swift-2024-lora")["sections"]
    assert all(part["because"] in " ".join(" ".join(lines).split()) for part in parts)
