"""bitsandbytes' paged optimizers when a run goes on from a checkpoint.

Its ``load_state_dict`` (0.50, ``optim/optimizer.py``: ``cast``) copies every state into the GPU's memory proper: 8 bytes for each trained
parameter with ``paged_adamw_32bit``, which the run before the checkpoint kept in managed memory and no estimate counts.
"""

from typing import Any

import torch

STATES = ("state1", "state2")


def keep_paged(optimizer: Any) -> None:
    """Have ``optimizer``, if it is a paged one, put loaded states where its own first step would: large ones into managed memory."""
    if not getattr(optimizer, "is_paged", False) or not torch.cuda.is_available():
        return
    load = optimizer.load_state_dict

    def load_state_dict(state_dict: dict[str, Any], move_to_device: bool = True) -> None:
        load(state_dict, move_to_device=False)
        for parameter, state in optimizer.state.items():
            for name in STATES:
                if name in state:
                    buffer = optimizer.get_state_buffer(parameter, dtype=state[name].dtype)
                    state[name] = buffer.copy_(state[name])
        if move_to_device:
            optimizer.to_gpu()  # what is not paged, such as tables of blocks

    optimizer.load_state_dict = load_state_dict
