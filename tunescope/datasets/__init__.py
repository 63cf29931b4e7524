"""Data sets: formats, streaming readers, chat rendering. Needs neither torch nor transformers."""

from pathlib import Path

BUILTIN_NAME = "vram-questions"
BUILTIN_PATH = Path(__file__).parent / "vram-questions.jsonl"
"""The data set that ships with Tunescope: questions and answers about VRAM, in English and Chinese."""
