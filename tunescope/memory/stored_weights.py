"""How a checkpoint that is quantized already stores its weights: the ``quantization_config`` of its config.json."""

from dataclasses import dataclass
from typing import Any

from tunescope.memory.config_reader import PUBLISHED, ConfigReader, shown
from tunescope.problems import FieldError

FIELD = "config.quantization_config"
DEFAULT_GROUP = 128
"""Inputs that share a GPTQ scale where nothing is said (transformers ``GPTQConfig``)."""
LARGEST_GROUP = 10_000_000
WHOLE_COLUMN = -1
"""How GPTQ spells a group of all inputs."""


@dataclass(frozen=True)
class StoredWeights:
    """The checkpoint's own settings, which hold whatever a job asks for."""

    kind: str
    """As ``precision.quantization`` names it."""
    double_quant: bool = False
    """bitsandbytes: 4-bit constants are quantized, too."""
    group_size: int | None = DEFAULT_GROUP
    """GPTQ: inputs that share a scale; None: all of them."""
    activation_order: bool = False
    """GPTQ's ``desc_act``: neighbouring inputs are of different groups."""
    skipped: frozenset[str] = frozenset()
    """bitsandbytes: names of modules left as they were (``llm_int8_skip_modules``)."""

    def groups(self, inputs: int) -> int:
        """GPTQ groups of a matrix of so many inputs."""
        return 1 if self.group_size is None else -(-inputs // self.group_size)

    def leaves(self, name: str) -> bool:
        """Whether a module was left as it was: its full name begins or ends with one of the names (transformers
        ``should_convert_module``, whose names may also be regular expressions, which no published checkpoint needs)."""
        parts = name.split(".")
        return any(
            ".".join(parts[:cut]) in self.skipped or ".".join(parts[cut - 1 :]) in self.skipped
            for cut in range(1, len(parts) + 1)
        )


def stored_weights(read: ConfigReader) -> StoredWeights | None:
    """None where the weights are of 16 or 32 bit. Errors are left with the reader."""
    told = read.config.get("quantization_config")
    if told is None:
        return None
    told = told if isinstance(told, dict) else {"quant_method": told}
    bitsandbytes = bool(told.get("load_in_4bit") or told.get("load_in_8bit"))
    method = told.get("quant_method") or ("bitsandbytes" if bitsandbytes else None)
    if method in ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit"):
        return _bitsandbytes(read, told)
    if method == "gptq" and type(told.get("bits")) is int and told["bits"] in (4, 8):
        return _gptq(read, told)
    named = f"{shown(method)} of {shown(told.get('bits'))} bits" if method == "gptq" else shown(method)
    fix = "use the unquantized model with precision.quantization nf4 or int8, or a GPTQ one of 4 or 8 bits"
    message, values = f"quantization {named} is not known", {"shown": named}
    read.errors.append(FieldError(FIELD, message, fix, "unknown_quantization", values))
    return None


def _bitsandbytes(read: ConfigReader, told: dict[str, Any]) -> StoredWeights | None:
    """transformers refuses both at once, and takes fp4 where no type is named (``BitsAndBytesConfig``)."""
    four, eight = (read.flag(told, name, FIELD) for name in ("load_in_4bit", "load_in_8bit"))
    nested = read.flag(told, "bnb_4bit_use_double_quant", FIELD)
    if four == eight:
        read.errors.append(
            FieldError(FIELD, "must say either load_in_4bit or load_in_8bit", PUBLISHED, "four_or_eight")
        )
        return None
    skipped = frozenset(read.names(told, "llm_int8_skip_modules", FIELD))
    if eight:
        return StoredWeights("int8", skipped=skipped)
    kind = told.get("bnb_4bit_quant_type", "fp4")
    if kind not in ("nf4", "fp4"):
        read.errors.append(
            FieldError(
                f"{FIELD}.bnb_4bit_quant_type",
                f"must be nf4 or fp4, not {shown(kind)}",
                PUBLISHED,
                "nf4_or_fp4",
                {"shown": shown(kind)},
            )
        )
        return None
    return StoredWeights(kind, double_quant=nested, skipped=skipped)


def _gptq(read: ConfigReader, told: dict[str, Any]) -> StoredWeights:
    size = told.get("group_size")
    if size is None:
        size = DEFAULT_GROUP
    group = None if size == WHOLE_COLUMN else read.whole("quantization_config.group_size", size, LARGEST_GROUP)
    ordered = read.flag(told, "desc_act", FIELD)
    return StoredWeights(f"gptq-int{told['bits']}", group_size=group, activation_order=ordered)
