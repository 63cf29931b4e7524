"""Whether the names in a spec's adaptation are modules of the loaded model: peft leaves out without a word those that are not."""

from collections.abc import Iterable

import torch

from tunescope.memory.families import expert_names_of
from tunescope.sentences import say
from tunescope.spec import Adaptation
from tunescope.states import FailureReason
from worker.refusal import Refusal

SHOWN = 20


class NoModule(Refusal):
    """A spec names modules that the model has not; ``field`` is the one of the spec, ``known`` are names that it could have."""

    def __init__(self, field: str, names: Iterable[str], known: Iterable[str]) -> None:
        field = f"adaptation.{field}"
        super().__init__(
            FailureReason.INVALID_SETTINGS,
            say("no_such_modules", field=field, names=", ".join(names)),
            say("other_modules", field=field, known=", ".join(known)),
        )


def refuse_unmatched(model: torch.nn.Module, adaptation: Adaptation) -> None:
    """Raises NoModule for the first field with names that match nothing in ``model``. Full training takes every weight."""
    if adaptation.method == "full":
        return
    paths = [path for path, _ in model.named_modules() if path]
    linear = sorted(
        {path.split(".")[-1] for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    )
    # peft finds a mixture's experts, stacked in two parameters, by the names that each matrix had before.
    experts = expert_names_of(str(getattr(model.config, "model_type", "")))
    lists = {
        "target_modules": [] if adaptation.target_modules == "all-linear" else adaptation.target_modules,
        "modules_to_save": adaptation.modules_to_save,
    }
    for field, names in lists.items():
        known = experts if field == "target_modules" else ()
        missing = [
            name
            for name in names
            if name.split(".")[-1] not in known and not any(path == name or path.endswith(f".{name}") for path in paths)
        ]
        if missing:
            raise NoModule(field, missing, [*linear, *known][:SHOWN])
