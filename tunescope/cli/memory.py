"""``tunescope estimate``, ``explain`` and ``recipes``: the VRAM model on this machine, without a server."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.table import Table

from tunescope.cli.jobs import read_spec
from tunescope.cli.output import console, print_json, print_table
from tunescope.cli.trace import print_trace, trace_of
from tunescope.client import Client
from tunescope.memory.devices import DEFAULT_DEVICE, device_named
from tunescope.memory.estimate import estimate as estimate_memory
from tunescope.memory.explain import Subject
from tunescope.memory.explain import explain as explain_memory
from tunescope.memory.model_config import architecture_for, config_for, local_config
from tunescope.memory.verified import verified
from tunescope.recipes import load_recipes
from tunescope.spec import JobSpec
from tunescope.units import format_bytes


def estimate(args: Namespace) -> int:
    spec = read_spec(args.spec)
    device = device_named(args.gpu) if args.gpu else DEFAULT_DEVICE
    config = local_config(spec, args.config)
    answer: dict[str, Any] = estimate_memory(spec, architecture_for(spec, config), device).to_dict()
    trace = trace_of(spec, config_for(spec, config)) if args.trace else None
    if trace is not None:
        answer = {**verified(answer, trace), "trace": trace.model_dump(mode="json")}
    if args.json:
        print_json(answer)
        return 0
    print_ledger(answer["ledger"], answer["total_bytes"])
    fits = "fits" if answer["fits"] else "does not fit"
    console.print(f"This {fits} on {answer['device']['name']} ({format_bytes(answer['device']['total_bytes'])}).")
    if trace is not None:
        print_trace(trace, answer)
    for assumption in answer["assumptions"]:
        console.print(f"- {assumption}", style="dim")
    return 0


def print_ledger(ledger: dict[str, int], total: int) -> None:
    table = Table("category", "bytes", "", box=None, header_style="bold")
    for category, count in ledger.items():
        if count:
            table.add_row(category, f"{count:,}", format_bytes(count))
    table.add_row("total", f"{total:,}", format_bytes(total), style="bold")
    console.print(table, soft_wrap=False)


def explain(args: Namespace) -> int:
    if subject_is_job(args.a) or subject_is_job(args.b):
        with Client() as client:
            sides = [side_for_server(side) for side in (args.a, args.b)]
            answer = client.explain(sides[0], sides[1])
    else:
        answer = explain_memory(subject(args.a), subject(args.b)).to_dict()
    if args.json:
        print_json(answer)
        return 0
    a, b = answer["a"], answer["b"]
    console.print(f"A  {a['name']}: {format_bytes(a['total_bytes'])}\nB  {b['name']}: {format_bytes(b['total_bytes'])}")
    rows = [[part["section"], format_bytes(part["bytes"]), part["because"]] for part in answer["sections"]]
    print_table(["section", "B minus A", "because"], rows, "No difference.")
    for line in (answer["note"], answer["turning"]):
        if line:
            console.print(line)
    return 0


def subject_is_job(side: str) -> bool:
    """Neither a recipe nor a file: then it can only be the id of a job on the server."""
    return side not in load_recipes() and not Path(side).exists()


def side_for_server(side: str) -> JobSpec | str:
    return read_spec(side) if side not in load_recipes() and Path(side).exists() else side


def subject(side: str) -> Subject:
    recipe = load_recipes().get(side)
    if recipe is not None:
        return Subject(recipe.title, recipe.spec, architecture_for(recipe.spec), stack=recipe.stack)
    spec = read_spec(side)
    return Subject(spec.name, spec, architecture_for(spec, local_config(spec)))


def recipes(args: Namespace) -> int:
    found = [recipe.to_dict() for recipe in load_recipes().values()]
    if args.json:
        print_json(found)
        return 0
    print_table(["name", "title", "date"], [[item["name"], item["title"], str(item["date"])] for item in found], "")
    return 0
