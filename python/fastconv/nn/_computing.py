"""How a module computes: compiled behind the scenes, op by op, or recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _cache, cuda
from fastconv._arguments import as_array
from fastconv.cuda._array import is_on_device
from fastconv.graph import Graph
from fastconv.graph._inputs import Inputs, InputShape, argument_names
from fastconv.graph._returned import check, map_values
from fastconv.graph._symbols import Recorder, Symbol
from fastconv.network import Network, compile_module
from fastconv.nn import _attributes
from fastconv.nn._attributes import Attributes
from fastconv.nn._state import Array
from fastconv.ops import reshape

if TYPE_CHECKING:
    from fastconv.network._calls import Compiled

Value = Any
"""What `Module.forward` takes and returns: an array or a symbolic value."""

_eager: ContextVar[bool] = ContextVar("fastconv_eager", default=False)


class Computing(Attributes):
    """A base of `Module`."""

    _compiled: tuple[int, Compiled] | None = None  # the tree's version, and its networks
    _seen = (-1, 0)  # what latest_change was, and the tree's version that was found then

    if TYPE_CHECKING:  # what `Module` has

        @property
        def input_ndim(self) -> int | None: ...
        @property
        def dtype(self) -> np.dtype[Any] | None: ...
        def named_modules(self) -> Iterator[tuple[str, Computing]]: ...
        def state_dict(self) -> dict[str, Array]: ...

    def forward(self, *args: Value, **kwargs: Value) -> Value:
        """Compute the output; every subclass that is called defines it.

        It takes arrays, by place or by name, and returns one, or a tuple, list or dict of them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Value, **kwargs: Value) -> Value:
        """Compute the output, compiled behind the scenes.

        Parameters
        ----------
        *args, **kwargs : array_like
            Inputs of the parameters' dtype, as `forward` takes them. Networks and image layers
            take ``(N, C, H, W)``; for ``(C, H, W)`` the result is unbatched too.

        Returns
        -------
        ndarray, or tuple, list or dict of ndarray
            What ``forward(*args, **kwargs)`` returns.

        Raises
        ------
        TypeError
            If an input has another dtype than the parameters.
        """
        for arg in args:
            if isinstance(arg, Symbol):
                return self._recorded(arg.graph, args, kwargs)
        if kwargs:
            for arg in kwargs.values():
                if isinstance(arg, Symbol):
                    return self._recorded(arg.graph, args, kwargs)
        if _eager.get():
            return self.forward(*args, **kwargs)
        kept = self._compiled  # one attribute: other threads may be replacing it
        if kept is None or kept[0] != self._tree_version():
            kept = self._renewed()
        return self._batched(functools.partial(kept[1], self), args, kwargs)

    def _recorded(
        self, graph: Recorder, args: tuple[Value, ...], kwargs: Mapping[str, Value]
    ) -> Value:
        """Call `forward` on symbolic values, and tell their recorder."""
        graph.enter_module(self)
        y = self.forward(*args, **kwargs)
        graph.mark_module(self, y)
        return y

    def _renewed(self) -> tuple[int, Compiled]:
        """Return where networks of this module as it is now are kept, and its version."""
        from fastconv.network._calls import Compiled  # here, as import fastconv must stay fast

        with _cache.making:  # once for all threads
            version, kept = self._tree_version(), self._compiled
            if kept is None or kept[0] != version:
                kept = self._compiled = version, Compiled()
            return kept

    def eager(self, *args: Value, **kwargs: Value) -> Value:
        """Compute the output op by op, without compiling: to print and to debug `forward`."""

        def forward(arrays: Sequence[Any], keywords: tuple[str, ...]) -> Value:
            return Inputs((), keywords).call(self.forward, list(map(_protected, arrays)))

        token = _eager.set(True)
        try:
            return self._batched(forward, args, kwargs)
        finally:
            _eager.reset(token)

    def compile(
        self,
        input_shape: InputShape,
        *,
        threads: int | None = None,
        device: str = "cpu",
        precision: str | None = None,
        accuracy: str = "fast",
        autotune: bool = False,
        max_workspace: int | None = None,
        taps: Sequence[str] = (),
        keep_weights: bool = True,
    ) -> Network:
        """Compile this module for inputs of one shape; see `fastconv.network.compile_module`."""
        return compile_module(
            self,
            input_shape,
            threads=threads,
            device=device,
            precision=precision,
            accuracy=accuracy,
            autotune=autotune,
            max_workspace=max_workspace,
            taps=taps,
            keep_weights=keep_weights,
        )

    def graph(self, input_shape: InputShape) -> Graph:
        """Record `forward` on inputs of these shapes, without computing, and return its graph.

        Parameters
        ----------
        input_shape : sequence of int, or sequence or mapping of such
            Usually (N, C, H, W). Without a batch one of size 1 is added. Of several inputs a shape
            for each, in the order of `forward`'s arguments or by their names.

        Returns
        -------
        fastconv.Graph
            Its nodes can be looked at; printed, it is a table; `fastconv.Graph.save` draws it.

        Raises
        ------
        TypeError, ValueError
            If `input_shape` is no shape, or `forward` does not take it or cannot be recorded.

        Examples
        --------
        >>> import fastconv
        >>> graph = fastconv.create_model("lenet5").graph((1, 1, 32, 32))
        >>> [node.op for node in graph if not node.is_constant][:4]
        ['input', 'conv2d', 'activation', 'avg_pool2d']
        """
        from fastconv.graph._recording import record  # here, as import fastconv must stay fast

        return record(self, input_shape).graph()

    def _batched(
        self,
        function: Callable[[Sequence[Any], tuple[str, ...]], Value],
        args: tuple[Value, ...],
        kwargs: Mapping[str, Value],
    ) -> Value:
        """Check the inputs' dtype, then call `function` with a batch dimension where one lacks.

        It is called with all inputs, in the order of `forward`'s arguments, and the names of those
        that were passed by name.
        """
        names = argument_names(self, len(args), tuple(kwargs))
        keywords = names[len(args) :]
        given = [*args]
        if keywords:
            given += [kwargs[name] for name in keywords]
        if not given:
            raise TypeError(f"{type(self).__name__} takes at least one array, got none")
        arrays: list[Any]
        if on_device := any(map(is_on_device, given)):
            if not all(map(is_on_device, given)):
                raise TypeError(
                    "some inputs are on a CUDA device and some are not: "
                    "pass all of them there, with fastconv.cuda.asarray"
                )
            arrays = [cuda.asarray(arg) for arg in given]
        else:
            arrays = list(map(as_array, names, given))
        dtype = self.dtype
        for name, array in zip(names, arrays, strict=True):
            if dtype is not None and array.dtype != dtype:
                raise TypeError(
                    f"the input {name} has dtype {array.dtype}, but the parameters of "
                    f"{type(self).__name__} have {dtype}: pass {name}.astype(np.{dtype}), "
                    f"or convert the parameters once with .astype(...)"
                )
        ndim = self.input_ndim
        if ndim is None or any(array.ndim != ndim - 1 for array in arrays):
            return function(arrays, keywords)
        batches = [reshape(a, (1, *a.shape)) if on_device else a[None] for a in arrays]
        y = function(batches, keywords)
        check(type(self).__name__, y, (np.ndarray, cuda.Array))
        return map_values(lambda v: reshape(v, v.shape[1:]) if on_device else v[0], y)

    def _tree_version(self) -> int:
        """Return a number that grows with every change of this module or one below it."""
        latest = _attributes.latest_change
        change, version = self._seen  # one attribute: other threads may be replacing it
        if change != latest:
            modules = [module for _, module in self.named_modules()]
            for module in modules:
                module._refuse_hidden()
            version = max(module._version for module in modules)
            self._seen = latest, version
        return version


def _protected(array: Any) -> Any:
    """Return a view of the caller's array that `forward` cannot write to."""
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array
