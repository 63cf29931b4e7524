"""The loss is over what the assistant says, to the token, for the templates of the common families; and where it cannot be, that is said."""

from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import PreTrainedTokenizerFast

from tunescope.sentences import Sentence, say
from worker.trainer.templates import mark_assistant

FROM_TRL = Path(trl.__file__).parent / "chat_templates"
SPECIAL = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>", "<|end|>",
]  # fmt: skip
TALK = [
    {"role": "user", "content": "What is 4 bit?"},
    {"role": "assistant", "content": "Half a byte."},
    {"role": "user", "content": "半个字节?"},
    {"role": "assistant", "content": "是的 – 0.5."},
]
SYSTEM = {"role": "system", "content": "Be brief."}

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] "
    "+ '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL_1 = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}"
)
MISTRAL_2 = MISTRAL_1.replace("'[INST] '", "' [INST] '").replace(
    "{{ message['content'] + eos_token + ' ' }}", "{{ ' ' + message['content'] + eos_token }}"
)
MISTRAL_3 = MISTRAL_1.replace("' [/INST]'", "'[/INST]'").replace(
    "{{ message['content'] + eos_token + ' ' }}", "{{ ' ' + message['content'] + eos_token }}"
)
GEMMA = (FROM_TRL / "gemma.jinja").read_text()
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
QWEN2_5, QWEN3, LLAMA3_1 = ((FROM_TRL / f"{name}.jinja").read_text() for name in ("qwen2_5", "qwen3", "llama3_1"))
MARKED: dict[str, tuple[str, str, bool]] = {
    "chatml": (CHATML, "<|im_end|>", True),
    "smollm2": (SMOLLM2, "<|im_end|>", True),
    "qwen2.5": (QWEN2_5, "<|im_end|>", True),
    "llama3": (LLAMA3, "<|eot_id|>", True),
    "mistral v1": (MISTRAL_1, "</s>", False),
    "mistral v2": (MISTRAL_2, "</s>", False),
    "mistral v3": (MISTRAL_3, "</s>", False),
    "gemma": (GEMMA, "<end_of_turn>", False),
    "zephyr": (ZEPHYR, "</s>", True),
}
"""Template, what ends a turn of the assistant, and whether it takes a system message."""


def tokenizer(template: str | None, bos: str = "<s>") -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes and special marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate([*SPECIAL, *letters])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token="</s>")
    fast.add_special_tokens({"additional_special_tokens": SPECIAL})
    fast.chat_template = template
    return fast


def said(made: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> list[str]:
    """What the loss is over, one text for each run of tokens, as TRL takes it."""
    encoded: Any = made.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    runs: list[list[int]] = []
    before = 0
    for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True):
        if mask and not before:
            runs.append([])
        if mask:
            runs[-1].append(token)
        before = mask
    return [made.decode(run) for run in runs]


@pytest.mark.parametrize("name", MARKED)
def test_exactly_the_assistant_is_learned(name: str) -> None:
    template, end, takes_system = MARKED[name]
    for messages in [TALK, [SYSTEM, *TALK]] if takes_system else [TALK]:
        made = tokenizer(template)
        before = made.apply_chat_template(messages, tokenize=False)
        notes: list[Sentence] = []
        assert mark_assistant(made, [messages], notes) and not notes
        assert made.apply_chat_template(messages, tokenize=False) == before, (
            "the model sees what its own template makes"
        )
        spoken = [message["content"] for message in messages if message["role"] == "assistant"]
        ended = [text.strip(" \n") for text in said(made, messages)]
        assert ended == [text + end for text in spoken]


@pytest.mark.parametrize("template", [QWEN3, LLAMA3_1])
def test_families_of_trl_are_learned_from_the_assistant_only(template: str) -> None:
    """These may add an empty thought or a header of their own; nothing that the user says is learned."""
    made = tokenizer(template, bos="<|begin_of_text|>")
    assert mark_assistant(made, [TALK], [])
    spoken = said(made, TALK)
    assert ["Half a byte." in spoken[0], "是的 – 0.5." in spoken[-1]] == [True, True]
    assert not any("What is" in text or "半个字节" in text for text in spoken)


def test_a_template_that_is_like_no_other_learns_from_all_and_says_so() -> None:
    made = tokenizer("{% for m in messages %}{{ m['role'] | upper + ': ' + m['content'] + ';' }}{% endfor %}")
    notes: list[Sentence] = []
    assert not mark_assistant(made, [TALK], notes)
    assert notes == [say("template_does_not_mark")]


def test_a_template_that_differs_in_one_row_is_not_replaced() -> None:
    odd = CHATML.replace("{% for message", "{% if messages|length > 4 %}{{ 'long' }}{% endif %}{% for message")
    made, notes = tokenizer(odd), list[Sentence]()
    assert not mark_assistant(made, [TALK, [*TALK, *TALK]], notes) and notes
    assert made.chat_template == odd


def test_a_model_without_a_template_gets_chatml_and_says_so() -> None:
    made, notes = tokenizer(None), list[Sentence]()
    assert mark_assistant(made, [TALK], notes)
    assert said(made, TALK) == ["Half a byte.<|im_end|>", "是的 – 0.5.<|im_end|>"]
    assert notes == [say("chatml_used")]


def test_a_template_that_marks_itself_is_kept() -> None:
    own = "{% for m in messages %}{%- generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    made = tokenizer(own)
    assert mark_assistant(made, [TALK], []) and made.chat_template == own
