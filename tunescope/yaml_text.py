"""YAML as people mean it, the same for spec files, recipes and the page: YAML 1.2's plain values, and no key twice.

YAML 1.1, PyYAML's own, takes 2e-4 for text, yes and off for booleans, and 2026-01-01 for a date.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

import yaml

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say

PLAIN = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ("~", "n", "N", "")),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), tuple("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+"), tuple("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        tuple("-+.0123456789"),
    ),
)
"""Tag, how a plain value of it is written, and its possible first characters: YAML 1.2's core schema, without 0o7 and 0xff."""


class Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}

    def __init__(self, text: str, name: str) -> None:
        self._called = name
        super().__init__(text)

    def check_printable(self, data: Any) -> None:
        """PyYAML's first look at a text, which it calls "<unicode string>" in what it says: that helps nobody find the place."""
        self.name = self._called
        super().check_printable(data)


class Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeDumper.yaml_implicit_resolvers.items()}


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


for _tag, _pattern, _first in PLAIN:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    Loader.add_implicit_resolver(_tag, _whole, list(_first))
    Dumper.add_implicit_resolver(_tag, _whole, list(_first))
# YAML 1.1's reading of 010 is 8.
Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def read_yaml(text: str, name: str = "this text") -> Any:
    """The values of a YAML or JSON text. Raises InvalidInput for what is neither, and for keys that stand there twice.

    ``name`` is what the text is called where its lines are told: its file, as a rule.
    """
    try:
        loader = Loader(text, name)
        node = loader.get_single_node()
        repeated = list(_repeated(node, "", set())) if node else []
        if repeated:
            raise InvalidInput(say("fields_stand_twice"), errors=repeated)
        return loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        raise InvalidInput(say("not_yaml", said=str(error)), say("mend_it_there")) from error
    except RecursionError as error:
        raise InvalidInput(say("yaml_nested_too_deeply"), say("write_sections")) from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # What PyYAML raises for !!int x, !!bool x, !!timestamp x and numbers of thousands of digits.
        raise InvalidInput(say("yaml_tag_or_number"), say("write_plain_values")) from error


def write_yaml(values: Any) -> str:
    """The values as YAML text, keys in their own order."""
    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _repeated(node: yaml.Node, path: str, seen: set[int]) -> Iterator[FieldError]:
    """Keys that stand in one mapping twice. PyYAML would silently keep the last."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(cast(list[yaml.Node], node.value)):
            yield from _repeated(item, f"{path}{number}.", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
        name, line = str(key.value), cast(int, key.start_mark.line) + 1
        if isinstance(key, yaml.ScalarNode) and name in lines and key.tag != "tag:yaml.org,2002:merge":
            message = f"stands there twice, in line {lines[name]} and in line {line}"
            values = {"first": lines[name], "second": line}
            yield FieldError(f"{path}{name}", message, "keep one of them", "repeated", values)
        lines.setdefault(name, line)
        yield from _repeated(value, f"{path}{name}.", seen)
