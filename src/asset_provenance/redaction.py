"""Secrets are taken out of names, texts, command lines and URLs before anything is recorded.

Secrets are known by the name they go under and by their form. Where the two leave room for doubt
the text is redacted: a lost word costs little, a leaked token a lot. Every expression works in
linear time: starts are kept apart by look-behinds, and runs are possessive or bounded.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

__all__ = [
    "REDACTED",
    "clean_url",
    "contains_secret",
    "is_secret_name",
    "redact_arguments",
    "redact_json",
    "redact_text",
]

REDACTED = "[redacted]"
"""What stands where a secret was."""

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
# What is secret wherever it stands in a name. Two neighbouring words are also looked at glued.
_SECRET_WORD = re.compile(
    r"\w*(?:password|passwd|passphrase)s?|pwd|pw|passcode|bearer|jwt|token|secrets?|credentials?|creds"
    r"|(?:access|account|api|auth|custom|deploy|encryption|private|secret|signing|ssh)keys?"
    r"|subscriptionkeys?"
    r"|(?:access|api|auth|bearer|client|github|gitlab|refresh|session)tokens?|(?:github|gitlab)pat"
)
# Secret as what a name is about (`http_auth`), not as what it speaks of (`auth_method`).
_SECRET_LAST_WORD = re.compile(r"auth|authori[sz]ation|cookies?")
_SIGNATURES = frozenset(("sig", "signature"))  # secret in a query only
_NAME_HINT = re.compile(r"(?i)pass|pwd|pw|jwt|bearer|token|secret|cred|auth|cookie|key|pat")
# Options that ask for something rather than give it: the next word is not a secret.
_SWITCH = re.compile(r"-{1,2}(?:no|ask|use)[-_]")
_LITERAL = re.compile(r"(?i)true|false|none|null")
# Values that say where a secret comes from: placeholders, variables, code.
_HARMLESS = re.compile(
    r"(?i:true|false|none|null)|\*+|\.{3}|\$\{?[A-Z_][A-Z0-9_]*\}?|<[A-Za-z_ \-]+>"
    r"|os\.(?:environ|getenv)\b[\w.\[\]()\"']*|(?:getpass|(?:self|cls|args|config|settings)\.)[\w.()]*"
)
_TYPE = r"(?:str|bytes|bool|int|float|Any|SecretStr|Optional\[\w+\])(?![\w.\-])"

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_USERINFO = re.compile(
    r"://(?:([^\s/?#\"<>]+)@"
    # A password with a bare slash in it; a port followed by a path is none.
    r"|([^\s/?#\"<>@:\[]*+:(?!\d*(?:[/?#\s]|\Z))[^\s@]{0,100})@)"
)
_QUERY = re.compile(r"([?&](?:amp;)?)([\w.%\-]++)=([^&\s\"'<>]+)")
_SESSION = re.compile(r"(?i)(;(?:j|php)sessid=|;jsessionid=)[^\s?&#;\"'<>]++")
_LONG_KEY = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[\w\-]{16,}")
# What curl, wget and the like take as user and password; lftp has a comma between them.
_USER_OPTION = re.compile(
    r"(?<![\w\-])(-u|--(?:proxy-)?user)([ \t]++|=)"
    r"(?:([\"'])([^\s:,\"']{1,100}[:,])((?:(?!\3).)++)|([^\s:,=\"']{1,100}[:,])(?!//)([^\s\"']++))"
)
_USER_OPTIONS = frozenset(("-u", "--user", "--proxy-user"))
_USER = re.compile(r"([^\s:,=]{1,100}[:,])(?!//)(.+)", re.DOTALL)
_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # Centre-of-pressure variables are called cop_, too: digits or sheer length make the token.
    r"cop_(?:[A-Za-z0-9]{20,}|(?=[A-Za-z]{0,40}[0-9])[A-Za-z0-9]{8,})[\w\-]*+"
    r"|gh[pousr]_[A-Za-z0-9]{10,}|github_pat_\w{10,}|glpat-[\w\-]{10,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|xox[a-z]-[\w\-]{8,}|AIza[\w\-]{30,}|hf_[A-Za-z0-9]{24,}|npm_[A-Za-z0-9]{30,}"
    r"|pypi-[\w\-]{40,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|(?<![\w\-])sk-(?:[A-Za-z0-9]{16,}|(?=[\w\-]{0,80}[0-9])(?=[\w\-]{0,80}[A-Z])[\w\-]{20,})[\w\-]*+"
    r"|(?<![\w\-])eyJ[\w\-]{5,}+(?:\.[\w\-]{5,}+){2,4}"
    r")"
)
_FORM_HINT = re.compile(
    r"cop_|gh._|github_pat_|glpat-|A[KS]IA|xox|AIza|hf_|npm_|pypi-|[rs]k[-_]|eyJ"
)
_HEADER = re.compile(
    r"(?i)(?<!\w)((?:proxy-)?authorization|(?:set-)?cookie)([\"']?[ \t]*+:[ \t]*+)([^\r\n\"']+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)([ \t]++)([\w.~+/=\-]{6,}+)")
_NAMED = re.compile(
    r"(?<![\w.?&\-])([\w.\-]++)(?:"
    r"(\\?[\"']?\]?[ \t]*+"
    rf"(?::[ \t]*+{_TYPE}(?:[ \t]*+\|[ \t]*+None)?[ \t]*+=|:=|=>|=(?!=)|:(?!:|//))[ \t]*+)"
    r"|[ \t]++(?!-)(?=\S))"
)
_QUOTED = re.compile(
    r"([bBrRuUfF]{0,2}(\"\"\"|'''|\\\"|\\'|\"|'))((?:(?!\2)(?:\\.|[^\\]))*+)", re.DOTALL
)
_PLAIN = re.compile(
    r"(?:(?:bearer|basic|token|digest|negotiate)[ \t]++)?"
    # Ends before the next `name=` and before a quote that closes what all this stands in.
    r"(?:(?![;&,][ \t]{0,8}[\w.\-]{1,80}=)(?!\\?[\"'](?:[\s,;:\]})]|\Z))\S)++",
    re.IGNORECASE,
)
_BRACKET = re.compile(r"[\[\](){}]")
_TRAILING = ",;:)]}"


def is_secret_name(name: str) -> bool:
    """Say whether what goes under this name is a secret.

    Parameters
    ----------
    name
        Name of a parameter, variable, option or header, in any spelling.

    Returns
    -------
    bool
        True for ``api_key``, ``githubToken``, ``--password``; false for ``n_tokens``, ``bandpass``.
    """
    return _is_secret(name) if len(name) <= 100 else _judge(name)


def _judge(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    glued = itertools.chain(words, (first + second for first, second in itertools.pairwise(words)))
    return bool(_SECRET_LAST_WORD.fullmatch(words[-1])) or any(map(_SECRET_WORD.fullmatch, glued))


_is_secret = lru_cache(maxsize=4096)(_judge)


def redact_text(text: str) -> str:
    """Take out of a text what has the form of a secret, and leave the rest readable.

    Parameters
    ----------
    text
        Any text: prose, a URL, a command line, JSON, source code.

    Returns
    -------
    str
        The text with ``[redacted]`` where secrets were.
    """
    if "-----BEGIN " in text:
        text = _PEM.sub(REDACTED, text)
    if "://" in text:
        text = _USERINFO.sub(_redact_userinfo, text)
    if ";" in text and "=" in text:
        text = _SESSION.sub(rf"\1{REDACTED}", text)
    if "=" in text and ("?" in text or "&" in text):
        text = _QUERY.sub(_redact_query, text)
    if len(text) > 12 and _FORM_HINT.search(text):
        text = _FORMS.sub(REDACTED, text)
    if " " in text or ":" in text or "=" in text or "\t" in text:
        text = _SCHEME.sub(_redact_scheme, text)
        if "-u" in text:
            text = _USER_OPTION.sub(partial(_redact_user_option, "lftp" in text), text)
        if _NAME_HINT.search(text):
            text = _redact_named(_HEADER.sub(rf"\1\2{REDACTED}", text))
    return text


def redact_json(value: object) -> Any:
    """Give a value as JSON free of secrets; what is no JSON is given as the name of its type."""
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED
            if is_secret_name(str(key)) and isinstance(item, str | bytes)
            else redact_json(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return type(value).__name__


def contains_secret(text: str | bytes) -> bool:
    """Say whether a text holds anything that :func:`redact_text` takes out.

    Parameters
    ----------
    text
        Text, or the bytes of a file.

    Returns
    -------
    bool
        True when the text must not be kept as it is.
    """
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return redact_text(text) != text


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Take the secrets out of a command line.

    Parameters
    ----------
    arguments
        The command line, an item a word.

    Returns
    -------
    list of str
        As many items, those of ``--token abc``, ``--token=abc`` and ``TOKEN=abc`` redacted.
    """
    result: list[str] = []
    value_follows = False
    for index, argument in enumerate(arguments):
        follows_user = index > 0 and arguments[index - 1] in _USER_OPTIONS
        if follows_user and (user := _USER.fullmatch(argument)):
            result.append(_without_password(user[1], user[2], "lftp" in arguments[0]))
            value_follows = False
            continue
        is_value = value_follows and not re.match(r"--|-.\Z", argument)
        value_follows = False
        if is_value and not _LITERAL.fullmatch(argument):
            result.append(REDACTED if argument else argument)
            continue
        name, equals, value = argument.partition("=")
        is_name = re.fullmatch(r"[\w.\-]+", name) is not None
        if equals and is_name and is_secret_name(name):
            keep = not value or _LITERAL.fullmatch(value)
            result.append(argument if keep else f"{name}={REDACTED}")
            continue
        value_follows = (
            not equals
            and is_name
            and argument.startswith("-")
            and is_secret_name(name)
            and not _SWITCH.match(argument)
        )
        result.append(redact_text(argument))
    return result


