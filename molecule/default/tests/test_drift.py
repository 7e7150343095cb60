# SPDX-License-Identifier: MIT
"""What has drifted since the last run: secrets are refused, everything that can be repaired is repaired by one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from verification import expected
from verification.deployment import POSTGRES, Deployment, differences
from verification.nodes import Node
from verification.secrets import Secrets, leaks

from testbed.hello import Hello

pytestmark = pytest.mark.breaks

# Reads the password on the host, so that it stands on no command line.
_SET = """
import json, subprocess, sys
stored = json.load(open(sys.argv[1]))["postgres_password"]
password = sys.argv[3] or stored
query = "ALTER ROLE postgres PASSWORD '" + password.replace("'", "''") + "'"
command = ["docker", "exec", "-i", "-u", "postgres", sys.argv[2], "psql", "-v", "ON_ERROR_STOP=1", "-d", "main"]
done = subprocess.run(command, input=query.encode(), check=True, capture_output=True)
print(json.dumps(done.stdout.decode()))
"""


# Takes one secret out of the file.
_TAKE = """
import json, sys
secrets = json.load(open(sys.argv[1]))
del secrets[sys.argv[2]]
json.dump(secrets, open(sys.argv[1], "w"))
print("{}")
"""


@pytest.fixture
def drifted(control: Node) -> Iterator[None]:
    """Somebody has changed the password in the database. Connections that are open stay open."""
    control.python(_SET, expected.SECRETS_FILE, POSTGRES, "another-one")
    yield
    control.python(_SET, expected.SECRETS_FILE, POSTGRES, "")


@pytest.mark.parametrize("options", [["--check"], []], ids=["dry-run", "run"])
def test_a_password_that_drifted_is_refused(
    deployment: Deployment, control: Node, secrets: Secrets, drifted: None, options: list[str]
) -> None:
    before = deployment.state()
    play = deployment.play(*options)
    assert play.code != 0, "the run went through"
    assert play.changes == []
    assert len(play.errors) == 1, play.ending()
    words = ("refuses the login of postgres", expected.SECRETS_FILE, control.name, "psql", "do not belong together")
    assert [word for word in words if word not in play.message] == [], play.ending()
    assert leaks(play.output, secrets) == set()
    assert differences(before, deployment.state()) == []


@pytest.mark.parametrize("options", [["--check"], []], ids=["dry-run", "run"])
def test_a_lost_encryption_key_is_not_replaced(deployment: Deployment, control: Node, options: list[str]) -> None:
    """What it has encrypted could never be read again."""
    away = "/run/secrets.away"
    control.output("cp --preserve=all %s %s", expected.SECRETS_FILE, away)
    control.python(_TAKE, expected.SECRETS_FILE, "encryption_key")
    before = deployment.state()
    try:
        play = deployment.play(*options)
        assert play.code != 0, "the run went through"
        assert (play.changes, len(play.errors)) == ([], 1), play.ending()
        assert "ENCRYPTION_KEY in /opt/trigger/webapp/webapp.env" in play.message, play.ending()
        assert differences(before, deployment.state()) == []
    finally:
        control.output("cp --preserve=all %s %s && rm %s", away, expected.SECRETS_FILE, away)


def test_a_lost_secrets_file_is_not_replaced(deployment: Deployment, control: Node) -> None:
    """New secrets would not fit the data."""
    away = "/run/secrets.away"
    control.output("cp --preserve=all %s %s && rm %s", expected.SECRETS_FILE, away, expected.SECRETS_FILE)
    try:
        play = deployment.play()
        assert play.code != 0
        assert play.changes == []
        for word in ("holds no encryption_key", "postgres_password", "session_secret", "webapp.env"):
            assert word in play.message, play.ending()
        assert control.run("test -e %s", expected.SECRETS_FILE).rc != 0
    finally:
        control.output("cp --preserve=all %s %s && rm %s", away, expected.SECRETS_FILE, away)
    assert json.loads(control.read(expected.SECRETS_FILE))["postgres_password"]


@dataclass(frozen=True)
class Drift:
    """What somebody does to a host, and a command that succeeds only when that is repaired."""

    done: str
    repaired: str


def edited(path: str) -> Drift:
    """Somebody has added a line to a file."""
    return Drift(f"echo '# drifted' >> {path}", f"! grep -q drifted {path}")


_ELECTRIC, _REGISTRY = "trigger-webapp-electric-1", "trigger-registry-trigger-registry-1"
_PROXY = "trigger-supervisor-docker-socket-proxy-1"
_PROXY_CONFIG = "/opt/trigger/supervisor/haproxy.cfg"
_UNITS = "/etc/systemd/system"
_OVERRIDE = '{services: {docker-socket-proxy: {image: "drifted:1", labels: {drifted: "yes"}}}}'
_REPLACE = f"""
cd /opt/trigger/supervisor
docker tag $(docker inspect --format '{{{{.Image}}}}' {_PROXY}) drifted:1
echo '{_OVERRIDE}' > /run/override.yml
docker compose --file compose.yml --file /run/override.yml up --detach --no-deps docker-socket-proxy
"""
DRIFTS = {
    "stopped container": Drift(
        f"docker stop {_ELECTRIC}", f"docker inspect --format '{{{{.State.Running}}}}' {_ELECTRIC} | grep -qx true"
    ),
    "removed container": Drift(f"docker rm --force {_REGISTRY}", f"docker inspect {_REGISTRY}"),
    "container of another image, with another label": Drift(
        _REPLACE, f"! docker inspect --format '{{{{json .Config}}}}' {_PROXY} | grep -q drifted"
    ),
    "edited environment": edited("/opt/trigger/webapp/webapp.env"),
    "edited Compose file": edited("/opt/trigger/registry/compose.yml"),
    "edited program": edited("/opt/trigger/firewall/runner_firewall.py"),
    "edited unit": edited(f"{_UNITS}/trigger-runner-firewall.service"),
    "readable secrets": Drift(
        "chmod 0644 /opt/trigger/webapp/webapp.env", "[ $(stat --format %a /opt/trigger/webapp/webapp.env) = 600 ]"
    ),
    "removed file": Drift(f"rm {_PROXY_CONFIG}", f"test -s {_PROXY_CONFIG}"),
    "disabled unit": Drift(
        "systemctl disable --now trigger-task-images-clean.timer",
        "systemctl is-enabled trigger-task-images-clean.timer && systemctl is-active trigger-task-images-clean.timer",
    ),
    "removed unit": Drift(
        f"rm {_UNITS}/trigger-supervisors.service && systemctl daemon-reload",
        "systemctl is-enabled trigger-supervisors.service && systemctl is-active trigger-supervisors.service",
    ),
    # Its timer would have them back before the playbook. What the timer has begun is over when a start of it is.
    "removed rules": Drift(
        "systemctl stop trigger-runner-firewall.timer && systemctl start trigger-runner-firewall.service"
        " && iptables -F TRIGGER-RUNNER",
        "systemctl is-active trigger-runner-firewall.timer && iptables -S TRIGGER-RUNNER | grep -q -- -A",
    ),
}


def broken(control: Node) -> list[str]:
    """Name what is not repaired."""
    return [name for name, drift in DRIFTS.items() if control.run(drift.repaired).rc != 0]


def test_one_run_repairs_every_kind_of_drift(deployment: Deployment, control: Node, hello: Hello) -> None:
    assert broken(control) == []
    for drift in DRIFTS.values():
        control.output(drift.done)
    assert broken(control) == list(DRIFTS)
    dry = deployment.play("--check")
    assert dry.code == 0, dry.ending()
    assert broken(control) == list(DRIFTS), "the dry run has repaired something"

    deployment.play().went_through(deployment)
    assert broken(control) == []
    assert hello.run().status == "COMPLETED"


# The containers go on without the network, as after a forced clean-up.
_DETACH = """
for name in $(docker network inspect --format '{{range .Containers}}{{println .Name}}{{end}}' trigger-data); do
    docker network disconnect -f trigger-data $name
