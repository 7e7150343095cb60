# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.environment_problems import (
    TYPES,
    FilterModule,
    environment_problems,
    parse_needs,
    parse_schema,
    requirement,
    sources,
)

from tests.schemas import SCHEMAS

SCHEMA = """# comment
service	name	type	needs
webapp	SMTP_PORT	port
webapp	S2_ENABLED	0|1	1: S2_ACCESS_TOKEN S2_BASIN
webapp	S2_ACCESS_TOKEN	text
webapp	S2_BASIN	text
webapp	CLEAN	boolean	true|1: MODE=log|enforce
webapp	MODE	disabled|log|enforce
webapp	SMTP_HOST	text
webapp	ENCRYPTION_KEY	32 bytes
webapp	RUN_OPS_*	text
supervisor	DEBUG	boolean
"""
DEFINITIONS = """---
__webapp_mail: "{{ webapp_smtp_port | int }}"
__webapp_environments:
  webapp:
    SMTP_PORT: "{{ __webapp_mail }}"
    SMTP_HOST: "{{ webapp_smtp_host | default(trigger_origin | selfhosted.trigger_dev.url, true) }}"
    ENCRYPTION_KEY: "{{ __trigger_secret_values.encryption_key }}"
    FIXED: constant
    SMTP_PASSWORD: "{{ __webapp_passwords.smtp }}"
    REDIS: "{{ __webapp_passwords['redis'] }}"
"""
PASSWORDS = """---
__webapp_passwords:
  smtp: "{{ webapp_smtp_password }}"
  redis: "{{ webapp_redis_password }}"
"""

GOOD: dict[str, list[object]] = {
    "any": ["", "x"],
    "text": ["x"],
    "integer": ["0", "-1", 7],
    "positive integer": ["1", 250],
    "number": ["0.5", "-1", "3.", 2.5],
    "share": ["0", "1", "0.3"],
    "port": ["1", 65535],
    "boolean": ["true", "FALSE", "1", "0"],
    "path": ["/home/node/shared"],
    "url": ["tcp://docker-socket-proxy:2375", "https://a.example.com/x?y=z"],
    "origin": ["http://localhost:8030", "https://trigger.example.com"],
    "postgres url": ["postgresql://u:p%40ss@db:5432/main?schema=public", "postgres://u@db.example.com/main"],
    "migration url": ["http://u:p@ch:8123?secure=false", "https://ch:8443", "https://ch:8443/?secure=true"],
    "client url": ["http://u:p@ch:8123", "https://ch:8443"],
    "registry": ["control.example.com:5000", "ghcr.io"],
    "repository": ["trigger", "team/trigger"],
    "host:port": ["trigger-postgres:5432"],
    "regular expression": ["", "^me@example\\.com$", "(?<name>a)(?<!b)", "(?<=a+)b", "\\p{L}", "a\\\\Z"],
    "regular expression 2025": ["(?i:me)@example\\.com", "(?<n>a)|(?<n>b)"],
    "pairs": ["A=b", "A=b,C="],
    "initdb options": ["--data-checksums", "--auth=scram-sha-256 --encoding=UTF8", "--locale=trusty"],
    "32 bytes": ["0" * 32],
    "time span": ["10s", "1 m", "500ms", "7d"],
    "duration": ["30d", "1h", "2 weeks", "1Y"],
    "date and time": ["2032-01-01T00:00:00Z", "2032-01-01T00:00:00.000Z"],
    "json object": ["{}", '{"a": [1]}'],
    "protocol": ["s3", "r2"],
    "machine presets": ["small-1x", "micro, large-2x"],
}
BAD = {
    "text": [""],
    "integer": ["", "1.5", "abc", "'25'"],
    "positive integer": ["0", "-1", "1.5"],
    "number": ["", "abc", "1e", "."],
    "share": ["1.1", "-0.1", "x"],
    "port": ["0", "65536", "http", ""],
    "boolean": ["yes", "on", ""],
    "path": ["shared", ""],
    "url": ["example.com", "http://", "http://a b", "http://host:port"],
    "origin": ["http://host/path", "ftp://host", "host:1", "https://host/"],
    "postgres url": [
        "postgresql://u:p/w@db/main",
        "postgresql://u:p@db@x/main",
        "mysql://u:p@db/main",
        "postgresql://u:p@db",
        "postgresql://u:p@db/main?schema=",
    ],
    "migration url": ["http://ch:8123", "https://ch?secure=false", "tcp://ch:9000", "http://ch?secure=true"],
    "client url": ["http://ch:8123?secure=false", "ch:8123"],
    "registry": ["http://host:5000", "host:5000/x", ""],
    "repository": ["Team/Trigger", ""],
    "host:port": ["host", "host:port"],
    "regular expression": [
        *["(", "[a-", "(?P<n>x)", "(?i)x", "(?i:x)", "a++", "(?>a)", "(?<n>a)|(?<n>b)", "\\A.*@example\\.com\\Z"]
    ],
    "regular expression 2025": ["(", "(?P<n>x)", "(?i)x", "a++", "\\Ame\\z"],
    "pairs": ["A", "A=b=c", "=b"],
    "initdb options": ["--auth=trust", "-A trust", "-Atrust", "--auth-host='trust'", ""],
    "32 bytes": ["0" * 64, "é" * 32, ""],
    "time span": ["60", "10 seconds", "1.5s", "s", "10  s", "-1s", ""],
    "duration": ["30", "soon", "1.5h", ""],
    "date and time": ["2032-01-01", "2032-01-01T00:00:00", "2032-01-01T00:00:00+02:00", "2032-13-01T00:00:00Z", ""],
    "json object": ["[]", "{", "1", ""],
    "protocol": ["S3", "my-store", ""],
    "machine presets": ["small", "small-1x;micro", "", ","],
}
BOUNDED = {
    "integer 1..8": (["1", "8"], ["0", "9", "1.5", "x", ""], "a whole number from 1 to 8"),
    "integer 1000..": (["1000", "999999"], ["999", "-1", "x"], "a whole number of at least 1000"),
    "number 0..": (["0", "0.5"], ["-0.1", "x"], "a number of at least 0"),
    "number >1": (["1.7"], ["1", "0", "x"], "a number above 1"),
}


