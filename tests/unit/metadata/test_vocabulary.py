from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from aind_data_schema.components.identifiers import Code, Person
from aind_data_schema.core.data_description import Funding
from aind_data_schema_models.data_name_patterns import DataLevel, Group
from aind_data_schema_models.licenses import License
from aind_data_schema_models.modalities import Modality
from aind_data_schema_models.organizations import Organization
from aind_data_schema_models.registries import Registry

from asset_provenance.metadata import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORGANIZATIONS = [kind() for kind in Organization.ALL]
MODALITIES = [kind() for kind in Modality.ALL]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refusal(read: Callable[[Any], Any], value: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        read(value)
    message = str(caught.value)
    assert "validation error" not in message
    assert "errors.pydantic.dev" not in message
    return message


@pytest.fixture
def seattle(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("the local time zone cannot be set on this system")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/Los_Angeles")
        time.tzset()
        yield
    time.tzset()


def spellings(label: str) -> list[str]:
    return [label, label.upper(), label.lower(), f"  {label.replace(' ', '  ')} "]


@pytest.mark.parametrize("expected", ORGANIZATIONS, ids=lambda item: item.name)
def test_every_organization_is_known_by_name_and_abbreviation(expected: Any) -> None:
    labels = [expected.name, *([expected.abbreviation] if expected.abbreviation else [])]
    for label in labels:
        for spelling in spellings(label):
            assert vocabulary.organization(spelling) == expected
    assert vocabulary.organization(expected) == expected
    assert vocabulary.organization(expected.model_dump(mode="json")) == expected


@pytest.mark.parametrize("expected", MODALITIES, ids=lambda item: item.abbreviation)
def test_every_modality_is_known_by_name_and_abbreviation(expected: Any) -> None:
    for label in (expected.name, expected.abbreviation):
        for spelling in spellings(label):
            assert vocabulary.modality(spelling) == expected
    assert vocabulary.modality(expected) == expected
    assert vocabulary.modality(expected.model_dump(mode="json")) == expected
    assert vocabulary.modality({"abbreviation": expected.abbreviation}) == expected


def test_a_label_that_stands_for_two_terms_is_asked_about() -> None:
    two = vocabulary._Vocabulary("lab", "labs", {1: ("A-B", "First lab"), 2: ("AB", "Second lab")})

    assert two.read("A-B") == 1
    assert two.read("AB") == 2
    assert refusal(two.read, "a b") == (
        'lab "a b" can be "A-B" (First lab) or "AB" (Second lab): give the full name'
    )


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        ("NIHM", '"NIMH" (National Institute of Mental Health)'),
        ("nihm", '"NIMH"'),
        ("Alen Institute", '"AI" (Allen Institute)'),
        ("Stanford Universty", '"Stanford University"'),
    ],
)
def test_a_wrong_organization_suggests_the_near_ones(given: str, suggested: str) -> None:
    message = refusal(vocabulary.organization, given)

    assert f'"{given}" is not among the {len(ORGANIZATIONS)} organizations' in message
    assert '"AIND"' in message
    assert message.partition("did you mean ")[2].startswith(suggested)


def test_at_most_three_names_are_suggested() -> None:
    hint = refusal(vocabulary.organization, "Foundation").partition("did you mean ")[2]

    assert hint == '"W. M. Keck Foundation", "Simons Foundation" or "McKnight Foundation"?'


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    for name in ("zzzzqqqq", "Penn State"):
        told = refusal(vocabulary.organization, name)
        assert "did you mean" not in told
        assert told.endswith(
            "asked for at https://github.com/AllenNeuralDynamics/aind-data-schema-models/issues"
        )


def test_a_wrong_modality_lists_all_and_suggests_the_near_ones() -> None:
    message = refusal(vocabulary.modality, "behaviour")

    assert all(f'"{item.abbreviation}"' in message for item in MODALITIES)
    assert message.endswith('did you mean "behavior" (Behavior)?')


