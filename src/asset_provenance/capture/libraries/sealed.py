"""Methods of classes written in C, which Python refuses to have replaced."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Sealed"]


class Sealed:
    """A class of C as :class:`~asset_provenance.patching.Patches` can patch it.

    Some libraries make objects of their own in C, so that no subclass could take the place of
    the class. What is done here is what ``setattr`` does with a class that may be changed: the
    entry in its dictionary is set, and what the interpreter remembers of the class forgotten.
    Special methods have slots in C besides and are left alone.

    Parameters
    ----------
    sealed
        The class.
    """

    __slots__ = ("_names", "_sealed")

    def __init__(self, sealed: type) -> None:
        found = gc.get_referents(vars(sealed))
        if sys.implementation.name != "cpython" or len(found) != 1 or type(found[0]) is not dict:
            raise TypeError(f"{sealed.__name__} cannot be patched with this Python")
        object.__setattr__(self, "_sealed", sealed)
        object.__setattr__(self, "_names", found[0])

    @property
    def __dict__(self) -> Mapping[str, Any]:  # type: ignore[override]
        names: Mapping[str, Any] = vars(self._sealed)
        return names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sealed, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._names[name] = value
        self._forget()

    def __delattr__(self, name: str) -> None:
        del self._names[name]
        self._forget()

    def _forget(self) -> None:
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(self._sealed))
