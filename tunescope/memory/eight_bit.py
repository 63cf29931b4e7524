"""LLM.int8's product in forward, which does not restore the matrix (bitsandbytes ``autograd/_functions.py`` MatMul8bitLt)."""


def product_bytes(count_in: int, count_out: int, *, output_width: int, half: bool) -> int:
    """The transient beside the output: the higher of two moments.

    What is read is quantized: cast to fp16 unless it is that (``half``), searched for outliers (absolute values and a mask, ``backends/cuda/ops.py``
    int8_vectorwise_quant), while the output of ``output_width`` is not there yet. Then it is multiplied to int32, which becomes fp16 before
    it becomes the output's type.
    """
    cast = 0 if half else 2
    quantizing = (cast + 1 + 2 + 1) * count_in - output_width * count_out
    return max(quantizing, count_in + (4 + cast) * count_out)