def test_name_and_abbreviation_of_different_organizations_are_refused() -> None:
    value = {"name": "Allen Institute for Neural Dynamics", "abbreviation": "AI"}

    message = refusal(vocabulary.organization, value)

    assert "different organizations" in message
    assert '"AI" is "AI" (Allen Institute)' in message


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "organization is empty"),
        (" \t", "organization is empty"),
        (7, "organization must be text, not 7"),
        (None, "organization must be text, not None"),
        (["AIND"], "organization must be text, not list object"),
        ({}, 'needs "name" or "abbreviation"'),
        ({"registry_identifier": "04szwah67"}, 'needs "name" or "abbreviation"'),
        ({"nam": "AIND"}, 'did you mean "name"?'),
        ({"name": 3}, "name of organization must be text, not 3"),
    ],
)
def test_what_is_no_organization_at_all_is_refused_in_plain_words(value: Any, part: str) -> None:
    assert part in refusal(vocabulary.organization, value)


def test_a_credential_given_in_the_wrong_place_is_not_repeated_in_the_message() -> None:
    assert "hunter2" not in refusal(vocabulary.organization, "https://ada:hunter2@host/x")


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(refusal(vocabulary.organization, "x" * 10_000)) < 400


@pytest.mark.parametrize(
    ("value", "funder", "number"),
    [
        ("NIMH:RF1MH123", Organization.NIMH, "RF1MH123"),
        ("nimh : RF1MH123 ", Organization.NIMH, "RF1MH123"),
        ("NIMH:U19:2", Organization.NIMH, "U19:2"),
        ("NIMH", Organization.NIMH, None),
        ("AI", Organization.AI, None),
        ({"funder": "AI"}, Organization.AI, None),
        ({"funder": "AI", "grant_number": None, "fundee": None}, Organization.AI, None),
        ({"funder": {"name": "Allen Institute"}, "grant_number": ""}, Organization.AI, None),
        ({"funder": Organization.NIMH, "grant_number": "R01"}, Organization.NIMH, "R01"),
    ],
)
def test_funding_is_funder_and_grant_number(value: Any, funder: Any, number: str | None) -> None:
    assert vocabulary.funding(value) == Funding(funder=funder, grant_number=number)


def test_funding_names_who_is_funded() -> None:
    people = ["Ada Lovelace", {"name": "Mary Somerville"}, Person(name="Caroline Herschel")]

    funding = vocabulary.funding({"funder": "NIMH", "grant_number": "R01", "fundee": people})

    assert [item.name for item in funding.fundee] == [
        "Ada Lovelace",
        "Mary Somerville",
        "Caroline Herschel",
    ]
    assert vocabulary.funding(funding) == funding
    assert vocabulary.funding(funding.model_dump(mode="json")) == funding


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("NIHM:R01", '"NIMH" (National Institute of Mental Health)'),
        ("NIMH:", "no grant number after the colon"),
        ("NIMH RF1MH1", 'did you mean "NIMH:RF1MH1"'),
        (":R01", 'internal funding is "AI"'),
        ("", "needs a funder"),
        ({"grant_number": "R01"}, "needs a funder"),
        ({"founder": "NIMH"}, 'did you mean "funder"'),
        ({"funder": "NIMH", "grant_number": 12}, "grant number of funding must be text, not 12"),
        ({"funder": "NIMH", "fundee": "Ada Lovelace"}, '["Ada Lovelace"]'),
        ({"funder": "NIMH", "fundee": ["ada@x.org"]}, "e-mail address"),
        (5, "funding must be text or a mapping, not 5"),
    ],
)
def test_unusable_funding_says_what_is_wanted(value: Any, part: str) -> None:
    assert part in refusal(vocabulary.funding, value)


@pytest.mark.parametrize(
    "value",
    ["Ada Lovelace", " Ada   Lovelace ", {"name": "Ada Lovelace"}, Person(name="Ada Lovelace")],
)
def test_a_person_is_a_name(value: Any) -> None:
    assert vocabulary.person(value) == Person(name="Ada Lovelace")
    assert vocabulary.experimenter(value) == "Ada Lovelace"


def test_an_anonymous_id_is_a_persons_name() -> None:
    assert vocabulary.experimenter("20") == "20"


def test_a_person_keeps_the_registry() -> None:
    ada = Person(name="Ada", registry=Registry.ORCID, registry_identifier="0000-0001")

    assert vocabulary.person(ada) == ada
    assert vocabulary.person(ada.model_dump(mode="json")) == ada
    short = {"name": "Ada", "registry": "orcid", "registry_identifier": "0000-0001"}
    assert vocabulary.person(short) == ada


