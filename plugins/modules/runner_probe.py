# SPDX-License-Identifier: MIT
"""Module runner_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_probe
version_added: 0.1.0
short_description: Prove that a worker can start what it would take
description:
  - Runs on a worker host. Takes the way of a task from end to end, before the supervisor may take any. A worker with a
    broken proxy, registry login, image pull or runner network delays each run that it takes by 60 seconds.
  - Uses the supervisor's own Docker proxy and the same calls as the supervisor. Pulls an image from the registry,
    creates a container on the runner network and starts it. The container calls each of O(urls). It must get no
    answer from O(unreachable) nor from the proxy, at any of its addresses.
  - The registry is asked with the credentials even when the image is on the host already.
  - The container proves the way, not the certificate. The C(wget) of an image may speak no TLS, or none that the
    server takes. It may not verify (busybox's own TLS does not), or may not know a private CA. Where that alone keeps
    it from an C(https) URL, it is enough that something answers at that port. RV(runner_probe.connected) then names
    the URL. M(selfhosted.trigger_dev.tls_endpoint_info) proves a certificate, on the host.
  - The container and its volumes are removed by the host's own Docker client, also after a failure. The image stays.
attributes:
  check_mode:
    support: partial
    description: The task is skipped, because a probe creates a container.
  diff_mode:
    support: N/A
    description: Changes nothing.
options:
  image:
    description:
      - Reference of the image, with registry and tag. It must have C(/bin/sh) and busybox's or GNU's C(wget).
    type: str
    required: true
  registry_url:
    description: Address of the registry as the supervisor is given it.
    type: str
  registry_username:
    description: User of the registry. Unset means that the registry wants no login.
    type: str
  registry_password:
    description: Password of that user.
    type: str
  platform:
    description: Platform of task images, as the supervisor is given it. Unset means the engine's own.
    type: str
  limited:
    description:
      - Whether the container gets the limits of the smallest machine preset. A supervisor without machine presets
        sets none.
    type: bool
    default: true
  network:
    description: Docker network of the runners.
    type: str
    default: trigger-runner
  urls:
    description:
      - URLs that must answer with success from inside the container. An C(https) URL that TLS alone keeps from
        answering must take a connection.
    type: list
    elements: str
    default: []
  answering:
    description:
      - URLs that must answer from inside the container, with an error page just as well. For external services
        that tell nothing to those who are not logged in.
    type: list
    elements: str
    default: []
  unreachable:
    description:
      - Addresses (C(host:port)) that must not answer from inside the container.
      - A service that takes a connection and stays silent cannot be told from one that is out of reach.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the pull, and the container's work, may each take.
    type: int
    default: 60
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.socket_proxy
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Pull and run a container as a task would be
  selfhosted.trigger_dev.runner_probe:
    proxy_container: trigger-supervisor-docker-socket-proxy-1
    image: control.example.com:5000/trigger/probe:2.8.3
    registry_url: control.example.com:5000
    registry_username: trigger
    registry_password: "{{ vault_registry_password }}"
    urls:
      - http://supervisor:8020/health
      - https://trigger.example.com/healthcheck
    unreachable:
      - docker-socket-proxy:2375
"""

RETURN = r"""
runner_probe:
  description: What was proved.
  returned: success
  type: dict
  contains:
    image:
      description: Reference of the image.
      type: str
      returned: success
    pulled:
      description: Whether the image was downloaded; it may have been on the host already.
      type: bool
      returned: success
    urls:
      description: The URLs that answered or took a connection, those of O(answering) too.
      type: list
      elements: str
      returned: success
    connected:
      description:
        - Those of RV(runner_probe.urls) that took a connection, but gave no answer that the container's C(wget) could
          read, because of TLS. Nothing is known of what they would have answered.
      type: list
      elements: str
      returned: success
    unreachable:
      description: The addresses that did not answer, with those of the proxy.
      type: list
      elements: str
      returned: success
    duration_seconds:
      description: Time that all of it took.
      type: float
      returned: success
"""

import base64
import http.client
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run

# Not runner-*: a probe must not count as a run when somebody looks whether runs live.
PREFIX = "trigger-probe-"
NAME = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")

