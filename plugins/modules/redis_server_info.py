# SPDX-License-Identifier: MIT
"""Module redis_server_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_server_info
version_added: 0.1.0
short_description: Log in to a Redis server and read what Trigger.dev needs of it
description:
  - Logs in as the webapp does and reads how the server keeps its data. Nothing is written.
  - Fails when the server cannot be reached, when its certificate is not accepted, or when it refuses the login.
attributes:
  platform:
    description: Linux. Needs nothing but Python on the host.
options:
  host:
    description: Name or address of the server.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 6379
  username:
    description: User to log in as. Empty means the server's V(default) user.
    type: str
    default: ""
  password:
    description: Password of the user. Empty means that the server asks for none.
    type: str
    default: ""
  tls:
    description: Whether it speaks TLS. Its certificate has to be valid for O(host).
    type: bool
    default: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Look at the external Redis
  selfhosted.trigger_dev.redis_server_info:
    host: redis.example.com
    password: "{{ vault_redis_password }}"
  register: __redis
"""

RETURN = r"""
redis_server:
  description: What was found. A value that the server does not tell is V(null).
  returned: success
  type: dict
  contains:
    version:
      description: Version of the server.
      type: str
      returned: success
      sample: 7.4.5
    role:
      description: V(master), or V(slave) for a replica, which cannot be written to.
      type: str
      returned: success
    maxmemory_policy:
      description: What it does when its memory is full. With anything but V(noeviction) it forgets queued runs.
      type: str
      returned: success
    aof_enabled:
      description: Whether it writes every change to a file, so that a restart loses nothing.
      type: bool
      returned: success
    cluster_enabled:
      description: Whether it is a member of a cluster, which the webapp cannot use.
      type: bool
      returned: success
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    TIMEOUTS,
    Endpoint,
    Reader,
    ServiceError,
    connect,
    reason,
    secure,
    with_advice,
)


@dataclass(frozen=True)
class Parameters:
    endpoint: Endpoint
    username: str
    password: str = field(repr=False)
    tls: bool
    advice: str


@dataclass(frozen=True)
class Found:
    version: str | None
    role: str | None
    maxmemory_policy: str | None
    aof_enabled: bool | None
    cluster_enabled: bool | None


def parameters(params: Mapping[str, Any]) -> Parameters:
    endpoint = Endpoint(params["host"], params["port"], params["ca_certificates"])
    return Parameters(endpoint, params["username"], params["password"], params["tls"], params["advice"])


def command(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def answer(reader: Reader) -> str:
    """One simple or bulk string."""
    line = reader.line().decode(errors="replace")
    kind, text = line[:1], line[1:]
    if kind == "-":
        raise ServiceError(text)
    if kind == "+":
        return text
    if kind in ("$", "=") and text.isdigit():
        return reader.exactly(int(text) + 2)[:-2].decode(errors="replace")
    raise ServiceError("it does not speak Redis' protocol")


def found(info: str) -> Found:
    """Read the answer of INFO."""
    pairs = dict(line.split(":", 1) for line in info.splitlines() if ":" in line and not line.startswith("#"))

    def flag(name: str) -> bool | None:
        return pairs[name] == "1" if name in pairs else None

    return Found(
        pairs.get("redis_version"),
        pairs.get("role"),
        pairs.get("maxmemory_policy"),
        flag("aof_enabled"),
        flag("cluster_enabled"),
    )


def look(wanted: Parameters) -> Found:
    try:
        stream = connect(wanted.endpoint)
        with closing(secure(stream, wanted.endpoint) if wanted.tls else stream) as connection:
            reader = Reader(connection)
            if wanted.password:
                connection.sendall(command("AUTH", *filter(None, [wanted.username]), wanted.password))
                answer(reader)
            connection.sendall(command("INFO"))
            return found(answer(reader))
    except OSError as error:
        hint = "" if wanted.tls or not isinstance(error, (ConnectionError, *TIMEOUTS)) else "; does it speak TLS only?"
        raise ServiceError(f"Redis at {wanted.endpoint.address}: {reason(error)}{hint}") from None
    except ServiceError as error:
        raise ServiceError(f"Redis at {wanted.endpoint.address} refuses: {error}") from None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "tls": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    wanted = parameters(module.params)
    try:
        server = look(wanted)
    except ServiceError as error:
        module.fail_json(msg=with_advice(error, wanted.advice))
    module.exit_json(changed=False, redis_server=asdict(server))


if __name__ == "__main__":
    main()
