"""Adapters on a mixture's experts and router: which names of ``target_modules`` reach them, and what peft refuses.

transformers 5 stacks all experts of a layer in two parameters, gate with up and down. peft turns the names that the
matrices had in transformers 4 into these (``utils/transformers_weight_conversion.py``) and wraps them (``ParamWrapper``).
"""

from collections.abc import Iterator

from tunescope.memory.architecture import Architecture, Experts
from tunescope.memory.families import Family
from tunescope.memory.stack import Stack
from tunescope.problems import FieldError
from tunescope.spec import JobSpec

GATE, UP, DOWN, ROUTER = "mlp.experts.gate", "mlp.experts.up", "mlp.experts.down", "mlp.router"
"""How the experts' matrices and the router stand among a layer's targets."""
SEPARATE_NAMES = ("gate_proj", "up_proj", "down_proj")


def expert_names(family: Family, stack: Stack) -> dict[str, str]:
    """Names in ``target_modules`` -> target. Empty where no name reaches the experts."""
    if not family.mixture:
        return {}
    names = family.expert_names or (SEPARATE_NAMES if stack.transformers == 4 else None)
    return dict(zip((*names, "gate"), (GATE, UP, DOWN, ROUTER), strict=True)) if names else {}


def expert_targets(spec: JobSpec, architecture: Architecture, stack: Stack) -> frozenset[str]:
    """The experts' matrices, and the router, that get adapters."""
    names = expert_names(architecture.traits, stack)
    wanted = spec.adaptation.target_modules
    if wanted == "all-linear":
        return frozenset(names.values())
    return frozenset(target for name, target in names.items() if any(_ends_in(item, name) for item in wanted))


def taken_from_layers(architecture: Architecture, stack: Stack) -> frozenset[str]:
    """Last names that peft takes to mean the experts, so that a dense layer's matrices of that name get no adapter."""
    return frozenset(expert_names(architecture.traits, stack)) if stack.transformers > 4 else frozenset()


def adapter_shapes(
    experts: Experts, hidden: int, targets: frozenset[str], rank: int, stacked: bool
) -> Iterator[tuple[int, int, int]]:
    """(rows, columns, copies) of every adapter matrix of one layer. Gate and up ``stacked`` in one parameter have twice the rank."""
    count, inner = experts.count, experts.intermediate
    if not stacked:
        for target, inputs, outputs in ((GATE, hidden, inner), (UP, hidden, inner), (DOWN, inner, hidden)):
            if target in targets:
                yield rank, inputs, count
                yield outputs, rank, count
    else:
        if GATE in targets:
            yield 2 * rank * count, hidden, 1
            yield 2 * inner, 2 * rank * count, 1
        if DOWN in targets:
            yield rank * count, inner, 1
            yield hidden, rank * count, 1
    if ROUTER in targets:
        yield rank, hidden, 1
        yield count, rank, 1


def refused_adapters(spec: JobSpec, architecture: Architecture, stack: Stack) -> Iterator[FieldError]:
    """What peft raises for adapters on stacked experts, told before a job is queued for it."""
    if spec.adaptation.method != "lora" or not architecture.is_mixture or stack.transformers == 4:
        return
    wanted, family = spec.adaptation.target_modules, architecture.traits
    targets = expert_targets(spec, architecture, stack)
    if (GATE in targets) != (UP in targets):
        gate, up = (family.expert_names or SEPARATE_NAMES)[:2]
        fix = f"name both {gate} and {up}, or neither"
        message = f"{gate} and {up} are one parameter of this model's experts"
        yield FieldError("adaptation.target_modules", message, fix, "experts_are_one", {"gate": gate, "up": up})
    if wanted != "all-linear" and not family.expert_names and any(_ends_in(item, "gate") for item in wanted):
        fix = "leave gate out, or use all-linear"
        message = "peft has no adapter for this model's router, gate"
        yield FieldError("adaptation.target_modules", message, fix, "no_router_adapter")
    if not targets:
        return
    without = "or name only the attention's matrices in target_modules"
    if spec.adaptation.lora_dropout:
        message = "adapters on this model's experts and router take no dropout (peft's ParamWrapper)"
        mend = {"adaptation.lora_dropout": 0}
        fix = f"set it to 0, {without}"
        yield FieldError("adaptation.lora_dropout", message, fix, "no_expert_dropout", patch=mend)
    if spec.adaptation.use_dora:
        message = "adapters on this model's experts and router cannot be DoRA (peft's ParamWrapper)"
        mend = {"adaptation.use_dora": False}
        fix = f"set it to false, {without}"
        yield FieldError("adaptation.use_dora", message, fix, "no_expert_dora", patch=mend)


def takes_no_dropout(spec: JobSpec, architecture: Architecture, stack: Stack) -> bool:
    """Whether adapters where this spec would put them take no dropout."""
    return stack.transformers > 4 and bool(expert_targets(spec, architecture, stack))


def _ends_in(item: str, name: str) -> bool:
    return item == name or item.endswith(f".{name}")