# The limits of the smallest machine preset.
CPUS = 0.5
MEMORY_BYTES = 512 * 1024**2

REACH = "reach"
ANSWER = "answer"
AVOID = "avoid"
CONNECT = "connect"


# Builtins and wget only. Without -q, because GNU wget then says nothing at all. Straight to the log and not through
# $(...): the child that speaks busybox's TLS outlives a wget that gave up, and would hold that open (measured).
SCRIPT = r"""
for argument; do
  case $argument in
    reach=* | answer=*) wget -T 5 -O /dev/null "${argument#*=}" ;;
    # Plain http also to a port that wants TLS: the server answers that it does, or turns away, and both are answers.
    connect=*) wget -T 5 -O /dev/null "http://${argument#*=}/" ;;
    avoid=*) wget -T 2 -O /dev/null "http://${argument#*=}/" ;;
  esac 2>&1
  printf '\n== %s %s\n' "$?" "$argument"
done
"""

# How busybox's and GNU's wget say that there was no connection.
NO_CONNECTION = re.compile(
    r"bad address|can't connect|timed out|unable to resolve|failed: |no route to host|unreachable|refused",
    re.IGNORECASE,
)
PROGRESS = re.compile(r"Connecting to \S+ \(\S+\)$|--|Retrying|wget: note: ")
ANSWERED = re.compile(
    r"server returned error|error getting response|bad header|reset by peer|no data received"
    r"|awaiting response\.\.\. \d|ERROR \d{3}",
    re.IGNORECASE,
)

# An answer that is an error page.
ERROR_PAGE = re.compile(r"server returned error|ERROR \d{3}", re.IGNORECASE)

# How they say that TLS failed, or that they have none. Busybox has it built in (and verifies nothing), asks the program
# ssl_client (Alpine, which verifies) or openssl. Where that program is missing it says no more than "error getting
# response", and says so of a closed port too (measured): whether there was a connection is not to be had from this.
TLS_FAILED = re.compile(
    r"\bTLS\b|\bSSL|certificate|not an http or ftp url|https support|unsupported scheme|error getting response",
    re.IGNORECASE,
)
# Here it is the way and not TLS, although it began: large packets get lost, for example.
STUCK = re.compile(r"timed out", re.IGNORECASE)

PROXY_HINT = "Look at the container of the proxy and its log; its configuration belongs to the role supervisor."
PULL_HINTS = (
    (
        r"unauthorized|no basic auth|authentication required|denied",
        "The registry refuses the login: check trigger_registry_pull_username and the secret registry_pull_password "
        "(in an external registry without it trigger_registry_username and trigger_secrets.registry_password).",
    ),
    (
        r"HTTP response to HTTPS client",
        "The registry speaks plain http and this engine does not know it: set trigger_registry_insecure_enabled, or "
        "add it to docker_engine_insecure_registries.",
    ),
    (r"x509|certificate", "This host does not trust the certificate of the registry (trigger_registry_host)."),
    (
        r"manifest unknown|not found|repository does not exist",
        "The image is not in the registry: run the play of the control host, which puts it there.",
    ),
    (
        r"no such host|lookup|connection refused|timeout|deadline|no route|connect:",
        "This host does not reach the registry: check trigger_registry_host, its name resolution and firewalls.",
    ),
)


class ProbeError(Exception):
    """A step that failed. Its text never holds the password."""


@dataclass(frozen=True)
class Parameters:
    proxy_container: str
    proxy_network: str
    proxy_port: int
    image: str
    registry_url: str | None
    registry_username: str | None
    registry_password: str | None
    platform: str | None
    limited: bool
    network: str
    urls: Sequence[str]
    answering: Sequence[str]
    unreachable: Sequence[str]
    timeout: int


@dataclass(frozen=True)
class Proof:
    pulled: bool
    connected: Sequence[str]


@dataclass(frozen=True)
class Reply:
    status: int
    body: str

    @property
    def message(self) -> str:
        """What the engine said, or the proxy in its place."""
        try:
            content = json.loads(self.body)
        except ValueError:
            content = None
        text = content.get("message") if isinstance(content, dict) else None
        return f"status {self.status}: {text or ' '.join(re.sub('<[^>]*>', ' ', self.body).split())[:300]}"


