"""The base model with the adapter added to its weights, as one model that needs no peft: by ``schedule.merge_adapter``, or later.

In a process of its own, in main memory, from the weights as they were published: those of the run may be quantized, and what
rounding made of them would stay. What that takes is told by tunescope/memory/merging.py.
"""

import json
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.spec import JobSpec, dump_spec
from tunescope.states import FailureReason
from worker.outbox import Outbox
from worker.probes.host import machine_memory
from worker.refusal import Refusal
from worker.stop import StopSwitch
from worker.trainer import artifacts, beside, card
from worker.trainer.failure import explain
from worker.trainer.model import load_tokenizer
from worker.trainer.quiet import without_notes_to_programmers

STAGE = "merging the adapter"
FOLDER = "merged"
RESULT = f"{artifacts.FOLDER}/{FOLDER}"
"""Where an attempt writes the merged model."""


def merges(spec: JobSpec) -> bool:
    """Whether the job is to leave a merged model; full training leaves whole weights anyway."""
    return spec.schedule.merge_adapter and spec.adaptation.method == "lora"


def refuse_unmergeable(base: Path, attempt_dir: Path) -> None:
    """Raises Refusal, before anything is done, where the merged model could not be made or kept on this machine."""
    if told_in(base / CONFIG_NAME).get("quantization_config"):
        raise Refusal(
            FailureReason.INVALID_SETTINGS, say("merge_needs_plain_weights"), say("plain_weights_or_no_merge")
        )
    needed = weights_bytes(base)
    total, _available = machine_memory()
    if needed > total:
        detail = say("merge_too_large", needed_bytes=needed, total_bytes=total)
        raise Refusal(FailureReason.OUT_OF_MEMORY, detail, say("merge_elsewhere"))
    free = shutil.disk_usage(attempt_dir).free
    if needed > free:
        detail = say("merged_not_kept", needed_bytes=needed, free_bytes=free)
        raise Refusal(FailureReason.DISK_FULL, detail, say("free_space_or_no_merge"))


def weights_bytes(base: Path) -> int:
    """Size of the files that transformers loads: those that the index names, and not copies in another layout beside them."""
    named = told_in(base / SAFE_WEIGHTS_INDEX_NAME).get("weight_map", {}).values()
    return sum((base / name).stat().st_size for name in {*named} or {SAFE_WEIGHTS_NAME} if (base / name).is_file())


def told_in(file: Path) -> dict[str, Any]:
    """The values of a JSON file; none where there is no such file."""
    return json.loads(file.read_text()) if file.is_file() else {}


def merge_beside(attempt_dir: Path, base: Path, adapter: Path, stop: StopSwitch) -> Failure | None:
    """Merge in a process of its own, without a GPU; why that failed, or None. Ends early with the switch, and leaves all or nothing."""
    out, without_gpu = attempt_dir / RESULT, {"CUDA_VISIBLE_DEVICES": ""}
    arguments = [str(base), str(adapter), str(out)]
    failure = beside.run_beside(__name__, attempt_dir, stop, STAGE, arguments, without_gpu)
    if failure is not None or stop.pressed:
        shutil.rmtree(out, ignore_errors=True)
    return failure


def after_training(failure: Failure) -> Failure:
    """Why merging failed, at the end of a training that has left its adapter."""
    advice = say("merge_again")
    told = failure.within(lambda detail: say("trained_not_merged", failure=detail))
    return told.model_copy(update={"advice": advice.text, "advice_sentence": advice})


def tell(attempt_dir: Path, run: card.Run, outbox: Outbox) -> None:
    """Tell the files of the merged model, with a card and the spec of its own: the folder may be handed on without the adapter."""
    out = attempt_dir / RESULT
    (out / artifacts.SPEC_FILE).write_text(dump_spec(run.spec), encoding="utf-8")
    card.write(out, run, "merged")
    artifacts.tell(out, attempt_dir / artifacts.FOLDER, outbox)


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the model of ``base`` with the ``adapter`` merged into it, in the type of its weights, and the adapter's tokenizer."""
    plain: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base, dtype="auto", use_safetensors=True, trust_remote_code=False
    )
    tied = untie(plain)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")  # seen to below
        merged: Any = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()
    if tied:
        tie_if_alike(merged)
    merged.save_pretrained(out)
    load_tokenizer(adapter).save_pretrained(out)


def untie(model: PreTrainedModel) -> bool:
    """Give the head weights of its own: an adapter on one of the tables, or a trained copy of it, is not for the other.

    Returns whether it shared them with the embedding.
    """
    head: Any = model.get_output_embeddings()
    if head is None or not model.config.tie_word_embeddings:
        return False
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    return True


def tie_if_alike(model: PreTrainedModel) -> None:
    """One table again where training has left both alike; else the configuration says that there are two."""
    head: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    alike = torch.equal(head.weight, embedding.weight)
    if alike:
        head.weight = embedding.weight
    model.config.tie_word_embeddings = alike


def main() -> int:
    without_notes_to_programmers()
    attempt_dir, base, adapter, out = (Path(argument) for argument in sys.argv[1:])
    try:
        merge(base, adapter, out)
        failure = None
    except Exception as error:
        traceback.print_exc()
        failure = explain(error, STAGE)
    return beside.exit_status(__name__, attempt_dir, failure)
