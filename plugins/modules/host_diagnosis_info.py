# SPDX-License-Identifier: MIT
"""Module host_diagnosis_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_diagnosis_info
version_added: 0.1.0
short_description: Collect what helps to find a fault on a host, without its secrets
description:
  - Reads versions, states, logs and files of an installation on this host, and changes nothing.
  - Every secret that the host has is replaced by C(***). These are the values in the secrets file, the tokens, and
    what looks like a secret in environment files and in the environment of containers. Keys and tokens of Trigger.dev,
    passwords in addresses, hashes of passwords and private keys are replaced, too. So are the secrets of receivers of
    alerts, the environment of the gateway, and variables in O(secret_names).
  - Of the containers of runs the newest 20 are read, and of files in O(path) 300. C(left-out.txt) names the others.
  - A program that is missing or fails is told in the text of its own entry, so that one fault does not hide the others.
options:
  path:
    description: Folder of the installation.
    type: path
    required: true
  secrets_file:
    description: File with the secrets of the installation. It may be missing.
    type: path
    required: true
  lines:
    description: Lines of each log, the newest ones.
    type: int
    default: 500
  max_kib:
    description: KiB of each entry. Of a longer one the end is kept.
    type: int
    default: 256
  asked_at:
    description:
      - Unix time of the controller when it asks, in seconds. The entry C(host/clock.txt) compares it with this host's.
    type: float
  checks:
    description:
      - What the status has found. The same rows come back without the secrets of this host, which are looked for in
        every text in them. As they are given, neither logs of the host nor the result show them.
    type: list
    elements: dict
    default: []
  secret_names:
    description:
      - Names of environment variables whose values are secret, whatever the names say.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Collect what helps to find a fault
  selfhosted.trigger_dev.host_diagnosis_info:
    path: /opt/trigger
    secrets_file: /opt/trigger/secrets.json
    asked_at: "{{ now().timestamp() }}"
  register: diagnosis
"""

RETURN = r"""
host_diagnosis:
  description: One text with a list of its entries, and each entry below a line that begins with C(=====).
  returned: success
  type: str
checks:
  description: The rows of O(checks), without secrets.
  returned: success
  type: list
  elements: dict
secrets:
  description:
    - What was replaced because this host knows it. Texts of other hosts may hold it, too.
    - The whole result is hidden as with C(no_log).
  returned: success
  type: list
  elements: str
"""

import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._redact import MASK, each_text, redact
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._secret_rotation import NEXT, PREVIOUS