class Call(Protocol):
    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Reply: ...


def parameters(params: Mapping[str, Any]) -> Parameters:
    wanted = Parameters(**params)
    name = wanted.image.rsplit("/", 1)[-1]
    if ":" not in name and "@" not in name:
        # Without one the engine would pull every tag there is.
        raise ProbeError(f"image: {wanted.image} has no tag")
    return wanted


def addresses(runner: Run, wanted: Parameters) -> list[str]:
    """Find the proxy where the supervisor finds it, and then wherever else it may be found."""
    done = runner(["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", wanted.proxy_container])
    if done.code != 0:
        raise ProbeError(f"The Docker proxy {wanted.proxy_container} is not there: {done.error}. {PROXY_HINT}")
    networks = json.loads(done.stdout) or {}
    found = {name: network["IPAddress"] for name, network in networks.items() if network.get("IPAddress")}
    if wanted.proxy_network not in found:
        raise ProbeError(
            f"The Docker proxy {wanted.proxy_container} has no address on the network {wanted.proxy_network} "
            f"(it is on: {', '.join(sorted(found)) or 'none'}); is it running? {PROXY_HINT}"
        )
    return [found.pop(wanted.proxy_network), *found.values()]


def speak(host: str, port: int, timeout: float) -> Call:
    """Make calls as the supervisor does: plain http, no version prefix."""

    def call(method: str, path: str, headers: Mapping[str, str], body: str | None) -> Reply:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request(method, path, body=None if body is None else body.encode(), headers=dict(headers))
            response = connection.getresponse()
            return Reply(response.status, response.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            raise ProbeError(
                f"The Docker proxy at {host}:{port} does not answer {method} {path.split('?')[0]} "
                f"({type(error).__name__}: {error}). {PROXY_HINT}"
            ) from None
        finally:
            connection.close()

    return call


def credentials(wanted: Parameters) -> dict[str, str]:
    if wanted.registry_username is None:
        return {}
    login = {
        "username": wanted.registry_username,
        "password": wanted.registry_password,
        "serveraddress": wanted.registry_url,
    }
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}


def progress(body: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line.strip()]


def pull(call: Call, wanted: Parameters) -> bool:
    """Pull the image and say whether it was downloaded; the supervisor does not notice errors inside the stream."""
    options = {"fromImage": wanted.image} | ({"platform": wanted.platform} if wanted.platform else {})
    path = f"/images/create?{query(options)}"
    reply = call("POST", path, credentials(wanted), None)
    if reply.status == 403:
        raise ProbeError(f"The Docker proxy refuses to pull an image ({reply.message}). {PROXY_HINT}")
    if reply.status != 200:
        raise ProbeError(f"The pull of {wanted.image} failed ({reply.message}). {pull_hint(reply.body)}")
    lines = progress(reply.body)
    errors = [str(line["error"]) for line in lines if "error" in line]
    if errors:
        raise ProbeError(f"The pull of {wanted.image} failed ({'; '.join(errors)}). {pull_hint(' '.join(errors))}")
    return any("Downloaded newer image" in str(line.get("status")) for line in lines)


def pull_hint(text: str) -> str:
    default = "Check trigger_registry_host and the log of the engine on this host."
    return next((hint for pattern, hint in PULL_HINTS if re.search(pattern, text, re.IGNORECASE)), default)


def expect(reply: Reply, status: int, step: str, hint: str) -> Reply:
    if reply.status == 403:
        raise ProbeError(f"The Docker proxy refuses to {step} ({reply.message}). {PROXY_HINT}")
    if reply.status != status:
        raise ProbeError(f"The engine cannot {step} ({reply.message}). {hint}")
    return reply


def expected(wanted: Parameters) -> list[tuple[str, str]]:
    """List what the container has to reach."""
    return [(REACH, url) for url in wanted.urls] + [(ANSWER, url) for url in wanted.answering]


