# SPDX-License-Identifier: MIT
"""Forms that texts in settings can have: a name, the words of the message, and the check.

Longer than 300 lines because the table has a row for each of the forms, and all of them are looked up by name.
"""

from __future__ import annotations

import ipaddress
import json
import re
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.filter.destination_problems import destination_problems


class Format(NamedTuple):
    """What a message says after `must be`, and the check."""

    words: str
    check: Callable[[str], bool]


def pattern(regex: str) -> Callable[[str], bool]:
    """Check a text as a whole."""
    compiled = re.compile(regex)
    return lambda text: compiled.fullmatch(text) is not None


LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = rf"{LABEL}([.]{LABEL})*"
OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"({OCTET}[.]){{3}}{OCTET}"
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# docs.docker.com: a repository has lowercase letters and digits, separated by one or two underscores, a dot, or dashes.
PART = "[a-z0-9]+((_|__|[.]|-+)[a-z0-9]+)*"
IMAGE = (
    rf"(([A-Za-z0-9.-]+)(:{PORT})?/)?{PART}(/{PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
)
MAIL = r"[^<>@\s]+@[^<>@\s]+"

LOOPBACK = re.compile(r"https?://(localhost\b|127[.]|0[.]0[.]0[.]0\b|\[)")

is_name = pattern(NAME)
is_ipv4 = pattern(IPV4)


def is_address(text: str) -> bool:
    """IPv4 or IPv6."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """An address, or a network of addresses."""
    try:
        return bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """A name or an address. Dots and digits alone are an address, and must be a valid one."""
    return is_address(text) if re.fullmatch(r"[0-9.]+|.*:.*", text) else is_name(text)


def is_host_and_port(text: str) -> bool:
    """host or host:port."""
    host, colon, port = text.partition(":")
    return is_host(host) and (not colon or re.fullmatch(PORT, port) is not None)


def is_origin(text: str) -> bool:
    """The supervisor's WebSocket and presigned URLs overwrite the path, so nothing can live under a sub-path."""
    found = re.fullmatch("https?://(.+)", text)
    return found is not None and is_host_and_port(found[1])


def is_url(text: str) -> bool:
    """An http or https address with anything behind the host."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        re.fullmatch(r"\S+", text) is not None
        and parts.scheme in ("http", "https")
        and "@" not in parts.netloc
        and (port is None or port > 0)
        and not parts.netloc.endswith(":")
        and is_host(parts.hostname or "")
        and parts.netloc == parts.netloc.lower()
    )


def _is_database(text: str, schemes: str, rest: str) -> bool:
    found = re.fullmatch(rf"({schemes})://[^/?#@:\s]+@([^/?#@\s]+){rest}", text)
    return found is not None and is_host_and_port(found[2])


def is_json_object(text: str) -> bool:
    """A JSON object, written as text."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def is_time_zone(text: str) -> bool:
    """A name of the tz database. Where the controller has none, a name of that form."""
    form = re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", text) is not None
    known = zoneinfo.available_timezones()
    return form and (text in known or not known)


# Folders whose content is the system's, and folders that hold those of other programs.
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp", "usr")
OTHERS = ("/var/lib/docker", "/var/lib/containerd", "/var/log", "/var/run", "/var/tmp", "/var/cache", "/var/spool")
PARENTS = ("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var", "/var/lib", "/var/opt")


def is_folder(text: str) -> bool:
    """An absolute path in its shortest form, of characters that need no quotes anywhere."""
    return re.fullmatch(r"(/[A-Za-z0-9._+@-]+)+", text) is not None and not {".", ".."} & set(text.split("/"))


def is_own_folder(text: str) -> bool:
    """A folder that can be ours alone: modes and owners inside are changed."""
    local = re.fullmatch("/usr/local/.+", text) is not None
    system = text.startswith("/") and text.split("/")[1] in SYSTEM and not local
    foreign = any(text == each or text.startswith(f"{each}/") for each in OTHERS)
    return is_folder(text) and not system and not foreign and text not in PARENTS


