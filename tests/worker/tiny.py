"""A model small enough to train in a test, saved as a hub would have it, and rows to train it on."""

import json
from pathlib import Path
from typing import Any

TURNS = ({"role": "user", "content": "What is 4 bit?"}, {"role": "assistant", "content": "Half a byte."})


def save_tiny(folder: Path, **config: Any) -> Path:
    """A two-layer Llama with its own tokenizer and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={text: number for number, text in enumerate([*special, *letters])}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token=special[1], pad_token=special[1])
    fast.add_special_tokens({"additional_special_tokens": special[:1]})
    fast.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
        "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    )
    fast.save_pretrained(folder)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), **sizes, **config)).save_pretrained(folder)
    return folder


def save_rows(path: Path, count: int, longer: int = 0) -> Path:
    """``count`` equal rows, and three with ``longer`` more characters."""
    rows = [json.dumps({"messages": TURNS})] * count
    if longer:
        answer = {"role": "assistant", "content": "b" * longer}
        rows += [json.dumps({"messages": [TURNS[0], answer]})] * 3
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows))
    return path