def clean_url(url: str) -> str:
    """Make the URL of a git remote one that others can open.

    Parameters
    ----------
    url
        A remote as git has it: ``https://token@host/path.git``, ``git@host:path``, a local path.

    Returns
    -------
    str
        ``https://host/path`` without user, token, query and ``.git``. A port stays with HTTP
        only, where it is needed to reach the host. Local paths stay, without credentials.
    """
    text = redact_text(url.strip())
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower().removeprefix("git+")
    if mark and scheme == "file":
        authority, slash, path = rest.partition("/")
        return f"file://{authority.rpartition('@')[2]}{slash}{path}"
    if mark:
        end = re.search(r"[/?#]", rest)
        authority = rest[: end.start()] if end else rest
        path = rest[end.start() :] if end else ""
    else:
        # As git does: a colon before any slash means another host, but for a Windows drive.
        remote = re.match(
            r"((?:[^/\\]*@)?(?:\[[^\]]*\]|[^:/\\\s@\[]{2,})):(?!:)(.*)", text, re.DOTALL
        )
        if not remote:
            return text
        scheme, authority, path = "ssh", remote[1], remote[2]
    found = re.match(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5})$)?", authority.rpartition("@")[2])
    host, port = (found[1].lower(), found[2]) if found else ("", None)
    if not host:
        return text
    if scheme in ("ssh", "git"):
        scheme, port = "https", None
    if port and port == {"http": "80", "https": "443"}.get(scheme):
        port = None
    path = re.split(r"[?#]", path, maxsplit=1)[0].strip("/").removesuffix(".git").rstrip("/")
    return f"{scheme}://{host}" + (f":{port}" if port else "") + (f"/{path}" if path else "")


