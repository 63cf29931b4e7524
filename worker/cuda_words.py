"""What CUDA and the libraries on it say of an error: the words by which full memory and failed GPUs are known."""

import re

OUT_OF_MEMORY = (
    "CUDA error: out of memory", "CUDA driver error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "can't allocate memory",
)  # fmt: skip
"""Said in a plain RuntimeError: only what torch's own allocator refuses is a ``torch.OutOfMemoryError``. The context, cuBLAS and
cuDNN take their memory past it, expandable segments from the driver, and the CPU's allocator says the last."""
GPU_LOST = (
    "uncorrectable ECC error", "GPU is lost", "fallen off the bus", "device is lost", "hardware stack error",
    "no CUDA-capable device", "devices unavailable", "device(s) is/are busy or unavailable", "CUDA driver initialization failed",
    "CUDA error: unknown error",
)  # fmt: skip
"""What the CUDA runtime says (cudaGetErrorString) when a device or its driver, not the program, has failed."""
NO_KERNEL = "no kernel image is available"
"""A build of torch without machine code for this generation of GPU."""
_BITSANDBYTES = re.compile(r"Error (?P<said>.+) at line \d+ in file \S+")


def says_out_of_memory(text: str) -> bool:
    return any(words in text for words in OUT_OF_MEMORY)


def says_gpu_lost(text: str) -> bool:
    return any(words in text for words in GPU_LOST)


def bitsandbytes_said(line: str) -> str | None:
    """CUDA's own words in a line after which bitsandbytes' library ends the process with status 1 (``csrc/ops.cuh``); else None."""
    found = _BITSANDBYTES.fullmatch(line.strip())
    return f"CUDA error: {found['said']}" if found else None
