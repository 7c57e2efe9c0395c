"""What is replaced in the running program while an asset is open, and put back afterwards."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import wrapt

__all__ = ["Patches", "names_in"]

_log = logging.getLogger("asset_provenance")

_MISSING = object()
_waiting: dict[str, list[Callable[[ModuleType], None]]] = {}
"""By module, what the open patches want done with it; kept here, since wrapt forgets no hook."""


class Patches:
    """Replacements of attributes that are put back together, in reverse order."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any]] = []
        self._hooks: list[tuple[str, Callable[[ModuleType], None]]] = []
        self._waiting: dict[int, tuple[Any, Any]] = {}
        self._is_collecting = False

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace an attribute of a module or class by what ``make`` makes of it.

        Parameters
        ----------
        owner, name
            Whose attribute; nothing happens where there is none of that name, since libraries
            differ from version to version.
        make
            Given what the attribute holds (of a class, as its dictionary has it), gives what
            takes its place.
        """
        present = getattr(owner, name, _MISSING)
        if present is _MISSING:
            return
        own = vars(owner).get(name, _MISSING)
        replacement = make(present if own is _MISSING else own)
        setattr(owner, name, replacement)
        self._done.append((owner, name, own, replacement))

    def replace_everywhere(self, module: Any, name: str, replacement: Any) -> None:
        """Replace a function of a module, also where others hold it by a name of their own.

        Parameters
        ----------
        module, name
            Where the function is.
        replacement
            What takes its place.
        """
        original = getattr(module, name)
        self.wrap(module, name, lambda _original: replacement)
        self._waiting[id(original)] = original, replacement
        if not self._is_collecting:
            self._look_through_modules()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Look only once through all modules, for all that is replaced in the block."""
        self._is_collecting = True
        try:
            yield
        finally:
            self._is_collecting = False
            self._look_through_modules()

    def _look_through_modules(self) -> None:
        wanted, self._waiting = self._waiting, {}
        for module in tuple(sys.modules.values()) if wanted else ():
            names = names_in(module)
            # There are very many names, and most modules hold none: that is found out in C.
            if wanted.keys().isdisjoint(map(id, tuple(names.values()))):
                continue
            for key in [key for key, value in tuple(names.items()) if id(value) in wanted]:
                self.wrap(module, key, lambda held: wanted[id(held)][1])

    def when_imported(self, module: str, hook: Callable[[ModuleType], None]) -> None:
        """Have a module patched: now, if it is loaded, else as soon as it is.

        A hook that fails costs what it would have seen, and never the import.
        """
        if module not in _waiting:
            _waiting[module] = []
            wrapt.register_post_import_hook(_imported, module)
        _waiting[module].append(hook)
        self._hooks.append((module, hook))
        loaded = sys.modules.get(module)
        if loaded is not None:
            _run(hook, loaded)

    def undo(self) -> None:
        """Put everything back, but for what somebody else has replaced since."""
        # Whoever is interrupted in this can begin it anew.
        for module, hook in self._hooks:
            with suppress(ValueError):
                _waiting[module].remove(hook)
        self._hooks.clear()
        while self._done:
            owner, name, own, replacement = self._done[-1]
            if vars(owner).get(name, _MISSING) is replacement:
                if own is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)
            self._done.pop()


_names: Any = vars(ModuleType)["__dict__"]


def names_in(module: Any) -> dict[str, Any]:
    """Give the names of a module as they are: one that loads when it is used is not to load."""
    if not issubclass(type(module), ModuleType):  # some things among the modules only say they are
        return {}
    names: dict[str, Any] = _names.__get__(module)
    return names


def _imported(module: ModuleType) -> None:
    for hook in tuple(_waiting.get(module.__name__, ())):
        _run(hook, module)


def _run(hook: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        hook(module)
    except Exception as error:  # noqa: BLE001 - a library may be of any version
        _log.warning(
            "files that %s opens will not be seen (%s); declare them with inputs= and outputs=",
            module.__name__,
            type(error).__name__,
        )
