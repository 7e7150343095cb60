# SPDX-License-Identifier: MIT
"""What a rotation of secrets must change, and what it must leave: logins with old and new secrets, values, runs."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.config import Config  # type: ignore[import-untyped,unused-ignore]
from botocore.exceptions import ClientError  # type: ignore[import-untyped,unused-ignore]
from botocore.session import Session  # type: ignore[import-untyped,unused-ignore]
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node, eventually

from testbed.cluster import Cluster, http
from testbed.common import TestbedError
from testbed.expected_secrets import SECRET_NAMES, VARIABLES
from testbed.hello import TASK, Hello, State

WORKER = "worker1.backup"
FILE = expected.SECRETS_FILE
REPOSITORY = "/var/backups/trigger"
POSTGRES, REDIS, CLICKHOUSE = (f"trigger-webapp-trigger-{name}-1" for name in ("postgres", "redis", "clickhouse"))
# The password comes from a file of root, by standard input; the local socket would ask for none.
POSTGRES_LOGIN = """
docker exec -i {container} sh -c 'read -r PGPASSWORD; export PGPASSWORD
psql -w -h "$(hostname -i | cut -d" " -f1)" -U postgres -d main -Atc "SELECT 1"'
""".strip()
REDIS_LOGIN = (
    "docker exec -i {container} sh -c 'read -r REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli ping | grep -x PONG'"
)
CLICKHOUSE_LOGIN = """
docker exec -i {container} sh -c 'read -r key
wget -qO- --header="X-ClickHouse-User: trigger" --header="X-ClickHouse-Key: $key" --post-data="SELECT 1" http://127.0.0.1:8123/'
""".strip()
SECRET_LOGINS = {
    "postgres_password": POSTGRES_LOGIN.format(container=POSTGRES),
    "redis_password": REDIS_LOGIN.format(container=REDIS),
    "clickhouse_password": CLICKHOUSE_LOGIN.format(container=CLICKHOUSE),
    "backup_key": f"restic -r {REPOSITORY} --no-lock --password-file /dev/stdin cat config",
}
# The others that open something here; `Life.works` sends the request.
SECRET_REQUESTS = (
    *("object_store_access_key", "object_store_secret_key", "session_secret", "magic_link_secret", "encryption_key"),
    *("managed_worker_secret", "registry_password", "registry_pull_password"),
)
# What no test logs in with is looked for where the webapp has it.
PLAIN = {name: VARIABLES[name] for name in VARIABLES if name not in (*SECRET_LOGINS, *SECRET_REQUESTS)}
# What opens nothing here. The tests of other scenarios log in with it (tests/consistency/test_secrets.py finds them).
UNUSED = tuple(name for name in SECRET_NAMES if name not in (*SECRET_LOGINS, *SECRET_REQUESTS, *PLAIN))
# As the genuine webapp has them; the stand-in has access tokens only.
TABLES = """
CREATE TABLE IF NOT EXISTS "SecretStore" (key text PRIMARY KEY, value jsonb NOT NULL, version text NOT NULL);
CREATE TABLE IF NOT EXISTS "ProjectAlertChannel" (id text PRIMARY KEY, type text NOT NULL, properties jsonb NOT NULL);
"""
TEXTS = {"environmentvariable:p:e:A": '{"secret":"grüße"}', "environmentvariable:p:e:B": "x" * 5000}
LEDGER = """
SELECT r."friendlyId", r.status, count(*) FILTER (WHERE s."executionStatus" = 'PENDING_EXECUTING'),
  count(*) FILTER (WHERE s."executionStatus" = 'EXECUTING')
