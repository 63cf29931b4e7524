"""What a finished run leaves: the adapter or model as safetensors, the tokenizer, a card, and the spec beside it."""

import hashlib
import json
from pathlib import Path

from peft.utils.constants import CONFIG_NAME
from transformers import PreTrainedTokenizerBase
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.events import ArtifactEvent
from tunescope.spec import dump_spec
from worker.outbox import Outbox
from worker.trainer import card

FOLDER = "artifacts"
SPEC_FILE = "spec.yaml"
CHUNK_BYTES = 1 << 20


def save(trainer: SFTTrainer, tokenizer: PreTrainedTokenizerBase, run: card.Run, folder: Path, outbox: Outbox) -> None:
    """Write the result and tell each file."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save_model(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / SPEC_FILE).write_text(dump_spec(run.spec), encoding="utf-8")
    lora = run.spec.adaptation.method == "lora"
    card.write(folder, run, "adapter" if lora else "full")
    if lora:
        name_base(folder / CONFIG_NAME, run)
    tell(folder, folder, outbox)


def name_base(config_file: Path, run: card.Run) -> None:
    """Say in the adapter's configuration what its base is, so that peft finds it on another machine too.

    After it is saved: peft asks the hub about a base that is named by its id.
    """
    config = json.loads(config_file.read_text())
    config |= {"base_model_name_or_path": run.base_location, "revision": run.revision}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def tell(files_in: Path, folder: Path, outbox: Outbox) -> None:
    """Tell each file in a directory, by its name from ``folder``, with its size and SHA-256."""
    for file in sorted(path for path in files_in.rglob("*") if path.is_file()):
        tell_file(file, folder, outbox)


def tell_file(file: Path, folder: Path, outbox: Outbox) -> None:
    outbox.emit(ArtifactEvent, name=str(file.relative_to(folder)), bytes=file.stat().st_size, sha256=sha256_of(file))


def sha256_of(file: Path) -> str:
    hashed = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()
