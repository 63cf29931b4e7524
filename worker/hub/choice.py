"""Which files of a repository a fine-tune needs."""

from collections.abc import Mapping
from fnmatch import fnmatch

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
LEFT_OUT = ("consolidated*.safetensors",)
"""Mistral's own format of the same weights beside transformers' files."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")


def chosen(sizes: Mapping[str, int]) -> dict[str, int]:
    """The files to fetch, with their sizes in bytes: those at the top of the repository that transformers reads."""
    top = {name: size for name, size in sizes.items() if "/" not in name and matches(name, WANTED)}
    weights = [name for name in top if name.endswith(".safetensors")]
    other_format = [name for name in weights if matches(name, LEFT_OUT)]
    if len(other_format) < len(weights):
        for name in other_format:
            del top[name]
    return top


def has_weights(files: Mapping[str, int]) -> bool:
    return any(name.endswith(".safetensors") for name in files)


def has_pickles(sizes: Mapping[str, int]) -> bool:
    return any(matches(name, PICKLES) for name in sizes)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