def door(url: str) -> str | None:
    """Give the host and port of an https URL."""
    if not url.startswith("https://"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError as error:
        raise ProbeError(f"{url} is no URL: {error}") from None
    return f"[{parts.hostname}]:{port}" if ":" in (parts.hostname or "") else f"{parts.hostname}:{port}"


def query(options: Mapping[str, Any]) -> str:
    """Repeat options in a query as dockerode does: objects and lists as JSON."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in options.items()
    }
    return urlencode(texts, quote_via=quote, safe="")


def container(wanted: Parameters, avoid: Sequence[str], name: str) -> dict[str, Any]:
    """Describe the container with the keys that a supervisor sends, and a command; kept after its end to be read."""
    arguments = [f"{kind}={url}" for kind, url in expected(wanted)]
    doors = dict.fromkeys(door(url) for url in [*wanted.urls, *wanted.answering])
    arguments += [f"{CONNECT}={target}" for target in doors if target]
    arguments += [f"{AVOID}={target}" for target in avoid]
    return {
        "name": name,
        "Hostname": f"runner-{name}",
        "HostConfig": {
            "AutoRemove": False,
            "NetworkMode": wanted.network,
            **({"NanoCpus": int(CPUS * 10**9), "Memory": MEMORY_BYTES} if wanted.limited else {}),
        },
        "Image": wanted.image,
        "AttachStdout": False,
        "AttachStderr": False,
        "AttachStdin": False,
        **({"platform": wanted.platform} if wanted.platform else {}),
        "Env": [f"TRIGGER_RUNNER_ID={name}"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": [SCRIPT, "probe", *arguments],
    }


def start(call: Call, wanted: Parameters, name: str, avoid: Sequence[str]) -> str:
    """Inspect, create, start: the calls that a run costs."""
    found = call("GET", f"/images/{wanted.image}/json", {}, None)
    expect(found, 200, f"inspect the image {wanted.image}", "It was pulled a moment ago; is the disk full?")
    # As it stands, not with escapes: the strict proxy refuses \u, which could hide the name of a key.
    options = container(wanted, avoid, name)
    body = json.dumps(options, ensure_ascii=False)
    headers = {"Content-Type": "application/json"}
    created = call("POST", f"/containers/create?{query(options)}", headers, body)
    expect(created, 201, "create a container", "Runs would fail in the same way.")
    identifier = str(json.loads(created.body)["Id"])
    started = call("POST", f"/containers/{identifier}/start", {}, None)
    expect(started, 204, "start a container", f"Does the network {wanted.network} exist on this host?")
    return identifier


def records(log: str) -> Iterator[tuple[tuple[str, str], tuple[int, str]]]:
    """Read what the script has printed: kind and address, exit code and wget's own words."""
    for text, code, kind, target in re.findall(r"^((?:(?!== ).*\n)*)== (\d+) (\w+)=(.*)\n", log, re.MULTILINE):
        said = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in said if not PROGRESS.match(line)]
        yield (kind, target), (int(code), " ".join(errors)[:300])


Found = Mapping[tuple[str, str], tuple[int, str]]
NOT_TRIED = (-1, "was not tried")


def hurdle(found: Found, kind: str, url: str) -> str | None:
    """Say what came between the container and a URL, if anything did."""
    code, text = found.get((kind, url), NOT_TRIED)
    return None if code == 0 or (kind == ANSWER and ERROR_PAGE.search(text)) else text


def connected(found: Found, kind: str, url: str) -> bool:
    """Say whether TLS alone came between them."""
    text, target = hurdle(found, kind, url), door(url)
    if text is None or target is None or ERROR_PAGE.search(text) or STUCK.search(text) or not TLS_FAILED.search(text):
        return False
    code, answer = found.get((CONNECT, target), NOT_TRIED)
    return code == 0 or bool(ANSWERED.search(answer))


