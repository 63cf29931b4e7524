"""Prints docs/cli.md: the reference of the ``tunescope`` command, from the program itself. ``make docs`` writes it."""

import argparse
import os
from collections.abc import Iterator

HEAD = """# The command line

Made from the program by `make docs`; a test holds it fresh.

`TUNESCOPE_URL` and `TUNESCOPE_TOKEN` say which server and who asks. Answers go to stdout, everything else to stderr.
`--json` prints exactly one JSON document. Exit codes: 0 done, 1 failed, 2 bad input, 130 left by Ctrl-C.
"""


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Each command that does something, with its one sentence."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                help = next((item.help or "" for item in action._choices_actions if item.dest == name), "")
                yield from commands(child) if child.get_default("run") is None else [(child, help)]


def shown(action: argparse.Action) -> str:
    """How an argument is written in the command line."""
    if not action.option_strings:
        return str(action.metavar or action.dest).upper()
    word = action.option_strings[-1]
    return word if action.nargs == 0 else f"{word} {action.metavar or action.dest.upper()}"


def section(parser: argparse.ArgumentParser, help: str) -> str:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    options = [action for action in actions if action.option_strings]
    words = [action for action in actions if not action.option_strings]
    line = " ".join([parser.prog, *(f"[{shown(action)}]" for action in options), *map(shown, words)])
    rows = [f"- `{shown(action)}`: {meaning(action)}" for action in [*words, *options] if meaning(action)]
    return "\n".join([f"## {parser.prog}", "", help, "", f"    {line}", "", *rows]).rstrip() + "\n"


def meaning(action: argparse.Action) -> str:
    default = action.default
    given = default not in (None, "", False, argparse.SUPPRESS) and not action.required and bool(action.option_strings)
    parts = [action.help or "", f"default {default}" if given else ""]
    return "; ".join(part for part in parts if part)


def reference() -> str:
    os.environ.pop("TUNESCOPE_DATA_DIR", None)
    from tunescope.cli.main import build_parser

    return "\n".join([HEAD, *(section(parser, help) for parser, help in commands(build_parser()))])


if __name__ == "__main__":
    print(reference(), end="")
