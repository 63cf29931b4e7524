"""Chat templates that mark what the assistant says, for models whose own template does not.

A candidate is used only if it renders the job's own conversations letter for letter as the model's template does: then the marks
are all that it adds. TRL's training templates come first; they are made for whole families, with tools and thinking.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import get_training_chat_template

from tunescope.sentences import Sentence, say

Messages = list[dict[str, str]]
COMPARED_ROWS = 500
MARKED = re.compile(r"\{%-?\s*generation\b")
PROBE: Messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' and DEFAULT %}"
    "{{ '<|im_start|>system\n' + DEFAULT + '<|im_end|>\n' }}{% endif %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' }}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML; DEFAULT is the system message that the model's own template puts first, as a literal."""
HEADERS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ OPEN + NAME + CLOSE }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + END }}{% endgeneration %}{{ AFTER }}"
    "{% else %}{{ message['content'] | trim + END + AFTER }}{% endif %}{% endfor %}"
)
"""Turns that begin with the speaker's name between two marks: Llama 3, Gemma, Zephyr, Phi."""
BRACKETS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ OPEN + message['content'] + CLOSE }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ BEFORE }}{% generation %}{{ message['content'] + AFTER + eos_token }}{% endgeneration %}{{ TAIL }}{% endif %}{% endfor %}"
)
"""Mistral: the user speaks in brackets; its versions differ in their spaces."""
LED = HEADERS.replace(
    "{% for message in messages %}",
    "{{ OPEN + 'system' + CLOSE + LEAD }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}{% set rest = messages[1:] %}"
    "{% else %}{% set rest = messages %}{% endif %}{{ END + AFTER }}{% for message in rest %}",
)
"""Turns with headers after a system turn of the template's own, which a system message only prolongs: Llama 3.1 and later."""
MODEL_FOR_ASSISTANT = "('model' if message['role'] == 'assistant' else message['role'])"


def mark_assistant(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages], notes: list[Sentence]
) -> bool:
    """Give the tokenizer a template that marks the assistant's turns. False, with a note, where there is none."""
    own = tokenizer.chat_template
    if not own:
        tokenizer.chat_template = chatml("")
        notes.append(say("chatml_used"))
        return True
    if isinstance(own, str) and MARKED.search(own):
        return True
    found = training_template(tokenizer, worth_comparing(conversations))
    if found is None:
        notes.append(say("template_does_not_mark"))
        return False
    tokenizer.chat_template = found
    return True


def worth_comparing(conversations: Sequence[Messages]) -> list[Messages]:
    """The first rows, and of the others the first of each order of speakers: what templates decide by."""
    shapes = {tuple(message["role"] for message in row): row for row in reversed(conversations[COMPARED_ROWS:])}
    return [*conversations[:COMPARED_ROWS], *shapes.values()]


def training_template(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]) -> str | None:
    try:
        patched = get_training_chat_template(tokenizer)
    except Exception:  # TRL refuses what it does not know, and renders, which may raise whatever the template likes
        patched = None
    if patched:
        return patched
    wanted = [rendered(tokenizer, messages) for messages in conversations]
    if None in wanted:
        return None
    for candidate in candidates(rendered(tokenizer, PROBE) or ""):
        if all(rendered(tokenizer, row, candidate) == text for row, text in zip(conversations, wanted, strict=True)):
            return candidate
    return None


def rendered(tokenizer: PreTrainedTokenizerBase, messages: Messages, template: str | None = None) -> str | None:
    """A conversation as the tokenizer's own or another template has it; None if the template refuses it."""
    try:
        text: Any = tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template)
    except Exception:  # a template may raise whatever it likes
        return None
    return str(text)


def candidates(probe: str) -> Iterator[str]:
    """Templates worth comparing with one that renders PROBE as ``probe``."""
    if "<|im_start|>" in probe:
        default = re.match(r"<\|im_start\|>system\n(.*?)<\|im_end\|>\n", probe, re.DOTALL)
        yield chatml(default[1] if default else "")
    if "<|start_header_id|>" in probe:
        llama = {"OPEN": "<|start_header_id|>", "CLOSE": "<|end_header_id|>\n\n", "END": "<|eot_id|>", "AFTER": ""}
        yield filled(HEADERS, **llama)
        lead = re.search(r"<\|start_header_id\|>system<\|end_header_id\|>\n\n(.*?)<\|eot_id\|>", probe, re.DOTALL)
        if lead:
            yield filled(LED, LEAD=lead[1], **llama)
    if "<start_of_turn>" in probe:
        gemma = HEADERS.replace("NAME", MODEL_FOR_ASSISTANT)
        yield filled(gemma, OPEN="<start_of_turn>", CLOSE="\n", END="<end_of_turn>", AFTER="\n")
    if "[INST]" in probe:
        spaces = ("", " ")
        for opening, closing, before, after, tail in product(
            ("[INST] ", " [INST] ", "[INST]"), (" [/INST]", "[/INST]"), spaces, spaces, spaces
        ):
            yield filled(BRACKETS, OPEN=opening, CLOSE=closing, BEFORE=before, AFTER=after, TAIL=tail)
    if "<|assistant|>" in probe:
        for end, after in (("</s>", "\n"), ("<|end|>", "\n")):
            template = filled(HEADERS, OPEN="<|", CLOSE="|>\n", END=end, AFTER=after)
            yield template
            yield template.removeprefix("{{ bos_token }}")


def chatml(default: str) -> str:
    return CHATML.replace("DEFAULT", repr(default))


def filled(template: str, **words: str) -> str:
    """A template with its capital words as Jinja literals, and each turn under its own speaker's name."""
    for name, text in words.items():
        template = re.sub(rf"\b{name}\b", lambda _, literal=repr(text): literal, template)
    return re.sub(r"\bNAME\b", "message['role']", template)
