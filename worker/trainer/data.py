"""A job's data set as TRL wants it: messages, prompt and completion, or text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from tunescope.datasets.formats import Completion, Conversation, PlainText, TrainingRow
from tunescope.datasets.reading import RowProblem, read_training_rows
from tunescope.sentences import Sentence, say
from tunescope.spec import Data
from tunescope.states import FailureReason
from worker.refusal import Refusal
from worker.trainer.templates import mark_assistant


@dataclass(frozen=True)
class TrainingData:
    train: Dataset
    evaluation: Dataset | None
    conversational: bool
    assistant_only: bool
    notes: list[Sentence]


def as_columns(row: TrainingRow) -> dict[str, Any]:
    if isinstance(row, Conversation):
        return {"messages": [{"role": message.role, "content": message.content} for message in row.messages]}
    if isinstance(row, Completion):
        return {"prompt": row.prompt, "completion": row.completion}
    assert isinstance(row, PlainText)
    return {"text": row.text}


def build_data(path: Path, data: Data, tokenizer: PreTrainedTokenizerBase, seed: int) -> TrainingData:
    """Read every usable row, and decide how the loss is masked. Raises Refusal where there is none."""
    rows: list[dict[str, Any]] = []
    skipped = 0
    for item in read_training_rows(path):
        if isinstance(item, RowProblem):
            skipped += 1
        else:
            rows.append(as_columns(item[1]))
    if not rows:
        detail = say("no_usable_row", file=path.name, skipped=skipped)
        raise Refusal(FailureReason.INVALID_DATASET, detail, say("mend_rows"))
    notes = [say("problem_rows_left_out", left_out=skipped, rows=skipped + len(rows))] if skipped else []
    kinds = {tuple(row) for row in rows}
    assert len(kinds) == 1, "read_training_rows keeps to the format of the first row"
    conversational = "messages" in rows[0]
    assistant_only = data.assistant_only_loss and conversational
    if assistant_only:
        assistant_only = mark_assistant(tokenizer, [row["messages"] for row in rows], notes)
    if data.assistant_only_loss and "text" in rows[0]:
        notes.append(say("plain_text_all_tokens"))
    dataset = Dataset.from_list(rows)
    if data.eval_fraction > 0 and len(dataset) > 1:
        held_out = min(len(dataset) - 1, max(1, round(len(dataset) * data.eval_fraction)))
        parts = dataset.train_test_split(test_size=held_out, seed=seed)
        return TrainingData(parts["train"], parts["test"], conversational, assistant_only, notes)
    return TrainingData(dataset, None, conversational, assistant_only, notes)
