"""Reads figures from a model's config.json, under all the names they go by, and collects every error before it raises."""

from typing import Any

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say

LIMITS = {
    "hidden_size": 1_000_000,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "head_dim": 100_000,
    "intermediate_size": 10_000_000,
    "vocab_size": 100_000_000,
    "num_experts": 100_000,
    "num_experts_per_tok": 100_000,
    "moe_intermediate_size": 10_000_000,
    "max_position_embeddings": 1_000_000_000,
    "decoder_sparse_step": 10_000,
    "shared_expert_intermediate_size": 10_000_000,
    "sliding_window": 1_000_000_000,
    "max_window_layers": 10_000,
    "sliding_window_pattern": 10_000,
    "no_rope_layer_interval": 10_000,
}
ALIASES = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head",),
    "num_key_value_heads": ("multi_query_group_num", "num_kv_heads"),
    "head_dim": ("kv_channels",),
    "intermediate_size": ("ffn_hidden_size", "n_inner"),
    "vocab_size": ("padded_vocab_size",),
    "num_experts": ("num_local_experts",),
    "max_position_embeddings": ("n_positions",),
}


PUBLISHED = "use the config.json published with the model"


class ConfigReader:
    """Reads whole numbers from a config.json, collecting every error before it raises."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.errors: list[FieldError] = []

    def states(self, name: str) -> bool:
        """Whether config.json has a figure under one of its names, right or wrong."""
        return self._key(name) is not None

    def _key(self, name: str) -> str | None:
        return next((key for key in (name, *ALIASES.get(name, ())) if self.config.get(key) is not None), None)

    def readable(self, *names: str) -> bool:
        """Whether none of these figures was refused: what stands in for one that was is compared with nothing."""
        refused = {error.loc for error in self.errors}
        return not any(f"config.{self._key(name) or name}" in refused for name in names)

    def number(self, name: str, default: int | None = None) -> int:
        found = self._key(name)
        if found is None:
            if default is not None:
                return default
            self.errors.append(FieldError(f"config.{name}", "is missing", PUBLISHED, "missing_in_config"))
            return 1
        return self.whole(found, self.config[found], LIMITS[name])

    def whole(self, found: str, value: object, largest: int, least: int = 1) -> int:
        """``value`` if it is a whole number in range, else an error and 1."""
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(f"config.{found}", "a whole number", value, "whole_in_config")
            return 1
        if not least <= value <= largest:
            told = str(value) if abs(value) < 10**18 else "a number of far too many digits"
            message, values = f"{told} is outside {least} to {largest:,}", {"low": least, "high": largest}
            self.errors.append(FieldError(f"config.{found}", message, PUBLISHED, "outside_in_config", values))
            return 1
        return value

    def switch(self, name: str, default: bool) -> bool:
        return self.flag(self.config, name, "config", default)

    def flag(self, values: dict[str, Any], name: str, where: str, default: bool = False) -> bool:
        """A switch of ``values``, which errors call ``where``."""
        value = values.get(name)
        if value is not None and not isinstance(value, bool):
            self._wrong(f"{where}.{name}", "true or false", value, "boolean_in_config")
        return value if isinstance(value, bool) else default

    def names(self, values: dict[str, Any], name: str, where: str) -> list[str]:
        """A list of names in ``values``, which errors call ``where``; empty where there is none."""
        found = values.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            self._wrong(f"{where}.{name}", "a list of names", found, "names_in_config")
            return []
        return found

    def indices(self, name: str) -> frozenset[int]:
        value = self.config.get(name)
        if value is None:
            return frozenset()
        if not isinstance(value, list):
            self._wrong(f"config.{name}", "a list of layer numbers", value, "layers_in_config")
            return frozenset()
        return frozenset(self.whole(name, item, LIMITS["num_hidden_layers"], 0) for item in value)

    def words(self, name: str, choices: frozenset[str], count: int) -> list[str] | None:
        """A list of ``count`` words out of ``choices``, one for each layer; None where there is none, or another was refused."""
        value = self.config.get(name)
        if value is None or not self.readable("num_hidden_layers", name):
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) and item in choices for item in value):
            told, wanted = shown(value), ", ".join(sorted(choices))
            message, values = f"must be a list of {wanted}, not {told}", {"choices": wanted, "shown": told}
            self.errors.append(FieldError(f"config.{name}", message, PUBLISHED, "words_in_config", values))
            return None
        if len(value) != count:
            message, values = f"has {len(value)} entries for {count} layers", {"entries": len(value), "layers": count}
            self.errors.append(FieldError(f"config.{name}", message, PUBLISHED, "entries_in_config", values))
            return None
        return value

    def finish(self) -> None:
        if self.errors:
            raise InvalidInput(say("config_describes_no_model"), errors=self.errors)

    def _wrong(self, loc: str, wanted: str, value: object, type: str) -> None:
        told = shown(value)
        self.errors.append(FieldError(loc, f"must be {wanted}, not {told}", PUBLISHED, type, {"shown": told}))


def shown(value: object) -> str:
    """A value as an error names it, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
