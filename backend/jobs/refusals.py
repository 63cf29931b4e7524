"""What cannot run on this server, found before it waits in the queue: each with its field and its remedy."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy.orm import Session

from backend.datasets.service import find_dataset
from backend.estimates.resolve import architecture_of
from backend.models.service import find_model
from tunescope.memory.architecture import Architecture
from tunescope.memory.attention_choice import refused_attention
from tunescope.memory.expert_adapters import expert_names, refused_adapters
from tunescope.memory.stack import DEFAULT
from tunescope.problems import FieldError, InvalidInput, Problem
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.spec import HEADS, JobSpec

HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
OUTSIDE_LAYERS = HEADS | {"embed_tokens", "wte", "wpe", "word_embeddings", "norm", "ln_f"}
"""Modules beside the layers, by the names that the families give them."""
SHOWN_NAMES = 12
UNSEEN = frozenset(("Cc", "Zl", "Zp"))
"""Categories of Unicode: controls, line and paragraph separators."""
TURNING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u200b\u2060")
"""Marks of the writing direction, and spaces without a width; joiners stay, which emoji and Indic scripts need."""


@dataclass(frozen=True)
class Submitted:
    """A spec and what is needed to look up what it names."""

    session: Session
    settings: ServerSettings
    spec: JobSpec


def refuse_what_cannot_run(session: Session, settings: ServerSettings, spec: JobSpec) -> None:
    """Raises InvalidInput that names every field for which this job cannot run."""
    it = Submitted(session, settings, spec)
    errors = [error for rule in RULES for error in rule(it)]
    if not errors:
        # Only for a model that is here: of one that is not, every module is unknown.
        errors = [*unknown_modules(it), *impossible_in_model(it)]
    if errors:
        raise InvalidInput(say("job_cannot_run"), errors=errors)


def misleading_name(it: Submitted) -> Iterator[FieldError]:
    """Characters that nobody sees and that turn or cut the text around them, in the lists that everybody reads."""
    if any(unicodedata.category(each) in UNSEEN or each in TURNING for each in it.spec.name):
        message, fix = (
            "has invisible characters that change how the text around it is shown",
            "type it anew without them",
        )
        yield FieldError("name", message, fix, "misleading_name")


def only_for_estimates(it: Submitted) -> Iterator[FieldError]:
    spec = it.spec
    if spec.precision.quantization.startswith("gptq"):
        yield FieldError(
            "precision.quantization",
            "gptq is for estimates only",
            "choose none, nf4, fp4 or int8 to train",
            "gptq_estimates_only",
        )
    if spec.parallelism.strategy not in ("none", "ddp"):
        copies = "ddp" if spec.parallelism.gpus > 1 else "none"
        yield FieldError(
            "parallelism.strategy",
            "this version trains with a whole copy of the model on each GPU; sharding and offload are for estimates",
            f"set strategy to {copies} and offload to none",
            "copies_only",
            patch={"parallelism.strategy": copies, "parallelism.offload": "none"},
        )
    if spec.model.source == "catalogue":
        yield FieldError(
            "model.source",
            "catalogue models are for estimates only",
            "choose huggingface, modelscope or library",
            "catalogue_only",
        )


def probe_of_one_gpu(it: Submitted) -> Iterator[FieldError]:
    """A probe has one process: without the buckets of DDP it would measure too little."""
    if it.spec.placement.probe and it.spec.parallelism.gpus > 1:
        yield FieldError(
            "placement.probe",
            "a probe run measures one GPU, without what several need to exchange gradients",
            "turn it off, or set parallelism.gpus to 1",
            "probe_of_one_gpu",
            patch={"placement.probe": False},
        )


def kernel_without_its_type(it: Submitted) -> Iterator[FieldError]:
    if it.spec.memory_savers.attention == "flash_attention_2" and it.spec.precision.dtype == "float32":
        yield FieldError(
            "memory_savers.attention",
            "flash_attention_2 computes in 16 bits only",
            "choose sdpa, or set precision.dtype to bfloat16",
            "flash_needs_sixteen",
            patch={"memory_savers.attention": "sdpa"},
        )


def adapters_that_scaling_refuses(it: Submitted) -> Iterator[FieldError]:
    """float16 on a GPU is trained with a scaled loss, and torch takes no float16 gradients then (amp/grad_scaler.py, unscale_)."""
    precision = it.spec.precision
    if it.spec.adaptation.method == "lora" and precision.dtype == precision.adapter_dtype == "float16":
        yield FieldError(
            "precision.adapter_dtype",
            "adapters in float16 cannot be trained beside weights in float16: the scaled loss needs wider gradients",
            "set it to float32, or precision.dtype to bfloat16",
            "adapters_need_more_than_float16",
            patch={"precision.adapter_dtype": "float32"},
        )


def adapter_on_the_head(it: Submitted) -> Iterator[FieldError]:
    """TRL 1.16 raises for it whichever loss is asked for (trainer/sft_trainer.py), but only once the model is loaded."""
    names = ", ".join(it.spec.adaptation.head_adapters)
    if names:
        message = f"TRL trains no adapter on the head ({names})"
        fix = "take it out; to train the head in full, name it in modules_to_save"
        yield FieldError("adaptation.target_modules", message, fix, "no_head_adapter", {"names": names})


def model_not_here(it: Submitted) -> Iterator[FieldError]:
    model = it.spec.model
    if model.source == "library":
        yield from library_model_not_here(it)
    elif model.source != "catalogue" and not is_hub_id(model.id, owner=model.source == "modelscope"):
        if "://" not in model.id and (model.id[0] in "/~." or "\\" in model.id or model.id.count("/") > 1):
            message = "this is a path, and only directories of the library are loaded"
            fix = "ask an admin to add it on the Models page, then choose its name with the source library"
            yield FieldError("model.id", message, fix, "is_a_path")
        else:
            message, fix = (
                "this is not the id of a model on a hub",
                "give owner/name, such as Qwen/Qwen2.5-0.5B-Instruct",
            )
            yield FieldError("model.id", message, fix, "no_hub_id")


def is_hub_id(name: str, owner: bool) -> bool:
    """By the hubs' own rules. Hugging Face still has models without an ``owner``, such as gpt2."""
    parts = name.split("/")
    return (2 if owner else 1) <= len(parts) <= 2 and all(
        HUB_NAME.fullmatch(part) and len(part) <= 96 and part[-1] not in ".-" and "--" not in part and ".." not in part
        for part in parts
    )