# Name of the entry -> command. A shell is never asked: names of containers come from the host.
COMMANDS: dict[str, Sequence[str]] = {
    "host/uname.txt": ("uname", "-a"),
    "host/os-release.txt": ("cat", "/etc/os-release"),
    "host/time.txt": ("timedatectl",),
    "host/uptime.txt": ("uptime",),
    "host/memory.txt": ("free", "-m"),
    "host/disks.txt": ("df", "-h"),
    "host/inodes.txt": ("df", "-i"),
    "host/addresses.txt": ("ip", "address"),
    "host/routes.txt": ("ip", "route"),
    "host/listeners.txt": ("ss", "-Hltnp"),
    "host/firewall-iptables.txt": ("iptables-save",),
    "host/firewall-nftables.txt": ("nft", "list", "ruleset"),
    "host/units.txt": ("systemctl", "list-units", "--all", "--no-pager", "trigger-*", "docker*", "containerd*"),
    "host/timers.txt": ("systemctl", "list-timers", "--all", "--no-pager"),
    "engine/version.txt": ("docker", "version"),
    "engine/info.txt": ("docker", "info"),
    "engine/containers.txt": ("docker", "ps", "--all", "--no-trunc"),
    "engine/usage.txt": ("docker", "stats", "--no-stream", "--no-trunc"),
    "engine/images.txt": ("docker", "image", "ls", "--digests"),
    "engine/networks.txt": ("docker", "network", "ls"),
    "engine/volumes.txt": ("docker", "volume", "ls"),
    "engine/disk.txt": ("docker", "system", "df"),
}
LOGS: dict[str, Sequence[str]] = {
    "logs/kernel.txt": ("journalctl", "--dmesg", "--no-pager"),
    "logs/docker.txt": ("journalctl", "--unit=docker", "--no-pager"),
    "logs/trigger-units.txt": ("journalctl", "--unit=trigger-*", "--no-pager"),
}
DAEMON = "/etc/docker/daemon.json"
SLOTS = (
    "SELECT slot_name, active, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) AS lag_bytes "
    "FROM pg_replication_slots"
)
POSTGRES = re.compile(r"trigger-postgres-\d+$")
OURS = re.compile(r"^(trigger-|runner-)")
# Files that hold nothing but secrets, or no text.
LEFT_OUT = re.compile(
    r"(^|/)(authority|replaced|fetched|stage|cache|wal|objects|backup/adopt)/|(secrets|adopt_source)\.json$|htpasswd$"
    r"|\.(key|pem|crt|tar|new|next|previous)$"
)
SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|DSN", re.IGNORECASE)
# Variables of Trigger.dev have such names for what is no secret, too: WEBHOOK_ENGINE_LOG_LEVEL.
DOUBTFUL_NAME = re.compile(
    r"HEADERS?$|WEBHOOKS?(_UR[LI]S?)?$|COOKIE|SALT|(?<![A-Z])SIGN(ATURE|ING)?(_|$)|PRIVATE|HMAC|CONNECTION_STRING",
    re.IGNORECASE,
)
# A value of a doubtful name, such as "debug", is masked where the name stands. Elsewhere it would shred the logs.
WORD = re.compile(r"[A-Za-z]{0,12}")
# What such a name may have beside a secret. Masked, it would be masked everywhere.
PLAIN = re.compile(r"true|false|yes|no|none|enforce|\d{0,7}", re.IGNORECASE)
ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
# As the engine tells the environment of a container.
QUOTED_ASSIGNMENT = re.compile(r'(?<=")([A-Za-z_][A-Za-z0-9_]*)=((?:[^"\\\n]|\\.)*)(?=")')
# A variable that holds others: NAME=value,NAME=value.
NESTED = "RUNNER_ADDITIONAL_ENV_VARS"
# Only from the start of a word on: a long one would be read again from each of its letters.
USER_IN_ADDRESS = re.compile(r"((?<![a-z0-9+.-])[a-z0-9+.-]+://[^\s:/@\"']*:)([^\s@/\"']+)@", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# Only the newest lines of a log are read, so the first of them may be within a key.
END_OF_KEY = re.compile(r"\A.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
AUTHORIZATION = re.compile(
    r"((?:authorization|x-amz-security-token)[\"']?\s*[:=]\s*[\"']?(?:bearer |basic )?)[^\s\"',}]+", re.IGNORECASE
)
# As Prometheus and ClickHouse take passwords in their own configurations.
NAMED = re.compile(
    r"(^[ \t]*(?:- )?(?:password|credentials|bearer_token|client_secret|secret_key|access_key):[ \t]+)\S.*$",
    re.MULTILINE,
)
ELEMENT = re.compile(r"(<(password\w*|secret_access_key|access_key_id)>)[^<]+(?=</\2>)")
# Of bcrypt: passwords that people choose can be guessed by it.
HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
# Files of which each is one secret.
SECRET_FILES = (
    *("webapp/shared/*", "webapp/worker_groups/*", "monitoring/*/password", "monitoring/grafana/secrets/*"),
    *("monitoring/prometheus/webapp", "monitoring/prometheus/clickhouse"),
    *(f"monitoring/alertmanager/{name}" for name in ("*.url", "*.token", "smtp_password")),
)
KIB = 1024
RUNNER = "runner-"
# A host with many runs, or a folder with many files, must not make an archive that nobody can send.
RUNNERS_READ = 20
FILES_READ = 300


@dataclass(frozen=True)
class Parameters:
    path: str
    secrets_file: str
    lines: int
    max_kib: int
    # Names of variables whose values are secret, whatever the names say.
    names: frozenset[str] = frozenset()


def leaves(value: Any) -> Iterator[str]:
    """Give every text in a JSON document."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, str):
        yield value


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(not read: {error.strerror})"


def document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def of_environment(text: str, names: Collection[str] = ()) -> Iterator[str]:
    """Give the values of an environment that are secret, by these names or by what a name says."""
    for name, value in ASSIGNMENT.findall(text):
        secret = value.strip().strip("\"'")
        if name == NESTED:
            yield from of_environment(secret.replace(",", "\n"), names)
        elif not PLAIN.fullmatch(secret):
            doubtful = name in names or DOUBTFUL_NAME.search(name)
            if SECRET_NAME.search(name) or (doubtful and not WORD.fullmatch(secret)):
                yield secret


def of_gateway(text: str) -> Iterator[str]:
    """Give the values of the gateway's environment (gateway_extra_env), which is secret as a whole, in both forms."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.splitlines()
    for value in (word.partition("=")[2] for word in words):
        if not PLAIN.fullmatch(value):
            yield value
            yield shlex.quote(value)


def known_secrets(wanted: Parameters) -> set[str]:
    """Give every secret that the files of this host hold."""
    folder = Path(wanted.path)
    found: set[str] = set()
    for ending in ("", NEXT, PREVIOUS):
        found |= set(leaves(document(Path(wanted.secrets_file + ending))))
    target = document(folder / "backup" / "repository.json") or {}
    found |= {target.get("key", ""), *leaves(target.get("environment", {}))}
    for path in sorted(folder.glob("**/*.env")):
        found |= set(of_environment(text_of(path), wanted.names))
    for path in (path for pattern in SECRET_FILES for path in folder.glob(pattern)):
        if path.is_file():
            found.add(text_of(path).strip())
    found |= set(of_gateway(text_of(folder / "gateway/config/environment")))
    return {secret for secret in found if secret}


def masked(text: str, secrets: Collection[str], names: Collection[str] = ()) -> str:
    def without(match: re.Match[str]) -> str:
        name, value = match.groups()
        secret = name in names or SECRET_NAME.search(name) or DOUBTFUL_NAME.search(name)
        return f"{name}={MASK}" if secret and not PLAIN.fullmatch(value.strip("\"'")) else match.group()

    text = END_OF_KEY.sub(MASK, PRIVATE_KEY.sub(MASK, text))
    text = USER_IN_ADDRESS.sub(rf"\g<1>{MASK}@", text)
    for pattern in (ASSIGNMENT, QUOTED_ASSIGNMENT):
        text = pattern.sub(without, text)
    for pattern in (AUTHORIZATION, NAMED, ELEMENT):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    text = HASH.sub(MASK, text)
    return redact(text, secrets)


def told(runner: Run, command: Sequence[str]) -> str:
    """Give what a command prints, on both of its outputs, or why it does not."""
    done = runner(command, timeout=60)
    text = done.stdout + (f"\n{done.stderr}" if done.stderr.strip() else "")
    return text if done.code == 0 else f"{text}\n({' '.join(command[:3])} ended with {done.code})"


def left_out(kind: str, names: Collection[str]) -> str:
    return "".join(f"{kind} {name}\n" for name in sorted(names))


def files(wanted: Parameters) -> Iterator[tuple[str, str]]:
    """Give each file; of too many the first ones of every folder, so that no folder hides the others."""
    folder = Path(wanted.path)
    ranked: list[tuple[int, str]] = []
    number: Counter[str] = Counter()
    for path in sorted(folder.glob("**/*")):
        name = path.relative_to(folder).as_posix()
        small = path.is_file() and not path.is_symlink() and path.stat().st_size <= wanted.max_kib * KIB
        if small and not LEFT_OUT.search(name) and path.suffix != ".py" and "__pycache__" not in name:
            ranked.append((number[str(path.parent)], name))
            number[str(path.parent)] += 1
    names = [name for _, name in sorted(ranked)]
    for name in sorted(names[:FILES_READ]):
        yield f"files/{name}", text_of(folder / name)
    if names[FILES_READ:]:
        yield "files/left-out.txt", left_out("file", names[FILES_READ:])


def containers(runner: Run, wanted: Parameters, secrets: set[str]) -> Iterator[tuple[str, str]]:
    """Give state and log of each container of ours. Environments of task containers add to the secrets."""
    # The engine tells the newest first.
    told_names = told(runner, ["docker", "ps", "--all", "--format", "{{.Names}}"]).split()
    runners = [name for name in told_names if name.startswith(RUNNER)]
    skipped = set(runners[RUNNERS_READ:])
    for name in sorted(name for name in told_names if OURS.match(name) and name not in skipped):
        text = told(runner, ["docker", "container", "inspect", name])
        try:
            environment = json.loads(text)[0]["Config"]["Env"] or []
        except (ValueError, LookupError):
            environment = []
        secrets |= {value for value in of_environment("\n".join(environment), wanted.names) if value}
        yield f"containers/{name}.json", text
        yield f"logs/{name}.txt", told(runner, ["docker", "logs", "--timestamps", f"--tail={wanted.lines}", name])
        if POSTGRES.search(name):
            query = ["docker", "exec", name, "sh", "-c", 'exec psql -U "$POSTGRES_USER" -c "$1"', "sh", SLOTS]
            yield "engine/replication-slots.txt", told(runner, query)
    if skipped:
        yield "containers/left-out.txt", left_out("container", skipped)


def clock(asked_at: float, now: float) -> str:
    """Compare the clock of the controller with that of this host."""
    asked, here = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment)) for moment in (asked_at, now))
    return f"controller: {asked}\nthis host: {here}\n{now - asked_at:+.1f} s, of which the call itself took some\n"


