"""Patterns of ``.gitignore`` and ``.gitattributes``, which match just what git lets them match.

A helper of :mod:`asset_provenance.capture.trees`. The rules are those of *gitignore(5)* and
*gitattributes(5)*.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Attributes", "Patterns", "read_attributes", "read_ignored"]

Attributes = dict[str, str | bool | None]
"""By name: a value, set (true), unset (false), or as if never named (None)."""

_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


_STAR = "[^/]*"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a file of patterns.

    Parameters
    ----------
    expression
        What it matches: names, or paths below the folder of its file.
    is_of_names
        Whether it looks at the last part of a path only.
    only_folders
        Whether it is for folders.
    is_negative
        Whether it takes in again what an earlier one left out.
    attributes
        What it gives to the files that it matches.
    """

    expression: str
    is_of_names: bool
    only_folders: bool = False
    is_negative: bool = False
    attributes: Attributes = field(default_factory=dict)


class Patterns:
    """The patterns of one file.

    Names and paths are texts of one character a byte, since git matches bytes.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._by_strength = [(re.compile(each.expression, re.DOTALL), each) for each in patterns]
        self._by_strength.reverse()
        # Most entries match nothing, and learn so at once.
        self._names = _any_of(each.expression for each in patterns if each.is_of_names)
        self._paths = _any_of(each.expression for each in patterns if not each.is_of_names)

    def matching(self, path: str, name: str, *, is_folder: bool) -> Iterator[Pattern]:
        """Give the patterns that match an entry, the strongest first.

        Parameters
        ----------
        path, name
            Its path below the folder of the patterns, and its last part.
        is_folder
            Whether it is one.
        """
        if not (self._names(name) or self._paths(path)):
            return
        for expression, pattern in self._by_strength:
            if (is_folder or not pattern.only_folders) and expression.fullmatch(
                name if pattern.is_of_names else path
            ):
                yield pattern


def _any_of(expressions: Iterable[str]) -> Callable[[str], object]:
    several = [f"(?:{each})" for each in expressions]
    return re.compile("|".join(several) or "(?!)", re.DOTALL).fullmatch


def _lines(content: bytes) -> Iterator[str]:
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        yield line.removesuffix(b"\r").decode("latin-1")


def read_ignored(content: bytes) -> Patterns:
    """Read a ``.gitignore``: the strongest pattern that matches an entry decides on it."""
    found: list[Pattern] = []
    for line in _lines(content):
        if not line.startswith("#"):
            glob = re.sub(r"^((?:\\.|[^\\])*?) +$", r"\1", line)
            is_negative = glob.startswith("!")
            found += _pattern(glob[is_negative:], is_negative=is_negative)
    return Patterns(found)


def read_attributes(content: bytes) -> Patterns:
    """Read a ``.gitattributes``: of each attribute, the strongest pattern that has it decides."""
    found: list[Pattern] = []
    for raw in _lines(content):
        line = raw.lstrip(" \t")
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"', line)
        if quoted:
            glob, given = _unquoted(quoted[1]), line[quoted.end() :]
        else:
            glob, given = (*line.split(None, 1), "", "")[:2]
        # Macros are not looked into; a pattern for folders matches no file.
        if glob and not glob.startswith(("#", "!", "[attr]")) and not glob.endswith("/"):
            found += _pattern(glob, attributes=_attributes(given))
    return Patterns(found)


def _unquoted(text: str) -> str:
    signs = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

    def plain(found: re.Match[str]) -> str:
        sign = found[1]
        return chr(int(sign, 8) & 255) if sign[0].isdigit() else signs.get(sign, sign)

    return re.sub(r"\\([0-7]{3}|.)", plain, text)


def _attributes(text: str) -> Attributes:
    given: Attributes = {}
    for word in text.split():
        if word == "binary":
            given["text"] = False
        elif word.startswith("-"):
            given[word[1:]] = False
        elif word.startswith("!"):
            given[word[1:]] = None
        else:
            name, equals, value = word.partition("=")
            given[name] = value if equals else True
    return given


def _pattern(
    glob: str, *, is_negative: bool = False, attributes: Attributes | None = None
) -> Iterator[Pattern]:
    only_folders = glob.endswith("/")
    glob = glob.removesuffix("/")
    expression = _expression(glob.removeprefix("/"))
    if glob.removeprefix("/") and expression is not None:
        yield Pattern(expression, "/" not in glob, only_folders, is_negative, attributes or {})


def _expression(glob: str) -> str | None:
    """Make a regular expression of a pattern; None of one that matches nothing."""
    out: list[str] = []
    at, end = 0, len(glob)
    # Git compares what comes before as plain text, and takes the rest for a pattern of its own.
    first = next((index for index, sign in enumerate(glob) if sign in "*?[\\"), end)
    while at < end:
        sign = glob[at]
        if sign == "\\":
            if at + 1 == end:
                return None
            out.append(re.escape(glob[at + 1]))
            at += 2
        elif sign == "?":
            out.append("[^/]")
            at += 1
        elif sign == "[":
            found = _bracket(glob, at)
            if found is None:
                return None
            text, at = found
            out.append(text)
        elif sign == "*":
            start = at
            while at < end and glob[at] == "*":
                at += 1
            is_part = at - start > 1 and (start in (0, first) or glob[start - 1] == "/")
            if is_part and at < end and glob[at] == "/":
                out.append("(?:.*/)?")
                at += 1
            elif is_part and at == end:
                out.append(".*")
            else:
                out.append(_STAR)
        else:
            out.append(re.escape(sign))
            at += 1
    return _joined(out)


def _joined(parts: Sequence[str]) -> str:
    """Join the parts of an expression so that no name, however long, makes it try for ever.

    What stands between two stars of one name is best taken where it comes first, and need not be
    looked for further on: the second star takes all that is left.
    """
    out: list[str] = []
    since = None
    for part in parts:
        if part == _STAR:
            if since is not None:
                out[since:] = [f"(?>[^/]*?{''.join(out[since + 1 :])})"]
            since = len(out)
        elif part == "/" or "/)" in part or part == ".*":
            since = None
        out.append(part)
    return "".join(out)


def _bracket(glob: str, at: int) -> tuple[str, int] | None:
    """Translate the set that begins there; give where it ends. None if it does not."""
    at += 1
    is_negative = glob.startswith(("!", "^"), at)
    at += is_negative
    items: list[str] = []
    first = True
    while True:
        sign = glob[at : at + 1]
        if sign == "":
            return None
        if sign == "]" and not first:
            break
        first = False
        if glob.startswith("[:", at):
            stop = glob.find(":]", at)
            if stop > 0:
                known = _POSIX_CLASSES.get(glob[at + 2 : stop])
                if known is None:
                    return None
                items.append(known)
                at = stop + 2
                continue
        low, at = _member(glob, at)
        if low is None:
            return None
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("]", ""):
            high, at = _member(glob, at + 1)
            if high is None:
                return None
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    inside = "".join(items)
    if is_negative:
        return f"[^/{inside}]", at + 1
    # A set never matches a slash.
    return (f"(?!/)[{inside}]" if inside else "(?!)"), at + 1


def _member(glob: str, at: int) -> tuple[str | None, int]:
    if glob[at] == "\\":
        return (glob[at + 1], at + 2) if at + 1 < len(glob) else (None, at)
    return glob[at], at + 1
