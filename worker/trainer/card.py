"""README.md beside a result: what it is, how to load it, and how it was made. Hubs read its first lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunescope.events import PlanEvent
from tunescope.spec import JobSpec
from tunescope.wire import AttemptOrder
from tunescope.yaml_text import write_yaml

FILE = "README.md"

Kind = Literal["adapter", "merged", "full"]

WHAT = {
    "adapter": "LoRA adapter for {base}",
    "merged": "{base} with a LoRA adapter merged into its weights",
    "full": "{base}, every weight of it trained",
}


@dataclass(frozen=True)
class Run:
    """What there is to say of a run that is done."""

    order: AttemptOrder
    base_folder: Path
    """Where the base lies on the machine that trained, or merged."""
    plan: PlanEvent
    steps: int
    """Optimizer steps that were taken, those before a resume included."""
    loss: float | None
    """Training loss as last logged."""
    chat: bool
    """Whether the tokenizer has a chat template."""

    @property
    def spec(self) -> JobSpec:
        return self.order.spec

    @property
    def revision(self) -> str | None:
        """Of the base, on its hub; None for the newest."""
        return self.order.model.revision

    @property
    def base_location(self) -> str:
        """What loads the base: its id on a hub; of another model only the folder is known."""
        return self.order.model.location if self.base_on_hub else str(self.base_folder)

    @property
    def base_on_hub(self) -> bool:
        return self.order.model.kind in ("huggingface", "modelscope")


def write(folder: Path, run: Run, kind: Kind) -> None:
    """Write the card of a result into its folder."""
    (folder / FILE).write_text(card(run, kind), encoding="utf-8")


def card(run: Run, kind: Kind) -> str:
    """The card as Markdown."""
    spec = run.spec
    parts = [
        f"---\n{write_yaml(front_matter(run, kind))}---\n",
        f"# {spec.name}\n",
        f"{WHAT[kind].format(base=spec.model.id)}, trained with Tunescope on the data set {spec.data.dataset}.\n",
        f"## Use\n\n```python\n{loading(run, kind)}\n\n{asking(run.chat)}\n```\n",
    ]
    if kind == "adapter":
        merging = 'model.merge_and_unload().save_pretrained("merged")\ntokenizer.save_pretrained("merged")'
        parts.append(f"One model that needs no peft:\n\n```python\n{merging}\n```\n")
    parts.append("## How it was made\n\n" + table(facts(run)))
    return "\n".join(parts)


def front_matter(run: Run, kind: Kind) -> dict[str, object]:
    return {
        **({"base_model": run.base_location} if run.base_on_hub else {}),
        "library_name": "peft" if kind == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tunescope", "sft", *(["lora"] if kind != "full" else [])],
    }


def loading(run: Run, kind: Kind) -> str:
    """Python that makes ``tokenizer`` and ``model``."""
    peft = ["from peft import PeftModel"] if kind == "adapter" else []
    lines = [
        *peft,
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."  # where these files are',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
    ]
    if kind != "adapter":
        return "\n".join(
            [*lines, 'model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="auto")']
        )
    revision = f", revision={json.dumps(run.revision)}" if run.revision else ""
    return "\n".join(
        [
            *lines,
            f'base = AutoModelForCausalLM.from_pretrained({json.dumps(run.base_location)}{revision}, dtype="auto", device_map="auto")',
            "model = PeftModel.from_pretrained(base, folder)",
        ]
    )


def asking(chat: bool) -> str:
    """Python that has ``model`` say something."""
    if chat:
        made = [
            'messages = [{"role": "user", "content": "Hello!"}]',
            "inputs = tokenizer.apply_chat_template(",
            '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"',
            ").to(model.device)",
        ]
    else:
        made = ['inputs = tokenizer("Hello", return_tensors="pt").to(model.device)']
    return "\n".join([*made, "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=100)[0]))"])


def facts(run: Run) -> list[tuple[str, str]]:
    """What the table tells, as (name, value)."""
    spec = run.spec
    lora = spec.adaptation.method == "lora"
    modules = spec.adaptation.target_modules
    targets = modules if isinstance(modules, str) else ", ".join(modules)
    found = [("Base model", spec.model.id + (f" at {run.revision}" if run.revision else ""))]
    if lora:
        found.append(("Adapter", f"rank {spec.adaptation.r}, alpha {spec.adaptation.lora_alpha:g}, on {targets}"))
        found.append(("Base weights in training", spec.precision.quantization.replace("none", spec.precision.dtype)))
    rows = spec.batch.per_device_train_batch_size * spec.batch.gradient_accumulation_steps * spec.parallelism.gpus
    found += [
        ("Data", f"{spec.data.dataset}: {run.plan.train_rows:,} rows, cut at {spec.data.max_length:,} tokens"),
        ("Steps", f"{run.steps:,} of {rows:,} rows each"),
        ("Optimizer", f"{spec.optimizer.name}, learning rate {spec.optimizer.learning_rate:g}"),
    ]
    if run.loss is not None:
        found.append(("Training loss at the end", f"{run.loss:.4f}"))
    found.append(("Device", run.plan.device))
    found.append(("Versions", ", ".join(f"{name} {version}" for name, version in run.plan.versions.items())))
    return [*found, ("Settings", "spec.yaml has all of them")]


def table(rows: Sequence[tuple[str, str]]) -> str:
    escaped = [(name, value.replace("|", "\\|")) for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in escaped), ""])
