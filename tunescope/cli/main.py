"""The ``tunescope`` command. Exit codes: 0 done, 1 failed, 2 bad input."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from tunescope.cli import chat, gpus, jobs, library, memory, merge
from tunescope.cli.installed import refuse_without
from tunescope.cli.output import errors, steady_streams
from tunescope.cli.up import api_command, make_data_dir, python, refuse_taken_port, up
from tunescope.client import DEFAULT_URL, ClientError
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.memory.stack import STACKS
from tunescope.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound, NotSignedIn, Problem, TooLarge
from tunescope.settings import ServerSettings, WorkerSettings

Commands = Any
"""argparse's collection of subcommands; its type has no public name."""
Handler = Callable[[argparse.Namespace], int]
BAD_INPUT = (InvalidInput, NotFound, Conflict, Forbidden, TooLarge)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tunescope", description="Launch and watch fine-tunes, and account for every byte of VRAM."
    )
    parser.add_argument("--version", action="version", version=f"tunescope {installed_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_server_commands(commands)
    add_memory_commands(commands)
    add_job_commands(commands)
    add_chat_command(commands)
    add_merge_command(commands)
    add_library_commands(commands)
    return parser


def installed_version() -> str:
    try:
        return version("tunescope")
    except PackageNotFoundError:
        return "(not installed)"


def command(
    commands: Commands,
    name: str,
    help: str,
    run: Handler,
    *,
    json: bool = True,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run)
    if json:
        parser.add_argument("--json", action="store_true", help="print exactly one JSON document")
    return parser


def add_server_commands(commands: Commands) -> None:
    for name, help, run in (
        ("up", "Start everything on this machine.", run_up),
        ("api", "Start the API and page only.", run_api),
    ):
        parser = command(commands, name, help, run, json=False)
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every network")
        parser.add_argument("--port", type=port, default=8000)
        add_data_dir(parser)
    command(commands, "controller", "Start the controller only.", run_controller, json=False)
    command(commands, "worker", "Start a worker on this machine only.", run_worker, json=False)
    link = command(
        commands, "admin-link", "Print a new one-time sign-in link for an admin.", run_admin_link, json=False
    )
    add_data_dir(link)
    link.add_argument("--url", default=DEFAULT_URL, help="address of the server, for the printed link")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    default = Path(os.environ.get("TUNESCOPE_DATA_DIR") or "data")
    parser.add_argument(
        "--data-dir", type=Path, default=default, help="what the server keeps; TUNESCOPE_DATA_DIR or data"
    )


def port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use 1 to 65535")
    return int(text)


def add_memory_commands(commands: Commands) -> None:
    estimate = command(commands, "estimate", "Predict the VRAM of a job spec, by category.", memory.estimate)
    advise = command(
        commands, "advise", "What to change so that a job spec fits, or needs less; what fits as it is.", memory.advise
    )
    for parser in (estimate, advise):
        parser.add_argument("spec", help="YAML or JSON file, - for stdin, or recipe name")
        parser.add_argument(
            "--config", metavar="FILE", help="config.json of a model that is not in the catalogue, or its directory"
        )
        add_answer_for(parser)
    estimate.add_argument(
        "--trace", action="store_true", help="run the real model without weights or a GPU: exact bytes, in seconds"
    )
    explain = command(commands, "explain", "Why B needs more or less memory than A, by section.", memory.explain)
    for side in ("a", "b"):
        explain.add_argument(side, metavar=side.upper(), help="spec file (- for stdin), recipe name or job id")
    add_answer_for(explain)
    command(commands, "recipes", "Published recipes.", memory.recipes)


def add_answer_for(parser: argparse.ArgumentParser) -> None:
    """What an answer about memory is to be for."""
    parser.add_argument("--gpu", help=f"GPU of the catalogue, e.g. H100-80GB; {DEFAULT_DEVICE.name} if not given")
    parser.add_argument(
        "--stack",
        help="library versions, one of " + ", ".join(STACKS) + "; the worker's own, or those of a recipe, if not given",
    )


def add_job_commands(commands: Commands) -> None:
    group = commands.add_parser("jobs", help="Submit and watch jobs.").add_subparsers(metavar="COMMAND", required=True)
    submit = command(group, "submit", "Submit a job spec (YAML or JSON file, - for stdin).", jobs.submit)
    submit.add_argument("spec", help="YAML or JSON file, - for stdin")
    submit.add_argument("--follow", action="store_true", help="watch it until it ends")
    listing = command(group, "list", "List jobs, newest first.", jobs.list_jobs)
    listing.add_argument("--state", help="only this state, or several with commas")
    listing.add_argument("--limit", type=int, default=50, help="jobs a page, at most 200")
    listing.add_argument("--cursor", help="go on after an earlier page: its next_cursor")
    for name, help, run in (
        ("show", "Show one job.", jobs.show),
        ("follow", "Watch a job live until it ends.", jobs.follow),
        ("cancel", "Cancel a job; a running one saves a checkpoint first.", jobs.cancel),
        ("retry", "Queue a failed or cancelled job again.", jobs.retry),
        ("logs", "Print a job's log.", jobs.logs),
    ):
        command(group, name, help, run).add_argument("job", help="id of the job")
    cloning = command(
        group, "clone", "Queue a new job with the spec of another one, with changes if wanted.", jobs.clone
    )
    cloning.add_argument("job", help="id of the job")
    cloning.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="another value of a field, such as adaptation.r=16 or name=second; may be given several times",
    )
    removing = command(group, "delete", "Delete a job that has ended, with its files, for good.", jobs.delete)
    removing.add_argument("job", help="id of the job")
    removing.add_argument("--yes", action="store_true", help="do not ask")
    saving = command(group, "download", "Save the files that a job left: its adapter or model.", jobs.download)
    saving.add_argument("job", help="id of the job")
    saving.add_argument(
        "--to", metavar="DIR", help="directory to save them in, made if need be; the job's id if not given"
    )


