"""What it takes to merge an adapter into its model, in main memory and without a GPU."""

from collections.abc import Mapping
from typing import Any

from tunescope.memory.architecture import Architecture
from tunescope.units import GIB

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
USUAL_WIDTH = 2
"""Bytes of a number where a config.json does not tell its type: nearly all models are published in 16 bit."""
PROGRAM_BYTES = GIB
"""Of torch, transformers and peft in the two processes that merge: 0.5 GiB each, as measured with torch for CPUs."""


def merged_bytes(architecture: Architecture, config: Mapping[str, Any]) -> int:
    """Bytes of the merged model on disk, in the type that the model was published in, about."""
    return architecture.parameter_count * width(config)


def merging_bytes(architecture: Architecture, config: Mapping[str, Any]) -> int:
    """Bytes of main memory while it is merged, about: the model, a second table where head and embedding share one, the program."""
    second_table = architecture.vocab * architecture.hidden * width(config) if architecture.tied else 0
    return merged_bytes(architecture, config) + second_table + PROGRAM_BYTES


def width(config: Mapping[str, Any]) -> int:
    """Bytes of a number in the model's published weights."""
    return WIDTHS.get(str(config.get("dtype") or config.get("torch_dtype")), USUAL_WIDTH)
