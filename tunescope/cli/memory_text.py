"""Estimates and advice as text: what ``tunescope estimate`` and ``advise`` print for people."""

import json
from typing import Any

from tunescope.cli.output import console, print_table
from tunescope.units import format_bytes

VERDICTS = {
    "yes": "This fits on {device}.",
    "tight": "This is tight on {device}: it may run only by giving cached memory back, or not at all.",
    "no": "This does not fit on {device}.",
}
TIERS = {
    "formula": "counted tensor by tensor, without a run",
    "trace": "the real model's code, run without weights or a GPU",
}


def print_ledger(ledger: dict[str, int], total: int) -> None:
    rows = [*((category, count) for category, count in ledger.items() if count), ("total", total)]
    print_table(["category", "bytes", ""], [[name, f"{count:,}", format_bytes(count)] for name, count in rows], "")


def print_verdict(answer: dict[str, Any]) -> None:
    """Whether it fits, how sure that is, and what kind of answer this is."""
    device, (low, high) = answer["device"], answer["interval"]
    console.print(VERDICTS[answer["fit"]].format(device=f"{device['name']} ({format_bytes(device['total_bytes'])})"))
    if answer["when_full"]:
        console.print(answer["when_full"]["text"])
    console.print(f"Between {format_bytes(low)} and {format_bytes(high)} on each GPU.")
    console.print(f"Tier: {answer['tier']} ({TIERS[answer['tier']]}).")


def print_sites(answer: dict[str, Any]) -> None:
    """Where in the step the peak lies, and the runners-up."""
    rows = [
        [item["name"] + (" (peak)" if item["name"] == answer["site"] else ""), format_bytes(item["total_bytes"])]
        for item in answer["sites"]
    ]
    print_table(["moment of the step", "needs"], rows, "")


def print_assumptions(assumptions: list[str]) -> None:
    for assumption in assumptions:
        console.print(f"- {assumption}", style="dim")


def print_advice(answer: dict[str, Any], device: str) -> None:
    """What to change, cheapest first, and the limits of the spec as it is."""
    console.print(
        f"This fits on {device}. To save more:" if answer["fits"] else f"This does not fit on {device}. What helps:"
    )
    rows = [
        [
            item["title"],
            format_bytes(-item["bytes_saved"]),
            format_bytes(item["total_bytes"]),
            fits_text(item),
            item["price"],
        ]
        for item in answer["suggestions"]
    ]
    print_table(["change", "saves", "then needs", "", "price"], rows, "There is nothing left to save.", sentences=True)
    together = answer["together"]
    if together:
        enough = "enough" if together["fits"] else "not enough yet"
        console.print(f"Together {enough}: {together['title']} (then {format_bytes(together['total_bytes'])}).")
    for item in [*answer["suggestions"], *([together] if together else [])]:
        console.print(f"  {item.get('id', 'together')}: {patch_text(item['patch'])}", style="dim")
    for line in limit_lines(answer):
        console.print(line)


def fits_text(item: dict[str, Any]) -> str:
    return "fits" if item["fits"] else "does not fit"


def patch_text(patch: dict[str, Any]) -> str:
    return ", ".join(f"{path}: {json.dumps(value)}" for path, value in patch.items())


def limit_lines(answer: dict[str, Any]) -> list[str]:
    """The longest rows, the largest batch and the cheapest GPU of the spec as it is."""
    lines: list[str] = []
    if answer["longest_max_length"]:
        lines.append(f"As it is, data.max_length can be {answer['longest_max_length']:,}.")
    if answer["largest_batch"]:
        lines.append(f"As it is, batch.per_device_train_batch_size can be {answer['largest_batch']:,}.")
    cheapest = answer["cheapest_gpu"]
    lines.append(
        f"Cheapest GPU that runs it as it is: {cheapest}." if cheapest else "No GPU of the catalogue runs it as it is."
    )
    lines += [f"Not {item['gpu']}, which is cheaper: {item['because']}." for item in answer["passed_over"]]
    return lines
