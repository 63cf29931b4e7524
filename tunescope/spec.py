"""JobSpec: what a fine-tune is. One section for each reason why one recipe needs less memory than another.

Field names are those of transformers, peft and TRL where they have one. Unknown fields are errors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say
from tunescope.validation import NO_FIELD, Limits, field_errors, limits_of, wrong_together
from tunescope.yaml_text import read_yaml, write_yaml

SECTIONS = ("adaptation", "precision", "batch", "parallelism", "data", "memory_savers", "optimizer")
"""The sections that an explanation attributes bytes to, in the order of the form."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
"""At least one visible character and no control characters: names end up in terminals, tables and databases."""

MAX_SPEC_CHARACTERS = 1_000_000

Strict = ConfigDict(extra="forbid", allow_inf_nan=False)


class Section(BaseModel):
    """Settings that belong together. ``true`` is no number, though Python counts it as 1."""

    model_config = Strict

    @field_validator("*", mode="before")
    @classmethod
    def no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, bool):
            return value
        wanted = cls.model_fields[info.field_name or ""].annotation
        kinds = {wanted, *get_args(wanted)}
        if bool not in kinds and kinds & {int, float}:
            raise PydanticKnownError("int_type" if int in kinds else "float_type")
        return value


class Model(Section):
    id: str = Field(
        min_length=1,
        max_length=400,
        pattern=PRINTABLE,
        description="Hub id (owner/name) or the name in this server's library.",
    )
    source: Literal["huggingface", "modelscope", "library", "catalogue"] = Field(
        default="huggingface", description="Where the model comes from; catalogue models are for estimates only."
    )
    revision: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=PRINTABLE, description="Branch, tag or commit on the hub."
    )


HEADS = frozenset(("lm_head", "embed_out", "output_layer"))
"""The layer that makes logits, by the names that the families give it."""

ModuleName = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


Strategy = Literal["none", "ddp", "zero1", "zero2", "zero3", "fsdp"]


class Adaptation(Section):
    method: Literal["lora", "full"] = Field(
        default="lora", description="Train small adapter matrices, or every weight."
    )
    r: int = Field(default=8, ge=1, le=4096, description="Rank of the adapter matrices.")
    lora_alpha: float = Field(
        default=32, gt=0, le=1e6, description="Scale of the adapter: updates are multiplied by alpha / r."
    )
    lora_dropout: float = Field(
        default=0.05, ge=0, lt=1, description="Dropout before the adapter; any value over 0 costs memory."
    )
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1, max_length=1000)] = Field(
        default="all-linear",
        description="Which linear layers get an adapter: all-linear (all but the head) or a list of names.",
    )
    modules_to_save: list[ModuleName] = Field(
        default_factory=list,
        max_length=1000,
        description="Modules trained in full beside the adapters, such as embed_tokens, lm_head.",
    )
    use_dora: bool = Field(default=False, description="Weight-decomposed LoRA.")
    use_rslora: bool = Field(default=False, description="Scale by alpha / sqrt(r) instead of alpha / r.")

    @property
    def head_adapters(self) -> list[str]:
        """The names in ``target_modules`` that put an adapter on the head; all-linear leaves it out."""
        if self.method == "full" or self.target_modules == "all-linear":
            return []
        return [name for name in self.target_modules if name.split(".")[-1] in HEADS]


class Precision(Section):
    quantization: Literal["none", "nf4", "fp4", "int8", "gptq-int4", "gptq-int8"] = Field(
        default="nf4", description="How frozen weights are stored; the gptq kinds are for estimates only."
    )
    double_quant: bool = Field(default=True, description="Quantize the 4-bit quantization constants too.")
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="Compute and unquantized weight type."
    )
    master_weights: bool = Field(
        default=False, description="Keep fp32 master weights (mixed precision) when training in full."
    )
    adapter_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Type of adapter weights."
    )


