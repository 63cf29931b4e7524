"""The exact tracer: the memory of one training step, found by running the real model on meta tensors."""
