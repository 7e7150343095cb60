# SPDX-License-Identifier: MIT
"""A worker host and what is around it, in network namespaces: real packets through the kernel's real filter.

Run inside a network namespace of its own, which is the host. Each line of the input is a step, as JSON; for each one a
line is printed: {"probe": true} which doors a runner finds open, {"run": [...]} what a command on the host printed,
{"flagless": address} nothing, and the runner has sent a TCP segment without flags there.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BRIDGE = "trigger-runner"
HOST, RUNNER, SUPERVISOR = "172.30.0.1", "172.30.0.10", "172.30.0.2"
CONTROL, METADATA, INTERNET, TELEMETRY = "10.9.0.2", "169.254.169.254", "203.0.113.7", "203.0.113.8"
UPLINK = "10.9.0.1"

# What listens: namespace -> ports, on all of its addresses.
LISTENING = {"host": (22, 8030), "supervisor": (8020, 9090), "outside": (22, 80, 443, 5000, 8030)}
# What a runner tries.
DOORS = (
    *((HOST, port) for port in (22, 8030)),
    *((UPLINK, port) for port in (22, 8030)),
    *((SUPERVISOR, port) for port in (8020, 9090)),
    *((CONTROL, port) for port in (22, 5000, 8030)),
    (METADATA, 80),
    *((INTERNET, port) for port in (80, 443)),
    (TELEMETRY, 443),
)


def listen(ports: tuple[int, ...]) -> None:
    """Take connections on these ports until the process ends."""
    for port in ports:
        server = socket.create_server(("0.0.0.0", port), backlog=64)
        threading.Thread(
            target=lambda server=server: [server.accept()[0].close() for _ in iter(int, 1)], daemon=True
        ).start()


def opened(door: tuple[str, int]) -> bool:
    """Tell whether something takes a connection there."""
    try:
        socket.create_connection(door, timeout=2).close()
    except OSError:
        return False
    return True


def send_flagless(address: str) -> None:
    """Send a TCP segment to port 80 that belongs to no connection and begins none."""
    segment = struct.pack("!HHLLBBHHH", 40000, 80, 0, 0, 5 << 4, 0, 1024, 0, 0)
    ends = socket.inet_aton(RUNNER) + socket.inet_aton(address) + struct.pack("!BBH", 0, 6, len(segment))
    total = sum(struct.unpack(f"!{(len(ends) + len(segment)) // 2}H", ends + segment))
    total = (total >> 16) + (total & 0xFFFF)
    checked = segment[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + segment[18:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(checked, (address, 0))


def inside() -> None:
    """Live in a namespace: listen, and look at doors when asked to."""
    listen(tuple(json.loads(sys.stdin.readline())))
    print("ready", flush=True)
    for line in sys.stdin:
        if isinstance(wanted := json.loads(line), str):
            send_flagless(wanted)
            print(json.dumps(None), flush=True)
            continue
        doors = [tuple(door) for door in wanted]
        with ThreadPoolExecutor(len(doors)) as pool:
            found = [f"{host}:{port}" for (host, port), is_open in zip(doors, pool.map(opened, doors)) if is_open]
        print(json.dumps(found), flush=True)


def ip(command: str, process: subprocess.Popen[str] | None = None) -> None:
    """Run ip in the namespace of a process, or in ours."""
    prefix = ["nsenter", f"--net=/proc/{process.pid}/ns/net"] if process else []
    subprocess.run([*prefix, "ip", *command.split()], check=True, timeout=120)


def neighbour(name: str) -> subprocess.Popen[str]:
    """Start a process in a namespace of its own, joined to ours by a pair of interfaces."""
    process = subprocess.Popen(
        ["unshare", "--net", sys.executable, __file__, "inside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ask(process, list(LISTENING.get(name, ())), answer=False)
    assert process.stdout is not None
    process.stdout.readline()
    ip(f"link add {name} type veth peer name eth0 netns {process.pid}")
    ip(f"link set {name} up")
    for interface in ("lo", "eth0"):
        ip(f"link set {interface} up", process)
    return process


def ask(process: subprocess.Popen[str], what: Any, *, answer: bool = True) -> Any:
    """Send a line, and read one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline()) if answer else None


def main() -> None:
    """Build the host, its runner network and what is outside; then take the steps."""
    ip("link set lo up")
    ip(f"link add {BRIDGE} type bridge")
    ip(f"address add {HOST}/24 dev {BRIDGE}")
    ip(f"link set {BRIDGE} up")
    listen(LISTENING["host"])
    processes = {name: neighbour(name) for name in ("runner", "supervisor", "outside")}
    for name, address in (("runner", RUNNER), ("supervisor", SUPERVISOR)):
        ip(f"link set {name} master {BRIDGE}")
        ip(f"address add {address}/24 dev eth0", processes[name])
        ip(f"route add default via {HOST}", processes[name])
    ip(f"address add {UPLINK}/24 dev outside")
    ip(f"route add default via {CONTROL}")
    for address in (f"{CONTROL}/24", f"{METADATA}/32", f"{INTERNET}/32", f"{TELEMETRY}/32"):
        ip(f"address add {address} dev eth0", processes["outside"])
    ip(f"route add 172.30.0.0/24 via {UPLINK}", processes["outside"])
    for switch in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        with open(f"/proc/sys/net/{switch}", "w") as file:
            file.write("1")
    for line in sys.stdin:
        step = json.loads(line)
        if "run" in step:
            done = subprocess.run(step["run"], capture_output=True, text=True, timeout=300, check=False)
            said: Any = [done.returncode, done.stdout, done.stderr]
        else:
            said = ask(processes["runner"], step.get("flagless", DOORS))
        print(json.dumps(said), flush=True)
    for process in processes.values():
        process.kill()
        process.wait()


if __name__ == "__main__":
    inside() if sys.argv[1:] == ["inside"] else main()
    # Threads wait for connections for ever.
    os._exit(0)