def problems(environment: dict[str, Any], extra: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    added = {"webapp": extra} if extra else None
    return environment_problems({"webapp": environment}, SCHEMA, added, "webapp_extra_env.{service}", [DEFINITIONS])


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values])
def test_a_good_value_passes(kind: str, value: object) -> None:
    assert requirement(kind, value) == ""


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values])
def test_a_bad_value_does_not(kind: str, value: object) -> None:
    assert requirement(kind, value) == TYPES[kind][0]


def test_every_type_is_tried() -> None:
    assert set(GOOD) == set(TYPES)
    assert set(BAD) == set(TYPES) - {"any"}


@pytest.mark.parametrize("kind", BOUNDED)
def test_bounds_are_kept(kind: str) -> None:
    good, bad, words = BOUNDED[kind]
    assert [requirement(kind, value) for value in good] == [""] * len(good)
    assert [requirement(kind, value) for value in bad] == [words] * len(bad)


def test_a_choice_is_a_word_in_exactly_its_spelling() -> None:
    assert requirement("only production", "production") == ""
    assert requirement("only 0", 0) == ""
    assert requirement("only production", "test").startswith("production, because")
    assert requirement("true|false", "true") == ""
    assert "true, false" in requirement("true|false", "True")
    assert requirement("0|1", 1) == ""
    assert requirement("0|1", "true")


def test_what_fits_is_no_problem() -> None:
    assert problems({"SMTP_PORT": 25, "SMTP_HOST": "mail", "FIXED": "x"}) == []


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_left_out_is_no_problem(value: str | None) -> None:
    assert problems({"SMTP_PORT": value}) == []


def test_the_message_names_the_variables_that_the_value_is_made_of() -> None:
    (port,) = problems({"SMTP_PORT": "abc"})
    assert port["message"] == "SMTP_PORT of webapp must be a port, 1 to 65535. Set webapp_smtp_port."
    assert (port["kind"], port["variables"]) == ("error", ["webapp_smtp_port"])
    (key,) = problems({"ENCRYPTION_KEY": "short"})
    assert key["variables"] == ["trigger_secrets.encryption_key"]


def test_values_stand_in_no_problem() -> None:
    found = problems({"ENCRYPTION_KEY": "hunter2"}, {"SMTP_PORT": "hunter2", "SMTP_HOTS": "hunter2", "SMTP_HOST": ""})
    assert len(found) == 4
    assert "hunter2" not in str(found)


def test_what_the_role_sets_is_not_for_extra_environment() -> None:
    (known,) = problems({"SMTP_PORT": None}, {"SMTP_PORT": "25"})
    assert known["kind"] == "error"
    assert known["message"].startswith("webapp_extra_env.webapp.SMTP_PORT: ")
    assert known["message"].endswith("Set webapp_smtp_port.")
    (fixed,) = problems({"FIXED": "x"}, {"FIXED": "y"})
    assert "decided by this role" in fixed["message"]


