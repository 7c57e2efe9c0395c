from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from asset_provenance.redaction import (
    REDACTED,
    clean_url,
    contains_secret,
    redact_arguments,
    redact_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CANARY = "cAn4ryQ7x"

# Without letters a prefix or suffix cannot make another word of the name or the value.
around = st.text(alphabet=" \n\t.,;(){}[]<>|/!é", max_size=12)
filler = st.text(alphabet="abz09_-.%", max_size=8)
secrets = st.builds(lambda before, after: before + CANARY + after, filler, filler)
names = st.sampled_from(
    ["password", "api_key", "githubToken", "AWS_SECRET_ACCESS_KEY", "DB-PASSWORD", "client.secret"]
)
shells = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
fragments = st.sampled_from(
    [
        *["password", "token", "=", ":", " ", '"', "'", "[", "]", "(", "{", "}", REDACTED, "://"],
        *[
            "@",
            "&",
            "?",
            "--",
            "-",
            "\\",
            ",",
            ";",
            "\n",
            "Bearer ",
            "Basic ",
            "abc",
            "ghp_",
            "eyJ",
        ],
        *["-----BEGIN PRIVATE KEY-----", "x.y", "cop_", "1", "None", "$X", "str", "git", "Cookie"],
    ]
)
noise = st.lists(fragments | st.text(max_size=5), max_size=14).map("".join)


@settings(deadline=None, max_examples=150)
@given(around, names, st.sampled_from(["=", ": ", ":", " = ", '="', "='", '": "', "=>"]), secrets)
def test_the_value_of_a_secret_name_never_stays(
    before: str, name: str, separator: str, secret: str
) -> None:
    closing = {'="': '"', "='": "'", '": "': '"'}.get(separator, "")
    assert CANARY not in redact_text(f"{before} {name}{separator}{secret}{closing} after")


@settings(deadline=None, max_examples=150)
@given(around, st.sampled_from(["https", "http", "git+https", "postgresql"]), secrets, filler)
def test_credentials_never_stay_in_a_url(before: str, scheme: str, secret: str, user: str) -> None:
    for login in (quote(secret), f"{user}:{secret}", f"{secret}:x-oauth-basic"):
        url = f"{scheme}://{login}@host.org/path?x=1"
        assert CANARY not in redact_text(f"{before} {url} after")
        assert "@host.org/path?x=1 after" in redact_text(f"{before} {url} after")
        assert CANARY not in clean_url(url)
        assert clean_url(url).endswith("://host.org/path")
    query = f"https://host.org/p?a=1&access_token={quote(secret)}&b=2"
    assert redact_text(query) == f"https://host.org/p?a=1&access_token={REDACTED}&b=2"


@settings(deadline=None, max_examples=150)
@given(st.lists(shells, max_size=4), names, shells, st.booleans())
def test_secrets_never_stay_in_a_command_line(
    others: Sequence[str], name: str, tail: str, joined: bool
) -> None:
    secret = CANARY + tail
    given_as = [f"--{name}={secret}"] if joined else [f"--{name}", secret]
    line = ["run", *given_as, *others]
    assert CANARY not in "\n".join(redact_arguments(line))
    assert len(redact_arguments(line)) == len(line)
    if "'" not in secret:
        assert CANARY not in redact_text(shlex.join(["run", *given_as, "--more", "x"]))


@settings(deadline=None, max_examples=500)
@given(noise)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
    assert not contains_secret(once)


@settings(deadline=None, max_examples=300)
@given(noise | st.text())
def test_nothing_makes_it_raise(text: str) -> None:
    results = [redact_text(text), *redact_arguments([text, text]), clean_url(text)]
    results += [clean_url("https://" + text), clean_url("git@" + text)]
    assert all(isinstance(result, str) for result in results)


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="abcdefghij KLM.,_0123456789-\n/", max_size=80))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text