class Batch(Section):
    per_device_train_batch_size: int = Field(
        default=1, ge=1, le=65536, description="Rows in one forward pass on one GPU."
    )
    gradient_accumulation_steps: int = Field(
        default=16, ge=1, le=65536, description="Forward passes per optimizer step."
    )


class Parallelism(Section):
    gpus: int = Field(default=1, ge=1, le=1024, description="GPUs for this job.")
    strategy: Strategy = Field(
        default="none",
        description="How several GPUs share the work: ddp trains with a copy of the model on each; the others, which shard it, are for "
        "estimates.",
    )
    offload: Literal["none", "optimizer", "all"] = Field(default="none", description="What is moved to host memory.")

    @model_validator(mode="after")
    def several_gpus_need_a_strategy(self) -> Self:
        if self.gpus > 1 and self.strategy == "none":
            raise wrong_together(
                "strategy",
                "more than one GPU needs a strategy",
                "choose ddp to train with a copy of the model on each, zero1, zero2, zero3 or fsdp to estimate, or set gpus to 1",
                "needs_strategy",
                instead="ddp",
            )
        return self

    @model_validator(mode="after")
    def offload_needs_sharding(self) -> Self:
        if self.offload != "none" and self.strategy in ("none", "ddp"):
            raise wrong_together(
                "offload",
                "nothing can be moved to host memory without ZeRO or FSDP",
                "set parallelism.strategy to zero1, zero2, zero3 or fsdp, or offload to none",
                "offload_needs_sharding",
            )
        return self


class Data(Section):
    dataset: str = Field(
        min_length=1, max_length=200, pattern=PRINTABLE, description="Name of a data set on this server."
    )
    max_length: int = Field(
        default=2048, ge=8, le=10_000_000, description="Longest sequence in tokens; longer rows are cut."
    )
    packing: bool = Field(default=False, description="Fill each sequence with several rows.")
    eval_fraction: float = Field(default=0.0, ge=0, le=0.5, description="Share of rows kept aside for evaluation.")
    assistant_only_loss: bool = Field(default=True, description="Learn from the assistant's turns only.")


class MemorySavers(Section):
    gradient_checkpointing: bool = Field(
        default=True, description="Recompute activations in backward instead of keeping them."
    )
    attention: Literal["eager", "sdpa", "flash_attention_2"] = Field(default="sdpa", description="Attention kernel.")
    fused_loss: bool = Field(default=False, description="Compute the loss in tiles, never holding all logits.")
    expandable_segments: bool = Field(
        default=False, description="Let torch's allocator grow its segments in place, so that fewer blocks lie unused."
    )


class Optimizer(Section):
    name: Literal[
        "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "adafactor", "sgd"
    ] = Field(default="adamw_torch", description="Decides how many bytes of state each trained parameter needs.")
    learning_rate: float = Field(default=1.0e-4, gt=0, le=10)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"] = (
        "cosine"
    )
    warmup_ratio: float = Field(
        default=0.05, ge=0, le=1, description="Share of the steps over which the learning rate rises."
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    max_grad_norm: float = Field(
        default=1.0, ge=0, le=1e6, description="Gradients are clipped to this norm; 0 turns it off."
    )


class Schedule(Section):
    num_train_epochs: float = Field(default=1, gt=0, le=10_000)
    max_steps: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Stop after so many optimizer steps."
    )
    logging_steps: int = Field(
        default=1,
        ge=1,
        le=1_000_000_000,
        description="Write a log line every so many steps; every step is charted anyway.",
    )
    save_steps: int = Field(default=100, ge=1, le=1_000_000_000, description="Write a checkpoint every so many steps.")
    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    sample_answers: int = Field(
        default=0,
        ge=0,
        le=32,
        description="At the end, have the model answer so many rows, with the adapter and without.",
    )
    merge_adapter: bool = Field(
        default=False,
        description="At the end also keep the model with the adapter added to its weights, which needs no peft.",
    )


