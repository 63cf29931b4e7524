"""``tunescope datasets`` and ``models``: what the server has."""

from argparse import Namespace
from pathlib import Path

from tunescope.cli.output import console, errors, print_json, print_table
from tunescope.client import Client
from tunescope.problems import InvalidInput
from tunescope.units import format_bytes


def list_datasets(args: Namespace) -> int:
    with Client() as client:
        found = client.datasets()
    if args.json:
        print_json(found)
        return 0
    rows = [[item["name"], item["format"], str(item["rows"]), format_bytes(item["bytes"])] for item in found]
    print_table(["name", "format", "rows", "size"], rows, "No data sets yet. Add one: tunescope datasets add FILE")
    return 0


def add_dataset(args: Namespace) -> int:
    path = Path(args.file)
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.", "Give a .jsonl, .json, .csv or .parquet file.")
    with Client() as client:
        found = client.add_dataset(path, args.name)
    if args.json:
        print_json(found)
        return 0
    console.print(f"Data set {found['name']}: {rows_text(found['rows'])}, {found['problem_count']} with problems.")
    for problem in found["problems"]:
        errors.print(f"line {problem['line']}: {problem['message']}")
    unsaid = found["problem_count"] - len(found["problems"])
    if unsaid:
        errors.print(f"and {unsaid} more")
    return 0


def rows_text(rows: int) -> str:
    return f"{rows} usable {'row' if rows == 1 else 'rows'}"


def list_models(args: Namespace) -> int:
    with Client() as client:
        found = client.models()
    if args.json:
        print_json(found)
        return 0
    rows = [
        [item["name"], item["state"], format_bytes(item["bytes"]) if item["bytes"] else "unknown", item["note"]]
        for item in found
    ]
    print_table(["name", "state", "weights", "note"], rows, "No models yet.")
    return 0


def add_model(args: Namespace) -> int:
    with Client() as client:
        found = client.add_model(args.name, str(Path(args.path).resolve()))
    if args.json:
        print_json(found)
    else:
        console.print(f"Model {found['name']} is in the library ({found['state']}).")
    return 0
