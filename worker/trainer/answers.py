"""``schedule.sample_answers``: what the model says to rows of the data once it is trained, and what it said without the adapter.

Left as a file beside the result. Rows kept aside for evaluation where there are some, else rows that it was trained on.
"""

import json
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, StoppingCriteriaList
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.events import LogEvent
from tunescope.sentences import say
from worker.outbox import Outbox
from worker.speech import GREEDY, UNFINISHED, Asked, Ends, decoded, end_tokens, prompt_tokens
from worker.stop import StopSwitch
from worker.trainer import artifacts
from worker.trainer.card import Run
from worker.trainer.data import TrainingData
from worker.trainer.failure import first_line
from worker.trainer.meter.hooks import trained_model

FILE = "answers.json"
STAGE = "asking the model"
MOST_NEW_TOKENS = 128
MOST_SECONDS = 60.0
"""For all answers of one model together: on a machine without a GPU a single one may take minutes."""

ROWS_LOOKED_AT = 1000
"""A data set may have millions of rows, none of them with a question that fits."""


@dataclass(frozen=True)
class Question:
    asked: Asked
    reference: str
    """What the data say."""


@dataclass(frozen=True)
class Answer:
    asked: Asked
    reference: str
    before: str | None
    """None after full training, which leaves nothing of the model as it was."""
    after: str


def tell(
    trainer: SFTTrainer,
    tokenizer: PreTrainedTokenizerBase,
    rows: TrainingData,
    run: Run,
    folder: Path,
    outbox: Outbox,
    stop: StopSwitch,
) -> None:
    """Leave the answers among the files, or say in the log why there are none: the result is there without them."""
    try:
        file = save(trainer, tokenizer, rows, run.spec.schedule.sample_answers, folder, stop)
    except Exception as error:
        traceback.print_exc()
        outbox.emit(LogEvent, stream="trainer", line=say("not_asked", said=first_line(str(error))).text)
        return
    if file is None:
        outbox.emit(LogEvent, stream="trainer", line=say("nothing_to_ask").text)
    else:
        artifacts.tell_file(file, folder, outbox)


def save(
    trainer: SFTTrainer,
    tokenizer: PreTrainedTokenizerBase,
    rows: TrainingData,
    count: int,
    folder: Path,
    stop: StopSwitch,
) -> Path | None:
    """Ask ``count`` rows and write the answers; None where no row has a question that fits, as a plain text has none."""
    model: Any = trained_model(trainer).eval()
    speaker = Speaker(model, tokenizer, stop)
    longest = trainer.args.max_length or 0  # pyright: ignore[reportAttributeAccessIssue]
    fitting = (each for each in questions(rows) if len(speaker.tokens(each.asked)) <= longest)
    asked = list(islice(fitting, count))
    if not asked:
        return None
    before: list[str] | list[None] = [None] * len(asked)
    # A head that trains beside 16-bit weights may be fp32. Trainer leaves autocast to a wrapper of forward, which this model lacks.
    with trainer.accelerator.autocast():
        if isinstance(model, PeftModel):
            with model.disable_adapter():
                before = speaker.answer(asked)
        after = speaker.answer(asked)
    told = {
        "of_evaluation": rows.evaluation is not None,
        "answers": [
            asdict(Answer(question.asked, question.reference, was, now))
            for question, was, now in zip(asked, before, after, strict=True)
        ],
    }
    file = folder / FILE
    file.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def questions(rows: TrainingData) -> Iterator[Question]:
    """What the rows ask: those kept aside for evaluation, where there are some."""
    for row in islice(rows.train if rows.evaluation is None else rows.evaluation, ROWS_LOOKED_AT):
        values: Any = row
        if "prompt" in values:
            yield Question(values["prompt"], values["completion"])
        elif "messages" in values and (found := question_in(values["messages"])):
            yield found


def question_in(turns: list[dict[str, str]]) -> Question | None:
    """The assistant's last turn, asked for by what comes before it; None where that is nothing."""
    last = max(index for index, turn in enumerate(turns) if turn["role"] == "assistant")
    return Question(turns[:last], turns[last]["content"]) if last else None


class Speaker:
    """The model as one that answers: greedily, so that the same weights say the same."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, stop: StopSwitch) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._pressed = StoppingCriteriaList([Ends(lambda: stop.pressed)])
        self._ends = end_tokens(model, tokenizer)

    def tokens(self, asked: Asked) -> list[int]:
        return prompt_tokens(self._tokenizer, asked)

    def answer(self, asked: list[Question]) -> list[str]:
        """One answer each, which share ``MOST_SECONDS``: what one does not take is left to those after it."""
        ends = time.monotonic() + MOST_SECONDS
        waiting = range(len(asked), 0, -1)
        return [
            self._answer(question, max(0.0, ends - time.monotonic()) / those_left)
            for question, those_left in zip(asked, waiting, strict=True)
        ]

    @torch.no_grad()
    def _answer(self, question: Question, seconds: float) -> str:
        given = torch.tensor([self.tokens(question.asked)], device=self._model.device)
        found: Any = self._model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=MOST_NEW_TOKENS,
            max_time=seconds,
            stopping_criteria=self._pressed,
            use_cache=True,
            **GREEDY,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        answer = decoded(self._tokenizer, found[0, given.shape[1] :])
        if int(found[0, -1]) in self._ends:
            return answer.strip()
        return answer.rstrip(UNFINISHED).strip() + " …"
