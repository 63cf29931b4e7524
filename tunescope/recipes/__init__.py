"""Published recipes as job specs, each with its source and date: YAML files beside this one, ready to run and compare."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from tunescope.memory.stack import Stack, stack_named
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import Sentence, Value, say
from tunescope.spec import JobSpec, parse_spec
from tunescope.yaml_text import read_yaml


@dataclass(frozen=True)
class Published:
    """A measurement published for this recipe, with the length and micro batch it was made at."""

    tokens: int
    batch: int
    bytes: int
    source: str


@dataclass(frozen=True)
class Recipe:
    """A recipe file. ``stack`` names the library versions its memory depends on."""

    name: str
    title: str
    source: str
    date: str
    spec: JobSpec
    stack: Stack
    measured: tuple[Published, ...]
    notes: tuple[Sentence, ...] = ()
    """What the program does that a job spec cannot say, or where a default had to be chosen."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "date": self.date,
            "stack": self.stack.name,
            "measured": [asdict(item) for item in self.measured],
            "notes": [note.text for note in self.notes],
            "note_sentences": [note.model_dump() for note in self.notes],
            "spec": self.spec.model_dump(mode="json"),
        }


@lru_cache(maxsize=1)
def load_recipes() -> dict[str, Recipe]:
    """All recipes by name, sorted."""
    found = (item for item in files(__name__).iterdir() if item.name.endswith(".yaml"))
    recipes = [_recipe(item.name.removesuffix(".yaml"), read_yaml(item.read_text(encoding="utf-8"))) for item in found]
    return {recipe.name: recipe for recipe in sorted(recipes, key=lambda recipe: recipe.name)}


def recipe_named(name: str) -> Recipe:
    """Find a recipe. Raises InvalidInput that lists the names there are."""
    recipes = load_recipes()
    if name not in recipes:
        choices = ", ".join(recipes)
        error = FieldError("recipe", "is unknown", f"use one of {choices}", "unknown_name", {"choices": choices})
        raise InvalidInput(say("no_such_recipe", name=name), say("use_one_of", choices=choices), [error])
    return recipes[name]


def _recipe(name: str, values: dict[str, Any]) -> Recipe:
    spec = parse_spec({"name": name, **values["spec"]})
    measured = tuple(
        Published(int(item["tokens"]), int(item.get("batch", 1)), int(item["bytes"]), item["source"])
        for item in values.get("measured", [])
    )
    return Recipe(
        name,
        values["title"],
        values["source"],
        str(values["date"]),
        spec,
        stack_named(values.get("stack", "current")),
        measured,
        tuple(_note(**note) for note in values.get("notes", [])),
    )


def _note(kind: str, **values: Value) -> Sentence:
    return say(kind, **values)
