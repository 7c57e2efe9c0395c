from __future__ import annotations

import time

import pytest

from asset_provenance.redaction import (
    REDACTED,
    clean_url,
    contains_secret,
    is_secret_name,
    redact_arguments,
    redact_text,
)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "token",
        "secret",
        "api_key",
        "apikey",
        "api-key",
        "access_key",
        "private_key",
        "credential",
        "credentials",
        "auth",
        "authorization",
        "http_auth",
        "cookie",
        "set-cookie",
        "githubToken",
        "APIKey",
        "AWS_SECRET_ACCESS_KEY",
        "--api-key",
        "PGPASSWORD",
        "db_password2",
        "X-Amz-Security-Token",
        "accessKeyId",
        "CODEOCEAN_TOKEN",
        "CODE_OCEAN_API_TOKEN",
        "API_SECRET",
        "CUSTOM_KEY",
        "clientSecret",
        "api_tokens",
    ],
)
def test_names_of_secrets_are_known_in_every_spelling(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name("x_" * 60 + name)


@pytest.mark.parametrize(
    "name",
    [
        "n_tokens",
        "tokens",
        "max_tokens",
        "bandpass",
        "band_pass",
        "passband",
        "author",
        "author_name",
        "auth_method",
        "key",
        "keys",
        "tokenizer",
        "secretary",
        "monkey",
        "session_key",
        "passive",
        "compass",
        "cookiecutter",
        "12",
        "é",
        "",
    ],
)
def test_names_that_only_look_like_secrets_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pass@host/path", "https://[redacted]@host/path"),
        ("https://abcdef@host/path", "https://[redacted]@host/path"),
        ("https://me:pa/ss@host/path", "https://[redacted]@host/path"),
        ("ssh://git:pw@host/x", "ssh://[redacted]@host/x"),
        ("clone https://t0ken@host/a.git now", "clone https://[redacted]@host/a.git now"),
        ("https://h/p?x=1&key=AbC1234567890123", "https://h/p?x=1&key=[redacted]"),
        ("https://h/p;jsessionid=A1B2.n1?x=1", "https://h/p;jsessionid=[redacted]?x=1"),
        ("curl -u me:s3cr,et https://h/p", "curl -u me:[redacted] https://h/p"),
        ("curl --user 'me:se cret' -O", "curl --user 'me:[redacted]' -O"),
        ("wget --proxy-user=me:pw x", "wget --proxy-user=me:[redacted] x"),
        ("lftp -u me,s3cret host", "lftp -u me,[redacted] host"),
        ("https://h/p?token=abc&x=1&sig=zz", "https://h/p?token=[redacted]&x=1&sig=[redacted]"),
        (
            "https://b/k?X-Amz-Date=1&X-Amz-Credential=a%2Fb&X-Amz-Signature=ff",
            "https://b/k?X-Amz-Date=1&X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]",
        ),
        ("id cop_abc123DEF456ghi.", "id [redacted]."),
        ("ghp_abcdefghijABCDEFGHIJ0123456789abcd", REDACTED),
        ("github_pat_11ABC_abcdefghijklmnop", REDACTED),
        ("glpat-abcdefghij0123456789", REDACTED),
        ("use AKIAIOSFODNN7EXAMPLE here", "use [redacted] here"),
        ("xoxb-123456789-abcdef", REDACTED),
        ("sk-proj-Abc123def456ghi789jkl", REDACTED),
        ("eyJhbGciOi.eyJzdWIiOi.SflKxwRJSM", REDACTED),
        ("send Bearer abc.DEF-123", "send Bearer [redacted]"),
        ("send Basic dXNlcjpwYXNz", "send Basic [redacted]"),
        ("Authorization: Bearer secretword", "Authorization: [redacted]"),
        (
            "curl -H 'Authorization: Basic dXNlcjpwYXNz' https://h",
            "curl -H 'Authorization: [redacted]' https://h",
        ),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb",
            "a\n[redacted]\nb",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and the text was cut", REDACTED),
        ("password=hunter2", "password=[redacted]"),
        ("run --api-key abc --verbose", "run --api-key [redacted] --verbose"),
        ("run --token=abc x", "run --token=[redacted] x"),
        ('run --password "two words" y', 'run --password "[redacted]" y'),
        ("run '--password=a&b;c' y", "run '--password=[redacted]' y"),
        ("TOKEN='two words' run", "TOKEN='[redacted]' run"),
        ("password: hunter2, user: x", "password: [redacted], user: x"),
        ("login(password=ab,user=x)", "login(password=[redacted],user=x)"),
        ("Server=x;Password=ab;Database=y", "Server=x;Password=[redacted];Database=y"),
        ('{"password": "hunter2", "n": 3}', '{"password": "[redacted]", "n": 3}'),
        ("{'token': 'a', 'n': 1}", "{'token': '[redacted]', 'n': 1}"),
        (r"{\"token\": \"x y\"}", r"{\"token\": \"[redacted]\"}"),
        ('def f(token: str = "abc"):', 'def f(token: str = "[redacted]"):'),
        ('secrets=["a", {"b": 1}] rest', "secrets=[redacted] rest"),
        ('secrets=["a", "was cut', "secrets=[redacted]"),
        ("x=password=abc", "x=password=[redacted]"),
        ("os.environ['TOKEN'] = 'abc'", "os.environ['TOKEN'] = '[redacted]'"),
    ],
)
def test_secrets_are_taken_out_and_the_rest_stays(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected
    assert contains_secret(text)
    assert contains_secret(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "d670460b4b4aece5915caf5c68d12f560a9fe3e4",
        "123e4567-e89b-12d3-a456-426614174000",
        "ecephys_660104_2023-07-24_18-18-13",
        "n_tokens=5",
        "https://h/p?key=atlas&session_id=3",
        "docker run -u 1000:1000 image",
        "sort -u a.txt,b.txt",
        "curl -u https://h:8080/p",
        "bandpass: 300",
        "cop_velocity cop_position_mm",
        "someone@alleninstitute.org",
        "git@github.com:org/repo",
        "ssh://git@host:22/x",
        "https://host:8080/a@b",
        "https://host/p?page=2&sort=name",
        "Basic statistics of bearer animals",
        "basic abcd:efgh",
        "sk-learn-extended-long-name-thing",
        "use_auth=True --no-auth file.txt token=''",
        "def f(token: str | None = None, password=password):",
        'token = os.environ["GH_TOKEN"]',
        "--token --verbose",
        "secret = )",
        "token:",
        "",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact_text(text) == text
    assert not contains_secret(text)


def test_command_lines_lose_the_values_of_secret_options() -> None:
    line = ["run", "--token", "abc", "--api-key", "--fast", "--password=a b", "TOKEN=x", "n=1"]
    line += ["https://u:p@h/x", "--auth", "true", "--secret", "", "-H", "Authorization: Bearer b"]
    assert redact_arguments(line) == [
        *["run", "--token", REDACTED, "--api-key", "--fast", "--password=[redacted]"],
        *["TOKEN=[redacted]", "n=1", "https://[redacted]@h/x", "--auth", "true", "--secret", ""],
        *["-H", "Authorization: [redacted]"],
    ]
    assert redact_arguments(["--token", "-dash3d"]) == ["--token", REDACTED]
    assert redact_arguments(["--token", "-n", "3"]) == ["--token", "-n", "3"]
    assert redact_arguments(["curl", "-u", "me:se cret"]) == ["curl", "-u", f"me:{REDACTED}"]
    assert redact_arguments(["-u", "1000:1000"]) == ["-u", "1000:1000"]
    assert redact_arguments(["--token="]) == ["--token="]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://tok@host/a/b.git", "https://host/a/b"),
        ("https://u:p@Host:8443/a/b.git/?x=1#f", "https://host:8443/a/b"),
        ("https://host:443/a/", "https://host/a"),
        ("http://h:80/x", "http://h/x"),
        ("https://u:pa/ss@host/x", "https://host/x"),
        ("git@host:org/repo.git", "https://host/org/repo"),
        ("host:org/repo", "https://host/org/repo"),
        ("ssh://git@host:22/path.git", "https://host/path"),
        ("git+ssh://git@host/path", "https://host/path"),
        ("git://host/path", "https://host/path"),
        ("user@[::1]:a/b", "https://[::1]/a/b"),
        ("https://[::1]:8080/a", "https://[::1]:8080/a"),
        ("https://host:99999999/x", "https://host/x"),
        ("https://host:port/x", "https://host/x"),
        ("file://u:p@h/srv/x.git", "file://h/srv/x.git"),
        ("file:///srv/x.git", "file:///srv/x.git"),
        ("/srv/x.git", "/srv/x.git"),
        ("../x", "../x"),
        ("./a:b", "./a:b"),
        ("C:\\repo", "C:\\repo"),
        ("C:/repo", "C:/repo"),
        ("https://", "https://"),
        ("://", "://"),
        ("", ""),
    ],
)
def test_remotes_become_plain_urls(url: str, expected: str) -> None:
    assert clean_url(url) == expected
    assert clean_url(expected) == expected


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "A",
        "eyJ",
        "://a:b",
        "ghp_",
        "sk-",
        "token=",
        "token=(",
        "token=[ token={ token=( ",
        'token="',
        "-----BEGIN PRIVATE KEY-----",
        "a.",
        "-",
        "?a",
        "?token=&",
        "token : ",
        ";a",
        "authorization:",
        "bearer ",
        "AKIA",
        "cop_a",
        "aB",
        "token: str | None ",
        " \t",
        "@",
        "[",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = "token=" + unit * (300_000 // len(unit))
    start = time.process_time()
    redact_text(text)
    redact_text(text[6:])
    clean_url(text)
    redact_arguments([text])
    assert time.process_time() - start < 5  # about 0.2; quadratic would be minutes
