"""Modules that hold other modules, and what dictionaries of modules and parameters share."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Generic, TypeVar

from fastconv.nn.module import Module, Value

_Self = TypeVar("_Self", bound="_Numbered")
_Item = TypeVar("_Item")


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


class _Keyed(Module, Generic[_Item]):
    """Modules or parameters by their names, changed as a dictionary is."""

    def _all(self) -> dict[str, _Item]:
        raise NotImplementedError

    def _checked(self, value: Any) -> Any:
        """Return `value`, if this dictionary may hold it."""
        raise NotImplementedError

    def __getitem__(self, key: str) -> _Item:
        return self._all()[key]

    def __setitem__(self, key: str, value: _Item) -> None:
        self._check_name(key, self._all())
        setattr(self, key, self._checked(value))

    def __delitem__(self, key: str) -> None:
        self[key]  # a KeyError where there is none
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __contains__(self, key: object) -> bool:
        return key in self._all()

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._all().keys()

    def values(self) -> ValuesView[_Item]:
        """Return the modules or parameters."""
        return self._all().values()

    def items(self) -> ItemsView[str, _Item]:
        """Return the names and what they stand for."""
        return self._all().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return what has this name, or `default`."""
        return self._all().get(key, default)

    def pop(self, key: str) -> _Item:
        """Remove what has this name and return it."""
        item = self[key]
        del self[key]
        return item

    def clear(self) -> None:
        """Remove all."""
        for key in self._all():
            del self[key]

    def update(
        self, items: Mapping[str, _Item] | Iterable[tuple[str, _Item]] | _Keyed[_Item]
    ) -> None:
        """Add what a mapping or pairs of names and items have; the same names are replaced."""
        try:
            given = dict(items)
        except (TypeError, ValueError):
            raise TypeError(
                f"{type(self).__name__} takes a mapping from names, or pairs of a name and a "
                f"value, got {type(items).__name__}"
            ) from None
        for key, item in given.items():
            self[key] = item


class ModuleDict(_Keyed[Module]):
    """A dictionary of modules; the module around it calls them.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional
        The first items.

    Examples
    --------
    >>> from fastconv import nn
    >>> heads = nn.ModuleDict({"classes": nn.Linear(8, 10)})
    >>> heads["boxes"] = nn.Linear(8, 4)
    >>> heads
    ModuleDict(
      (classes): Linear(in_features=8, out_features=10, bias=True)
      (boxes): Linear(in_features=8, out_features=4, bias=True)
    )
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        self.update(() if modules is None else modules)

    def _all(self) -> dict[str, Module]:
        return dict(self.named_children())

    def _checked(self, value: Any) -> Any:
        if not isinstance(value, Module):
            raise TypeError(f"ModuleDict takes modules, got {type(value).__name__}")
        return value
