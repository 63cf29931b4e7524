"""What each optimizer keeps of the tensors that train, and the temporaries of its step."""

from tunescope.memory.persistent import Trainable, rounded
from tunescope.spec import JobSpec

PAGED_MINIMUM = 100_000
"""Elements from which bitsandbytes pages optimizer state (``optim/optimizer.py:383``)."""
BLOCKWISE_MINIMUM = 4096
"""Elements below which 8-bit optimizers keep fp32 state (``optim/optimizer.py:414``)."""


def optimizer_bytes(
    spec: JobSpec, trained: tuple[Trainable, ...], foreach_lists: int, before_largest: int = 0
) -> tuple[int, int]:
    """(states that live between steps, temporaries of the step itself).

    ``before_largest``: numbers of the matrix that is stepped before the largest one, or 0: Adafactor's loop still holds its update then
    (transformers ``optimization.py``), beside two more of the matrix's own size and the fp32 copies of it and its gradient.
    """
    name = spec.optimizer.name
    states = 0
    # torch/optim/adam.py:762: foreach makes one list sqrt(v) over all trained parameters; fused none.
    temporary = _foreach_temporary(trained, foreach_lists) if name == "adamw_torch" else 0
    for tensor in trained:
        count = tensor.elements
        if name in ("adamw_torch", "adamw_torch_fused"):
            states += 2 * tensor.stored
        elif name == "adafactor":
            factored = rounded(4 * tensor.rows) + rounded(4 * tensor.columns) if tensor.columns else rounded(4 * count)
            states += factored * tensor.copies
            own = (2 if tensor.width == 4 else 4) * rounded(4 * count)
            temporary = max(temporary, own + rounded(4 * before_largest))
        elif name == "sgd":
            # torch/optim/sgd.py: foreach makes the gradients with weight decay a list of their own.
            temporary += tensor.stored if spec.optimizer.weight_decay else 0
        else:
            eight_bit = name.endswith("8bit") and count >= BLOCKWISE_MINIMUM
            # Only the moments are paged: the constants of their blocks stay (``init_state``: ``absmax1``, ``absmax2``).
            moments = (
                0 if name.startswith("paged") and count >= PAGED_MINIMUM else rounded(count if eight_bit else 4 * count)
            )
            constants = rounded(4 * -(-count // 256)) if eight_bit else 0
            states += 2 * (moments + constants) * tensor.copies
    return states, temporary


def _foreach_temporary(trained: tuple[Trainable, ...], lists: int) -> int:
    """Parameters of one type run after those of another; the loop's names hold each list until the next one takes its name."""
    groups: dict[int, int] = {}
    for tensor in trained:
        groups[tensor.width] = groups.get(tensor.width, 0) + tensor.stored
    named, peak = [0] * lists, 0
    for group in groups.values():
        for index in range(lists):
            peak = max(peak, sum(named) + group)
            named[index] = group
    return peak