def test_extra_environment_is_checked_as_well() -> None:
    (port,) = problems({}, {"SMTP_PORT": "abc"})
    assert port["message"].endswith("Set webapp_extra_env.webapp.SMTP_PORT.")
    (empty,) = problems({}, {"SMTP_HOST": ""})
    assert empty["kind"] == "error"


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    (typo,) = problems({}, {"SMTP_PROT": "25"})
    assert (typo["kind"], typo["nearest"]) == ("unknown", "SMTP_PORT")
    assert "did you mean SMTP_PORT?" in typo["message"]
    assert "trigger_extra_names" in typo["message"]
    (far,) = problems({}, {"ENTIRELY_DIFFERENT": "25"})
    assert (far["kind"], far["nearest"]) == ("unknown", "")


def test_a_name_that_the_operator_vouches_for_is_free() -> None:
    added = {"webapp": {"BRAND_NEW": "x", "SMTP_PORT": "abc"}}
    found = environment_problems({"webapp": {}}, SCHEMA, added, other_names=["BRAND_NEW", "SMTP_PORT"])
    assert [problem["name"] for problem in found] == ["SMTP_PORT"]


def test_what_is_switched_on_needs_its_companions() -> None:
    (half,) = problems({}, {"S2_ENABLED": "1", "S2_BASIN": "logs"})
    assert half["kind"] == "error"
    assert (
        half["message"]
        == "webapp_extra_env.webapp.S2_ENABLED: with S2_ENABLED=1 the webapp needs S2_ACCESS_TOKEN as well."
    )
    assert problems({}, {"S2_ENABLED": "1", "S2_BASIN": "logs", "S2_ACCESS_TOKEN": "x"}) == []
    assert problems({"S2_ACCESS_TOKEN": "x", "S2_BASIN": "y"}, {"S2_ENABLED": "1"}) == []
    assert problems({}, {"S2_ENABLED": "0"}) == []


@pytest.mark.parametrize(("mode", "fits"), [("log", True), ("enforce", True), ("disabled", False), (None, False)])
def test_a_companion_may_have_to_be_something(mode: str | None, fits: bool) -> None:
    found = problems({}, {"CLEAN": "True"} | ({"MODE": mode} if mode else {}))
    assert [problem["name"] for problem in found] == ([] if fits else ["CLEAN"])
    assert fits or "MODE=log or enforce" in found[0]["message"]


def test_a_star_stands_for_anything() -> None:
    assert problems({}, {"RUN_OPS_URL": "x"}) == []
    assert problems({}, {"RUN_OPS_URL": ""})[0]["kind"] == "error"


def test_services_without_a_schema_are_asked_for_collisions_only() -> None:
    added = {"electric": {"A": "c", "X": "y"}}
    found = environment_problems({"electric": {"A": "b"}}, SCHEMA, added, "extra.{service}")
    assert [problem["name"] for problem in found] == ["A"]


def test_sources_are_found_through_what_is_defined_beside_them() -> None:
    assert sources([DEFINITIONS, PASSWORDS])["webapp"] == {
        "SMTP_PORT": ["webapp_smtp_port"],
        "SMTP_HOST": ["webapp_smtp_host", "trigger_origin"],
        "ENCRYPTION_KEY": ["trigger_secrets.encryption_key"],
        "FIXED": [],
        "SMTP_PASSWORD": ["webapp_smtp_password"],
        "REDIS": ["webapp_redis_password"],
    }


def test_definitions_that_go_in_circles_end() -> None:
    circle = [
        '__webapp_a: "{{ __webapp_b }} {{ webapp_x }}"',
        '__webapp_b: "{{ __webapp_a }}"',
        "e: {webapp: {A: __webapp_a}}",
    ]
    assert sources(circle)["webapp"]["A"] == ["webapp_x"]


@pytest.mark.parametrize(
    "text",
    [
        "service\tname\ttype\nwebapp\tA",
        "service\tname\ttype\nwebapp\tA\tno such type",
        "service\tname\ttype\tneeds\nwebapp\tA\ttext\tB",
        "service\tname\ttype\tneeds\nwebapp\tA\ttext\t1: B\tmore",
    ],
)
def test_a_broken_schema_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be read"):
        parse_schema(text)


@pytest.mark.parametrize(("environments", "extra"), [(["webapp"], None), ({}, ["webapp"])])
def test_anything_but_dictionaries_is_refused(environments: Any, extra: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="must be dictionaries"):
        environment_problems(environments, SCHEMA, extra)


@pytest.mark.parametrize("environment", ['{{SMTP_PORT: "{port}"}}', '"{{{{ __webapp_environment }}}}"'])
def test_an_environment_may_stand_in_the_row_of_its_service(environment: str) -> None:
    port = "{{ webapp_smtp_port }}"
    rows = f"__webapp_services:\n  webapp:\n    environment: {environment.format(port=port)}\n"
    other = f'__webapp_environment: {{SMTP_PORT: "{port}"}}\n'
    (problem,) = environment_problems({"webapp": {"SMTP_PORT": "x"}}, SCHEMA, definitions=[rows, other])
    assert problem["variables"] == ["webapp_smtp_port"]


