"""RO-Crates as another program finds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_VALIDATE = """
import importlib.resources, io, json, sys
from pathlib import Path

import requests
import urllib3
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester

# What the validator would fetch: RO-Crate's own terms are installed with rocrate.
terms = json.loads((importlib.resources.files("rocrate") / "data/ro-crate.jsonld").read_text())
names = "ContainerImage containerImage registry tag".split()
more = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in names}
known = {
    "https://w3id.org/ro/crate/1.1/context": terms,
    "https://w3id.org/ro/terms/workflow-run/context": {"@context": more},
}


def settings(crate):
    return ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="process-run-crate",
        requirement_severity=Severity.RECOMMENDED,
        offline=True,
        cache_path=Path(sys.argv[1]),
    )


settings(sys.argv[2])
for url, content in known.items():
    answer = requests.Response()
    answer.url, answer.status_code, body = url, 200, json.dumps(content).encode()
    answer.headers["Content-Type"] = "application/ld+json"
    answer.request, answer._content = requests.Request("GET", url).prepare(), body
    answer.raw = urllib3.HTTPResponse(io.BytesIO(body), status=200, preload_content=False)
    HttpRequester().session.cache.save_response(answer)
told = {}
for crate in sys.argv[2:]:
    issues = services.validate(settings(crate)).get_issues()
    told[crate] = sorted({(one.severity.name, one.message.strip()) for one in issues})
print(json.dumps(told))
"""


def faults_of(*crates: Path, cache: Path) -> dict[Path, list[tuple[str, str]]]:
    """Give what the validator finds in crates, which takes seconds, and asks no network."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _VALIDATE, cache, *crates],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache.parent)},
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return {crate: [(level, text) for level, text in told[str(crate)]] for crate in crates}