@pytest.mark.parametrize("read", [vocabulary.person, vocabulary.experimenter])
@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("ada@alleninstitute.org", "e-mail address where a person's name is wanted"),
        ("Ada Lovelace <ada@x.org>", "e-mail address where a person's name is wanted"),
        ("  ", "name of a person is empty"),
        (None, "name of a person must be text, not None"),
        (12, "name of a person must be text, not 12"),
        ({"registry": "ORCID"}, 'person needs a "name"'),
        ({"name": "Ada", "orcid": "0000"}, 'person has no "orcid"'),
        ({"name": "Ada", "registry": "ORCDI"}, 'did you mean "ORCID"'),
        (Person(name=""), 'person needs a "name"'),
    ],
)
def test_what_is_no_name_of_a_person_is_refused(
    read: Callable[[Any], Any], value: Any, part: str
) -> None:
    assert part in refusal(read, value)


@pytest.mark.parametrize("value", ["CC-BY-4.0", "cc by 4.0", "ccby4.0", License.CC_BY_40])
def test_a_license_is_known_in_any_spelling(value: Any) -> None:
    assert vocabulary.license_(value) is License.CC_BY_40


def test_every_license_of_the_schema_is_known() -> None:
    assert [vocabulary.license_(item.value) for item in License] == list(License)


@pytest.mark.parametrize("value", ["CC0", "CC-BY-NC-4.0", "GPL"])
def test_a_license_that_the_schema_lacks_says_which_it_has(value: str) -> None:
    assert refusal(vocabulary.license_, value) == (
        f'"{value}" is not among the licenses of the schema: "MIT" and "CC-BY-4.0"'
    )


def test_every_group_of_the_schema_is_known() -> None:
    for item in Group:
        assert vocabulary.group(item) is item
        assert vocabulary.group(item.value.upper()) is item
    assert refusal(vocabulary.group, "opyhs").endswith('did you mean "ophys"?')


def test_a_result_is_derived_or_simulated() -> None:
    assert vocabulary.data_level("Derived") is DataLevel.DERIVED
    assert vocabulary.data_level(DataLevel.SIMULATED) is DataLevel.SIMULATED
    assert '"derived" and "simulated"' in refusal(vocabulary.data_level, "processed")


@pytest.mark.parametrize("value", ["raw", " RAW", DataLevel.RAW])
def test_a_derived_asset_cannot_be_raw(value: Any) -> None:
    message = refusal(vocabulary.data_level, value)
    assert message == 'a derived asset cannot be raw: give "derived" or "simulated"'


def test_a_project_name_may_hold_spaces_and_hyphens() -> None:
    assert vocabulary.project_name(" Learning m-FISH (V1) ") == "Learning m-FISH (V1)"


@pytest.mark.parametrize(
    ("value", "characters", "clean"),
    [
        ("learning_mfish", "_", "learning-mfish"),
        ("BCI: learning", ":", "BCI learning"),
        ("V1/V2 <what?>", "/ < ? >", "V1-V2 what"),
        (r"a\b|c;d", r"\ | ;", "a-b-c-d"),
        ('"quoted"', '"', "quoted"),
    ],
)
def test_a_project_name_with_special_characters_is_offered_cleaned(
    value: str, characters: str, clean: str
) -> None:
    message = refusal(vocabulary.project_name, value)

    assert f"holds {characters}, which the schema refuses" in message
    assert message.endswith(f'"{clean}" would do')
    assert vocabulary.project_name(clean) == clean


