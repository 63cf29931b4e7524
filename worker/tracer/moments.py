"""Where a step is: hooks on the model tell the follower the phase and the site of the closed form.

Forward and loss make one site (``forward_end``), then backward passes the loss, the last layer, the layers between, the
first layer and the embedding. The hooks look at gradients only; they allocate nothing.
"""

from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from worker.tracer.follower import Follower

MIDDLE = "layer_backward_middle"
"""Backward of the layers between the last and the first: the trace gives it to whichever of the two is higher."""


def decoder_layers(base: PreTrainedModel) -> list[torch.nn.Module]:
    """The decoder's layers, in order: the longest list of modules whose length is the configured one."""
    count = base.config.get_text_config().num_hidden_layers
    lists = [list(module) for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    return next((layers for layers in lists if len(layers) == count), max(lists, key=len, default=[]))


class Moments:
    """Marks the sites of a step in ``follower``. ``attach`` once; then call ``forward``, ``backward``, ``optimizer``."""

    def __init__(self, follower: Follower, base: PreTrainedModel) -> None:
        self._follower = follower
        self._layers = decoder_layers(base)
        self._base = base

    def attach(self) -> None:
        for index, layer in enumerate(self._layers):
            layer.register_forward_pre_hook(self._layer_begins(index), with_kwargs=True)
        if self._layers:
            self._layers[-1].register_forward_hook(self._last_layer_ended)
        backbone = getattr(self._base, self._base.base_model_prefix, None)
        if isinstance(backbone, torch.nn.Module) and backbone is not self._base:
            backbone.register_forward_hook(self._backbone_ended)

    def forward(self) -> None:
        self._follower.enter("forward", "forward_end", "activations")

    def backward(self) -> None:
        self._follower.enter("backward", "loss_backward", "logits_and_loss")

    def optimizer(self) -> None:
        self._follower.enter("optimizer", "optimizer_step", "workspace")

    # --- hooks -------------------------------------------------------------------------------------------------

    def _in_forward(self) -> bool:
        return self._follower.phase == "forward"

    def _layer_begins(self, index: int) -> Any:
        """The gradient of a layer's input ends that layer's backward."""

        def hook(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs.get("hidden_states")
            if self._in_forward() and isinstance(hidden, torch.Tensor) and hidden.requires_grad:
                hidden.register_hook(partial(self._layer_ended, index))

        return hook

    def _layer_ended(self, index: int, _gradient: torch.Tensor) -> None:
        if index == 0:
            self._follower.enter("backward", "embedding_backward", "activations")
        else:
            self._follower.enter("backward", self._site(index - 1), "activations")

    def _last_layer_ended(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        last = len(self._layers) - 1
        if self._in_forward() and isinstance(hidden, torch.Tensor) and hidden.requires_grad:
            hidden.register_hook(partial(self._backward_at, self._site(last)))

    def _backbone_ended(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """What follows is the head and the loss; its gradient leaves them."""
        if not self._in_forward():
            return
        self._follower.enter("loss", "forward_end", "logits_and_loss")
        hidden = output[0]
        if isinstance(hidden, torch.Tensor) and hidden.requires_grad:
            hidden.register_hook(partial(self._backward_at, "loss_backward"))

    def _backward_at(self, site: str, _gradient: torch.Tensor) -> None:
        self._follower.enter("backward", site, "activations")

    def _site(self, index: int) -> str:
        if index == len(self._layers) - 1:
            return "layer_backward_last"
        return "layer_backward_first" if index == 0 else MIDDLE
