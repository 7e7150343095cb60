# SPDX-License-Identifier: MIT
"""A host of the scenario, seen through testinfra. What many tests ask for is collected once."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import expected
from .expected import Container

# Runs on the node, where there is Python because Ansible needs it. Prints one JSON object.
FACTS = """
import json, os, subprocess, sys

def out(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

def inspect(kind, names):
    if not names:
        return []
    done = subprocess.run(['docker', kind, 'inspect', *names], capture_output=True, text=True)
    # Containers of runs may be gone since they were listed. The others are printed all the same.
    if [line for line in done.stderr.splitlines() if 'no such ' not in line.lower()]:
        sys.exit(done.stderr)
    return json.loads(done.stdout)

def status(pid):
    try:
        lines = open(f'/proc/{pid}/status').read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(':\\t', 1) for line in lines if ':\\t' in line)

containers = inspect('container', out('docker', 'ps', '--all', '--quiet').split())
tree = {}
for folder, folders, files in os.walk(sys.argv[1]):
    for name in ['.'] + files:
        path = os.path.normpath(os.path.join(folder, name))
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue  # as a file that is written anew, and was not renamed yet when it was listed
        kind = 'folder' if name == '.' else 'link' if os.path.islink(path) else 'file'
        relative = os.path.relpath(path, sys.argv[1])
        row = [kind, found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_size]
        tree['' if relative == '.' else relative] = row
print(json.dumps({
    'containers': {row['Name'].lstrip('/'): row for row in containers},
    'processes': {row['Name'].lstrip('/'): status(row['State']['Pid']) for row in containers if row['State']['Pid']},
    'networks': {row['Name']: row for row in inspect('network', out('docker', 'network', 'ls', '--quiet').split())},
    'volumes': {row['Name']: row for row in inspect('volume', out('docker', 'volume', 'ls', '--quiet').split())},
    'info': json.loads(out('docker', 'info', '--format', '{{json .}}')),
    'links': json.loads(out('ip', '-json', '-4', 'address', 'show')),
    'listeners': [line.split()[3] for line in out('ss', '-Hltn').splitlines()],
    'datagrams': [line.split()[3] for line in out('ss', '-Hlun').splitlines()],
    'files': tree,
    'command_lines': out('ps', 'axww', '-o', 'args=').splitlines(),
}))
"""

HTTP = """
import base64, json, os, ssl, sys, urllib.error, urllib.request
asked = json.loads(sys.argv[1])
headers = dict(asked['headers'])
def read(name):
    return json.load(open(asked['secrets_file']))[name]
for header, name in asked['secret_headers'].items():
    headers[header] = read(name)
if asked['user']:
    password = read(asked['password_of']) if asked['password_of'] else asked['password']
    headers['Authorization'] = 'Basic ' + base64.b64encode(f"{asked['user']}:{password}".encode()).decode()
request = urllib.request.Request(asked['url'], method=asked['method'], headers=headers)
trust = ssl.create_default_context()
if os.path.exists(asked['authority']):
    trust.load_verify_locations(asked['authority'])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
try:
    with opener.open(request, timeout=60) as answer:
        print(json.dumps([answer.status, answer.read().decode(errors='replace'), answer.headers['Content-Type']]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode(errors='replace'), error.headers['Content-Type']]))
"""

CONNECT = """
import concurrent.futures, json, socket, sys
def probe(target):
    host, _, port = target.rpartition(':')
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return target, False
    return target, True
targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(pool.map(probe, targets))))
"""


# What hosts were asked in the present attempt of a wait.
_LAST: deque[str] = deque(maxlen=4)


@dataclass(frozen=True)
class Node:
    """A host."""

    name: str
    groups: frozenset[str]
    host: Any = field(repr=False)

    def run(self, command: str, *arguments: str) -> Any:
        """Run a shell command as root; every %s is replaced by a quoted argument. Any exit code is an answer."""
        done = self.host.run(command, *arguments)
        told = " ".join(f"{done.stdout} {done.stderr}".split())
        _LAST.append(f"{self.name}: `{command[:120]}` ended with {done.rc}: {told[-800:]}")
        return done

    def output(self, command: str, *arguments: str) -> str:
        """Run a shell command that has to succeed and give what it prints."""
        done = self.run(command, *arguments)
        assert done.rc == 0, f"{self.name}: `{command}` ended with {done.rc}: {done.stderr[-500:]}"
        return str(done.stdout).strip()

    def python(self, script: str, *arguments: str) -> Any:
        """Run a Python script and read the JSON that it prints."""
        return json.loads(self.output("python3 -c %s" + " %s" * len(arguments), script, *arguments))

    def http(
        self,
        url: str,
        method: str = "GET",
        *,
        user: str = "",
        password: str = "",
        password_of: str = "",
        headers: dict[str, str] | None = None,
        secret_headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Send a request from the host. Secrets are named, and read there: none stands on a command line."""
        status, body, _ = self._http(
            url,
            method=method,
            user=user,
            password=password,
            password_of=password_of,
            headers=headers or {},
            secret_headers=secret_headers or {},
        )
        return status, body

    def download(self, url: str) -> tuple[int, str, str]:
        """Read something from the host, with its type."""
        return self._http(url)

    def _http(self, url: str, **given: Any) -> tuple[int, str, str]:
        asked = {
            "url": url,
            "method": "GET",
            "user": "",
            "headers": {},
            "secret_headers": {},
            "secrets_file": expected.SECRETS_FILE,
            "authority": expected.AUTHORITY_FILE,
            **given,
        }
        status, body, kind = self.python(HTTP, json.dumps(asked))
        return int(status), str(body), str(kind)

    def connects(self, targets: list[str], inside: str = "") -> dict[str, bool]:
        """Tell which of the addresses (host:port) take a connection from this host, or from inside of a container."""
        # The host's own Python in the container's network: no image has to hold anything for it.
        process = "docker inspect --format '{{.State.Pid}}' %s"
        enter = ["nsenter", "--net", "--target", self.output(process, inside), "--"] if inside else []
        words = [*enter, "python3", "-c", CONNECT, json.dumps(targets)]
        found: dict[str, bool] = json.loads(self.output(" ".join(["%s"] * len(words)), *words))
        return found

    def read(self, path: str) -> str:
        """Read a file as root."""
        return self.output("cat %s", path)

    def facts(self) -> dict[str, Any]:
        """Look at the host now."""
        found: dict[str, Any] = self.python(FACTS, expected.DIRECTORY)
        return found

    @cached_property
    def seen(self) -> dict[str, Any]:
        """The host as it was when a test first looked."""
        return self.facts()

    def addresses(self, *, of_bridges: bool = False) -> set[str]:
        """IPv4 addresses on the networks of the hosts, or also those on the networks of its containers."""
        return {
            row["local"]
            for link in self.seen["links"]
            if re.match("eth" if not of_bridges else "(?!lo$)", link["ifname"])
            for row in link["addr_info"]
        }

    def listening(self, *, of_bridges: bool = False) -> set[str]:
        """Give the doors (address:port) at which a TCP service listens, other than for the host itself."""
        own = self.addresses(of_bridges=of_bridges)
        listeners = (listener.rpartition(":") for listener in self.seen["listeners"])
        places = ((address.partition("%")[0], port) for address, _, port in listeners)
        everywhere = dict.fromkeys(("0.0.0.0", "[::]", "*"), own)
        return {f"{each}:{port}" for place, port in places for each in everywhere.get(place, {place} & own)}

    def reached_by_tasks(self, targets: list[str]) -> set[str]:
        """Give those addresses (host:port) that take a connection from where task containers are."""
        image = self.container("trigger-supervisor-docker-socket-proxy-1")["Config"]["Image"]
        probe = 'for t; do nc -z -w 5 "${t%:*}" "${t##*:}" >/dev/null 2>&1 && echo "$t" & done; wait'
        placeholders = " %s" * len(targets)
        command = f"docker run --rm --network trigger-runner --entrypoint sh %s -c %s sh{placeholders}"
        return set(self.output(command, image, probe, *targets).split())

    @property
    def expected(self) -> dict[str, Container]:
        """The containers that it has to run."""
        return expected.of(self.groups, expected.CONTAINERS)

    def container(self, name: str) -> dict[str, Any]:
        """What `docker inspect` says about a container."""
        found: dict[str, Any] = self.seen["containers"][name]
        return found

    def address(self, container: str, network: str) -> str:
        """IP address of a container in one of its networks."""
        return str(self.container(container)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def logs(self, container: str) -> str:
        """Everything that a container has printed."""
        return self.output("docker logs %s 2>&1", container)


class InVain:
    """What a wait gives that has ended in vain: it is false, and tells a failing test what was seen last."""

    def __init__(self, seconds: float, answer: Any) -> None:
        self.text = f"{answer!r} for {seconds:.0f} s; last seen: {'; '.join(_LAST) or 'nothing of a host'}"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self.text


def eventually(question: Callable[[], Any], seconds: float = 180, pause: float = 0.5) -> Any:
    """Ask until the answer is true, and give it; there is time for hosts that share processors.

    An error is no answer yet: a container may be away, or a service not ready. The last one is raised.
    """
    deadline = time.monotonic() + seconds
    while True:
        _LAST.clear()
        late = time.monotonic() >= deadline
        try:
            answer = question()
        except Exception:
            if late:
                raise
        else:
            if answer:
                return answer
            if late:
                found = InVain(seconds, answer)
                # pytest shortens what it shows of a value.
                print(found)
                return found
        time.sleep(pause)
