"""Where Code Ocean is, and the token that gives access to it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DOMAIN_VARIABLE", "TOKEN_VARIABLES", "Token", "find_domain", "find_token"]

DOMAIN_VARIABLE = "CODEOCEAN_DOMAIN"
TOKEN_VARIABLES = (
    "CODEOCEAN_TOKEN",
    "CODEOCEAN_API_TOKEN",
    "CODE_OCEAN_API_TOKEN",
    "API_SECRET",
    "CUSTOM_KEY",
)
"""Where capsules have their token, in the order in which they are looked at."""
_TOKEN_PREFIX = "cop_"  # noqa: S105 - how tokens begin


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and the variable that it was found in."""

    variable: str
    value: str = field(repr=False)


def find_token(environ: Mapping[str, str] | None = None) -> Token | None:
    """Find the token: under the names that capsules use, or by how tokens begin."""
    variables = os.environ if environ is None else environ
    for variable in TOKEN_VARIABLES:
        if variables.get(variable, "").strip():
            return Token(variable, variables[variable].strip())
    for variable in sorted(variables):
        if variables[variable].startswith(_TOKEN_PREFIX):
            return Token(variable, variables[variable].strip())
    return None


def find_domain(environ: Mapping[str, str] | None = None) -> str | None:
    """Find where Code Ocean is, as ``https://host``.

    Raises
    ------
    ValueError
        If what is given is no such place.
    """
    variables = os.environ if environ is None else environ
    text = variables.get(DOMAIN_VARIABLE, "").strip().rstrip("/")
    if not text:
        return None
    host = text.removeprefix("https://")
    # A token is never sent where somebody could read it on the way.
    if not re.fullmatch(r"[A-Za-z0-9.\-]+(:\d{1,5})?", host):
        raise ValueError('it must be a host, as in "codeocean.allenneuraldynamics.org"')
    return f"https://{host}"
