"""Whatever is installed, pip can read the list of it, and no secret is in it."""

from __future__ import annotations

import json
import re
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from pip._internal.req import parse_requirements

from asset_provenance.capture.git import WorkTree
from asset_provenance.capture.packages import Imported, ImportedFolder, judge
from asset_provenance.packagelist import finish_list

CANARY = "ghp_CanaryCanaryCanaryCanaryCanary000000"

odd = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.text(alphabet=string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
versions = st.one_of(
    st.sampled_from(["1.0", "1!2.0rc1.post3.dev4+cu118.x", "1.0-1", "2004d", "v1", "1.0+A_b", ""]),
    odd,
)
paths = st.one_of(
    odd, st.sampled_from(["/a b", "/${HOME}/x", "/x#y", "/x\\", "/é", "/x ;y", "/x@1", "/[x"])
)
urls = st.builds(
    "{}{}host.org{}{}".format,
    st.sampled_from(["https://", "http://", "file://", "ssh://", "git@", "", "HTTPS://"]),
    st.sampled_from(["", f"user:{CANARY}@", f"{CANARY}@"]),
    paths,
    st.sampled_from(["", f"?token={CANARY}", "#egg=x", ".git"]),
)
commits = st.one_of(st.sampled_from(["0123456789abcdef" * 2 + "01234567", "12", "-x", ""]), odd)
direct_urls: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"url": urls},
        optional={
            "vcs_info": st.fixed_dictionaries(
                {"vcs": st.sampled_from(["git", "hg", "svn", "g t"]), "commit_id": commits}
            ),
            "archive_info": st.sampled_from([{}, {"hashes": {"sha256": "a" * 64}}, 5]),
            "dir_info": st.sampled_from([{}, {"editable": True}]),
            "subdirectory": st.one_of(st.just("a b/c"), odd),
        },
    ),
    st.sampled_from([[], 5, {"url": 5}, {"vcs_info": 5}]),
)
distributions = st.tuples(
    st.one_of(plain, odd), versions, direct_urls, st.sampled_from(["pip", "conda", ""])
)
folders = st.tuples(
    st.one_of(plain, odd),
    paths,
    st.one_of(st.just("https://host.org/x"), urls),
    st.one_of(st.just("0123456789abcdef" * 2 + "01234567"), commits),
    st.sampled_from([None, True, False]),
)


@contextmanager
def record(found: Imported) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps({"is_first": True, **found.to_json()})
        Path(folder, "x.imported").write_text(text)
        yield Path(folder)


def installed(site: Path, number: int, distribution: tuple[str, str, Any, str]) -> PathDistribution:
    name, version, direct, installer = distribution
    info = site / f"{number}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8", newline="")
    (info / "INSTALLER").write_text(installer)
    if direct is not None:
        (info / "direct_url.json").write_text(json.dumps(direct))
    return PathDistribution(info)


@settings(max_examples=300)
@given(st.lists(distributions, max_size=6), st.lists(folders, max_size=3))
def test_pip_can_read_the_list_of_whatever_is_installed(
    several: list[tuple[str, str, Any, str]], imported: list[tuple[str, str, str, str, bool | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = Imported(
            "Python",
            tuple(judge(installed(Path(folder), *item)) for item in enumerate(several)),
            tuple(
                ImportedFolder(f"/x{path}", (name, path), name, "1", f"{folder}", url, commit)
                for name, path, url, commit, _ in imported
            ),
        )
        pushed = imported[0][4] if imported else None
        state = WorkTree(folder, "https://host.org/x", None, ("a\nb",), True, pushed)
        with record(found) as place:
            content = finish_list([place], lambda _: state)
            assert content is not None
            assert CANARY.encode() not in content
            lines = [line for line in content.decode("ascii").split("\n") if line]
            path = place / "packages.txt"
            # A session is for lists that are on a server.
            parsed = parse_requirements(str(path), session=cast("Any", None))
            read = [each.requirement for each in parsed]
    wanted = [line.partition("  # ")[0] for line in lines if not line.startswith("#")]
    assert read == wanted  # with no variable of the environment filled in
    names = [Requirement(line).name for line in wanted]
    keys = [re.sub("[-_.]+", "-", name.lower()) for name in names]
    assert len(set(keys)) == len(keys)
