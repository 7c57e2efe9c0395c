"""Which paths a command names, as far as its words say.

A shell line is read as a shell would: quotes, variables, patterns, redirections, ``cd``. What only
running it could tell is left out, or the folder stands for it that is certain. Nothing is run.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

__all__ = ["Named", "candidates", "named_by"]

_MOST_TEXT = 100_000
_MOST_WORDS = 5_000
_MOST_MATCHES = 1_000
"""A pattern that matches more is cut: one file of a folder tells as much as all of them."""
_DEEPEST = 4

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh"))
_WITH_VALUE = re.compile(r"[-+]\w*[oO]|--rcfile|--init-file")
_OPERATORS = ("&>>", "&&", "||", ";;", "<<<", "<<-", "<<", ">>", ">|", ">&", "<&", "<>", "&>")
_MAGIC = re.compile(r"[*?\[]")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)


@dataclass(slots=True)
class Named:
    """The paths that a command names; absolute, whether they exist or not.

    Parameters
    ----------
    paths
        Files and folders, each once, in their order.
    replaced
        Those among them that the shell writes anew before the command starts.
    commands
        The words of each command, what is redirected into it among them, and the folder that it
        runs in; in the order in which they stand, those of a shell's line before the shell.
    sets_path
        Whether a line sets where programs are searched.
    """

    paths: dict[str, None] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    commands: list[tuple[list[str], str]] = field(default_factory=list)
    sets_path: bool = False

    def add(self, word: str, cwd: str) -> str | None:
        """Add a path, as the command would understand it."""
        if not word or "\0" in word or len(self.paths) >= _MOST_WORDS:
            return None
        path = os.path.normpath(os.path.join(cwd, word))  # noqa: PTH118
        self.paths[path] = None
        return path


def named_by(
    command: Any, *, shell: bool = False, cwd: str, environment: Mapping[str, str] | None = None
) -> Named:
    """Find the paths that a command names.

    Parameters
    ----------
    command
        As ``subprocess.Popen`` takes it: a text, a path, or a sequence of them.
    shell
        Whether a shell reads it.
    cwd
        Where it runs, absolute.
    environment
        What variables in a shell line stand for.
    """
    named = Named()
    values = os.environ if environment is None else environment
    if isinstance(command, str | bytes | os.PathLike):
        text = os.fsdecode(command)
        if shell:
            _Line(text, cwd, dict(values), named, 0).read()
        else:
            _read_words([text], cwd, values, named, 0)
    elif isinstance(command, Sequence):
        words = [os.fsdecode(word) for word in islice(command, _MOST_WORDS)]
        if shell and words:
            _Line(words[0], cwd, dict(values), named, 0).read()
        else:
            _read_words(words, cwd, values, named, 0)
    return named


def _read_words(
    words: list[str],
    cwd: str,
    values: Mapping[str, str],
    named: Named,
    depth: int,
    redirected: Sequence[str] = (),
) -> None:
    """Take the words of one command, its own name first."""
    # Not only the first word: a shell may be started by another program (env, nice, timeout).
    shell = next((at for at, word in enumerate(words) if _is_shell(word)), None)
    if shell is not None and depth < _DEEPEST:
        for place, word in enumerate(words[shell + 1 : -1], shell + 1):
            if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
                _Line(words[place + 1], cwd, dict(values), named, depth + 1).read()
                words = words[:place] + words[place + 2 :]
                break
            if word[:1] not in {"-", "+"} and not _WITH_VALUE.fullmatch(words[place - 1]):
                break  # a script, whose arguments are its own
    if words:
        named.commands.append(([*words, *redirected], cwd))
    for place, word in enumerate(words):
        if place == 0 and "/" not in word:
            continue  # a program found by its name
        for candidate in candidates(word):
            named.add(candidate, cwd)


def _is_shell(word: str) -> bool:
    return os.path.basename(word) in _SHELLS  # noqa: PTH119


def candidates(word: str) -> Iterator[str]:
    """Give what in a word may be a path: all of it, or the value of an option."""
    if not word.startswith("-"):
        yield word
    elif not word.startswith("--"):
        yield word[2:]
    if "=" in word:
        yield word.partition("=")[2]
    if word.startswith("@"):
        yield word[1:]


@dataclass(slots=True)
class _Word:
    """A word of a shell line that is being read."""

    text: str = ""
    pattern: str = ""
    """The same with what was quoted made literal, if it has something to match."""
    is_quoted: bool = False
    unknown_from: int | None = None
    """Where in the text something stood that only running the line would tell."""


class _Line:
    """A shell line, read once from beginning to end."""

    def __init__(
        self, text: str, cwd: str, values: dict[str, str], named: Named, depth: int
    ) -> None:
        self._text = text[:_MOST_TEXT]
        self._cwd = cwd
        self._outer: list[str] = []
        self._values = values
        self._named = named
        self._depth = depth
        self._redirected: list[str] = []
        self._at = 0

    def read(self) -> None:
        words: list[str] = []
        redirection = ""
        for part in self._tokens():
            if isinstance(part, _Word):
                if redirection:
                    self._redirect(redirection, part)
                    redirection = ""
                else:
                    words += self._expanded(part)
            elif part[0] in "<>" or part.startswith("&>"):
                redirection = part
            else:
                self._command(words)
                words = []
                if part == "(":
                    self._outer.append(self._cwd)
                elif part == ")" and self._outer:
                    self._cwd = self._outer.pop()
        self._command(words)

    def _command(self, words: list[str]) -> None:
        while words and _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            self._values[name] = value
            self._named.sets_path = self._named.sets_path or name == "PATH"
            self._named.add(value, self._cwd)
        while words and words[0] in {"then", "do", "else", "{", "!", "time", "exec", "if", "while"}:
            words.pop(0)
        if words and words[0] == "cd":
            target = words[1] if len(words) > 1 else self._values.get("HOME", self._cwd)
            self._cwd = os.path.normpath(os.path.join(self._cwd, target))  # noqa: PTH118
            return
        redirected, self._redirected = self._redirected, []
        _read_words(words, self._cwd, self._values, self._named, self._depth, redirected)

    def _redirect(self, operator: str, word: _Word) -> None:
        if operator.startswith("<<"):
            return
        if operator in {">&", "<&"} and (word.text.isdigit() or word.text == "-"):
            return
        for text in self._expanded(word):
            path = self._named.add(text, self._cwd)
            if operator == "<":
                self._redirected.append(text)
            if path is not None and operator in {">", ">|", ">&", "&>"}:
                self._named.replaced.add(path)

    def _expanded(self, word: _Word) -> list[str]:
        text = word.text
        if word.unknown_from is not None:
            # Of results/$name.txt, the folder is certain.
            folder = text[: word.unknown_from].rpartition("/")[0]
            return [folder] if folder else []
        if not word.is_quoted and (text == "~" or text.startswith("~/")):
            text = self._values.get("HOME", "~") + text[1:]
        if _MAGIC.search(word.pattern.replace("[[]", "").replace("[*]", "").replace("[?]", "")):
            found = glob.iglob(word.pattern, root_dir=self._cwd)  # noqa: PTH207 - as the shell would
            return list(islice(found, _MOST_MATCHES)) or [text]
        return [text]

    def _tokens(self) -> Iterator[_Word | str]:
        """Give words, and operators as plain texts."""
        text, end = self._text, len(self._text)
        count = 0
        while self._at < end and count < _MOST_WORDS:
            char = text[self._at]
            if char == "\n":
                self._at += 1
                yield ";"
            elif char.isspace():
                self._at += 1
            elif text.startswith("\\\n", self._at):
                self._at += 2
            elif char == "#":
                self._at = text.find("\n", self._at)
                if self._at < 0:
                    return
            elif char in "|&;()<>":
                operator = next((one for one in _OPERATORS if text.startswith(one, self._at)), char)
                self._at += len(operator)
                yield operator
            else:
                word = self._word()
                is_number = word.text.isdigit() and not word.is_quoted
                if not (is_number and self._at < end and text[self._at] in "<>"):
                    count += 1
                    yield word

    def _word(self) -> _Word:
        text, end = self._text, len(self._text)
        word = _Word()
        quote = ""
        while self._at < end:
            char = text[self._at]
            if quote == "'":
                self._at += 1
                quote = "" if char == "'" else quote
                if quote:
                    _literal(word, char)
            elif char == "\\" and self._at + 1 < end:
                following = text[self._at + 1]
                self._at += 2
                if quote and following not in '$`"\\\n':
                    _literal(word, char)
                if following != "\n":
                    _literal(word, following)
            elif char in {"$", "`"}:
                self._variable(word, quoted=bool(quote))
            elif char == '"' or (char == "'" and not quote):
                self._at += 1
                quote = "" if quote else char
                word.is_quoted = word.is_quoted or not word.text
            elif quote:
                self._at += 1
                _literal(word, char)
            elif char.isspace() or char in "|&;()<>":
                break
            else:
                self._at += 1
                word.text += char
                word.pattern += char
        return word

    def _variable(self, word: _Word, *, quoted: bool) -> None:
        found = _VARIABLE.match(self._text, self._at)
        if found:
            value = self._values.get(found[1] or found[2])
            self._at = found.end()
            if value is not None:
                for char in value:
                    if quoted:
                        _literal(word, char)
                    else:
                        word.text += char
                        word.pattern += char
                return
        else:
            self._substitution()
        if word.unknown_from is None:
            word.unknown_from = len(word.text)

    def _substitution(self) -> None:
        """Read what a command in a command names, and go on behind it."""
        text, start = self._text, self._at
        if text.startswith("$(", start):
            level, at = 1, start + 2
            while at < len(text) and level:
                level += {"(": 1, ")": -1}.get(text[at], 0)
                at += 1
            inside = text[start + 2 : at - 1]
        elif text[start] == "`":
            at = text.find("`", start + 1) + 1 or len(text)
            inside = text[start + 1 : at - 1]
        elif text.startswith("${", start):
            at = text.find("}", start) + 1 or len(text)
            inside = ""
        else:
            at, inside = start + 2, ""
        self._at = at
        if inside and self._depth < _DEEPEST:
            _Line(inside, self._cwd, self._values, self._named, self._depth + 1).read()


def _literal(word: _Word, char: str) -> None:
    word.text += char
    word.pattern += f"[{char}]" if char in "*?[" else char
