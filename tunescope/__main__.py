"""``python -m tunescope`` is the ``tunescope`` command."""

import sys


def main() -> int:
    """Run the command. What it needs is imported here, so that Ctrl-C is quiet from the first moment."""
    try:
        from tunescope.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