def add_chat_command(commands: Commands) -> None:
    parser = command(
        commands, "chat", "Talk to what a job has trained: each line of the input is a message.", chat.chat
    )
    parser.add_argument("job", help="id of the job")
    parser.add_argument("--base", action="store_true", help="without the adapter: the base model answers")
    parser.add_argument("--system", metavar="TEXT", help="what stands before the conversation")
    parser.add_argument("--temperature", type=float, default=0.0, help="0, the default, takes the likeliest token")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="longest answer; 512")
    parser.add_argument(
        "--context", type=int, metavar="N", help="tokens of the longest conversation, for which memory is kept"
    )


def add_merge_command(commands: Commands) -> None:
    parser = command(
        commands,
        "merge",
        "Merge a finished job's adapter into its model, without a GPU: one model more among its files.",
        merge.merge,
    )
    parser.add_argument("job", help="id of the job")
    parser.add_argument("--follow", action="store_true", help="watch it until it ends")


def add_library_commands(commands: Commands) -> None:
    command(commands, "gpus", "Machines and their GPUs.", gpus.gpus)
    datasets = commands.add_parser("datasets", help="Data sets.").add_subparsers(metavar="COMMAND", required=True)
    command(datasets, "list", "List data sets.", library.list_datasets)
    adding = command(datasets, "add", "Upload a data set file and check its rows.", library.add_dataset)
    adding.add_argument("file", help=".jsonl, .json, .csv or .parquet")
    adding.add_argument("--name", default="", help="name on the server; the file's name if not given")
    models = commands.add_parser("models", help="Models.").add_subparsers(metavar="COMMAND", required=True)
    command(models, "list", "List the library of models.", library.list_models)
    adding = command(models, "add", "Add a directory on the server to the library.", library.add_model)
    adding.add_argument("name", help="name in the library")
    adding.add_argument("path", help="directory on the server, with config.json and *.safetensors")


def check_settings(*kinds: type[BaseSettings]) -> None:
    """Raises InvalidInput that names each environment variable whose value cannot be used."""
    wrong: dict[str, FieldError] = {}
    for kind in kinds:
        try:
            kind()
        except ValidationError as error:
            for item in error.errors():
                name = variable(str(item["loc"][0]))
                message = item["msg"].removeprefix("Value error, ")
                wrong[name] = FieldError(name, message, "see docs/settings.md")
    if wrong:
        raise InvalidInput("Some settings cannot be used.", errors=list(wrong.values()))


def variable(field: str) -> str:
    return field if field.isupper() else f"TUNESCOPE_{field.upper()}"


def run_up(args: argparse.Namespace) -> int:
    refuse_without("server", "worker")
    check_settings(ServerSettings, WorkerSettings)
    return up(args.host, args.port, args.data_dir)


def run_api(args: argparse.Namespace) -> int:
    refuse_without("server")
    check_settings(ServerSettings)
    refuse_taken_port(args.host, args.port)
    make_data_dir(args.data_dir)
    environment = os.environ | {"TUNESCOPE_DATA_DIR": str(args.data_dir)}
    migrated = subprocess.run(python("backend.migrate"), env=environment, check=False)
    if migrated.returncode:
        return 1
    os.execve(sys.executable, api_command(args.host, args.port), environment)


def run_controller(_args: argparse.Namespace) -> int:
    refuse_without("server")
    check_settings(ServerSettings)
    os.execv(sys.executable, python("backend.controller"))


def run_worker(_args: argparse.Namespace) -> int:
    refuse_without("worker")
    check_settings(WorkerSettings)
    os.execv(sys.executable, python("worker"))


def run_admin_link(args: argparse.Namespace) -> int:
    refuse_without("server")
    check_settings(ServerSettings)
    environment = os.environ | {"TUNESCOPE_DATA_DIR": str(args.data_dir)}
    return subprocess.run(python("backend.users", args.url), env=environment, check=False).returncode


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    steady_streams()
    args = build_parser().parse_args(words)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BAD_INPUT as error:
        errors.print(str(error))
        return 2
    except NotSignedIn as error:
        errors.print(
            error.detail, "Make an API token on the page, under Settings, and set TUNESCOPE_TOKEN to it.", sep="\n"
        )
        return 1
    except (Problem, ClientError) as error:
        errors.print(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; a second error while Python closes stdout would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        errors.print(f"{error.filename or 'The answer cannot be written'}: {error.strerror or error}")
        return 1