def find_problems(found: Found, wanted: Parameters, avoid: Sequence[str]) -> list[str]:
    """Name everything that is not as it has to be."""
    problems = []
    for kind, url in expected(wanted):
        text = hurdle(found, kind, url)
        if text is not None and not connected(found, kind, url):
            plain = found.get((CONNECT, door(url) or ""))
            problems.append(
                f"A container on {wanted.network} does not reach {url} ({text}"
                + (f"; a connection to its port without TLS: {plain[1] or 'was taken'}" if plain else "")
                + "). Check the origin (trigger_api_origin and the like must be addresses that containers can use), "
                "name resolution and firewalls."
            )
    for target in avoid:
        code, text = found.get((AVOID, target), NOT_TRIED)
        if code == 0 or ANSWERED.search(text):
            problems.append(
                f"A container on {wanted.network} reaches {target}, which must be out of its reach: code of users "
                "would get hold of it. Is that service on the network of the runners, or published on this host?"
            )
        elif not NO_CONNECTION.search(text):
            problems.append(f"It is not clear whether a container on {wanted.network} reaches {target} ({text}).")
    return problems


def wait(runner: Run, identifier: str, timeout: float) -> str:
    """Wait for the container's end and give what it has printed."""
    ended = runner(["docker", "wait", identifier], timeout=timeout)
    log = runner(["docker", "logs", identifier])
    if ended.code != 0 or ended.stdout.strip() != "0":
        code = ended.stdout.strip() or "none"
        raise ProbeError(
            f"The probe container did not end well (exit code {code}; {(log.stdout + log.stderr).strip()[-300:]}; "
            f"{ended.stderr.strip()}). Its image must have /bin/sh and wget."
        )
    return log.stdout


def sweep(runner: Run) -> None:
    """Remove what a probe left behind that was killed; a host has one probe at a time."""
    argv = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"name={PREFIX}"]
    argv += ["--filter", "status=exited", "--filter", "status=created"]
    left = [name for name in runner(argv).stdout.split() if NAME.fullmatch(name)]
    if left:
        runner(["docker", "rm", "--force", "--volumes", *left])


def probe(runner: Run, call: Call, wanted: Parameters, avoid: Sequence[str], name: str) -> Proof:
    """Take the whole way; whatever happens, no container stays."""
    pulled = pull(call, wanted)
    try:
        found = dict(records(wait(runner, start(call, wanted, name, avoid), wanted.timeout)))
        problems = find_problems(found, wanted, avoid)
    finally:
        removed = runner(["docker", "rm", "--force", "--volumes", name])
    if removed.code != 0:
        problems.append(f"The probe container {name} cannot be removed: {removed.error}")
    if problems:
        raise ProbeError("\n".join(problems))
    return Proof(pulled, [url for kind, url in expected(wanted) if connected(found, kind, url)])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "proxy_container": {"type": "str", "required": True},
            "proxy_network": {"type": "str", "default": "trigger-proxy"},
            "proxy_port": {"type": "int", "default": 2375},
            "image": {"type": "str", "required": True},
            "registry_url": {"type": "str"},
            "registry_username": {"type": "str"},
            "registry_password": {"type": "str", "no_log": True},
            "platform": {"type": "str"},
            "limited": {"type": "bool", "default": True},
            "network": {"type": "str", "default": "trigger-runner"},
            "urls": {"type": "list", "elements": "str", "default": []},
            "answering": {"type": "list", "elements": "str", "default": []},
            "unreachable": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 60},
        },
        required_together=[("registry_url", "registry_username", "registry_password")],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(
            changed=False, skipped=True, msg="A probe creates a container, so there is none in check mode."
        )
    begun = time.monotonic()
    try:
        wanted = parameters(module.params)
        found = addresses(run, wanted)
        avoid = [*wanted.unreachable, *(f"{address}:{wanted.proxy_port}" for address in found)]
        sweep(run)
        call = speak(found[0], wanted.proxy_port, wanted.timeout)
        proof = probe(run, call, wanted, avoid, PREFIX + secrets.token_hex(8))
    except ProbeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        runner_probe={
            "image": wanted.image,
            "pulled": proof.pulled,
            "urls": [url for _kind, url in expected(wanted)],
            "connected": proof.connected,
            "unreachable": avoid,
            "duration_seconds": round(time.monotonic() - begun, 2),
        },
    )


if __name__ == "__main__":
    main()
