# SPDX-License-Identifier: MIT
"""The part of MinIO's client that the deployment calls. Aliases as the real client finds them."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from doubles.sigv4 import Key, sign

HOST = re.compile(r"(https?://)([^:]*):(.*)@([^@]+?)/*\Z")
# What the real client writes into a configuration that does not exist yet.
FIRST_ALIASES = {"local": {"url": "http://localhost:9000", "accessKey": "", "secretKey": "", "api": "S3v4"}}


class Failure(Exception):
    pass


@dataclass(frozen=True)
class Alias:
    url: str
    key: Key


def alias_from_environment(name: str, environment: Mapping[str, str]) -> Alias | None:
    """MC_HOST_<alias>=scheme://access:secret@host, taken literally: the client decodes nothing in it."""
    text = environment.get(f"MC_HOST_{name}")
    if text is None:
        return None
    found = HOST.match(text)
    if not found:
        raise Failure(f"Unable to parse `MC_HOST_{name}`. Invalid URL.")
    return Alias(found[1] + found[4], Key(found[2], found[3]))


def configuration(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    folder = Path(environment.get("MC_CONFIG_DIR") or Path(environment.get("HOME", "/")) / ".mc")
    file = folder / "config.json"
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"version": "10", "aliases": FIRST_ALIASES}, indent=1))
        aliases: dict[str, dict[str, str]] = json.loads(file.read_text())["aliases"]
    except OSError as failure:
        raise Failure(f"Unable to save new mc config. {failure}") from failure
    return aliases


def find_alias(name: str, environment: Mapping[str, str]) -> Alias:
    aliases = configuration(environment)
    found = alias_from_environment(name, environment)
    if found:
        return found
    if name not in aliases:
        raise Failure(f"No such alias `{name}` found.")
    entry = aliases[name]
    return Alias(entry["url"], Key(entry["accessKey"], entry["secretKey"]))


