# SPDX-License-Identifier: MIT
"""Bodies that chance has changed: whatever reaches the engine is a task container, by a rule that was written apart."""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections.abc import Callable

import pytest

from tests.socket_proxy import rule
from tests.socket_proxy.proxies import IMAGE, PORT, WAIT_SECONDS, Proxy, Recorder
from tests.socket_proxy.requests import HOST_CONFIG, supervisor, task

SEED = 6
BODIES = 1500

GOOD = [
    json.dumps(task()),
    json.dumps(supervisor("runner-abc", ["A=b", 'C="\\u00e9\n', "D={}"])),
    json.dumps(task() | {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["x", "y"]}, ensure_ascii=False),
]
KEYS = ["HostConfig", "NetworkMode", "Image", "Env", "Memory", "NanoCpus", "AutoRemove", "Cmd", "Hostname"]
VALUES = ["null", "true", "{}", "[]", "-1", "01", "1e9", "1.5", '""', '"x"', '"host"', "[1]", '{"a":1}', "9" * 30, "0"]
BLANKS = [" ", "\t", "\r\n", "\n", "\f", "\v", "\0", "\u00a0", "\ufeff", "//x\n", ","]


def rename(text: str, chance: random.Random) -> str:
    """Write a key in another way."""
    key = chance.choice(KEYS)
    at = chance.randrange(len(key))
    letter = key[at]
    other = chance.choice(
        [
            letter.swapcase(),
            f"\\u{ord(letter):04x}",
            {"s": "\u017f", "k": "\u212a"}.get(letter, letter),
            letter * 2,
            "",
            "\xff",
        ]
    )
    return text.replace(f'"{key}"', f'"{key[:at]}{other}{key[at + 1 :]}"', chance.choice([1, -1]))


def insert(text: str, chance: random.Random) -> str:
    """Put a member of somebody else's behind a brace or a comma, or one that is there once more."""
    key = chance.choice([*HOST_CONFIG, *KEYS, "User", "NetworkingConfig", "Labels", "x"])
    value = json.dumps(HOST_CONFIG[key]) if key in HOST_CONFIG else chance.choice([*VALUES, f'"{IMAGE}"'])
    places = [at + 1 for at, letter in enumerate(text) if letter in "{,"]
    if not places:
        return text
    at = chance.choice(places)
    return f'{text[:at]}"{key}": {value}, {text[at:]}'


def retype(text: str, chance: random.Random) -> str:
    """Give a key another value."""
    head, colon, tail = text.partition(f'"{chance.choice(KEYS)}": ')
    return (
        head + colon + chance.choice(VALUES) + chance.choice(["", ", "]) + tail[chance.randrange(1, 20) :]
        if colon
        else text
    )


def replace(text: str, chance: random.Random) -> str:
    """Give a value that stands there as it is another one, so that the form stays good."""
    old, new = chance.choice(
        [
            ("536870912", chance.choice(VALUES)),
            ("true", "false"),
            ("trigger-runner", chance.choice(["host", "trigger-runner "])),
            (IMAGE, "alpine"),
        ]
    )
    return text.replace(old, new)


def cut(text: str, chance: random.Random) -> str:
    """Leave out a part."""
    at = chance.randrange(len(text) + 1)
    return text[:at] + text[at + chance.choice([1, 2, 10, len(text)]) :]


def blank(text: str, chance: random.Random) -> str:
    """Put blanks, and what is none, anywhere."""
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(BLANKS) + text[at:]


def space(text: str, chance: random.Random) -> str:
    """Write the same with other blanks, which is still good."""
    return text.replace(", ", chance.choice([",", " ,\r\n", ",\t"])).replace(": ", chance.choice([":", " : "]))


def nest(text: str, chance: random.Random) -> str:
    """Wrap it, or put something deep into it."""
    depth = chance.choice([1, 50, 5000])
    return chance.choice(
        ["[" * depth + text + "]" * depth, text.replace("[", "[" * depth, 1), '{"HostConfig": ' + text + "}"]
    )


def double(text: str, chance: random.Random) -> str:
    """Send it twice."""
    return text + chance.choice(["", "\n", ","]) + chance.choice(GOOD)


CHANGES: list[Callable[[str, random.Random], str]] = [rename, insert, retype, replace, cut, blank, space, nest, double]


def bodies() -> list[bytes]:
    """Give the same bodies in each run."""
    chance = random.Random(SEED)
    found = []
    for _ in range(BODIES):
        text = chance.choice(GOOD)
        for change in chance.choices(CHANGES, k=chance.choice([1, 1, 2, 3])):
            text = change(text, chance)
        found.append(text.encode("utf-8", "surrogatepass").replace(b"\xc3\xbf", b"\xff"))
    return found


def test_what_passes_is_a_task_container(recording: Proxy, recorder: Recorder) -> None:
    connection = http.client.HTTPConnection(recording.address, PORT, timeout=WAIT_SECONDS)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    refused = 0
    for body in bodies():
        connection.request("POST", "/containers/create?name=runner-x", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (201, 403), body
        refused += answer.status == 403
    connection.close()
    passed = [body for _, body in recorder.take()]
    assert len(passed) == BODIES - refused
    assert len(passed) > BODIES // 10
    assert refused > BODIES // 2
    for body in passed:
        rule.check(body)


def limited(text: str) -> str:
    """Give a body with the limits that the proxy puts in."""
    return text.replace('"HostConfig": {', '"HostConfig": {"PidsLimit": 4096, "MemorySwap": 536870912, ')


@pytest.mark.parametrize(
    "text",
    [
        limited(json.dumps(task(Privileged=True))),
        "{}",
        limited(GOOD[0]) + "x",
        limited(GOOD[0].replace("trigger-runner", "host")),
        GOOD[0],
    ],
)
def test_the_rule_is_one(text: str) -> None:
    with pytest.raises(rule.Refused):
        rule.check(text.encode())


def test_the_rule_lets_good_ones_pass() -> None:
    for body in GOOD:
        rule.check(limited(body).encode())
