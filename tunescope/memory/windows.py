"""Masks: which layers need one, sliding windows among them, and what that costs (transformers ``masking_utils.py``).

Under SDPA rows that are ``uneven`` (padded to the longest of their batch, or packed into one) and a window shorter than the row
need a mask, so the flash kernel is out and k and v are repeated for every head of q. Under eager attention every kind of layer
has a mask of its own; flash kernels know windows and rows themselves.
"""

from typing import Literal

from tunescope.memory.config_reader import LIMITS, ConfigReader

Windows = Literal[
    "none",
    "all",
    "all_unless_listed",
    "switched",
    "from_layer",
    "even_switched",
    "alternating",
    "but_every_sixth",
    "but_every_fourth",
    "without_rope",
]
"""How a family's configuration class says which layers have one, where config.json lists no ``layer_types``."""
DEFAULT_WINDOW = 4096
LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
"""Of transformers' ``ALLOWED_LAYER_TYPES`` those that these families' models are built of."""
BOTH_MASKS: frozenset[Windows] = frozenset(
    {"all_unless_listed", "even_switched", "alternating", "but_every_sixth", "but_every_fourth"}
)
"""Families that make the masks of both kinds whether or not they have layers of both."""


def windowed_layers(
    read: ConfigReader, kind: Windows, count: int, default: int | None
) -> tuple[int | None, list[bool]]:
    """(the window, whether each layer has it)."""
    nowhere = [False] * count
    if kind == "none":
        return None, nowhere
    window = _window(read, default)
    switched = kind in ("switched", "from_layer", "even_switched", "without_rope")
    if window is None or (switched and not read.switch("use_sliding_window", False)):
        return None, nowhere
    if kind in ("all", "switched"):
        return window, [True] * count
    listed = read.words("layer_types", LAYER_TYPES, count)
    if listed is not None:
        return window, [item == "sliding_attention" for item in listed]
    return window, _by_default(read, kind, count)


def _window(read: ConfigReader, default: int | None) -> int | None:
    if "sliding_window" in read.config and read.config["sliding_window"] is None:
        return None
    return read.number("sliding_window", default) if default or "sliding_window" in read.config else None


def _by_default(read: ConfigReader, kind: Windows, count: int) -> list[bool]:
    layers = range(count)
    if kind == "all_unless_listed":
        return [True] * count
    if kind == "from_layer":
        first = _layers_before(read)
        return [index >= first for index in layers]
    if kind == "even_switched":
        end = _layers_before(read)
        return [index % 2 == 0 and index < end for index in layers]
    if kind == "alternating":
        return [index % 2 == 0 for index in layers]
    every = {"but_every_sixth": 6, "but_every_fourth": 4, "without_rope": 4}[kind]
    if kind == "but_every_sixth":
        every = read.number("sliding_window_pattern", every)
    if kind == "without_rope":
        every = read.number("no_rope_layer_interval", every)
        return [(index + 1) % every == 0 for index in layers]
    return [(index + 1) % every != 0 for index in layers]


def _layers_before(read: ConfigReader) -> int:
    value = read.config.get("max_window_layers")
    return 28 if value is None else read.whole("max_window_layers", value, LIMITS["max_window_layers"], 0)


def masks_for_nobody(kind: Windows, windows: set[int | None], attention: str, uneven: bool) -> int:
    """Masks that no layer takes and that go when the layers' forward ends: of the two that some families always make, and that of all
    tokens in others (transformers ``modeling_qwen2_moe.py``, ``modeling_qwen2.py``)."""
    if attention != "eager" and not (attention == "sdpa" and uneven):
        return 0
    if kind in BOTH_MASKS:
        return 2 - len(windows)
    return 1 if kind == "from_layer" and None not in windows else 0


def masked_windows(windows: set[int | None], sequence: int, attention: str, uneven: bool) -> set[int | None]:
    """Those whose layers are given a mask."""
    if attention == "flash_attention_2":
        return set()
    if attention == "sdpa" and not uneven:
        return {window for window in windows if needs_mask(window, sequence, attention)}
    return windows


def needs_mask(window: int | None, sequence: int, attention: str) -> bool:
    """Whether a layer of this window cannot leave causality to SDPA."""
    return attention == "sdpa" and window is not None and sequence >= window
