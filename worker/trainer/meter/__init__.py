"""Figures of each step: time, tokens, and memory by phase, each with its source, and what measuring itself cost."""