def call(alias: Alias, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
    url = f"{alias.url}{path}" + (f"?{query}" if query else "")
    headers = sign(alias.key, method, url, body, datetime.now(UTC)) if alias.key.access else {}
    request = urllib.request.Request(url, method=method, headers=headers, data=body or None)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: bytes = answer.read()
    return found


def reason(failure: urllib.error.HTTPError) -> tuple[str, str]:
    text = failure.read().decode(errors="replace")
    code = re.search(r"<Code>(.*?)</Code>", text)
    message = re.search(r"<Message>(.*?)</Message>", text)
    return (code[1] if code else "", message[1] if message else str(failure))


def ready(alias: Alias, name: str) -> None:
    """Asks until the answer is yes, as the real client does."""
    while True:
        try:
            with urllib.request.urlopen(f"{alias.url}/minio/health/cluster", timeout=10):
                print(f"The cluster '{name}' is ready")
                return
        except OSError:
            print(f"The cluster '{name}' is not ready", flush=True)
            time.sleep(0.5)


def make_bucket(alias: Alias, target: str, bucket: str, ignore_existing: bool) -> None:
    try:
        call(alias, "PUT", f"/{bucket}")
    except urllib.error.HTTPError as failure:
        code, message = reason(failure)
        if not (ignore_existing and code == "BucketAlreadyOwnedByYou"):
            raise Failure(f"Unable to make bucket `{target}`. {message}") from failure
    print(f"Bucket created successfully `{target}`.")


def listing(alias: Alias, target: str, bucket: str) -> None:
    try:
        text = call(alias, "GET", f"/{bucket}", "list-type=2" if bucket else "").decode()
    except urllib.error.HTTPError as failure:
        raise Failure(f"Unable to list folder. {reason(failure)[1]}") from failure
    if not bucket:
        for name, date in re.findall(r"<Name>(.*?)</Name><CreationDate>(.*?)</CreationDate>", text):
            print(f"[{date}]     0B {name}/")
    entry = r"<Key>(.*?)</Key><LastModified>(.*?)</LastModified><Size>(\d+)</Size>"
    for name, date, size in re.findall(entry, text):
        print(f"[{date}] {size:>6}B STANDARD {name}")


def stat(alias: Alias, target: str, bucket: str) -> None:
    try:
        call(alias, "HEAD", f"/{bucket}")
    except urllib.error.HTTPError as failure:
        raise Failure(f"Unable to stat `{target}`. {failure}") from failure
    print(f"Name      : {bucket}/\nType      : folder")


def administrate(alias: Alias, path: str, given: dict[str, object], failure_text: str) -> None:
    try:
        call(alias, "POST", f"/minio/admin/v3/{path}", body=json.dumps(given).encode())
    except urllib.error.HTTPError as failure:
        raise Failure(f"{failure_text}. {reason(failure)[1]}") from failure


def add_user(alias: Alias, words: list[str]) -> None:
    """Without both keys as arguments, what is missing is read from standard input, a line each."""
    given = [*words, *(sys.stdin.readline().rstrip("\n") for _ in range(2 - len(words)))]
    user = {"accessKey": given[0], "secretKey": given[1]}
    administrate(alias, "add-user", dict(user), f"Unable to add new user `{given[0]}`")
    print(f"Added user `{given[0]}` successfully.")


def tell_user(alias: Alias, what: str, user: str) -> None:
    call_name = "user-info" if what == "info" else "remove-user"
    administrate(alias, call_name, {"accessKey": user}, f"Unable to {'get' if what == 'info' else 'remove'} user")
    print(f"AccessKey: {user}" if what == "info" else f"Removed user `{user}` successfully.")


def create_policy(alias: Alias, name: str, file: str) -> None:
    try:
        policy = json.loads(Path(file).read_bytes())
    except (OSError, ValueError) as failure:
        raise Failure(f"Unable to open `{file}`. {failure}") from failure
    administrate(alias, "add-canned-policy", {"name": name, "policy": policy}, "Unable to create new policy")
    print(f"Created policy `{name}` successfully.")


def change_policy(alias: Alias, change: str, name: str, user: str) -> None:
    given: dict[str, object] = {"policy": name, "user": user}
    administrate(alias, change, given, f"Unable to {change} policies")
    print(f"{change.title()}ed Policies: [{name}]\nTo User: {user}")


def admin(words: list[str]) -> None:
    match words:
        case ["user", "add", name, *keys] if len(keys) <= 2:
            add_user(find_alias(name, os.environ), keys)
        case ["user", ("info" | "remove") as what, name, user]:
            tell_user(find_alias(name, os.environ), what, user)
        case ["policy", "create", name, policy, file]:
            create_policy(find_alias(name, os.environ), policy, file)
        case ["policy", ("attach" | "detach") as change, name, policy, "--user", user]:
            change_policy(find_alias(name, os.environ), change, policy, user)
        case _:
            raise Failure(f"`admin {' '.join(words)}` is not a recognized command")


def main() -> None:
    if sys.argv[1:2] == ["admin"]:
        try:
            admin(sys.argv[2:])
        except (Failure, urllib.error.URLError) as failure:
            sys.exit(f"mc: <ERROR> {failure}")
        return
    parser = argparse.ArgumentParser(prog="mc")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("ready", "mb", "ls", "stat"):
        sub = commands.add_parser(command)
        sub.add_argument("target")
        if command == "mb":
            sub.add_argument("--ignore-existing", "-p", action="store_true")
    options = parser.parse_args()
    name, _, bucket = options.target.partition("/")
    try:
        alias = find_alias(name, os.environ)
        if options.command == "ready":
            ready(alias, name)
        elif options.command == "mb":
            make_bucket(alias, options.target, bucket.rstrip("/"), options.ignore_existing)
        elif options.command == "ls":
            listing(alias, options.target, bucket.rstrip("/"))
        else:
            stat(alias, options.target, bucket.rstrip("/"))
    except (Failure, urllib.error.URLError) as failure:
        sys.exit(f"mc: <ERROR> {failure}")


if __name__ == "__main__":
    main()