def is_own_subfolder(text: str) -> bool:
    """A folder that may be one of ours inside of /etc."""
    return is_own_folder(text) or (is_folder(text) and re.fullmatch("/etc/.+", text) is not None)


UNITS = "(b|k|m|g|kb|mb|gb|kib|mib|gib)"
DAYS = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
WORDS = {
    *("minutely", "hourly", "daily", "weekly", "monthly"),
    *("quarterly", "semiannually", "semi-annually", "annually", "yearly", "biannually"),
}


def _component(text: str, first: int, last: int) -> bool:
    """Numbers, ranges a..b and steps /n between commas; * is all."""
    for part in text.split(","):
        found = re.fullmatch(r"(\*|([0-9]+)(\.\.([0-9]+))?)(/([0-9]+))?", part)
        if not found:
            return False
        start, end, step = found[2], found[4], found[6]
        if any(number is not None and not first <= int(number) <= last for number in (start, end)):
            return False
        if (start and end and int(end) < int(start)) or (step is not None and int(step) == 0):
            return False
    return True


def _is_date(text: str) -> bool:
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)[-~]([^-~]+)", text)
    if not found:
        return False
    year, month, day = found.groups()
    return _component(year or "*", 1970, 2199) and _component(month, 1, 12) and _component(day, 1, 31)


def _is_time(text: str) -> bool:
    parts = re.sub(r"(?<=[0-9])[.][0-9]{1,6}(?=$|[,/])", "", text).split(":")
    return len(parts) in (2, 3) and _component(parts[0], 0, 23) and all(_component(part, 0, 59) for part in parts[1:])


def is_schedule(text: str) -> bool:
    """A calendar event of systemd.time(7), as OnCalendar= takes it: words, or weekdays, date, time, time zone."""
    words = text.split(" ")
    if len(words) > 1 and is_time_zone(words[-1]):
        words = words[:-1]
    if len(words) == 1 and words[0].lower() in WORDS:
        return True
    expected: list[Callable[[str], bool]] = [
        pattern(rf"(?i){DAYS}((\.\.|-){DAYS})?(,{DAYS}((\.\.|-){DAYS})?)*,?"),
        _is_date,
        _is_time,
    ]
    used = 0
    for word in words:
        fitting = next((index for index in range(used, len(expected)) if expected[index](word)), None)
        if fitting is None:
            return False
        used = fitting + 1
    return bool(words)


def is_path(text: str) -> bool:
    """A path of a file on the controller."""
    return text == text.strip() and "\n" not in text


