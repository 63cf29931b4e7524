"""Results of operators on meta tensors, remembered: layers repeat, and torch works each result out in Python anew."""

from typing import Any

import torch

from worker.tracer.registration import identity

_Key = tuple[Any, ...]
_Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


MOST_REMEMBERED = 20_000
"""Results: some hundred for a model and a recipe, each about a kilobyte."""
RETURNED = ("Tensor", "List[Tensor]")
"""What operators return whose results are remembered."""


class Memoized:
    """Calls an operator on meta tensors, or makes what it returned for inputs of the same layout.

    Only operators whose results are new tensors: no views, nothing in place. The results are empty, as on meta always. They
    depend on nothing else, so that a process needs but one of these: the next trace of a like model finds them known.
    """

    def __init__(self) -> None:
        self._known: dict[_Key, Any] = {}
        self._pure: dict[Any, bool] = {}
        self._in_place: dict[Any, bool] = {}

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pure = self._pure.get(func)
        if pure is None:
            pure = self._pure[func] = _makes_new_tensors(func)
            self._in_place[func] = _works_on_lists_in_place(func)
        if not pure:
            # Lists worked on in place (by optimizers) allocate nothing, and on meta there is nothing to work out.
            nothing = self._in_place[func] and args[0][0].device.type == "meta"
            return None if nothing else func(*args, **kwargs)
        try:
            key = (func, _described(args), _described(tuple(kwargs.items())) if kwargs else None)
            layout = self._known.get(key)
        except TypeError:
            return func(*args, **kwargs)
        if layout is not None:
            return _made(layout)
        out = func(*args, **kwargs)
        if _shares_storage(out, args):
            # Not all views say so in their schema (_unsafe_view).
            self._pure[func] = False
            return out
        layout = _layout_of(out)
        if layout is not None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = layout
        return out


def _makes_new_tensors(func: Any) -> bool:
    schema = func._schema
    aliased = any(item.alias_info is not None for item in (*schema.arguments, *schema.returns))
    return not aliased and bool(schema.returns) and all(str(item.type) in RETURNED for item in schema.returns)


def _works_on_lists_in_place(func: Any) -> bool:
    return not func._schema.returns and func._schema.name.startswith("aten::_foreach")


REMEMBERED = Memoized()
"""That of this process."""


def _shares_storage(out: Any, args: tuple[Any, ...]) -> bool:
    made = [item for item in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(item, torch.Tensor)]
    given = {identity(item.untyped_storage()) for item in args if isinstance(item, torch.Tensor)}
    return any(identity(item.untyped_storage()) in given for item in made)


def _described(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.device.type != "meta":
            raise TypeError("not a meta tensor")
        return value.dtype, value.shape, value.stride()
    if isinstance(value, (tuple, list)):
        return tuple([_described(item) for item in value])
    # Numbers of different types may be equal, and promote differently.
    return type(value), value


def _layout_of(out: Any) -> Any:
    if isinstance(out, torch.Tensor):
        if out.device.type != "meta" or type(out) is not torch.Tensor or out.storage_offset():
            return None
        return tuple(out.shape), out.stride(), out.dtype
    if not isinstance(out, (tuple, list)):
        return None
    layouts = tuple(_layout_of(item) for item in out)
    return None if None in layouts else list(layouts)


def _made(layout: Any) -> Any:
    if isinstance(layout, list):
        return tuple(_made(item) for item in layout)
    shape, stride, dtype = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
