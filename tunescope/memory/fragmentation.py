"""What the caching allocator reserves beyond what is allocated at the peak. The least certain term.

From replays of traced steps through a model of CUDA's caching allocator (ESTIMATION.md section 5): the reserved peak lies
20 to 29 % of the movable bytes above the active peak when every batch has the same length, whatever the model.
"""

from dataclasses import dataclass

FIXED = (0.15, 0.21, 0.29)
"""(low, expected, high) share of movable bytes at fixed lengths: Mistral, Llama-2-70B and PowerLM replays."""
VARYING = (0.3, 0.6, 1.0)
"""With batches of many lengths, blocks of earlier lengths stay cached beside those of the longest."""
OPTIMIZER_REUSE = 0.57
"""When the optimizer step decides, this share of the cached activations is not reused for gradients and temporaries."""


@dataclass(frozen=True)
class Fragmentation:
    low: int
    expected: int
    high: int


def fragmentation_bytes(movable: int, movable_at_peak: int, varying: bool, optimizer_decides: bool) -> Fragmentation:
    """Bytes cached but unused at the peak. ``movable``: the most that any site holds in activations and logits."""
    low, expected, high = VARYING if varying else FIXED
    base = movable_at_peak
    if optimizer_decides:
        base, low, expected, high = movable, 0.1, OPTIMIZER_REUSE, 1.0
    return Fragmentation(int(low * base), int(expected * base), int(high * base))