@pytest.mark.parametrize("series", SCHEMAS)
def test_the_schemas_of_the_role_can_be_read(series: str) -> None:
    schema = parse_schema(SCHEMAS[series])
    assert {"webapp", "supervisor"} <= set(schema)
    assert schema["webapp"]["ENCRYPTION_KEY"] == "32 bytes"


@pytest.mark.parametrize("series", SCHEMAS)
def test_needs_of_the_schemas_name_variables_and_values_that_exist(series: str) -> None:
    schema, needs = parse_schema(SCHEMAS[series]), parse_needs(SCHEMAS[series])
    assert {"GITHUB_APP_ENABLED", "S2_ENABLED"} <= set(needs["webapp"])
    for service, rows in needs.items():
        for name, need in rows.items():
            assert not [value for value in need.values if requirement(schema[service][name], value)], name
            for other, wanted in need.others.items():
                assert not [value for value in wanted if requirement(schema[service][other], value)], other


@pytest.mark.parametrize("series", SCHEMAS)
def test_no_star_hides_the_type_of_a_variable(series: str) -> None:
    """Upstream reads one family by a pattern: the object stores that a protocol names."""
    schema = parse_schema(SCHEMAS[series])
    for service in ("webapp", "supervisor"):
        stars = [name for name in schema[service] if "*" in name]
        assert all(name.startswith("OBJECT_STORE_*_") for name in stars)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTLP_RATE_LIMIT_ENABLED", "true"),
        ("OTLP_RATE_LIMIT_WINDOW", "60"),
        ("SCHEDULE_WORKER_ENABLED", "false"),
        ("PRIVATE_CONNECTIONS_ENABLED", "true"),
        ("OBJECT_STORE_DEFAULT_PROTOCOL", "S3"),
        ("OBJECT_STORE_ARCHIVE_BASE_URL", "s3.example.com"),
        ("RUN_OPS_DATABASE_URL", "mysql://db/main"),
        ("GITHUB_APP_ENABLED", "1"),
        ("S2_ENABLED", "1"),
        ("VERBOSE_GRAPHILE_LOGGING", "1"),
    ],
)
def test_what_4_5_does_not_take_is_found(name: str, value: str) -> None:
    found = environment_problems({"webapp": {}}, SCHEMAS["4.5"], {"webapp": {name: value}}, "extra")
    assert [problem["name"] for problem in found] == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOW_INSECURE_DEFAULT_SECRETS", "true"),
        ("SCHEDULE_WORKER_ENABLED", "0"),
        ("OTLP_RATE_LIMIT_WINDOW", "1 m"),
        ("RUN_ENGINE_MAXIMUM_DEBOUNCE_DURATION_MS", "0"),
        ("HTTPS_PROXY", "http://proxy.example.com:3128"),
    ],
)
def test_what_4_5_takes_passes(name: str, value: str) -> None:
    assert environment_problems({"webapp": {}}, SCHEMAS["4.5"], {"webapp": {name: value}}, "extra") == []


def test_a_newer_schema_knows_what_is_new_and_has_forgotten_what_is_gone() -> None:
    old, new = (parse_schema(SCHEMAS[series])["webapp"] for series in ("4.2", "4.5"))
    assert {"AUTH_GOOGLE_CLIENT_ID", "INTERNAL_API_ORIGIN", "OBJECT_STORE_BUCKET"} <= set(new) - set(old)
    assert {"PROVIDER_SECRET", "WORKER_CONCURRENCY"} <= set(old) - set(new)


def test_it_is_registered() -> None:
    assert FilterModule().filters() == {"environment_problems": environment_problems}


LATER = """service	name	type	needs
webapp	SMTP_PORT	text
webapp	CLEAN	boolean
webapp	MODE	removed
webapp	NEW	port
"""


def test_a_later_schema_holds_what_differs() -> None:
    earlier, both = parse_schema(SCHEMA), parse_schema(SCHEMA + LATER)
    assert set(both["webapp"]) == {*earlier["webapp"], "NEW"} - {"MODE"}
    assert (both["webapp"]["SMTP_PORT"], both["supervisor"]) == ("text", earlier["supervisor"])
    assert set(parse_needs(SCHEMA)["webapp"]) - set(parse_needs(SCHEMA + LATER)["webapp"]) == {"CLEAN"}


def test_only_what_is_there_can_be_removed() -> None:
    with pytest.raises(AnsibleFilterError, match="removes a row that is not there"):
        parse_schema(SCHEMA + "webapp\tNOWHERE\tremoved\n")
