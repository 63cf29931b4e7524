"""``python -m worker.tracer SPEC_JSON_FILE CONFIG_JSON_FILE``: one trace, printed as JSON."""

import json
import sys
from pathlib import Path

from tunescope.problems import InvalidInput
from tunescope.spec import load_spec

USAGE = "usage: python -m worker.tracer SPEC_JSON_FILE CONFIG_JSON_FILE"


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        spec, config = load_spec(_read(arguments[0])), json.loads(_read(arguments[1]))
        if not isinstance(config, dict):
            raise InvalidInput("A config.json is an object.", "use the config.json published with the model")
        from worker.tracer.trace import trace

        print(trace(spec, config).model_dump_json(indent=2))
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
