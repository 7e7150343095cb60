# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_diagnosis_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.host_diagnosis_info import (
    COMMANDS,
    LOGS,
    Parameters,
    clock,
    collect,
    known_secrets,
    masked,
    masked_checks,
    written,
)

from .conftest import Invoke

# Each is planted in every file, log and answer.
SECRETS = {
    "stored": "stored/secret+word",
    "token": "token-of-the-group",
    "environment": "p4ss$word&of*env",
    "repository": "key-of-the-repository",
    "provider": "aws-secret-of-the-provider",
    "container": "secret-of-one-container",
    "receiver": "https://chat.example.com/hook/0123",
    "receiver_token": "token-of-the-receiver",
    "mail": "password of the mail server",
    "metrics": "of-an-external-clickhouse",
    "dns": "it's the DNS provider's",
    "headers": "x-honeycomb-team=of-the-traces",
    "webhook": "https://hooks.example.com/services/T0/B0",
    "cookie": "of-the-cookies",
    "extra": "value-of-a-name-that-says-nothing",
    "nested": "value-for-the-runners",
    "run": "tr_prod_0123456789abcdefghijklmn",
    "login": "token-of-a-login-link",
    "deployment": f"eyJ{'h' * 20}.eyJ{'p' * 20}.{'s' * 43}",
}
HASH = "$2y$10$" + "eLj4OeNhnEuBSgcBWFvt.uymVhqpFUScXm1qz63o15yXHibWu.xXu"
ALL = " ".join([*SECRETS.values()]).replace(SECRETS["login"], f"http://t.test/magic?token={SECRETS['login']}")
RUNNER, WEBAPP, POSTGRES = "runner-abc", "trigger-webapp-webapp-1", "trigger-webapp-trigger-postgres-1"


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parameters:
    files = {
        "secrets.json": json.dumps({"redis_password": SECRETS["stored"]}),
        "webapp/webapp.env": f'A_PASSWORD="{SECRETS["environment"]}"\nSMTP_AUTH=true\nPORT=3000\nNOTE={ALL}\n'
        f"OTEL_EXPORTER_OTLP_HEADERS={SECRETS['headers']}\nSLACK_WEBHOOK_URL={SECRETS['webhook']}\n"
        "WEBHOOK_ENGINE_LOG_LEVEL=debug\nOWN_LEVEL=verbose\nSESSION_SALT=horse\n",
        "supervisor/supervisor.env": f"OWN={SECRETS['extra']}\n"
        f"RUNNER_ADDITIONAL_ENV_VARS=NODE_ENV=production,OWN={SECRETS['nested']}\n",
        "webapp/shared/worker_token": SECRETS["token"],
        "webapp/compose.yml": f"services: {ALL}\n",
        "backup/repository.json": json.dumps(
            {"key": SECRETS["repository"], "environment": {"AWS_SECRET_ACCESS_KEY": SECRETS["provider"]}}
        ),
        "backup/stage/objects/ab": ALL,
        # Of an adoption that was interrupted.
        "backup/adopt_source.json": json.dumps({"password": "of-an-old-store"}),
        "backup/adopt/token": "of-an-old-worker",
        "gateway/authority/root.key": ALL,
        "gateway/config/environment": f"DNS_ACCOUNT={shlex.quote(SECRETS['dns'])}\nDNS_PROPAGATION=30\n",
        "gateway/config/status-users.caddy": f"admin {HASH}\n",
        "monitoring/prometheus/clickhouse": SECRETS["metrics"],
        "monitoring/alertmanager/team.url": SECRETS["receiver"],
        "monitoring/alertmanager/team.token": SECRETS["receiver_token"],
        "monitoring/alertmanager/smtp_password": SECRETS["mail"],
        "firewall/rules.py": ALL,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "daemon.json").write_text(ALL)
    monkeypatch.setattr(host_diagnosis_info, "DAEMON", str(tmp_path / "daemon.json"))
    return Parameters(str(tmp_path), str(tmp_path / "secrets.json"), 100, 64, frozenset({"OWN", "OWN_LEVEL"}))


