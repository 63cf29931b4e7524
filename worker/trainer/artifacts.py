"""What a finished run leaves: the adapter or model as safetensors, the tokenizer, and the spec beside it."""

import hashlib
from pathlib import Path

from transformers import PreTrainedTokenizerBase
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.events import ArtifactEvent
from tunescope.spec import JobSpec, dump_spec
from worker.outbox import Outbox

CHUNK_BYTES = 1 << 20


def save(trainer: SFTTrainer, tokenizer: PreTrainedTokenizerBase, spec: JobSpec, folder: Path, outbox: Outbox) -> None:
    """Write the result and tell each file with its size and SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save_model(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        outbox.emit(
            ArtifactEvent, name=str(file.relative_to(folder)), bytes=file.stat().st_size, sha256=sha256_of(file)
        )


def sha256_of(file: Path) -> str:
    hashed = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()