def library_model_not_here(it: Submitted) -> Iterator[FieldError]:
    name = it.spec.model.id
    found = find_model(it.session, it.settings, name)
    if found is None:
        message, fix = f"there is no model {name} in the library", "see the Models page for what is there"
        yield FieldError("model.id", message, fix, "no_library_model", {"name": name})
    elif not found.builtin and (lacking := lacking_weights(Path(found.path))):
        fix = "ask an admin to put the files back, or choose another model"
        message = f"the directory of {name} has no {lacking} any more"
        yield FieldError("model.id", message, fix, "no_weights", {"name": name, "file": lacking})


def lacking_weights(folder: Path) -> str | None:
    """What of the weights is not in a model's directory; None if all of it is."""
    try:
        present = {file.name for file in folder.glob("*.safetensors")}
        index = folder / "model.safetensors.index.json"
        named: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"] if index.is_file() else {}
        shards = {str(name) for name in cast(dict[str, Any], named).values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "readable model.safetensors.index.json"
    return next(iter(sorted(shards - present)), None) if present else "*.safetensors"


def data_not_here(it: Submitted) -> Iterator[FieldError]:
    name = it.spec.data.dataset
    dataset = find_dataset(it.session, name)
    if dataset is None:
        message, fix = f"there is no data set {name}", "upload it on the Data sets page first"
        yield FieldError("data.dataset", message, fix, "no_dataset", {"name": name})
    elif dataset.rows == 0:
        message, fix = "this data set has no usable row", "mend its rows and upload it again"
        yield FieldError("data.dataset", message, fix, "empty_dataset")


def unknown_modules(it: Submitted) -> Iterator[FieldError]:
    """Names in the spec that no module of the model has: peft would leave them out without a word.

    Nothing where the model's modules are not known.
    """
    wanted = it.spec.adaptation
    if wanted.method == "full":
        return
    try:
        architecture = architecture_of(it.session, it.settings, it.spec)
    except Problem:
        return
    experts = expert_names(architecture.traits, DEFAULT)
    known = sorted(
        {linear.path.split(".")[-1] for layer in architecture.layers for linear in layer.linears}.union(experts)
    )
    lists = {
        "target_modules": [] if wanted.target_modules == "all-linear" else wanted.target_modules,
        "modules_to_save": wanted.modules_to_save,
    }
    for field, names in lists.items():
        stacked = experts if field == "target_modules" else {}
        missing = [
            name for name in names if name.split(".")[-1] not in stacked and not names_a_module(name, architecture)
        ]
        if missing:
            shown, choices = ", ".join(missing[:SHOWN_NAMES]), ", ".join(known)
            fix = f"its layers have {choices}" + (", or use all-linear" if field == "target_modules" else "")
            values = {"names": shown, "known": choices}
            yield FieldError(f"adaptation.{field}", f"this model has no {shown}", fix, "no_such_module", values)


def impossible_in_model(it: Submitted) -> Iterator[FieldError]:
    """What peft refuses on a mixture's experts, and attention that the model's code has not."""
    try:
        architecture = architecture_of(it.session, it.settings, it.spec)
    except Problem:
        return
    yield from refused_adapters(it.spec, architecture, DEFAULT)
    yield from refused_attention(it.spec, architecture, DEFAULT)


def names_a_module(name: str, architecture: Architecture) -> bool:
    """Whether peft would find something by it: a module's name, or any end or beginning of its path."""
    last = name.split(".")[-1]
    if last in OUTSIDE_LAYERS or "norm" in last or last.startswith("ln_"):
        return True
    paths = [linear.path for layer in architecture.layers for linear in layer.linears]
    return any(
        linear_path == name or linear_path.endswith(f".{name}") or name.endswith(f".{linear_path}")
        for linear_path in paths
    )


RULES = (
    misleading_name,
    only_for_estimates,
    probe_of_one_gpu,
    kernel_without_its_type,
    adapters_that_scaling_refuses,
    adapter_on_the_head,
    model_not_here,
    data_not_here,
)
