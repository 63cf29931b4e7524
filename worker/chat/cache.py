"""Keys and values of an answer, in memory that is taken once.

transformers' own cache copies those of each layer into longer tensors with each token. What the old ones leave fits none of the new ones:
by a replay of CUDA's allocator, 32 to 4096 tokens of Llama-2-7B have it reserve 13.4 GiB for 2 GiB of keys and values, and 2.0 GiB so
(``python -m benchmarks.chat_cache``).
"""

from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class Room:
    """Memory for the keys and values of several layers that are alike, taken when the first of them comes."""

    def __init__(self, tokens: int, layers: int) -> None:
        self._tokens, self._layers = tokens, layers
        self._taken: list[torch.Tensor] = []

    def of(self, index: int, states: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
        """Room for the keys and values of layer ``index``; its own where it is not like the first."""
        if not self._taken:
            self._taken = [self._empty(each, self._layers) for each in states]
        alike = all(taken.shape[1:] == self._shape(each) for taken, each in zip(self._taken, states, strict=True))
        return [taken[index] for taken in self._taken] if alike else [self._empty(each, 1)[0] for each in states]

    def _empty(self, states: torch.Tensor, layers: int) -> torch.Tensor:
        return states.new_empty((layers, *self._shape(states)))

    def _shape(self, states: torch.Tensor) -> tuple[int, ...]:
        rows, heads, _, dimension = states.shape
        return rows, heads, self._tokens, dimension


class ReservedLayer(DynamicLayer):
    """A layer whose keys and values are the filled part of its room."""

    def __init__(self, room: Room, index: int) -> None:
        super().__init__()
        self._room, self._index = room, index
        self._mine: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self._mine:
            self.lazy_initialization(key_states, value_states)
            self._mine = self._room.of(self._index, (key_states, value_states))
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        for mine, states in zip(self._mine, (key_states, value_states), strict=True):
            mine[:, :, begin:end] = states
        self.keys, self.values = (mine[:, :, :end] for mine in self._mine)
        return self.keys, self.values


def reserved_cache(config: PretrainedConfig, tokens: int) -> DynamicCache:
    """A cache for at most ``tokens``. Layers whose window is shorter than that stay transformers' own, which grow up to the window."""
    cache = DynamicCache(config=config)
    growing = [place for place, layer in enumerate(cache.layers) if keeps_all(layer, tokens)]
    room = Room(tokens, len(growing))
    for index, place in enumerate(growing):
        cache.layers[place] = ReservedLayer(room, index)
    return cache


def keeps_all(layer: object, tokens: int) -> bool:
    """Whether a layer holds every one of ``tokens``: it has no window, or none that they fill."""
    if type(layer) is DynamicSlidingWindowLayer:
        return tokens < layer.sliding_window
    return type(layer) is DynamicLayer


def held_by(cache: DynamicCache) -> tuple[int, int, int]:
    """Tokens whose keys and values a cache holds, their bytes, and the bytes that are taken for them and those to come."""
    tensors: list[torch.Tensor] = [
        tensor
        for layer in cache.layers
        for name in ("keys", "values")
        if (tensor := getattr(layer, name, None)) is not None
    ]
    taken = {storage.data_ptr(): storage.nbytes() for tensor in tensors if (storage := tensor.untyped_storage())}
    return int(cache.get_seq_length()), sum(tensor.nbytes for tensor in tensors), sum(taken.values())
