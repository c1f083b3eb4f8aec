"""Modules that hold other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from fastconv.nn.module import Module, Value

_Self = TypeVar("_Self", bound="_Numbered")


class _Numbered(Module):
    """Submodules named ``"0"``, ``"1"``, ... or by the keys of a mapping; changed as a list is."""

    def __len__(self) -> int:
        return len(self._named())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self.named_children()])

    def __setitem__(self, index: int, module: Module) -> None:
        if isinstance(index, slice):
            raise TypeError("one module is assigned at a time: an index must be an integer")
        setattr(self, self._named()[index][0], self._checked(module))

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index]
        self._set(modules)

    def __iadd__(self: _Self, modules: Iterable[Module]) -> _Self:
        return self.extend(modules)

    def append(self: _Self, module: Module) -> _Self:
        """Add a module at the end and return this container."""
        return self.extend([module])

    def extend(self: _Self, modules: Iterable[Module]) -> _Self:
        """Add modules at the end and return this container."""
        added = [self._checked(module) for module in modules]
        for i, module in enumerate(added, len(self)):
            self.add_module(self._free(str(i)), module)
        return self

    def insert(self: _Self, index: int, module: Module) -> _Self:
        """Add a module before the one of this index and return this container."""
        modules = list(self)
        modules.insert(index, self._checked(module))
        self._set(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Remove the module of this index and return it."""
        module = list(self)[index]
        del self[index]
        return module

    def _named(self) -> list[tuple[str, Module]]:
        return list(self.named_children())

    def _checked(self, module: Any) -> Module:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} takes modules, got {type(module).__name__}")
        return module

    def _free(self, name: str) -> str:
        if name in vars(self):
            raise ValueError(f"{self._path(name)} exists: add it by add_module(name, module)")
        return name

    def _set(self, modules: list[Module]) -> None:
        """Hold these modules instead, numbered anew."""
        named = self._named()
        if [name for name, _ in named] != [str(i) for i in range(len(named))]:
            raise ValueError(
                f"the modules of this {type(self).__name__} have names, not numbers: build a new "
                f"one of a mapping from names to modules"
            )
        for name, _ in named:
            delattr(self, name)
        for i, module in enumerate(modules):
            setattr(self, str(i), module)


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

    def __add__(self, modules: Iterable[Module]) -> Sequential:
        return Sequential(*self, *modules)

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

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(() if modules is None else modules)

    def __add__(self, modules: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *modules])

    def __getitem__(self, index: int | slice) -> Module:
        found = list(self.children())[index]
        return found if isinstance(found, Module) else ModuleList(found)
