"""Wheels for a GPU machine without a network: ``python -m benchmarks.gpu_wheels FOLDER [--cuda 130] [--python 3.12]``.

That machine has torch of its own, and what data science images come with (numpy, pandas, pyarrow, psutil, PyYAML, jinja2, requests);
everything else that the trainer and its probes import is put into FOLDER, in the versions of constraints.txt. bitsandbytes keeps only the library of one CUDA version: all of them are 130 MB, one is a few.
"""

import argparse
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [
    "accelerate",
    "annotated-types",
    "bitsandbytes",
    "datasets",
    "dill",
    "httpcore2",
    "httpx2",
    "huggingface_hub",
    "ijson",
    "multiprocess",
    "nvidia-ml-py",
    "peft",
    "pydantic",
    "pydantic-settings",
    "pydantic_core",
    "pytest-timeout",
    "python-dotenv",
    "redis",
    "tokenizers",
    "transformers",
    "trl",
    "truststore",
    "typing-inspection",
    "typing_extensions",
]
GLIBC = (39, 35, 34, 31, 28, 27, 24, 17, 5)
"""Newest first; pip takes each as it is named, not older ones too."""


def pinned(constraints: str) -> list[str]:
    """The packages with the versions of constraints.txt."""
    lines = {
        line.split("==")[0].lower(): line.split(";")[0].strip() for line in constraints.splitlines() if "==" in line
    }
    return [lines[name.lower()] for name in PACKAGES]


def slim(wheel: Path, cuda: str, folder: Path) -> None:
    """Copy the wheel of bitsandbytes without the libraries for other CUDA versions and other makers' GPUs."""
    with ZipFile(wheel) as whole, ZipFile(folder / wheel.name, "w", ZIP_DEFLATED) as kept:
        names = whole.namelist()
        wanted = f"*/libbitsandbytes_cuda{cuda}.so"
        if not any(fnmatch(name, wanted) for name in names):
            found = sorted(
                name.split("_cuda")[1].removesuffix(".so") for name in names if "_cuda" in name and name.endswith(".so")
            )
            raise SystemExit(f"bitsandbytes has no library for CUDA {cuda}: choose one of {', '.join(found)}")
        for name in names:
            other = any(fnmatch(name, f"*/libbitsandbytes_{maker}*.so") for maker in ("cuda", "rocm", "xpu"))
            if fnmatch(name, wanted) or not other:
                kept.writestr(whole.getinfo(name), whole.read(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cuda", default="130", help="of that machine's torch: torch.version.cuda without its dot")
    parser.add_argument("--python", default="3.12", help="version of that machine's Python")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    with tempfile.TemporaryDirectory() as name:
        got = Path(name)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
                *(f"--python-version={chosen.python}", "--implementation=cp", *platforms, f"--dest={got}"),
                *pinned((ROOT / "constraints.txt").read_text()),
            ],
            check=True,
        )
        for wheel in got.glob("*.whl"):
            if wheel.name.startswith("bitsandbytes-"):
                slim(wheel, chosen.cuda, chosen.folder)
            else:
                (chosen.folder / wheel.name).write_bytes(wheel.read_bytes())
    total = sum(wheel.stat().st_size for wheel in chosen.folder.glob("*.whl"))
    print(
        f"{len(PACKAGES)} wheels, {total / 1e6:.0f} MB. There: pip install --no-index --no-deps --target SITE {chosen.folder}/*.whl"
    )


if __name__ == "__main__":
    main()
