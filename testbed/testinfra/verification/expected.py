# SPDX-License-Identifier: MIT
"""The deployment as designed: what has to be on a host of each group, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

CONTROL_GROUP = "trigger_control"
WORKERS_GROUP = "trigger_workers"
# What is no group of the inventory but decides as much: whether the host is the door of a deployment with TLS, and
# whether certificates come from a CA of the deployment's own.
GATEWAY = "gateway"
AUTHORITY = "authority"
LABEL = "dev.trigger.ansible/role"


@dataclass(frozen=True)
class Container:
    """A container of ours."""

    project: str
    service: str
    # Of its first process, as the host sees it.
    uid: int
    networks: frozenset[str]
    # Port inside -> port of the host, on every address.
    published: dict[int, int] = field(default_factory=dict)
    # Where it listens for others; None: nothing connects to it.
    port: int | None = None
    holds_socket: bool = False
    # Ports of the host's private address, the same inside.
    private: frozenset[int] = frozenset()
    # What it may get beyond none: the kernel's number of each.
    capabilities: dict[str, int] = field(default_factory=dict)
    # Whether task containers call it where it is published.
    for_tasks: bool = False

    @property
    def name(self) -> str:
        """Name of the container."""
        return f"{self.project}-{self.service}-1"


DATA = frozenset({"trigger-data"})
FRONT = frozenset({"trigger-front"})
# Electric asks nobody for a password, so there is nobody beside it but who needs it.
REALTIME = frozenset({"trigger-realtime"})

CONTAINERS = {
    CONTROL_GROUP: (
        Container("trigger-webapp", "webapp", 1000, DATA | FRONT | REALTIME, {3000: 8030}, port=3000, for_tasks=True),
        Container("trigger-webapp", "trigger-postgres", 999, DATA | REALTIME, port=5432),
        Container("trigger-webapp", "trigger-redis", 999, DATA, port=6379),
        Container("trigger-webapp", "trigger-clickhouse", 101, DATA, port=8123),
        Container("trigger-webapp", "electric", 65534, REALTIME, port=3000),
        Container("trigger-webapp", "trigger-seaweedfs", 1000, FRONT, {9000: 9000}, port=9000, for_tasks=True),
        # Root without a single capability: its volume belongs to root in its image.
        Container("trigger-registry", "trigger-registry", 0, frozenset({"trigger-registry"}), {5000: 5000}, port=5000),
    ),
    WORKERS_GROUP: (
        Container(
            "trigger-supervisor",
            "supervisor",
            1000,
            frozenset({"trigger-egress", "trigger-proxy", "trigger-runner"}),
            port=8020,
        ),
        Container(
            "trigger-supervisor", "docker-socket-proxy", 99, frozenset({"trigger-proxy"}), port=2375, holds_socket=True
        ),
    ),
}

# Its program's file carries this capability, so that it does not start where the capability is out of reach.
BIND = {"NET_BIND_SERVICE": 10}
CONTAINERS[GATEWAY] = (
    Container(
        "trigger-gateway",
        "gateway",
        65532,
        frozenset({"trigger-gateway", "trigger-front", "trigger-registry"}),
        {80: 80, 443: 443},
        private=frozenset({8080, 9080}),
        capabilities=BIND,
    ),
)

INTERNAL_NETWORKS = {"trigger-data", "trigger-realtime", "trigger-proxy"}

VOLUMES = {
    CONTROL_GROUP: {
        "trigger_postgres_data",
        "trigger_redis_data",
        "trigger_clickhouse_data",
        "trigger_clickhouse_logs",
        "trigger_seaweedfs_data",
        "trigger_registry_data",
    },
    WORKERS_GROUP: set(),
    GATEWAY: set(),
    AUTHORITY: set(),
}

# Everything below /opt/trigger: path -> type, mode, owner, group.
ROOT_FOLDER = ("folder", 0o700, 0, 0)
ROOT_FILE = ("file", 0o600, 0, 0)
FILES = {
    CONTROL_GROUP: {
        "": ROOT_FOLDER,
        "secrets.json": ROOT_FILE,
        "webapp": ROOT_FOLDER,
        "webapp/compose.yml": ROOT_FILE,
        "webapp/webapp.env": ROOT_FILE,
        "webapp/trigger-postgres.env": ROOT_FILE,
        "webapp/trigger-redis.env": ROOT_FILE,
        "webapp/trigger-clickhouse.env": ROOT_FILE,
        "webapp/trigger-seaweedfs.env": ROOT_FILE,
        "webapp/seaweedfs.json": ("file", 0o400, 1000, 1000),
        "webapp/electric.env": ROOT_FILE,
        "webapp/redis.conf": ("file", 0o400, 999, 999),
        "webapp/clickhouse-config.xml": ("file", 0o400, 101, 101),
        "webapp/clickhouse-users.xml": ("file", 0o400, 101, 101),
        "webapp/shared": ("folder", 0o700, 1000, 1000),
        "webapp/shared/worker_token": ("file", 0o600, 1000, 1000),
        "registry": ROOT_FOLDER,
        "registry/compose.yml": ROOT_FILE,
        "registry/trigger-registry.env": ROOT_FILE,
        "registry/auth": ROOT_FOLDER,
        "registry/auth/htpasswd": ("file", 0o400, 0, 0),
        "registry/garbage_collect.py": ("file", 0o700, 0, 0),
        "registry/read-only.yml": ROOT_FILE,
    },
    WORKERS_GROUP: {
        "": ROOT_FOLDER,
        "supervisor": ROOT_FOLDER,
        "supervisor/compose.yml": ROOT_FILE,
        "supervisor/supervisor.env": ROOT_FILE,
        # Read by the proxy's own user; holds no secret.
        "supervisor/haproxy.cfg": ("file", 0o444, 0, 0),
        "supervisor/create_body.lua": ("file", 0o444, 0, 0),
        "supervisor/proved": ROOT_FILE,
        "supervisor/task_images.py": ("file", 0o700, 0, 0),
        "supervisor/supervisors.py": ("file", 0o700, 0, 0),
        "firewall": ROOT_FOLDER,
        "firewall/runner_firewall.py": ("file", 0o700, 0, 0),
        "firewall/settings.json": ROOT_FILE,
        "firewall/rules.json": ROOT_FILE,
        "firewall/loaded.json": ROOT_FILE,
    },
}
OF_THE_GATEWAY = ("folder", 0o700, 65532, 65532)
FILES[GATEWAY] = {
    "gateway": ROOT_FOLDER,
    "gateway/compose.yml": ROOT_FILE,
    "gateway/authority": OF_THE_GATEWAY,
    "gateway/authority/root.crt": ("file", 0o600, 65532, 65532),
    "gateway/authority/root.key": ("file", 0o600, 65532, 65532),
    "gateway/config": OF_THE_GATEWAY,
    "gateway/config/Caddyfile": ("file", 0o400, 65532, 65532),
    "gateway/config/gateway.sh": ("file", 0o400, 65532, 65532),
    "gateway/config/registry-writers.caddy": ("file", 0o400, 65532, 65532),
    # A file for each worker in it.
    "gateway/config/clients": OF_THE_GATEWAY,
    "gateway/data": OF_THE_GATEWAY,
    # Read by the webapp's own user.
    "webapp/ca.pem": ("file", 0o444, 0, 0),
}
FILES[AUTHORITY] = {"ca.pem": ("file", 0o644, 0, 0)}
# What comes and goes with timers, certificates and workers -> who alone may read it.
COMES_AND_GOES = {"supervisor/task_images.json": 0, "gateway/data/": 65532, "gateway/config/clients/": 65532}
DIRECTORY = "/opt/trigger"
SECRETS_FILE = f"{DIRECTORY}/secrets.json"
AUTHORITY_FILE = f"{DIRECTORY}/ca.pem"
TOKEN_FILE = f"{DIRECTORY}/webapp/shared/worker_token"
TOKEN_FORM = r"tr_wgt_[A-Za-z0-9]{40}"

# Secrets that a program prints itself, whatever its configuration (measured on the genuine webapp): its entrypoint
# traces the ClickHouse URL, its run queue prints its Redis options, and bootstrap shows the token of a new group once.
PRINTED_BY_THE_PROGRAM = {
    "trigger-webapp-webapp-1": {"clickhouse_password", "redis_password", "worker_token"},
}

# What listens on a node besides us.
SSH_PORT = 22

# A heartbeat comes every 30 s; what is older has missed one.
HEARTBEAT_SECONDS = 40


def of(groups: frozenset[str], table: dict[str, tuple[Container, ...]]) -> dict[str, Container]:
    """Give the containers that a host of these groups has to run, by name; behind a gateway only it is published."""
    door = {row.name for row in table.get(GATEWAY, ())}
    rows = [row for group in sorted(groups & set(table)) for row in table[group]]
    if GATEWAY in groups:
        rows = [row if row.name in door else replace(row, published={}) for row in rows]
    return {row.name: row for row in rows}
