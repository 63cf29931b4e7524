"""What all layers of a step are given beside the hidden states: ids, masks, rotary tables. Bytes."""

from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.windows import masked_windows, masks_for_nobody
from tunescope.memory.workload import Workload, uneven
from tunescope.spec import JobSpec


def input_bytes(spec: JobSpec, work: Workload) -> int:
    """ids, mask and labels, 8 bytes a token each, of the batch at hand and of every micro batch fetched ahead."""
    return 3 * 8 * work.tokens * (1 + spec.batch.gradient_accumulation_steps)


def mask_bytes(spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings) -> int:
    """All attention masks that the layers are given."""
    windows = {layer.window for layer in architecture.layers}
    attention = spec.memory_savers.attention
    return len(masked_windows(windows, work.sequence, attention, uneven(spec, work))) * _mask(spec, work, settings)


def masks_for_nobody_bytes(spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings) -> int:
    """Masks that the model makes and no layer takes."""
    windows = {layer.window for layer in architecture.layers}
    count = masks_for_nobody(architecture.traits.windows, windows, spec.memory_savers.attention, uneven(spec, work))
    return count * _mask(spec, work, settings)


def masks_until(
    spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings
) -> tuple[tuple[int, int], ...]:
    """(first layer that is given it, bytes) of every mask: backward lets it go with that layer."""
    each = [architecture.layers[kind].window for kind in architecture.order]
    masked = masked_windows(set(each), work.sequence, spec.memory_savers.attention, uneven(spec, work))
    return tuple((each.index(window), _mask(spec, work, settings)) for window in masked)


def _mask(spec: JobSpec, work: Workload, settings: LayerSettings) -> int:
    row = work.tokens if spec.data.packing else work.sequence
    return (settings.embedded if spec.memory_savers.attention == "eager" else 1) * work.tokens * row


def rotary_tables(spec: JobSpec, architecture: Architecture, work: Workload, width: int) -> tuple[tuple[int, int], ...]:
    """(first layer that reads it, bytes) of each pair of cos and sin. Rows share one; packed rows have positions of their own."""
    if architecture.traits.rotary == "none":
        return ()
    positions = work.tokens if spec.data.packing else work.sequence
    size = 2 * width * architecture.head_dim * positions
    each = [architecture.layers[kind].window for kind in architecture.order]
    readers = set(each) if architecture.traits.rotary == "by_window" else {each[0]}
    return tuple((each.index(window), size) for window in readers)
