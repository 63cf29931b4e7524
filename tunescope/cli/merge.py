"""``tunescope merge``: a job's adapter and its model as one model."""

from argparse import Namespace

from tunescope.cli.follow import watch
from tunescope.cli.jobs import told_json
from tunescope.cli.output import console, errors
from tunescope.client import Client


def merge(args: Namespace) -> int:
    """Ask for it; with ``--follow`` wait for its end."""
    with Client() as client:
        merging = client.merge(args.job)
        if args.json:
            return told_json(client, merging, follow=args.follow)
        console.print(f"Merging is {merging['state']}: job {merging['id']}.")
        if not args.follow:
            errors.print(f"Watch it with: tunescope jobs follow {merging['id']}", style="dim")
            return 0
        code = watch(client, merging["id"])
    if code == 0:
        errors.print(f"Save it, and the adapter, with: tunescope jobs download {args.job}", style="dim")
    return code