def test_a_project_name_of_special_characters_only_is_offered_nothing() -> None:
    assert "would do" not in refusal(vocabulary.project_name, "_:_")


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-25T01:20:03Z",
        " 2026-11-24 17:20:03-08:00 ",
        datetime(2026, 11, 25, 1, 20, 3, tzinfo=UTC),
        datetime(2026, 11, 24, 17, 20, 3, tzinfo=timezone(timedelta(hours=-8))),
        pd.Timestamp("2026-11-25T01:20:03Z"),
        "2026-11-24T17:20:03",
        datetime(2026, 11, 24, 17, 20, 3),
        pd.Timestamp("2026-11-24T17:20:03"),
    ],
)
def test_a_creation_time_becomes_utc_and_a_naive_one_is_local(seattle: None, value: Any) -> None:
    moment = vocabulary.creation_time(value)

    assert moment == datetime(2026, 11, 25, 1, 20, 3, tzinfo=UTC)
    assert moment.tzinfo is UTC
    assert type(moment) is datetime


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-25",
        "20261125",
        date(2026, 11, 25),
        "yesterday",
        "",
        1764033603,
        None,
        pd.NaT,
        datetime.min,
    ],
)
def test_a_date_without_a_time_is_no_creation_time(seattle: None, value: Any) -> None:
    message = refusal(vocabulary.creation_time, value)
    assert "must be a date with a time" in message
    assert "2026-11-25T01:20:03Z" in message


@pytest.mark.parametrize(
    ("value", "url", "name", "version", "commit"),
    [
        ("https://github.com/o/pipe@v1.2", "https://github.com/o/pipe", "pipe", "v1.2", None),
        (
            f"https://github.com/o/pipe.git@{COMMIT}",
            "https://github.com/o/pipe",
            "pipe",
            None,
            COMMIT,
        ),
        ("git@github.com:o/pipe.git@v1", "https://github.com/o/pipe", "pipe", "v1", None),
        ("https://tok3n@github.com/o/pipe@v1", "https://github.com/o/pipe", "pipe", "v1", None),
    ],
)
def test_a_pipeline_is_given_as_url_and_version(
    value: str, url: str, name: str, version: str | None, commit: str | None
) -> None:
    code = vocabulary.pipeline(value)
    assert (code.url, code.name, code.version, code.commit_hash) == (url, name, version, commit)


def test_a_pipeline_is_given_as_mapping_or_object() -> None:
    code = Code(
        url="https://github.com/o/pipe",
        name="pipe",
        version="1",
        run_script="main.nf",
        language="nf",
    )

    assert vocabulary.pipeline(code) == code
    assert vocabulary.pipeline(code.model_dump(mode="json")) == code
    short = {"url": "https://ada:secret@github.com/o/pipe.git", "name": "pipe", "version": "1"}
    assert vocabulary.pipeline(short).url == "https://github.com/o/pipe"


def test_a_pipeline_object_loses_the_credentials_in_its_url_but_stays_unchanged_itself() -> None:
    code = Code(url="https://ada:secret@github.com/o/pipe.git", name="pipe", version="1")

    assert vocabulary.pipeline(code).url == "https://github.com/o/pipe"
    assert "secret" in code.url


def test_a_pipeline_of_unknown_version_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert vocabulary.pipeline("https://github.com/o/pipe").version is None
    assert "pipeline pipe has neither version nor commit_hash" in caplog.text


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"url": "https://github.com/o/pipe", "version": "1"}, "needs a name"),
        (Code(url="https://github.com/o/pipe", version="1"), "needs a name"),
        ({"name": "pipe", "version": "1"}, 'needs a "url"'),
        ({"url": "https://a/b", "name": "b", "commit_hash": "not-a-commit"}, "commit_hash: "),
        ({"url": "https://a/b", "nme": "b"}, 'did you mean "name"?'),
        ("o/pipe@v1", "is not the URL of a pipeline"),
        ("https://github.com", "is not the URL of a pipeline"),
        ("https://github.com/o/pipe@", 'nothing on one side of the "@"'),
        ("https://github.com/o/pipe@feature/x", 'has a "/" in its version'),
        ("", "pipeline is empty"),
        (3, 'pipeline must be "url@version"'),
    ],
)
def test_a_pipeline_without_name_or_url_is_refused(value: Any, part: str) -> None:
    assert part in refusal(vocabulary.pipeline, value)


@pytest.mark.parametrize(("read", "what"), [(vocabulary.text, "it"), (vocabulary.tag, "tag")])
def test_text_and_tags_are_not_empty(read: Callable[[Any], str], what: str) -> None:
    assert read(" reaching task ") == "reaching task"
    assert refusal(read, "  ") == f"{what} is empty"
    assert refusal(read, 3) == f"{what} must be text, not 3"
