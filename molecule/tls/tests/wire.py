# SPDX-License-Identifier: MIT
"""What is seen on the wire: certificates, answers to requests as they are given, and connections that stay open."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from verification import expected
from verification.nodes import Node

GATEWAY = "trigger-gateway-gateway-1"
WEBAPP = "trigger-webapp-webapp-1"

# Sends requests as they are given: where to (Host may be another), port, TLS, method, path, headers, body.
SEND = """
import http.client, json, socket, ssl, sys
asked = json.load(sys.stdin)
trust = ssl.create_default_context(cafile=asked['authority'])
answers = []
for place, port, secure, method, path, headers, body in asked['requests']:
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(place, port, timeout=30, **({'context': trust} if secure else {}))
    connection.putrequest(method, path, skip_host=any(name.lower() == 'host' for name in headers))
    data = body.encode() if body is not None else None
    if data is not None:
        connection.putheader('Content-Length', str(len(data)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    answers.append([answer.status, dict((name.lower(), value) for name, value in answer.getheaders()),
                    answer.read().decode(errors='replace')])
    connection.close()
print(json.dumps(answers))
"""

# Keeps open what a deployment keeps open: a WebSocket, one long poll after the other, and a request whose body takes
# its time. The first line of its input says what to ask, the second one ends it; it says when all are open, and at the
# end how they have fared.
HOLD = r"""
import base64, json, os, socket, ssl, sys, threading, time
asked = json.loads(sys.stdin.readline())
host, trust = asked['host'], ssl.create_default_context(cafile=asked['authority'])
found = {'websocket': 'no answer', 'pings': 0, 'polls': [], 'upload': None}
opened = [threading.Event() for _ in range(3)]
stop, said = threading.Event(), threading.Event()

def connect():
    stream = trust.wrap_socket(socket.create_connection((host, 443), timeout=60), server_hostname=host)
    stream.settimeout(None)
    return stream

def head(method, path, headers):
    lines = [f'{method} {path} HTTP/1.1', f'Host: {host}', *(f'{name}: {value}' for name, value in headers.items())]
    return '\r\n'.join([*lines, '', '']).encode()

def status(reader):
    line = reader.readline().split()
    while reader.readline().strip():
        pass
    return int(line[1]) if line else 'closed'

def frame(text):
    # Masked, with a mask that changes nothing.
    data = text.encode()
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data

def websocket():
    stream = connect()
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(head('GET', '/socket.io/?EIO=4&transport=websocket', {
        'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key}))
    reader = stream.makefile('rb')
    if status(reader) != 101:
        found['websocket'] = 'no upgrade'
        return
    found['stream'] = stream
    while True:
        start = reader.read(2)
        if len(start) < 2 or start[0] & 15 == 8:
            found['websocket'] = found['websocket'] if said.is_set() else 'closed'
            said.set()
            return
        length = start[1] & 127
        if length == 126:
            length = int.from_bytes(reader.read(2), 'big')
        text = reader.read(length).decode()
        if text.startswith('0'):
            opened[0].set()
        elif text == '2':
            found['pings'] += 1
            stream.sendall(frame('3'))
        elif text.startswith('44/worker'):
            found['websocket'] = 'answers'
            said.set()

def polls():
    body = b'{"maxRunCount":1}'
    while not stop.is_set():
        began = time.monotonic()
        try:
            stream = connect()
            stream.sendall(head('POST', '/engine/v1/worker-actions/dequeue', {
                **asked['headers'], 'Content-Type': 'application/json', 'Content-Length': len(body)}) + body)
            opened[1].set()
            answer = status(stream.makefile('rb'))
            stream.close()
        except OSError as failure:
            answer = str(failure)
        found['polls'].append([answer, round(time.monotonic() - began, 1)])

def upload():
    try:
        stream = connect()
        stream.sendall(head('POST', '/otel/v1/traces', {
            'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked'}) + b'1\r\n"\r\n')
        opened[2].set()
        while not stop.wait(0.5):
            stream.sendall(b'1\r\nx\r\n')
        stream.sendall(b'1\r\n"\r\n0\r\n\r\n')
        found['upload'] = status(stream.makefile('rb'))
    except OSError as failure:
        found['upload'] = str(failure)

threads = [threading.Thread(target=work, daemon=True) for work in (websocket, polls, upload)]
for thread in threads:
    thread.start()
print(json.dumps([event.wait(60) for event in opened]), flush=True)
sys.stdin.readline()
stop.set()
threads[1].join(60)
threads[2].join(60)
stream = found.pop('stream', None)
if stream and not said.is_set():
    stream.sendall(frame('40/worker,'))
    said.wait(60)
print(json.dumps(found), flush=True)
os._exit(0)
"""

# Some hundred ports at once: a closed one answers at once, one that nothing answers on counts as closed.
SCAN = """
import json, select, socket, sys
def open_ports(address, ports):
    poll, waiting, found = select.poll(), {}, []
    for port in ports:
        probe = socket.socket()
        probe.setblocking(False)
        probe.connect_ex((address, port))
        waiting[probe.fileno()] = port, probe
        poll.register(probe, select.POLLOUT)
    while waiting and (events := poll.poll(3000)):
        for number, _ in events:
            port, probe = waiting.pop(number)
            poll.unregister(number)
            if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(port)
            probe.close()
    return found
address = socket.gethostbyname(sys.argv[1])
print(json.dumps([port for start in range(1, 65536, 500)
                  for port in open_ports(address, range(start, min(start + 500, 65536)))]))
"""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: str


def _run(node: Node, script: str, content: str) -> str:
    command = ["docker", "exec", "--interactive", node.name, "python3", "-c", script]
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout


def send_all(node: Node, requests: list[list[Any]]) -> list[Reply]:
    """Send requests from a host, one after the other. Nothing of them stands on a command line."""
    asked = {"authority": expected.AUTHORITY_FILE, "requests": requests}
    return [Reply(*each) for each in json.loads(_run(node, SEND, json.dumps(asked)))]


def send(
    node: Node,
    place: str,
    path: str,
    method: str = "GET",
    *,
    port: int = 443,
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> Reply:
    """Send one request from a host."""
    (answer,) = send_all(node, [[place, port, port == 443, method, path, headers or {}, body]])
    return answer


@dataclass
class Held:
    """Connections that are open at the moment."""

    process: subprocess.Popen[str]

    def end(self) -> dict[str, Any]:
        """End them, and tell how they have fared."""
        output, errors = self.process.communicate("stop\n", timeout=300)
        assert self.process.returncode == 0, errors[-800:]
        found: dict[str, Any] = json.loads(output)
        return found


def hold(node: Node, host: str, headers: dict[str, str]) -> Held:
    """Open connections from a host to the webapp; the headers are those of a worker."""
    command = ["docker", "exec", "--interactive", node.name, "python3", "-c", HOLD]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin
    assert process.stdout
    asked = {"host": host, "authority": expected.AUTHORITY_FILE, "headers": headers}
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    ready = process.stdout.readline()
    assert ready.strip() == "[true, true, true]", ready or process.communicate()[1][-800:]
    return Held(process)


def scan(node: Node, target: str) -> set[int]:
    """Give the ports of a host that take a connection."""
    return set(node.python(SCAN, target))


def chain(node: Node, name: str, *options: str, host: str = "") -> Any:
    """Verify a chain with openssl; the exit code says whether it is accepted."""
    command = "openssl s_client -connect %s:443 -servername %s -verify_return_error -verify_hostname %s -CAfile %s"
    command += " %s" * len(options) + " </dev/null 2>&1"
    return node.run(command, name, name, host or name, expected.AUTHORITY_FILE, *options)


def certificate(node: Node, name: str) -> dict[str, str]:
    """Serial and issuer of the certificate that a name shows, whoever may have signed it."""
    command = (
        "openssl s_client -connect %s:443 -servername %s </dev/null 2>/dev/null"
        " | openssl x509 -noout -serial -issuer -fingerprint -sha256"
    )
    found = dict(re.findall(r"^(\S+?)(?: Fingerprint)?\s?=\s?(.*)$", node.output(command, name, name), re.MULTILINE))
    return {key.lower(): value for key, value in found.items()}
