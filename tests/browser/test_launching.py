"""The new-job form in Chromium: errors at the field, YAML both ways, nothing lost, upload inside, clone, cancel."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_first_job import demo_spec
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tunescope.memory.catalogue import catalogue_config

ROW = '{"prompt": "What is LoRA?", "completion": "Small trained matrices beside frozen ones."}\n'


@pytest.fixture
def form(page: Page) -> Page:
    page.goto("/new")
    expect(field(page, "Rank r")).to_be_visible()
    return page


def field(page: Page, name: str) -> Locator:
    return page.get_by_role("textbox", name=name, exact=True)


def yaml_text(page: Page) -> str:
    return page.get_by_label("Job spec").input_value()


def estimate_of(page: Page) -> str:
    return page.get_by_role("region", name="VRAM at the peak").inner_text()


def test_a_wrong_value_is_refused_at_its_field(form: Page) -> None:
    field(form, "Rank r").fill("0")
    expect(field(form, "Rank r")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_text("give a number from 1 to 4096")).to_be_visible()
    form.get_by_role("button", name="Launch").click()
    expect(form.get_by_text("This job cannot run as it is (problems: 1)")).to_be_visible()
    expect(field(form, "Rank r")).to_be_focused()
    field(form, "Rank r").fill("4")
    expect(field(form, "Rank r")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("name", "typed", "read"),
    [
        ("Learning rate", "2e-4", "0.0002"),
        ("Learning rate", "0,0005", "0.0005"),
        ("Learning rate", "５e−5", "0.00005"),
        ("Longest sequence (tokens)", "1,024", "1024"),
        ("Longest sequence (tokens)", " 1 024", "1024"),
    ],
)
def test_a_number_may_be_typed_or_pasted_as_people_write_it(form: Page, name: str, typed: str, read: str) -> None:
    form.get_by_role("button", name=re.compile("^Optimizer")).click()
    field(form, name).fill("")
    field(form, name).press_sequentially(typed)
    expect(field(form, name)).to_have_value(typed)
    field(form, name).blur()
    expect(field(form, name)).to_have_value(read)
    field(form, name).fill("")
    field(form, name).focus()
    form.keyboard.insert_text(typed)
    field(form, name).blur()
    expect(field(form, name)).to_have_value(read)
    form.get_by_role("tab", name="YAML").click()
    assert f": {read}\n" in yaml_text(form)


@pytest.mark.parametrize("typed", ["1.5", "2k"])
def test_what_is_no_whole_number_is_refused_as_it_was_typed(form: Page, typed: str) -> None:
    field(form, "Micro batch").fill("")
    field(form, "Micro batch").press_sequentially(typed)
    expect(form.get_by_text("is not a whole number – give digits only")).to_be_visible()
    field(form, "Micro batch").blur()
    expect(field(form, "Micro batch")).to_have_value(typed)


def test_arrow_keys_and_buttons_count_a_number_up_and_down(form: Page) -> None:
    field(form, "Dropout").fill("0.29")
    field(form, "Dropout").press("ArrowUp")
    expect(field(form, "Dropout")).to_have_value("0.3")
    form.locator(".steps", has=form.locator("button")).nth(2).locator("button").last.click()
    expect(field(form, "Dropout")).to_have_value("0.29")
    expect(field(form, "Dropout")).to_be_focused()


def test_what_is_wrong_stays_told_while_another_field_is_typed_in(form: Page) -> None:
    field(form, "Rank r").fill("0")
    expect(form.get_by_text("give a number from 1 to 4096")).to_be_visible()
    form.evaluate(
        """() => {
            window.vanished = 0;
            const wrong = () => document.querySelector('[aria-invalid="true"]');
            new MutationObserver(() => { if (!wrong()) window.vanished++; })
                .observe(document.body, {subtree: true, childList: true, attributes: true});
        }"""
    )
    field(form, "Alpha").press_sequentially("64", delay=400)
    form.wait_for_timeout(1000)
    assert form.evaluate("window.vanished") == 0
    expect(form.get_by_text("An estimate appears as soon as the marked fields are mended")).to_be_visible()


def test_an_unknown_library_model_is_refused_at_the_model(form: Page) -> None:
    field(form, "Model").fill("no")
    told = form.get_by_role("region", name="VRAM at the peak")
    expect(told).to_contain_text("No such model in this server's library")
    expect(told).not_to_contain_text("can run all the same")
    form.get_by_role("button", name="Launch").click()
    expect(form.get_by_text("there is no model no in the library")).to_be_visible()


def test_the_estimate_follows_every_change(form: Page) -> None:
    expect(form.get_by_role("region", name="VRAM at the peak")).to_contain_text("GiB /")
    before = estimate_of(form)
    field(form, "Micro batch").fill("4")
    expect(form.get_by_role("region", name="VRAM at the peak")).not_to_have_text(before)
    expect(
        form.get_by_text("Effective batch, in rows per optimizer step: 4 × 16 accumulated × 1 GPU = 64")
    ).to_be_visible()
    form.get_by_text("To save more").click()
    expect(form.get_by_text("Cheapest GPU that runs it as it is")).to_be_visible()
    form.get_by_role("button", name=re.compile("^Apply: ")).first.click()
    form.get_by_role("tab", name="YAML").click()
    assert "per_device_train_batch_size" in yaml_text(form)


FULL = """
name: full
model: {id: mistralai/Mistral-7B-v0.1, source: catalogue}
adaptation: {method: full}
precision: {quantization: none}
data: {dataset: vram-questions, max_length: 4096, packing: true}
batch: {per_device_train_batch_size: 8, gradient_accumulation_steps: 1}
memory_savers: {attention: flash_attention_2}
"""


def test_what_comes_of_a_card_that_the_cache_fills_is_told_beside_the_verdict(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    form.get_by_label("Job spec").fill(FULL)
    panel = form.get_by_role("region", name="VRAM at the peak")
    expect(panel).to_contain_text("Tight")
    expect(panel).to_contain_text("Blocks that torch keeps cached fill this card in the first steps")


def test_on_a_phone_the_answer_stays_in_sight_and_leads_to_its_panel(form: Page) -> None:
    form.set_viewport_size({"width": 390, "height": 844})
    answer = form.get_by_role("link", name=re.compile("^VRAM at the peak .* GiB"))
    expect(answer).to_be_in_viewport()
    expect(form.get_by_role("heading", name="VRAM at the peak")).not_to_be_in_viewport()
    answer.click()
    expect(form.get_by_role("heading", name="VRAM at the peak")).to_be_in_viewport()


def test_yaml_and_form_are_one_spec_and_keep_comments(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    editor = form.get_by_label("Job spec")
    editor.fill(yaml_text(form) + "# mine\nadaptation:\n  r: 24\n")
    form.get_by_role("tab", name="Form").click()
    expect(field(form, "Rank r")).to_have_value("24")
    field(form, "Rank r").fill("12")
    form.get_by_role("tab", name="YAML").click()
    assert "# mine" in yaml_text(form) and "r: 12" in yaml_text(form)


def test_broken_yaml_is_kept_and_says_its_line(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    broken = "name: x\nmodel: {id: a/b\n"
    form.get_by_label("Job spec").fill(broken)
    expect(form.get_by_role("button", name="Launch")).to_be_disabled()
    form.get_by_role("tab", name="Form").click()
    expect(form.get_by_text("The YAML has a mistake")).to_be_visible()
    form.get_by_role("button", name="Go to the YAML").click()
    assert yaml_text(form) == broken
    form.reload()
    assert yaml_text(form) == broken
    form.get_by_label("Job spec").fill("model: {id: a/b}\ndata: {dataset: vram-questions}\nadaptation: {rank: 3}\n")
    expect(form.get_by_text("adaptation.rank: there is no such field")).to_be_visible()
    expect(form.get_by_role("button", name="line 3")).to_be_visible()


def test_a_field_that_stands_in_the_yaml_twice_is_told_with_its_line(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    form.get_by_label("Job spec").fill("name: x\nmodel: {id: a/b}\ndata: {dataset: d}\nname: y\n")
    expect(form.get_by_text("a field stands there twice")).to_be_visible()
    expect(form.get_by_role("button", name="line 4")).to_be_visible()


def test_settings_that_do_not_go_together_are_told_at_a_field(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    form.get_by_label("Job spec").fill("model: {id: a/b}\ndata: {dataset: d}\nadaptation: {method: full}\n")
    form.get_by_role("tab", name="Form").click()
    expect(form.get_by_text("quantized weights cannot be trained in full")).to_be_visible()
    expect(field(form, "Quantization")).to_have_attribute("aria-invalid", "true")


def test_a_field_that_there_is_not_is_named_in_the_form_too(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    form.get_by_label("Job spec").fill("model: {id: a/b}\ndata: {dataset: d}\nmemory_savers: {expandable: true}\n")
    expect(form.get_by_role("alert")).to_contain_text("memory_savers.expandable: there is no such field")
    form.get_by_role("tab", name="Form").click()
    expect(form.get_by_text("memory_savers.expandable: there is no such field")).to_be_visible()


def test_a_closed_section_says_what_is_switched_on_and_a_switch_what_it_does(form: Page) -> None:
    section = form.get_by_role("button", name=re.compile("^Memory savers"))
    expect(section).to_contain_text("Gradient checkpointing · sdpa")
    section.click()
    switch = form.get_by_role("switch", name="Expandable segments")
    expect(switch).to_have_accessible_description(re.compile("^The allocator grows blocks in place"))
    switch.press("Space")
    section.click()
    expect(section).to_contain_text("Gradient checkpointing · sdpa · Expandable segments")


def test_a_reload_loses_nothing(form: Page) -> None:
    field(form, "Name").fill("kept-run")
    field(form, "Alpha").fill("48")
    form.reload()
    expect(field(form, "Name")).to_have_value("kept-run")
    expect(field(form, "Alpha")).to_have_value("48")


def test_full_training_turns_quantization_off(form: Page) -> None:
    field(form, "Method").click()
    form.get_by_role("option", name="full").click()
    expect(field(form, "Quantization")).to_have_value("none")


def test_a_recipe_fills_the_form_and_can_be_undone(form: Page) -> None:
    form.get_by_placeholder("Start from a recipe").click()
    form.get_by_role("option", name="Qwen official: LoRA, chat model").click()
    expect(field(form, "Rank r")).to_have_value("64")
    expect(field(form, "Data set")).to_have_value("vram-questions")
    form.get_by_role("button", name="Undo").click()
    expect(field(form, "Rank r")).to_have_value("8")


def test_a_file_uploaded_inside_the_form_is_chosen(form: Page, tmp_path: Path) -> None:
    file = tmp_path / "inside-form.jsonl"
    file.write_text(ROW * 3 + "not json\n")
    form.locator("input[type=file]").first.set_input_files(str(file))
    expect(field(form, "Data set")).to_have_value("inside-form")
    expect(form.get_by_text("Usable rows: 3, left out: 1")).to_be_visible()
    expect(form.get_by_text("Line 4:")).to_be_visible()


@pytest.mark.parametrize("page_of_uploads", ["/new", "/datasets"])
def test_a_refused_file_is_named(page: Page, tmp_path: Path, page_of_uploads: str) -> None:
    page.goto(page_of_uploads)
    file = tmp_path / "holes.jsonl"
    file.write_text("not json\n")
    page.locator("input[type=file]").first.set_input_files(str(file))
    expect(page.get_by_role("alert").filter(has_text="holes.jsonl: ")).to_be_visible()


def test_without_a_name_the_one_that_the_job_would_get_is_shown(form: Page) -> None:
    form.get_by_role("tab", name="YAML").click()
    form.get_by_label("Job spec").fill("model: {id: a/b}\ndata: {dataset: vram-questions}\n")
    form.get_by_role("tab", name="Form").click()
    expect(field(form, "Name")).to_have_value("")
    expect(field(form, "Name")).to_have_attribute("placeholder", "untitled")
    field(form, "Name").fill("x")
    field(form, "Name").fill("")
    expect(field(form, "Name"), "an empty name is refused").to_have_attribute("aria-invalid", "true")
    expect(field(form, "Name")).not_to_have_attribute("placeholder", "untitled")


def test_a_file_whose_name_is_taken_is_sent_under_another(form: Page, tmp_path: Path) -> None:
    file = tmp_path / "taken (1).jsonl"
    file.write_text(ROW * 3)
    for _ in range(2):
        form.locator("input[type=file]").first.set_input_files(str(file))
        expect(field(form, "Data set")).to_have_value("taken-1")
    question = form.get_by_role("dialog", name="Another name for taken (1).jsonl")
    expect(question).to_contain_text("There is already a data set named taken-1.")
    name = question.get_by_label("Name of the data set")
    expect(name).to_be_focused()
    expect(name).to_have_value("taken-1-2")
    name.fill("two words")
    form.keyboard.press("Enter")
    expect(question.get_by_text("cannot be a data set's name")).to_be_visible()
    name.fill("two-words")
    form.keyboard.press("Enter")
    expect(field(form, "Data set")).to_have_value("two-words")
    expect(question).to_be_hidden()


@pytest.mark.parametrize(
    ("file_name", "taken", "suggested"),
    [
        ("x" * 120, "x" * 100, "x" * 98 + "-2"),
        ("cafe\u0301 हिन्दी", "caf\u00e9-हिन्दी", "caf\u00e9-हिन्दी-2"),  # decomposed, as macOS has it
        ("###", "", ""),
    ],
)
def test_the_name_that_is_suggested_is_one_that_the_server_takes(
    form: Page, tmp_path: Path, file_name: str, taken: str, suggested: str
) -> None:
    file = tmp_path / f"{file_name}.jsonl"
    file.write_text(ROW * 3)
    form.locator("input[type=file]").first.set_input_files(str(file))
    question = form.get_by_role("dialog", name=re.compile("^Another name for .*[.]jsonl$"))
    if taken:
        expect(field(form, "Data set")).to_have_value(taken)
        form.locator("input[type=file]").first.set_input_files(str(file))
    expect(question.get_by_label("Name of the data set")).to_have_value(suggested)
    send = question.get_by_role("button", name="Upload", exact=True)
    if not suggested:
        expect(send).to_be_disabled()
        return
    send.click()
    expect(field(form, "Data set")).to_have_value(suggested)


def test_a_clone_whose_data_set_is_gone_says_so_at_the_field(page: Page, server: Running) -> None:
    with server.client() as client:
        client.post("/api/datasets", files={"file": ("gone.jsonl", ROW * 3)}).raise_for_status()
        wanted = demo_spec() | {"data": {"dataset": "gone"}}
        job = client.post("/api/jobs", json=wanted).raise_for_status().json()["id"]
        client.post(f"/api/jobs/{job}/cancel").raise_for_status()
        client.delete("/api/datasets/gone").raise_for_status()
    page.goto(f"/new?from={job}")
    expect(page.get_by_text("There is no data set gone on this server any more")).to_be_visible()
    expect(field(page, "Data set")).to_have_value("gone")
    page.get_by_role("button", name="Launch").click()
    expect(field(page, "Data set")).to_be_focused()
    expect(page.get_by_text("there is no data set gone – upload it")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(0)


def test_clone_prefills_and_cancel_asks_first(page: Page, server: Running) -> None:
    with server.client() as client:
        spec = demo_spec() | {"name": "to-clone", "adaptation": {"method": "lora", "r": 3}}
        job = client.post("/api/jobs", json=spec).raise_for_status().json()["id"]
    page.goto(f"/jobs/{job}")
    page.get_by_role("link", name="Clone").click()
    expect(field(page, "Rank r")).to_have_value("3")
    expect(field(page, "Name")).to_have_value("to-clone")
    page.goto(f"/jobs/{job}")
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible(timeout=60_000)
    actions = page.get_by_role("group", name="Actions", exact=True)
    expect(actions, "the keyboard keeps its place, and a second Enter starts nothing").to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()
    page.get_by_role("button", name="Retry").hover()
    expect(page.get_by_role("tooltip")).to_have_text("Begins at step 1: there is no checkpoint to go on from")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for tab in ("Log", "Spec", "Files"):
            page.get_by_role("tab", name=tab).click()
            assert serious_problems(page) == [], f"{tab}, {scheme}"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("model", "remedy", "label", "value"),
    [
        ("google/gemma-2-9b", "Set Attention: eager", "Attention", "eager"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Set Dropout: 0", "Dropout", "0"),
    ],
)
def test_a_default_that_a_model_refuses_is_mended_by_one_click(
    form: Page, model: str, remedy: str, label: str, value: str
) -> None:
    form.get_by_role("textbox", name="Model from").click()
    form.get_by_role("option", name="Catalogue (estimates only)").click()
    field(form, "Model").fill(model)
    form.get_by_role("button", name=remedy).click()
    expect(field(form, label)).to_have_value(value)
    expect(form.get_by_role("button", name=remedy)).to_be_hidden()
    expect(form.get_by_role("region", name="VRAM at the peak")).to_contain_text("GiB /")


def test_a_model_that_nobody_knows_is_estimated_by_its_config_json(form: Page, tmp_path: Path) -> None:
    form.get_by_role("textbox", name="Model from").click()
    form.get_by_role("option", name="Catalogue (estimates only)").click()
    field(form, "Model").fill("ours/never-published")
    panel = form.get_by_role("region", name="VRAM at the peak")
    choose = panel.get_by_role("button", name="Estimate with its config.json")
    expect(choose).to_be_visible()
    file = tmp_path / "config.json"
    chosen = panel.locator("input[type=file]")
    file.write_text("[]")
    chosen.set_input_files(str(file))
    expect(panel.get_by_role("alert")).to_contain_text("config.json is not a model's config.json")
    file.write_text(json.dumps(catalogue_config("Qwen/Qwen2.5-7B") | {"hidden_size": -1}))
    chosen.set_input_files(str(file))
    expect(form.get_by_text("-1 is outside 1 to 1,000,000")).to_be_visible()
    file.write_text(json.dumps(catalogue_config("Qwen/Qwen2.5-7B")))
    chosen.set_input_files(str(file))
    expect(panel).to_contain_text("GiB / 80.0 GiB")
    expect(panel).to_contain_text("by config.json")
    field(form, "Model").fill("ours/another")
    expect(panel.get_by_text("by config.json")).to_be_hidden()
