"""Says so where this machine has an NVIDIA GPU that the installed torch cannot use: ``python scripts/gpu_check.py``."""

from worker.probes.nvml import Nvml
from worker.probes.reading import Unknown


def main() -> None:
    nvml = Nvml()
    gpus = nvml.gpus()
    if isinstance(gpus, Unknown) or not gpus:
        return
    import torch

    from worker.trainer.device import why_not

    if not torch.cuda.is_available():
        driver = ", ".join(f"{name} {version}" for name, version in nvml.versions().items())
        print(f"This machine's {gpus[0].name} cannot be used, and jobs on it will fail. PyTorch says: {why_not()}")
        print(f"torch {torch.__version__} is built for CUDA {torch.version.cuda or '(none)'}; here is {driver}.")


if __name__ == "__main__":
    main()
