"""``tunescope gpus``: the machines, their GPUs, who holds their memory and what is wrong with them."""

from argparse import Namespace
from typing import Any

from tunescope.cli.output import console, print_json, print_table
from tunescope.client import Client
from tunescope.units import format_bytes
from tunescope.wire import THROTTLING_WORDS

COLUMNS = ["gpu", "name", "used", "free", "total", "use", "temp", "power", "job"]
UNKNOWN = "unknown"


def gpus(args: Namespace) -> int:
    with Client() as client:
        found = client.machines()
    if args.json:
        print_json(found)
        return 0
    if not found:
        console.print("No worker is connected. Start one: tunescope worker")
    for machine in found:
        print_machine(machine)
    return 0


def print_machine(machine: dict[str, Any]) -> None:
    used = machine["host_total_bytes"] - machine["host_available_bytes"]
    console.print(
        f"{machine['name']}: {machine['cpu_count']} CPUs, "
        f"{format_bytes(used)} of {format_bytes(machine['host_total_bytes'])} host memory in use",
        style="bold",
        markup=False,
    )
    if not machine["gpus"]:
        console.print(f"  No GPU: {machine['gpus_unknown_because'] or 'jobs train on the CPU'}", markup=False)
    jobs = {job["id"]: job for job in machine["jobs"]}
    if machine["gpus"]:
        print_table(COLUMNS, [row_of(gpu, jobs) for gpu in machine["gpus"]], "")
    for job in machine["jobs"]:
        if not job["gpus"]:
            console.print(f"  {job['name']} ({job['owner']}, {job['id']}) trains on the CPU", markup=False)
    for gpu in machine["gpus"]:
        for remark in remarks(gpu, jobs):
            console.print(f"  GPU {gpu['index']}: {remark}", style="dim", markup=False)


def row_of(gpu: dict[str, Any], jobs: dict[str, Any]) -> list[str]:
    here = [job for job in jobs.values() if gpu["uuid"] in job["gpus"]]
    return [
        f"{gpu['index']} {'part' if gpu['parent'] else ''}".strip(),
        gpu["name"],
        *[size(gpu[name]) for name in ("used_bytes", "free_bytes", "total_bytes")],
        figure(gpu["utilization_percent"], "%"),
        figure(gpu["temperature_celsius"], "°C"),
        figure(gpu["power_watts"], "W"),
        ", ".join(f"{job['name']} ({job['owner']})" for job in here) or "-",
    ]


def size(value: int | None) -> str:
    return UNKNOWN if value is None else format_bytes(value)


def figure(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:.0f} {unit}"


def remarks(gpu: dict[str, Any], jobs: dict[str, Any]) -> list[str]:
    """What a table has no room for: who else holds memory, what is wrong, what is unknown and why."""
    said: list[str] = []
    if gpu["unusable_because"]:
        return [f"no job can run on it: {gpu['unusable_because']}"]
    for process in gpu["processes"]:
        held = size(process["used_bytes"])
        job = jobs.get(process["job"] or "")
        who = f"job {job['name']}" if job else f"{process['name'] or 'a process'} of {process['user'] or 'somebody'}"
        said.append(f"{who} (process {process['pid']}) holds {held}")
    said += [THROTTLING_WORDS.get(str(name), str(name)) for name in gpu["throttling"] or []]
    if gpu["ecc_volatile_uncorrected"]:
        said.append(f"{gpu['ecc_volatile_uncorrected']} uncorrected memory errors since the driver was loaded")
    said += [f"Xid {fault['code']}: {fault['meaning']}" for fault in gpu["xids"]]
    by_reason: dict[str, list[str]] = {}
    for name, reason in gpu["unknown"].items():
        by_reason.setdefault(reason, []).append(name)
    return said + [f"unknown: {', '.join(names)} ({reason})" for reason, names in by_reason.items()]