def _redact_userinfo(match: re.Match[str]) -> str:
    user = match[1] or match[2]
    if ":" not in user and "@" not in user:
        before = match.string[max(0, match.start() - 4) : match.start()].lower()
        if user == "git" or before.endswith(("ssh", "sftp")):
            return match[0]
    return f"://{REDACTED}@"


def _redact_query(match: re.Match[str]) -> str:
    words = _WORD.findall(match[2])
    is_key = match[2].lower() == "key" and _LONG_KEY.fullmatch(match[3])
    if is_key or is_secret_name(match[2]) or (words and words[-1].lower() in _SIGNATURES):
        return f"{match[1]}{match[2]}={REDACTED}"
    return match[0]


def _redact_user_option(is_lftp: bool, match: re.Match[str]) -> str:
    user, password = match[4] or match[6], match[5] or match[7]
    return f"{match[1]}{match[2]}{match[3] or ''}{_without_password(user, password, is_lftp)}"


def _without_password(user: str, password: str, is_lftp: bool) -> str:
    by_number = user[:-1].isdigit() and password.isdigit()  # as a container is told whose it is
    if by_number or (user.endswith(",") and not is_lftp):
        return user + password
    return user + REDACTED


def _redact_scheme(match: re.Match[str]) -> str:
    value = match[3]
    if match[1].lower() == "basic":
        # "basic statistics" is prose: only what decodes to user:password is a credential.
        try:
            is_secret = ":" in base64.b64decode(value, validate=True).decode()
        except ValueError:
            is_secret = False
    else:
        is_secret = len(value) >= 20 or not (value.isalpha() and value.islower())
    return f"{match[1]}{match[2]}{REDACTED}" if is_secret else match[0]


def _redact_named(text: str) -> str:
    """Redact the values of ``name=value``, ``name: value`` and ``--name value``."""
    parts: list[str] = []
    done = 0
    for match in _NAMED.finditer(text):
        name, separator = match[1], match[2]
        if match.start() < done or not is_secret_name(name):
            continue
        if separator is None and (not name.startswith("-") or _SWITCH.match(name)):
            continue
        value = _find_value(text, match.end(), name, annotated=":" in (separator or ""))
        if value:
            parts += (text[done : value[0]], REDACTED)
            done = value[1]
    return "".join((*parts, text[done:])) if parts else text


def _find_value(text: str, start: int, name: str, *, annotated: bool) -> tuple[int, int] | None:
    """Find from where to where a value goes that is to be redacted, without its quotes."""
    quoted = _QUOTED.match(text, start)
    if quoted:
        return quoted.span(3) if quoted[3] else None
    if text[start : start + 1] in tuple("[{("):
        depth = 0
        for bracket in _BRACKET.finditer(text, start):
            depth += 1 if bracket[0] in "[{(" else -1
            if depth == 0:
                return start, bracket.end()
        return start, len(text)  # a text that was cut
    plain = _PLAIN.match(text, start)
    if not plain:
        return None
    value = plain[0].rstrip(_TRAILING)
    if value.endswith(REDACTED[:-1]):
        value += "]"
    if not value or value == name or _HARMLESS.fullmatch(value):
        return None
    if annotated and re.match(_TYPE, value):
        return None
    return start, start + len(value)
