"""``tunescope estimate``, ``advise``, ``explain`` and ``recipes``: the VRAM model on this machine, without a server."""

import re
from argparse import Namespace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tunescope.cli.jobs import read_spec
from tunescope.cli.memory_text import print_advice, print_assumptions, print_ledger, print_sites, print_verdict
from tunescope.cli.output import console, print_json, print_sentence, print_table
from tunescope.cli.trace import print_trace, trace_of
from tunescope.client import Client
from tunescope.memory.advise import advise as advise_memory
from tunescope.memory.devices import DEFAULT_DEVICE, device_named
from tunescope.memory.estimate import estimate as estimate_memory
from tunescope.memory.explain import Subject
from tunescope.memory.explain import explain as explain_memory
from tunescope.memory.model_config import architecture_for, config_for, local_config
from tunescope.memory.stack import DEFAULT, stack_named
from tunescope.memory.verified import verified
from tunescope.problems import InvalidInput
from tunescope.recipes import load_recipes
from tunescope.spec import JobSpec
from tunescope.units import format_bytes

JOB_ID = re.compile(r"[0-9a-f]{6,40}")
"""What an id of a job looks like. Anything else is a misspelt recipe or file, and no server needs to be asked."""


def estimate(args: Namespace) -> int:
    it = subject(args.spec, args)
    found = estimate_memory(it.spec, it.architecture, it.device, stack=it.stack)
    answer: dict[str, Any] = found.to_dict()
    trace = (
        trace_of(it.spec, config_for(it.spec, local_config(it.spec, args.config)), args.stack) if args.trace else None
    )
    if trace is not None:
        answer = {**verified(answer, trace, it.device, it.stack), "trace": trace.model_dump(mode="json")}
    if args.json:
        print_json(answer)
        return 0
    print_ledger(answer["ledger"], answer["total_bytes"])
    print_verdict(answer)
    print_sites(answer)
    if trace is not None:
        print_trace(trace, answer)
    print_assumptions(answer["assumptions"])
    return 0


def advise(args: Namespace) -> int:
    it = subject(args.spec, args)
    answer = advise_memory(it.spec, it.architecture, it.device, stack=it.stack).to_dict()
    if args.json:
        print_json(answer)
    else:
        print_advice(answer, it.device.name)
    return 0


def explain(args: Namespace) -> int:
    if subject_is_job(args.a) or subject_is_job(args.b):
        with Client() as client:
            sides = [side_for_server(side) for side in (args.a, args.b)]
            answer = client.explain(sides[0], sides[1], args.gpu, args.stack)
    else:
        answer = explain_memory(subject(args.a, args), subject(args.b, args)).to_dict()
    if args.json:
        print_json(answer)
        return 0
    a, b = answer["a"], answer["b"]
    console.print(f"A  {a['name']}: {format_bytes(a['total_bytes'])}\nB  {b['name']}: {format_bytes(b['total_bytes'])}")
    rows = [[part["section"], format_bytes(part["bytes"]), part["because"]] for part in answer["sections"]]
    print_table(["section", "B minus A", "because"], rows, "No difference.", sentences=True)
    for line in (*measured_lines(answer), answer["note"], answer["turning"]):
        if line:
            print_sentence(line)
    return 0


def measured_lines(answer: dict[str, Any]) -> list[str]:
    """What sides that ran on a GPU were measured to hold, and how much of their difference is left open."""
    told = [
        f"{name.upper()} was measured to need {format_bytes(answer[name]['measured_bytes'])} at the highest."
        for name in ("a", "b")
        if answer[name]["measured_bytes"] is not None
    ]
    measured = answer["measured"]
    if measured is None:
        return told
    difference, unexplained = (format_bytes(measured[f"{part}_bytes"]) for part in ("difference", "unexplained"))
    return [*told, f"B minus A as measured: {difference}, of which {unexplained} is not explained by the sections."]


def subject_is_job(side: str) -> bool:
    """Neither a recipe nor a file: then it can only be the id of a job on the server. Raises InvalidInput where it is none."""
    if not is_spec(side) and not JOB_ID.fullmatch(side):
        raise neither_file_nor_recipe(side, "a file, a recipe nor the id of a job")
    return not is_spec(side)


def is_spec(side: str) -> bool:
    return side == "-" or side in load_recipes() or Path(side).exists()


def side_for_server(side: str) -> JobSpec | str:
    return read_spec(side) if side not in load_recipes() and is_spec(side) else side


def subject(side: str, args: Namespace) -> Subject:
    """A recipe or spec file with its model, on the GPU and with the library versions that ``args`` ask for."""
    device = DEFAULT_DEVICE if args.gpu is None else device_named(args.gpu)
    stack = None if args.stack is None else stack_named(args.stack)
    recipe = load_recipes().get(side)
    if not is_spec(side):
        raise neither_file_nor_recipe(side)
    spec = recipe.spec if recipe else read_spec(side)
    architecture = architecture_for(spec, local_config(spec, getattr(args, "config", None)))
    named = (recipe.title, stack or recipe.stack) if recipe else (spec.name, stack or DEFAULT)
    return Subject(named[0], spec, architecture, device, stack=named[1])


def neither_file_nor_recipe(name: str, what: str = "a file nor a recipe") -> InvalidInput:
    like = get_close_matches(name, load_recipes(), n=1)
    fix = f"Did you mean {like[0]}? " if like else ""
    return InvalidInput(f"{name or 'An empty name'} is neither {what}.", f"{fix}See the names with: tunescope recipes")


def recipes(args: Namespace) -> int:
    found = [recipe.to_dict() for recipe in load_recipes().values()]
    if args.json:
        print_json(found)
        return 0
    print_table(["name", "title", "date"], [[item["name"], item["title"], str(item["date"])] for item in found], "")
    return 0
