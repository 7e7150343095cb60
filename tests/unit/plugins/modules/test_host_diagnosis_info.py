# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_diagnosis_info
from ansible_collections.selfhosted.trigger_dev.plugins.modules.host_diagnosis_info import (
    COMMANDS,
    LOGS,
    Parameters,
    collect,
    masked,
    written,
)

# Each is planted in every file, log and answer.
SECRETS = {
    "stored": "stored/secret+word",
    "token": "token-of-the-group",
    "environment": "p4ss$word&of*env",
    "repository": "key-of-the-repository",
    "provider": "aws-secret-of-the-provider",
    "container": "secret-of-one-container",
    "run": "tr_prod_0123456789abcdefghijklmn",
}
ALL = " ".join(SECRETS.values())
RUNNER, WEBAPP, POSTGRES = "runner-abc", "trigger-webapp-webapp-1", "trigger-webapp-trigger-postgres-1"


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parameters:
    files = {
        "secrets.json": json.dumps({"redis_password": SECRETS["stored"]}),
        "webapp/webapp.env": f'A_PASSWORD="{SECRETS["environment"]}"\nSMTP_AUTH=true\nPORT=3000\nNOTE={ALL}\n',
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
        "firewall/rules.py": ALL,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "daemon.json").write_text(ALL)
    monkeypatch.setattr(host_diagnosis_info, "DAEMON", str(tmp_path / "daemon.json"))
    return Parameters(str(tmp_path), str(tmp_path / "secrets.json"), 100, 64)


def host(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
    """Every program shows every secret; containers have one of their own."""
    command = " ".join(argv)
    if command.startswith("docker ps --all --format"):
        return Completed(0, f"{WEBAPP}\n{RUNNER}\n{POSTGRES}\nnginx\n", "")
    if command.startswith("docker container inspect"):
        environment = [f"APP_SECRET={SECRETS['container']}", "EMPTY_SECRET="] if RUNNER in command else None
        return Completed(0, json.dumps([{"Name": ALL, "Config": {"Env": environment}}]), "")
    if argv[0] == "nft":
        return Completed(127, "", f"nft: no such program {ALL}")
    return Completed(0, f"{command} says {ALL}", ALL)


def test_no_secret_is_in_any_entry(wanted: Parameters) -> None:
    found = collect(host, wanted)
    shown = {name: [kind for kind, secret in SECRETS.items() if secret in text] for name, text in found.items()}
    assert {name: kinds for name, kinds in shown.items() if kinds} == {}
    assert "***" in found["files/webapp/compose.yml"]


def test_everything_is_there(wanted: Parameters) -> None:
    found = collect(host, wanted)
    assert {*COMMANDS, *LOGS, "engine/daemon.json", "engine/replication-slots.txt"} <= set(found)
    for name in (WEBAPP, RUNNER, POSTGRES):
        assert {f"containers/{name}.json", f"logs/{name}.txt"} <= set(found)
    assert {name for name in found if name.startswith("files/")} == {
        "files/webapp/webapp.env",
        "files/webapp/shared/worker_token",
        "files/webapp/compose.yml",
        "files/backup/repository.json",
    } | ({"files/daemon.json"})
    assert not any("nginx" in name for name in found)
    assert "--tail=100" in found[f"logs/{WEBAPP}.txt"]


def test_what_is_no_secret_stays(wanted: Parameters) -> None:
    found = collect(host, wanted)
    assert "SMTP_AUTH=true" in found["files/webapp/webapp.env"]
    assert "PORT=3000" in found["files/webapp/webapp.env"]


def test_a_program_that_is_missing_hides_nothing_else(wanted: Parameters) -> None:
    found = collect(host, wanted)
    assert "ended with 127" in found["host/firewall-nftables.txt"]
    assert found["host/uname.txt"].startswith("uname -a says")


def test_an_entry_is_bounded_and_keeps_its_end(wanted: Parameters) -> None:
    def talkative(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(0, "x" * 100_000 + "the end", "") if argv[0] == "uname" else host(argv)

    found = collect(talkative, wanted)["host/uname.txt"]
    assert len(found) < 66_000
    assert found.endswith("the end")
    assert found.startswith("(the last 64 KiB)")


def test_a_host_on_which_nothing_is_deployed_has_its_states(tmp_path: Path) -> None:
    found = collect(host, Parameters(str(tmp_path / "no"), str(tmp_path / "no/secrets.json"), 10, 64))
    assert set(COMMANDS) <= set(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgres://user:hunter2@host/db", "postgres://user:***@host/db"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ('{"authorization": "Basic abcdef"}', '{"authorization": "Basic ***"}'),
        ("a\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nb", "a\n***\nb"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "***"),
        ("https://host:8030/path@x", "https://host:8030/path@x"),
    ],
)
def test_secrets_that_no_file_knows_are_taken_out(text: str, told: str) -> None:
    assert masked(text, set()) == told


def test_the_text_lists_its_entries() -> None:
    assert (
        written({"a/b.txt": "one\n", "c": "two"}) == "Entries:\n  a/b.txt\n  c\n\n===== a/b.txt\none\n\n===== c\ntwo\n"
    )