FORMATS: dict[str, Format] = {
    "address": Format("an IP address, such as 127.0.0.1 or 0.0.0.0", is_address),
    "bucket": Format(
        "the name of a bucket (3 to 63 lowercase letters, digits, dots, dashes)",
        pattern(r"(?!.*[.]{2})[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    ),
    "clickhouse_url": Format(
        "of the form https://user@host:port without a password (that is trigger_secrets.clickhouse_password),"
        " and nothing behind it",
        lambda text: _is_database(text, "https?", "/?"),
    ),
    "controller_file": Format(
        "the path of a file on the controller, without line breaks and blanks around it", is_path
    ),
    "count": Format("a whole number of 1 and more, in quotes", pattern("[1-9][0-9]{0,5}")),
    "destination": Format(
        "an address, a network or a name, each with or without :port (1 to 65535), such as db.example.com:5432,"
        " 192.0.2.7,"
        " 192.0.2.0/24:443 or [2001:db8::7]:443",
        lambda text: not destination_problems([text]),
    ),
    "duration": Format("a number with a unit (ms, s, m, h, d), such as 10s", pattern("[1-9][0-9]* ?(ms|s|m|h|d)")),
    "folder": Format(
        "an absolute path of a folder of its own, such as /opt/trigger: letters, digits and ._+@- only, and no"
        " folder that the system or other programs use",
        is_own_folder,
    ),
    "host": Format(
        "a host name of lowercase letters, digits, dashes and dots, or an IP address, without scheme and port", is_host
    ),
    "host_and_port": Format(
        "host or host:port without a scheme; a host name has lowercase letters, digits, dashes and dots only",
        is_host_and_port,
    ),
    "html_file": Format(
        "the path of a file on the controller that ends in .html", lambda text: is_path(text) and text.endswith(".html")
    ),
    "https_url": Format(
        "an https address, such as https://ca.example.com/acme/acme/directory",
        lambda text: text.startswith("https://") and is_url(text),
    ),
    "image": Format(
        "a reference of an image, such as registry.example.com:5000/team/name:tag, without a scheme", pattern(IMAGE)
    ),
    "image_prefix": Format(
        "the beginning of a reference of an image, of letters, digits and ._:/@- only, such as"
        " registry.example.com:5000/trigger/",
        pattern("[A-Za-z0-9][A-Za-z0-9._:/@-]*"),
    ),
    "inventory_name": Format("the name of a host of the inventory", pattern(r"[^\s,]+")),
    "ipv4": Format("an IPv4 address, such as 192.0.2.7", is_ipv4),
    "ipv4_bind": Format("an IPv4 address of the control host, or 0.0.0.0 for all of them", is_ipv4),
    "json_object": Format('a JSON object as text, such as {"authorization": "Bearer ..."}', is_json_object),
    "linux_user": Format("the name of a user of the host", pattern("[A-Za-z_][A-Za-z0-9_.-]{0,31}[$]?")),
    "engine_version": Format(
        "a version of two or three numbers, such as 28.5 or 28.5.2", pattern("[0-9]+[.][0-9]+([.][0-9]+)?")
    ),
    "log_size": Format("a number with a unit, such as 10m (k, m or g)", pattern(f"(?i)[1-9][0-9]*{UNITS}?")),
    "mail": Format("a mail address", pattern(MAIL)),
    "mirror": Format(
        "host, host:port or either with a path, without a scheme and a slash at the end",
        lambda text: (
            is_host_and_port(text.partition("/")[0])
            and ("/" not in text or re.fullmatch(rf"{PART}(/{PART})*", text.partition("/")[2]) is not None)
        ),
    ),
    "name": Format(
        "1 to 63 letters, digits, dots, dashes or underscores, the first a letter or digit",
        pattern("[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
    ),
    "namespace": Format(
        "of lowercase letters and digits, with single slashes, dots, underscores or dashes between them",
        pattern(rf"{PART}(/{PART})*"),
    ),
    "network": Format("an IP address, or a network such as 10.0.0.0/16", is_network),
    "object_path": Format(
        "a path of letters, digits, dots, dashes and underscores, without a slash in front and at the end",
        pattern("[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"),
    ),
    "origin": Format(
        "scheme://host or scheme://host:port with http or https and nothing behind it, such as"
        " https://trigger.example.com;"
        " a host name has lowercase letters, digits, dashes and dots only",
        is_origin,
    ),
    "outer_origin": Format(
        "scheme://host or scheme://host:port with http or https and nothing behind it, which hosts and task"
        " containers reach"
        " (localhost is the container itself)",
        lambda text: is_origin(text) and not LOOPBACK.match(text),
    ),
    "outer_url": Format(
        "an http or https address that task containers reach (localhost is the container itself)",
        lambda text: is_url(text) and not LOOPBACK.match(text),
    ),
    "own_file": Format(
        "an absolute path of a file in a folder of its own, such as /opt/trigger/secrets.json: letters, digits"
        " and ._+@- only,"
        " and no folder that the system or other programs use",
        lambda text: is_folder(text) and is_own_subfolder(text.rpartition("/")[0]),
    ),
    "platform": Format("a platform, such as linux/amd64", pattern("[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?")),
    "platforms": Format(
        "linux/amd64, linux/arm64, or both with a comma between them",
        pattern("linux/(amd64|arm64)|linux/amd64,linux/arm64|linux/arm64,linux/amd64"),
    ),
    # Each reader of the address knows other parameters for certificates, so the role writes those.
    "postgres_url": Format(
        "of the form postgresql://user@host:port/database?parameters, without a password (that is"
        " trigger_secrets.postgres_password), and without sslcert, sslkey, sslidentity, sslpassword and sslrootcert"
        " (webapp_ca_file names the CA; certificates of clients are not offered)",
        lambda text: (
            _is_database(text, "postgres(?:ql)?", r"/[^/?#\s]+(\?[^#\s]*)?")
            and not re.search("[?&]ssl(cert|key|identity|password|rootcert)=", text)
        ),
    ),
    "qualified_name": Format(
        "a fully qualified name, without scheme and port", lambda text: is_name(text) and "." in text
    ),
    "region": Format("a region, such as eu-central-1", pattern("[a-z0-9-]+")),
    "registry": Format(
        "a registry as it stands in references of images (host or host:port, without a scheme), or a network of"
        " registries",
        lambda text: is_host_and_port(text) or is_network(text),
    ),
    "restic_repository": Format(
        "an absolute path, or a repository of restic such as s3:https://s3.example.com/bucket or sftp:user@host:/path. "
        "Names and passwords of rest: belong in backup_environment",
        pattern(r"/[^\s:]+|(sftp|s3|b2|azure|gs|swift|rclone):\S+|rest:https?://[^\s@]+"),
    ),
    "restic_snapshot": Format("latest, or at least 8 characters of an id", pattern("latest|[0-9a-f]{8,64}")),
    "restore_time": Format(
        "a time with its zone such as 2026-01-31T12:00:00Z, or latest",
        pattern(r"latest|\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)"),
    ),
    "schedule": Format("a time as systemd writes it (OnCalendar), such as *:0/15 or Sun *-*-* 03:30:00", is_schedule),
    "sender": Format(
        "a mail address, or a name and the address in angle brackets",
        pattern(rf"{MAIL}|[^<>@\n]*<{MAIL}>"),
    ),
    "serial": Format(
        "a number of workers, or a percentage of them such as 25%", pattern("[1-9][0-9]*|[1-9][0-9]?%|100%")
    ),
    "sql_name": Format("a name of at most 63 lowercase letters, digits and underscores", pattern("[a-z0-9_]{1,63}")),
    "subfolder": Format(
        "an absolute path of a folder of its own, such as /etc/trigger: letters, digits and ._+@- only, and no"
        " folder that the system uses itself",
        is_own_subfolder,
    ),
    "time_zone": Format("a time zone, such as Europe/Vienna", is_time_zone),
    "token": Format("a text without blanks and line breaks", pattern(r"\S+")),
    "url": Format(
        "an http or https address without a login in it; "
        "a host name has lowercase letters, digits, dashes and dots only",
        is_url,
    ),
    "user": Format("of letters, digits, dots, dashes and underscores", pattern("[A-Za-z0-9._-]+")),
    "version": Format("a release, such as v4.2.0, or a tag", pattern("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")),
    "web_path": Format(
        "a path that begins with / and has no slash at the end, such as /api/v1/query", pattern("(/[A-Za-z0-9._~-]+)+")
    ),
}


def log_options(given: Mapping[str, object]) -> str | None:
    """Say what the engine refuses of options that are right one by one (moby: ValidateLogOpts, jsonfilelog.New)."""
    files = int(str(given.get("max-file", "1")))
    if given.get("compress") == "true" and (files < 2 or "max-size" not in given):
        return "compress 'true' needs max-size and a max-file of '2' or more"
    if "max-buffer-size" in given and given.get("mode") != "non-blocking":
        return "max-buffer-size needs mode non-blocking"
    return None


def text_file(path: str) -> str | None:
    """Say why the file cannot be read as text. One that is missing is the affair of those who read it."""
    try:
        Path(path).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return f"{path} is not text, so it is no file in PEM form (openssl can convert one in DER form)"
    except OSError as error:
        return f"{path} on the controller cannot be read: {error.strerror}"
    return None


# What a format cannot say, by the `check` of a row.
MAPPING_CHECKS: dict[str, Callable[[Mapping[str, object]], str | None]] = {"log_options": log_options}
TEXT_CHECKS: dict[str, Callable[[str], str | None]] = {"text_file": text_file}