done
docker network rm trigger-data
"""


def test_one_run_repairs_what_compose_leaves_broken(deployment: Deployment, control: Node, hello: Hello) -> None:
    """A network that is gone, a paused container, and a proxy that was started with a changed file."""
    control.output(_DETACH)
    control.output("docker pause trigger-registry-trigger-registry-1")
    control.output("sed -i '1i # drifted' %s && docker restart %s", _PROXY_CONFIG, _PROXY)
    dry = deployment.play("--check")
    assert dry.code == 0, dry.ending()
    for project in ("trigger-webapp", "trigger-registry"):
        assert f"Would repair in the project {project}: " in dry.text, dry.ending()
    assert control.output("docker ps --quiet --filter status=paused") != "", "the dry run has repaired something"

    deployment.play().went_through(deployment)
    listed = "docker inspect --format '{{json .NetworkSettings.Networks}}' trigger-webapp-%s-1"
    for service in ("webapp", "trigger-postgres", "trigger-redis", "trigger-clickhouse"):
        assert "trigger-data" in json.loads(control.output(listed.replace("%s", service)))
    assert control.output("docker ps --quiet --filter status=paused") == ""
    assert "drifted" not in control.output("docker exec %s cat /usr/local/etc/haproxy/haproxy.cfg", _PROXY)
    again = deployment.play()
    again.went_through(deployment)
    assert again.changes == []
    assert hello.run().status == "COMPLETED"