class Placement(Section):
    priority: int = Field(default=0, ge=-100, le=100, description="Higher goes first.")
    gpu_memory_margin: float = Field(
        default=0.05, ge=0, le=0.9, description="Share of the estimate added when choosing a GPU."
    )
    share_gpu: bool = Field(
        default=False, description="Train beside other jobs that allow it too, on a GPU whose memory suffices for all."
    )
    stop_before_oom: bool = Field(
        default=False, description="Save a checkpoint and stop when memory is about to run out, before it does."
    )
    probe: bool = Field(
        default=False,
        description="First take three steps on the longest batch, so that too little memory shows at once.",
    )


class JobSpec(BaseModel):
    """A fine-tune, complete: everything but ``model.id`` and ``data.dataset`` has a default."""

    model_config = Strict
    name: str = Field(default="untitled", min_length=1, max_length=120, pattern=PRINTABLE)
    model: Model
    adaptation: Adaptation = Field(default_factory=Adaptation)
    precision: Precision = Field(default_factory=Precision)
    batch: Batch = Field(default_factory=Batch)
    parallelism: Parallelism = Field(default_factory=Parallelism)
    data: Data
    memory_savers: MemorySavers = Field(default_factory=MemorySavers)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    placement: Placement = Field(default_factory=Placement)

    @model_validator(mode="after")
    def full_training_needs_unquantized_weights(self) -> Self:
        if self.adaptation.method == "full" and self.precision.quantization != "none":
            raise wrong_together(
                "precision.quantization",
                "quantized weights cannot be trained in full",
                "set it to none, or adaptation.method to lora",
                "full_needs_none",
            )
        return self

    @model_validator(mode="after")
    def tiled_loss_needs_a_head_without_adapter(self) -> Self:
        # It multiplies by the head's own weights (TRL 1.16 trainer/utils.py add_fused_lm_head), past an adapter on it.
        if self.memory_savers.fused_loss and self.adaptation.head_adapters:
            raise wrong_together(
                "memory_savers.fused_loss",
                "the loss in tiles passes by an adapter on the head, which would never be trained",
                "set it to false, or take the head out of adaptation.target_modules",
                "fused_needs_plain_head",
            )
        return self


def _all_limits() -> dict[str, Limits]:
    found: dict[str, Limits] = {}
    for section, field in JobSpec.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            each = {name: limits_of(inner) for name, inner in field.annotation.model_fields.items()}
            found |= {f"{section}.{name}": limits for name, limits in each.items() if limits}
    return found


LIMITS = _all_limits()
"""The numbers that each field takes, by its dotted path."""


def parse_spec(values: Any) -> JobSpec:
    """Check ``values`` (a mapping) as a JobSpec. Raises InvalidInput that names every wrong field."""
    try:
        return JobSpec.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(say("spec_has_errors"), errors=field_errors(error.errors(), limits=LIMITS)) from error


def patched(spec: JobSpec, patch: Mapping[str, Any]) -> JobSpec:
    """The spec with dotted fields, or its name, replaced and checked again. Raises InvalidInput."""
    values = spec.model_dump(mode="json")
    for path, value in patch.items():
        if path == "name":
            values["name"] = value
            continue
        section, _, name = path.partition(".")
        inside = values.get(section)
        if not isinstance(inside, dict) or not name:
            message, fix, type = NO_FIELD
            raise InvalidInput(say("no_such_field"), errors=[FieldError(path, message, fix, type)])
        inside[name] = value
    return parse_spec(values)


def load_spec(text: str, name: str = "the spec") -> JobSpec:
    """Read a JobSpec from YAML or JSON text, called ``name`` where its lines are told. Raises InvalidInput."""
    if len(text) > MAX_SPEC_CHARACTERS:
        raise InvalidInput(say("too_long_for_a_spec"), say("give_the_specs_file"))
    values = read_yaml(text, name)
    if not isinstance(values, dict):
        raise InvalidInput(say("spec_is_a_mapping"), say("see_recipes"))
    return parse_spec(values)


def dump_spec(spec: JobSpec) -> str:
    """Write a JobSpec as YAML, sections in the order of the class."""
    return write_yaml(spec.model_dump(mode="json"))