def host(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
    """Every program shows every secret; containers have one of their own."""
    command = " ".join(argv)
    if command.startswith("docker ps --all --format"):
        return Completed(0, f"{WEBAPP}\n{RUNNER}\n{POSTGRES}\nnginx\n", "")
    if command.startswith("docker container inspect"):
        cookie = f"COOKIE_SIGNING={SECRETS['cookie']}"
        environment = (
            [f"APP_SECRET={SECRETS['container']}", "EMPTY_SECRET=", cookie, 'OWN_LEVEL=a"b']
            if RUNNER in command
            else None
        )
        return Completed(0, json.dumps([{"Name": ALL, "Config": {"Env": environment}}]), "")
    if argv[0] == "nft":
        return Completed(127, "", f"nft: no such program {ALL}")
    return Completed(0, f"{command} says {ALL}", ALL)


def test_no_secret_is_in_any_entry(wanted: Parameters) -> None:
    found = collect(host, wanted, known_secrets(wanted))
    shown = {name: [kind for kind, secret in SECRETS.items() if secret in text] for name, text in found.items()}
    assert {name: kinds for name, kinds in shown.items() if kinds} == {}
    assert "***" in found["files/webapp/compose.yml"]


def test_no_secret_is_in_the_status(wanted: Parameters) -> None:
    """Also not one that only a container has."""
    secrets = known_secrets(wanted)
    collect(host, wanted, secrets)
    (row,) = masked_checks([{"what": f"a {ALL}", "ok": False, "warning": True, "detail": ALL}], secrets)
    assert (row["ok"], row["warning"]) == (False, True)
    for text in (row["what"], row["detail"]):
        assert [kind for kind, secret in SECRETS.items() if secret in text] == []
    assert row["detail"].count("***") >= len(SECRETS) - 1


def test_rows_that_are_given_are_in_no_log_and_shred_no_output(
    wanted: Parameters, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ansible knows as secret it masks wherever it stands, and a row consists of words such as "running"."""
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, text, log_args=None: logged.append(f"{text} {log_args}"))
    monkeypatch.setattr(host_diagnosis_info, "run", host)
    rows = [{"host": "w", "checks": [{"what": "running", "ok": True, "detail": f"Entries {ALL}"}]}]
    given: dict[str, Any] = {"path": wanted.path, "secrets_file": wanted.secrets_file, "checks": rows}
    given["secret_names"] = sorted(wanted.names)
    result = invoke(host_diagnosis_info.main, **given)
    assert logged
    assert [kind for kind, secret in SECRETS.items() if secret in "".join(logged)] == []
    (row,) = result["checks"]
    assert row["checks"][0]["what"] == "running"
    assert "VALUE_SPECIFIED" in str(result["invocation"]["module_args"]["checks"])
    # The action hides them, and the role masks them in what other hosts tell.
    known = result.pop("secrets")
    assert {SECRETS["stored"], SECRETS["container"], SECRETS["extra"]} <= set(known)
    assert [kind for kind, secret in SECRETS.items() if secret in json.dumps(result, ensure_ascii=False)] == []
    assert result["host_diagnosis"].startswith("Entries:\n  ")


def test_everything_is_there(wanted: Parameters) -> None:
    found = collect(host, wanted, known_secrets(wanted))
    assert {*COMMANDS, *LOGS, "engine/daemon.json", "engine/replication-slots.txt"} <= set(found)
    for name in (WEBAPP, RUNNER, POSTGRES):
        assert {f"containers/{name}.json", f"logs/{name}.txt"} <= set(found)
    assert {name for name in found if name.startswith("files/")} == {
        "files/webapp/webapp.env",
        "files/supervisor/supervisor.env",
        "files/webapp/shared/worker_token",
        "files/webapp/compose.yml",
        "files/backup/repository.json",
        "files/gateway/config/environment",
        "files/gateway/config/status-users.caddy",
        "files/monitoring/prometheus/clickhouse",
        "files/monitoring/alertmanager/team.url",
        "files/monitoring/alertmanager/team.token",
        "files/monitoring/alertmanager/smtp_password",
    } | ({"files/daemon.json"})
    assert not any("nginx" in name for name in found)
    assert "--tail=100" in found[f"logs/{WEBAPP}.txt"]


def test_what_is_no_secret_stays(wanted: Parameters) -> None:
    found = collect(host, wanted, known_secrets(wanted))
    assert "SMTP_AUTH=true" in found["files/webapp/webapp.env"]
    assert "PORT=3000" in found["files/webapp/webapp.env"]
    assert "DNS_PROPAGATION=30" in found["files/gateway/config/environment"]
    assert found["files/gateway/config/status-users.caddy"] == "admin ***\n"
    assert "WEBHOOK_ENGINE_LOG_LEVEL=debug" in found["files/webapp/webapp.env"]
    assert "NODE_ENV=production" in found["files/supervisor/supervisor.env"]


def test_a_common_word_is_masked_only_where_its_name_stands(wanted: Parameters) -> None:
    def talkative(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(0, "a verbose horse", "") if argv[0] == "uname" else host(argv)

    found = collect(talkative, wanted, known_secrets(wanted))
    assert "OWN_LEVEL=***\nSESSION_SALT=***\n" in found["files/webapp/webapp.env"]
    assert '"OWN_LEVEL=***"' in found[f"containers/{RUNNER}.json"]
    assert found["host/uname.txt"] == "a verbose horse"


def test_a_program_that_is_missing_hides_nothing_else(wanted: Parameters) -> None:
    found = collect(host, wanted, known_secrets(wanted))
    assert "ended with 127" in found["host/firewall-nftables.txt"]
    assert found["host/uname.txt"].startswith("uname -a says")


def test_an_entry_is_bounded_and_keeps_its_end(wanted: Parameters) -> None:
    def talkative(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(0, "x" * 100_000 + "the end", "") if argv[0] == "uname" else host(argv)

    found = collect(talkative, wanted, known_secrets(wanted))["host/uname.txt"]
    assert len(found) < 66_000
    assert found.endswith("the end")
    assert found.startswith("(the last 64 KiB)")


def test_what_is_kept_begins_with_a_line(wanted: Parameters) -> None:
    """Half of a secret of another host would not be known as one."""

    def talkative(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(0, "one line of a log\n" * 10_000, "") if argv[0] == "uname" else host(argv)

    found = collect(talkative, wanted, known_secrets(wanted))["host/uname.txt"]
    assert set(found.splitlines()) == {"(the last 64 KiB)", "one line of a log"}


def test_of_many_containers_of_runs_the_newest_are_read(wanted: Parameters) -> None:
    runners = [f"runner-{number:03}" for number in reversed(range(50))]

    def busy(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        if tuple(argv[:4]) == ("docker", "ps", "--all", "--format"):
            return Completed(0, "\n".join([*runners, WEBAPP]), "")
        return host(argv)

    found = collect(busy, wanted, known_secrets(wanted))
    read = {name for name in found if name.startswith("containers/") and name.endswith(".json")}
    assert read == {f"containers/{name}.json" for name in [*runners[:20], WEBAPP]}
    assert {name for name in found if name.startswith("logs/runner")} == {f"logs/{name}.txt" for name in runners[:20]}
    assert found["containers/left-out.txt"].splitlines() == [f"container {name}" for name in sorted(runners[20:])]


def test_of_many_files_some_of_each_folder_are_read(wanted: Parameters) -> None:
    few = {name for name in collect(host, wanted, known_secrets(wanted)) if name.startswith("files/")}
    for number in range(400):
        path = Path(wanted.path) / "backup/reports" / f"{number:03}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("a report")
    found = collect(host, wanted, known_secrets(wanted))
    read = {name for name in found if name.startswith("files/")} - {"files/left-out.txt"}
    assert len(read) == 300
    assert few < read
    left = found["files/left-out.txt"].splitlines()
    assert left[-1] == "file backup/reports/399.txt"
    assert len(left) == 400 - (300 - len(few))


def test_a_host_on_which_nothing_is_deployed_has_its_states(tmp_path: Path) -> None:
    wanted = Parameters(str(tmp_path / "no"), str(tmp_path / "no/secrets.json"), 10, 64)
    found = collect(host, wanted, known_secrets(wanted))
    assert set(COMMANDS) <= set(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgres://user:hunter2@host/db", "postgres://user:***@host/db"),
        ("1postgres://user:hunter2@host/db", "1postgres://user:***@host/db"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ('{"authorization": "Basic abcdef"}', '{"authorization": "Basic ***"}'),
        ("a\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nb", "a\n***\nb"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "***"),
        ("cut off\n-----END RSA PRIVATE KEY-----\nb", "***\nb"),
        ("x\n-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\nb\n-----END PRIVATE KEY-----", "***\n***"),
        ("SLACK_WEBHOOK_URL=word", "SLACK_WEBHOOK_URL=***"),
        ('["OTEL_EXPORTER_OTLP_HEADERS=a=\\"b\\"", "LANG=C"]', '["OTEL_EXPORTER_OTLP_HEADERS=***", "LANG=C"]'),
        ("SIGNUP=open\nDESIGN=new", "SIGNUP=open\nDESIGN=new"),
        ("https://host:8030/path@x", "https://host:8030/path@x"),
        (f"  worker: '{HASH}'", "  worker: '***'"),
        ("basic_auth:\n  password: hunter2 hunter2\n  username: a", "basic_auth:\n  password: ***\n  username: a"),
        ("- credentials: abc\n  credentials_file: /x", "- credentials: ***\n  credentials_file: /x"),
        (
            "<u><password_sha256_hex>ab12</password_sha256_hex></u>",
            "<u><password_sha256_hex>***</password_sha256_hex></u>",
        ),
        (
            "<secret_access_key>ab</secret_access_key><profile>x</profile>",
            "<secret_access_key>***</secret_access_key><profile>x</profile>",
        ),
    ],
)
def test_secrets_that_no_file_knows_are_taken_out(text: str, told: str) -> None:
    assert masked(text, set()) == told


def test_the_text_lists_its_entries() -> None:
    assert (
        written({"a/b.txt": "one\n", "c": "two"}) == "Entries:\n  a/b.txt\n  c\n\n===== a/b.txt\none\n\n===== c\ntwo\n"
    )


def test_a_clock_that_is_wrong_is_seen() -> None:
    assert clock(1_800_000_000.0, 1_800_000_090.26) == (
        "controller: 2027-01-15 08:00:00 UTC\nthis host: 2027-01-15 08:01:30 UTC\n"
        "+90.3 s, of which the call itself took some\n"
    )