FROM "TaskRun" r JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
WHERE r."friendlyId" IN ({}) GROUP BY 1, 2 ORDER BY 1
"""


def seal(key: str, text: str) -> dict[str, str]:
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key.encode()).encrypt(nonce, text.encode(), None)
    return {"nonce": nonce.hex(), "ciphertext": sealed[:-16].hex(), "tag": sealed[-16:].hex()}


def opened(key: str, box: dict[str, str]) -> str | None:
    try:
        sealed = bytes.fromhex(box["ciphertext"] + box["tag"])
        return AESGCM(key.encode()).decrypt(bytes.fromhex(box["nonce"]), sealed, None).decode()
    except InvalidTag:
        return None


@dataclass
class Traffic:
    """Runs that begin all the time."""

    cluster: Cluster
    key: str = field(repr=False)
    triggered: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        number = 0
        while not self.stop.wait(7):
            number += 1
            try:
                url, payload = f"/api/v1/tasks/{TASK}/trigger", {"payload": {"sleep": 15 + 10 * (number % 3)}}
                answer = self.cluster.ask("POST", url, payload=payload, bearer=self.key)
            except TestbedError:
                continue  # a client has to try again
            if answer.status == 200:
                self.triggered.append(answer.json()["id"])


@contextmanager
def traffic(hello: Hello) -> Iterator[Traffic]:
    found = Traffic(hello.cluster, hello.key())
    thread = threading.Thread(target=found.go_on, daemon=True)
    thread.start()
    try:
        assert eventually(lambda: len(found.triggered) > 1)
        yield found
    finally:
        found.stop.set()
        thread.join()


def no_run_was_lost(deployment: Deployment, found: Traffic) -> None:
    """Each ends well, and its code began once."""
    for run in found.triggered:
        assert found.cluster.await_run(run, found.key).status == "COMPLETED"
    rows = deployment.sql(LEDGER.format(", ".join(f"'{run}'" for run in found.triggered)))
    assert len(rows) == len(found.triggered)
    assert [row for row in rows if row[3] != "1"] == [], "executed twice, or not at all"
    taken_in_vain = [row for row in rows if int(row[2]) > 1]
    print(f"\n{len(rows)} runs, {len(taken_in_vain)} of them taken in vain")
    assert taken_in_vain == [], "a run was given to a worker that could not start it"


def stored(control: Node) -> dict[str, str]:
    found: dict[str, str] = json.loads(control.read(FILE))
    return found


@dataclass
class Life:
    """What users and programs hold: keys, sessions, links, values."""

    deployment: Deployment
    hello: Hello

    @property
    def control(self) -> Node:
        return self.deployment.control

    def keep(self) -> None:
        """Keep the present secrets where root alone reads them, and log a user in."""
        self.control.output("umask 077; cp %s /root/old.json", FILE)
        self.session = self.hello._session()
        self.link = self.ask_for_link()
        key = stored(self.control)["encryption_key"]
        rows = ", ".join(f"('{name}', '{json.dumps(seal(key, text))}', '2')" for name, text in TEXTS.items())
        hook = json.dumps({"url": "https://example.com", "secret": seal(key, "whsec")})
        self.deployment.sql(
            f'{TABLES} DELETE FROM "SecretStore"; DELETE FROM "ProjectAlertChannel"; '
            f"INSERT INTO \"SecretStore\" VALUES {rows}, ('plain', '{{\"a\": 1}}', '1'); "
            f"INSERT INTO \"ProjectAlertChannel\" VALUES ('c1', 'WEBHOOK', '{hook}'), ('c2', 'EMAIL', '{{}}')"
        )

    def ask_for_link(self) -> str:
        began = str(int(time.time()) - 1)
        self.hello.cluster.ask("POST", "/login/magic", form={"action": "send", "email": "other@example.com"})
        found: list[str] = []

        def has_come() -> bool:
            log = self.hello.cluster.host("docker", "logs", "--since", began, "trigger-webapp-webapp-1")
            found.extend(re.findall(r"/magic\?token=(\S+)", log.rpartition("other@example.com")[2]))
            return bool(found)

        assert eventually(has_come)
        return found[-1]

    def works(self, name: str, file: str) -> bool:
        """Tell whether the secret of this name opens something, as it stands in one of the two files."""
        if name in SECRET_LOGINS:
            read = f'python3 -c \'import json; print(json.load(open("{file}"))["{name}"])\''
            return bool(self.control.run(f"{read} | ({SECRET_LOGINS[name]})").rc == 0)
        values: dict[str, str] = json.loads(self.control.read(file))
        if name in PLAIN:
            listed = self.control.output("docker inspect --format '{{json .Config.Env}}' trigger-webapp-webapp-1")
            return f"{PLAIN[name]}={values[name]}" in json.loads(listed)
        assert name in SECRET_REQUESTS, f"no request tells whether {name} opens anything"
        if name.startswith("registry"):
            user = "trigger" if name == "registry_password" else "trigger-pull"
            status, _ = self.control.http(f"{self.deployment.registry_origin}/v2/", user=user, password=values[name])
            return status == 200
        if name.startswith("object_store"):
            return self.bucket_opens(values)
        if name == "managed_worker_secret":
            return self.worker_is_known(values[name])
        if name == "encryption_key":
            return self.values_open(values[name])
        return self.user_is_known(name)

    def bucket_opens(self, values: dict[str, str]) -> bool:
        client = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://{self.hello.cluster.address(9000)}",
            aws_access_key_id=values["object_store_access_key"],
            aws_secret_access_key=values["object_store_secret_key"],
            config=Config(s3={"addressing_style": "path"}),
        )
        try:
            client.list_objects_v2(Bucket="packets")
        except ClientError:
            return False
        return True

    def worker_is_known(self, secret: str) -> bool:
        answer = http(
            "POST",
            f"{self.hello.cluster.webapp}/engine/v1/worker-actions/connect",
            payload={"metadata": {}},
            bearer=self.control.read(expected.TOKEN_FILE),
            headers={"x-trigger-worker-instance-name": WORKER, "x-trigger-worker-managed-secret": secret},
        )
        assert answer.status in (200, 401)
        return answer.status == 200

    def boxes(self) -> dict[str, dict[str, str]]:
        query = """
            SELECT json_build_object(
              'store', (SELECT json_object_agg(key, value) FROM "SecretStore" WHERE version = '2'),
              'hooks', (SELECT json_object_agg(id, properties -> 'secret') FROM "ProjectAlertChannel"
                WHERE type = 'WEBHOOK'),
              'tokens', (SELECT json_object_agg(id, "encryptedToken") FROM "PersonalAccessToken"))
        """
        # Texts hold no such character.
        (row,) = self.deployment.sql(query)
        found: dict[str, dict[str, dict[str, str]]] = json.loads("|".join(row))
        return {name: box for each in found.values() for name, box in each.items()}

    def values_open(self, key: str) -> bool:
        texts = {name: opened(key, box) for name, box in self.boxes().items()}
        if set(texts.values()) == {None}:
            return False
        assert None not in texts.values(), "some have this key, and some another one"
        assert {name: texts[name] for name in TEXTS} == TEXTS
        assert texts["c1"] == "whsec"
        return True

    def user_is_known(self, name: str) -> bool:
        """By the session or the link of before; both files are the same for these."""
        if name == "session_secret":
            return self.hello.cluster.ask("GET", "/", headers={"Cookie": self.session}).status == 200
        answer = self.hello.cluster.ask("GET", f"/magic?token={self.link}")
        assert answer.status == 302
        return answer.headers["location"] == "/"

    def token_works(self) -> bool:
        kept = State(**json.loads((self.hello.folder / "state.json").read_text()))
        return self.hello.cluster.ask("GET", "/api/v2/whoami", bearer=kept.token).status == 200

    def replaced(self, *names: str) -> None:
        """See that each of these is another one now, which works, and that the old one does not."""
        old, new = json.loads(self.control.read("/root/old.json")), stored(self.control)
        same = [name for name in names if old[name] == new[name]]
        assert same == []
        others = [name for name in SECRET_NAMES if name not in names and old[name] != new[name]]
        assert others == [], "a secret was replaced that nobody named"
        for name in set(names) - set(UNUSED):
            assert not self.works(name, "/root/old.json"), f"the old {name} still works"
            if name not in ("session_secret", "magic_link_secret"):
                assert self.works(name, FILE), f"the new {name} does not work"
        assert self.hello._session(), "nobody can log in"
        assert self.token_works(), "access tokens are void"

    def nothing_is_left(self) -> None:
        assert self.control.output("ls -A /opt/trigger | grep secrets") == "secrets.json"
        assert self.control.run("test -e /opt/trigger/backup/key.new").rc != 0
