"""``python -m worker.tracer SPEC_JSON_FILE CONFIG_JSON_FILE [STACK]``: one trace, printed as JSON."""

import json
import sys
from pathlib import Path

from tunescope.memory.stack import DEFAULT, stack_named
from tunescope.problems import InvalidInput
from tunescope.spec import load_spec
from worker.libraries import loading

USAGE = "usage: python -m worker.tracer SPEC_JSON_FILE CONFIG_JSON_FILE [STACK]"


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        spec, config = load_spec(_read(arguments[0])), json.loads(_read(arguments[1]))
        if not isinstance(config, dict):
            raise InvalidInput("A config.json is an object.", "use the config.json published with the model")
        stack = stack_named(arguments[2]) if len(arguments) == 3 else DEFAULT
        with loading():
            from worker.tracer.trace import trace

        print(trace(spec, config, stack=stack).model_dump_json(indent=2))
    except json.JSONDecodeError as error:
        print(f"{arguments[1]} is not JSON: {error}", file=sys.stderr)
        return 2
    except InvalidInput as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name} cannot be read: {error}", "name two files: a job spec and a config.json") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