def collect(runner: Run, wanted: Parameters, secrets: set[str]) -> dict[str, str]:
    """Collect everything, then take the secrets out: the last container may have one that stands in the first log.

    Those that are found on the way are added to the secrets.
    """
    found = {name: told(runner, command) for name, command in COMMANDS.items()}
    found |= {name: told(runner, [*command, f"--lines={wanted.lines}"]) for name, command in LOGS.items()}
    found["engine/daemon.json"] = text_of(Path(DAEMON))
    found |= dict(files(wanted))
    found |= dict(containers(runner, wanted, secrets))
    return {name: shortened(masked(text, secrets, wanted.names), wanted.max_kib * KIB) for name, text in found.items()}


def masked_checks(checks: Sequence[Mapping[str, Any]], secrets: set[str]) -> list[dict[str, Any]]:
    """Take the secrets out of every text in the rows, however deep it is."""
    return [each_text(row, lambda text: masked(text, secrets)) for row in checks]


def written(found: Mapping[str, str]) -> str:
    """Give all entries in one text."""
    contents = "\n".join(["Entries:", *(f"  {name}" for name in found)])
    return "\n\n".join([contents, *(f"===== {name}\n{text.rstrip()}" for name, text in found.items())]) + "\n"


def shortened(text: str, size: int) -> str:
    """Keep the end, from the start of a line on: half of a secret of another host would not be known as one."""
    if len(text) <= size:
        return text
    cut, line, kept = text[-size:].partition("\n")
    return f"(the last {size // KIB} KiB)\n{kept if line else cut}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "secrets_file": {"type": "path", "required": True, "no_log": False},
            "lines": {"type": "int", "default": 500},
            "max_kib": {"type": "int", "default": 256},
            "asked_at": {"type": "float"},
            "checks": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "secret_names": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    names = frozenset(given["secret_names"])
    wanted = Parameters(given["path"], given["secrets_file"], given["lines"], given["max_kib"], names)
    # Each text of the rows would be masked wherever it appears, also in what was collected. So masking ends here: what
    # goes out has gone through masked, and the echo of the arguments goes out without them.
    module.no_log_values.clear()
    hidden = {"module_args": {**given, "checks": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}}
    secrets = known_secrets(wanted)
    clocks = {} if given["asked_at"] is None else {"host/clock.txt": clock(given["asked_at"], time.time())}
    entries = clocks | collect(run, wanted, secrets)
    checks = masked_checks(given["checks"], secrets)
    # The action secret_result hides the result as a whole.
    module.exit_json(
        changed=False,
        host_diagnosis=written(entries),
        checks=checks,
        secrets=sorted(secrets),
        invocation=hidden,
    )


if __name__ == "__main__":
    main()
