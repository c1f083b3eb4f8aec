"""Modules that hold other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastconv.nn.module import Module, Value


class _Numbered(Module):
    """Submodules named ``"0"``, ``"1"``, ... or by the keys of a mapping."""

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self.children()))


class Sequential(_Numbered):
    """Modules that are called one after the other.

    Parameters
    ----------
    *modules : Module
        Named ``"0"``, ``"1"``, ...; or one mapping from names to modules.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        named: Iterable[tuple[str, Any]] = ((str(i), m) for i, m in enumerate(modules))
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0].items()
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential takes modules, got {type(module).__name__} as {name!r}: "
                    f"unpack a list with Sequential(*modules)"
                )
            setattr(self, name, module)

    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return list(self.children())[index]

    @property
    def input_ndim(self) -> int | None:
        """That of the first module which has one."""
        return next((m.input_ndim for m in self if m.input_ndim is not None), None)

    def forward(self, x: Value) -> Value:
        """Call the modules in their order."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_Numbered):
    """A list of modules, named ``"0"``, ``"1"``, ...; the module around it calls them.

    Parameters
    ----------
    modules : iterable of Module, optional
        The first elements.

    Examples
    --------
    >>> from fastconv import nn
    >>> len(nn.ModuleList(nn.ReLU() for _ in range(3)).append(nn.Identity()))
    4
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def __getitem__(self, index: int | slice) -> Module:
        found = list(self.children())[index]
        return found if isinstance(found, Module) else ModuleList(found)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end and return this list."""
        if not isinstance(module, Module):
            raise TypeError(f"ModuleList takes modules, got {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self
