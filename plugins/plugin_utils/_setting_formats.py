# SPDX-License-Identifier: MIT
"""Forms that texts in settings can have: a name, the words of the message, and the check.

Longer than 300 lines because the table has a row for each of the forms, and all of them are looked up by name.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.filter.certificate_problems import ca_problem
from ansible_collections.selfhosted.trigger_dev.plugins.filter.destination_problems import destination_problems, network
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._calendar_events import (
    is_schedule,
    is_time_zone,
    shortest_gap,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._controller_paths import (
    file_to_write,
    folder_to_write,
)
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._engine_settings import engine_config
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._known_mistakes import (
    availability_zone,
    base_image_mirror,
    desktop_name,
    everybodys_pattern,
    mail_pattern_slip,
    package_key,
    package_repository,
    password_mistake,
    restic_port,
    secret_mistake,
    signal_mistake,
    telemetry_base,
)


class Format(NamedTuple):
    """What a message says after `must be`, the form, and what a text of that form says that is a known mistake."""

    words: str
    form: Callable[[str], bool]
    mistake: Callable[[str], str] = lambda _text: ""

    def check(self, text: str) -> bool:
        return self.form(text) and not self.mistake(text)


def pattern(regex: str) -> Callable[[str], bool]:
    """Check a text as a whole."""
    # Compiled when it is first used: most processes that load the table use none.
    return lambda text: re.fullmatch(regex, text) is not None


LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = rf"{LABEL}([.]{LABEL})*"
OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"({OCTET}[.]){{3}}{OCTET}"
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# docs.docker.com: a repository has lowercase letters and digits, separated by one or two underscores, a dot, or dashes.
PART = "[a-z0-9]+((_|__|[.]|-+)[a-z0-9]+)*"
REGISTRY = f"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:{PORT})?"
IMAGE = rf"({REGISTRY}/)?{PART}(/{PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
# What mail servers pass in practice: no quotes, and no signs that lists and links put around an address.
MAIL_NAME = r"[\w.!#$%&'*+/=?^`{|}~-]+"
MAIL_LABEL = r"[^\W_]([^\W_]|-)*(?<!-)"
MAIL = rf"{MAIL_NAME}@{MAIL_LABEL}([.]{MAIL_LABEL})*"

# For a container these are itself.
LOOPBACK = re.compile(r"(.*[.])?localhost([.]localdomain)?|127[.].*|0[.]0[.]0[.]0|::1?")

MINUTE = 60

is_name = pattern(NAME)
is_ipv4 = pattern(IPV4)


# Of branches and of whatever is the newest.
FLOATING = re.compile("(?i):(latest|main|master|head|edge|nightly|lts|alpine)$")


def is_image(text: str) -> bool:
    """A reference with a tag or a digest."""
    return re.fullmatch(IMAGE, text) is not None and re.search(r"[:@][^/]*$", text) is not None


def is_address(text: str) -> bool:
    """IPv4 or IPv6, without the zone of one machine."""
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """An address, or a network of addresses. Caddy and the engine know no netmask such as /255.255.0.0."""
    address, slash, length = text.partition("/")
    return is_address(address) and (not slash or length.isdecimal()) and network(text) is not None


def is_proxy(text: str) -> bool:
    """A network without this host itself, or 127.0.0.1: by that very text the role knows a proxy on the host."""
    if text == "127.0.0.1" or not is_network(text):
        return text == "127.0.0.1"
    found = ipaddress.ip_network(text)
    return not (found.is_loopback or getattr(found.network_address, "ipv4_mapped", None))


def is_host(text: str) -> bool:
    """A name whose last label is no number, or an address, as which dots and digits alone must be valid."""
    if re.fullmatch(r"[0-9.]+|.*:.*", text):
        return is_address(text)
    return is_name(text) and not re.search("[.][0-9]+$", text)


def is_host_and_port(text: str) -> bool:
    """host or host:port."""
    host, colon, port = text.partition(":")
    return is_host(host) and (not colon or re.fullmatch(PORT, port) is not None)


# Each of the schemes at the port of the other: such an address has a wrong scheme, or a wrong port.
OTHERS_PORT = re.compile("http://[^/?#]*:443(?![0-9])|https://[^/?#]*:80(?![0-9])")


def is_origin(text: str) -> bool:
    """The supervisor's WebSocket and presigned URLs overwrite the path, so nothing can live under a sub-path."""
    found = re.fullmatch("https?://(.+)", text)
    return found is not None and is_host_and_port(found[1]) and not OTHERS_PORT.match(text)


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
        and not OTHERS_PORT.match(text)
    )


def is_outer(text: str) -> bool:
    """Whether a host or address means the same inside of a container."""
    host = (urlsplit(text).hostname or "") if "://" in text else text
    return not LOOPBACK.fullmatch(host)


def is_private_host(text: str) -> bool:
    """A host for addresses without brackets that task containers find: they do not know names without a dot."""
    return is_host(text) and "." in text and ":" not in text and is_outer(text)


def _is_database(text: str, schemes: str, rest: str) -> bool:
    found = re.fullmatch(rf"({schemes})://[^/?#@:\s]+@([^/?#@\s]+){rest}", text)
    return found is not None and is_host_and_port(found[2]) and is_outer(text)


# Prisma and node-postgres take any other word for one of these, each for another.
SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
# Parameters that another part of the address or another setting decides, or that only one of the readers knows.
POSTGRES_TAKEN = re.compile("(?i)ssl|sslcert|sslkey|sslidentity|sslpassword|sslrootcert|user|password|host|port|dbname")


def is_postgres(text: str) -> bool:
    """An address that all readers understand alike, in one schema and without a pooler in between."""
    if not _is_database(text, "postgres(?:ql)?", r"/[^/?#\s]+(\?[^#\s;]*)?") or re.search("%(?![0-9A-Fa-f]{2})", text):
        return False
    given = [pair.partition("=")[::2] for pair in urlsplit(text).query.split("&") if pair]
    fixed = {"sslmode": SSL_MODES, "schema": ("public",), "pgbouncer": ("false",)}
    return len(dict(given)) == len(given) and all(
        not POSTGRES_TAKEN.fullmatch(name) and (name.lower() not in fixed or value in fixed.get(name, ()))
        for name, value in given
    )


# What headers of HTTP carry unchanged, and what their names may be (RFC 9110).
is_header_text = pattern("[!-~]([ -~]*[!-~])?")
is_header_name = pattern("[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_json_headers(text: str) -> bool:
    """Headers of HTTP as a JSON object, written as text."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and all(
        is_header_name(name) and isinstance(value, str) and is_header_text(value) for name, value in found.items()
    )


def is_line(text: str) -> bool:
    """A text as programs take it that read one line: a block of YAML ends with a line break, which nobody sees."""
    return text == text.strip() and not re.search(r"[\x00-\x1f\x7f]", text)


# Folders whose content is the system's, and folders that hold those of other programs.
SYSTEM = (
    *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "nix", "proc", "run", "sbin"),
    *("snap", "sys", "tmp", "usr"),
)
# Those of widespread programs, whose owners and modes matter to them. Elsewhere in /var/lib there may be one of ours.
VAR_LIB = (
    *("NetworkManager", "apt", "aptitude", "apparmor", "buildkit", "ca-certificates", "cloud", "cni", "containerd"),
    *("containers", "dbus", "dhcp", "dhcpcd", "dnf", "docker", "dpkg", "etcd", "git", "grub", "initramfs-tools"),
    *("iptables", "kubelet", "letsencrypt", "libvirt", "logrotate", "lxc", "lxd", "machines", "mariadb", "mongodb"),
    *("mysql", "nfs", "nginx", "pam", "pgsql", "polkit-1", "portables", "postgresql", "private", "python", "rancher"),
    *("redis", "rpm", "selinux", "snapd", "sudo", "swtpm", "systemd", "ubuntu-advantage", "ucf", "udisks2"),
    *("unattended-upgrades", "update-notifier", "waagent", "yum"),
)
VAR = (
    *("account", "adm", "cache", "crash", "db", "empty", "games", "lock", "log", "mail", "run", "snap", "spool", "tmp"),
    *("www", "yp"),
)
LOCAL = ("bin", "games", "include", "lib/docker", "lib/node_modules", "lib/systemd", "man", "sbin")
OTHERS = (
    *(f"/var/{name}" for name in VAR),
    *(f"/var/lib/{name}" for name in VAR_LIB),
    *(f"/usr/local/{name}" for name in LOCAL),
    *("/opt/cni", "/opt/containerd"),
)
# A home folder is its user's, and so is what programs keep in it; a folder of its own may be below.
HOME = "/root|/home/[^/]+"
HOMES = re.compile(rf"({HOME})(/([.][^/]+|[.](ssh|gnupg|docker|kube|aws)/.*|[.]local/(bin|lib|share|state)))?")
# Those of widespread packages in /etc; what is named .d belongs to some package, too.
ETC = (
    *("NetworkManager", "X11", "alternatives", "apache2", "apparmor", "apt", "audit", "ca-certificates", "cloud"),
    *("cni", "containerd", "containers", "crypto-policies", "dbus-1", "default", "dhcp", "dnf", "docker", "dpkg"),
    *("firewalld", "fonts", "fwupd", "gnupg", "grub", "initramfs-tools", "iptables", "kernel", "kubernetes", "ldap"),
    *("letsencrypt", "libvirt", "lvm", "mysql", "netplan", "network", "nftables", "nginx", "opt", "pam", "perl"),
    *("pki", "polkit-1", "postgresql", "python3", "rancher", "redis", "security", "selinux", "skel", "ssh", "ssl"),
    *("sysconfig", "systemd", "udev", "ufw", "update-motd", "vim", "xdg", "yum"),
)
PARENTS = (
    *("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr/local", "/var", "/var/backups", "/var/lib"),
    *("/var/local", "/var/opt"),
    *(f"/usr/local/{name}" for name in ("etc", "lib", "lib32", "lib64", "libexec", "share", "src")),
)


def is_folder(text: str) -> bool:
    """An absolute path in its shortest form, of characters that need no quotes anywhere."""
    return re.fullmatch(r"(/[A-Za-z0-9._+@-]+)+", text) is not None and not {".", ".."} & set(text.split("/"))


def is_own_folder(text: str) -> bool:
    """A folder that can be ours alone: modes and owners inside are changed."""
    local = re.fullmatch("/usr/local/.+", text) is not None
    system = text.startswith("/") and text.split("/")[1] in SYSTEM and not local
    foreign = any(text == each or text.startswith(f"{each}/") for each in OTHERS)
    return is_folder(text) and not (system or foreign or text in PARENTS or HOMES.fullmatch(text))


def is_own_subfolder(text: str) -> bool:
    """A folder that may be one of ours inside of /etc."""
    inside = re.fullmatch("/etc/([^/]+)(/.*)?", text)
    ours = inside is not None and inside[1] not in ETC and not re.fullmatch("cron[.].+|.+[.]d", inside[1])
    return is_own_folder(text) or (is_folder(text) and ours)


# As restic reads them, without a login: messages and lists of processes show an address. The first part of s3: is the
# server, not the bucket, as which others write it.
REPOSITORIES = re.compile(
    r"s3:(https?://[^\s/@]+|(//)?(?!https?:)[^\s/@]*[.:][^\s/@]*)/[^\s/@][^\s@]*|sftp://([^\s/@:]+@)?[^\s/@]+/\S+|sftp:([^\s/@:]+@)?[^\s/@:]+:[^\s@]+"
    r"|rest:https?://[^\s/@]+(/[^\s@]*)?|b2:[^\s:/@]+(:[^\s@]*)?|(azure|gs|swift):[^\s:/@]+:[^\s@]*|rclone:[^\s:@]+:\S*"
)


def is_repository(text: str) -> bool:
    """A folder on the host, or a repository at a service."""
    return is_own_folder(text) if text.startswith("/") else REPOSITORIES.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """A time of the calendar with its zone that is not to come: a year that is misspelt would mean the newest."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d:\d\d)", text):
        return False
    try:
        return datetime.fromisoformat(text) < datetime.now(UTC) + timedelta(days=1)
    except ValueError:
        return False


# Without one it is bytes, as nobody means it.
UNITS = "(k|m|g|kb|mb|gb|kib|mib|gib)"


# What follows is part of a regular expression: a character behind a backslash, a set of characters, numbers of times.
REGEX_PARTS = re.compile(r"\\.|\[(\\.|[^\]\\])*\]|\{[0-9]+,[0-9]*\}")


def is_mail_pattern(text: str) -> bool:
    """A regular expression that may fit an address. In a list of addresses it would fit none, and let nobody in."""
    return not re.search(r"[,;\s]", REGEX_PARTS.sub("", text)) and not re.fullmatch("/.*/[a-z]*", text)


def _alternatives(text: str) -> list[str]:
    """Split a regular expression at each | outside of groups."""
    found, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and not depth:
            found.append("")
        else:
            found[-1] += character
    return found


def is_anchored(text: str, start: bool = False) -> bool:
    """Whether each alternative ends with $, and begins with ^. The webapp looks for the expression anywhere.

    What is escaped, or in a set, is no anchor; so is what only an alternative in a group has.
    """
    parts = _alternatives(REGEX_PARTS.sub("_", text))
    return all(part.endswith("$") and (not start or part.startswith("^")) for part in parts)


def has_at(text: str) -> bool:
    """Whether each alternative says what stands before a domain: example[.]com$ also fits me@evil-example.com."""
    marked = REGEX_PARTS.sub(lambda part: "@" if part[0] in (r"\@", "[@]") else "_", text)
    return all("@" in part for part in _alternatives(marked))


def is_path(text: str) -> bool:
    """A path of a file on the controller."""
    return text == text.strip() and "\n" not in text


FORMATS: dict[str, Format] = {
    "any_folder": Format(
        "an absolute path of a folder, such as /opt/trigger.dev: letters, digits and ._+@- only", is_folder
    ),
    "bucket": Format(
        "the name of a bucket (3 to 63 lowercase letters, digits, dots, dashes)",
        pattern(r"(?!.*[.]{2})[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    ),
    "clickhouse_url": Format(
        "of the form https://user@host:port without a password (that is trigger_secrets.clickhouse_password),"
        " with nothing behind it, and with a host that is not the container itself, such as localhost",
        lambda text: _is_database(text, "https?", "/?"),
        desktop_name,
    ),
    "controller_file": Format(
        "the path of a file on the controller, without line breaks and blanks around it", is_path
    ),
    "count": Format("a whole number of 1 and more, in quotes", pattern("[1-9][0-9]{0,5}")),
    "destination": Format(
        "an address, a network or a name, each with or without :port (1 to 65535), such as db.example.com:5432,"
        " 192.0.2.7,"
        " 192.0.2.0/24:443 or [2001:db8::7]:443; a network by its first address, and none of /0, which is everything"
        " (for a task container localhost is itself)",
        lambda text: (
            not destination_problems([text]) and is_outer(text) and is_outer(re.sub(r":[0-9]+$|[][]", "", text))
        ),
        desktop_name,
    ),
    "duration": Format("a number with a unit (ms, s, m, h, d), such as 10s", pattern("[1-9][0-9]* ?(ms|s|m|h|d)")),
    "folder": Format(
        "an absolute path of a folder of its own, such as /opt/trigger: letters, digits and ._+@- only, and no"
        " folder that the system, a user or other programs use",
        is_own_folder,
    ),
    "header": Format(
        "of one line of ASCII characters, without blanks around it, because it goes into a header of HTTP",
        is_header_text,
        secret_mistake,
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
        "an https address with its path that containers reach, such as https://ca.example.com/acme/acme/directory"
        " (localhost is the container itself)",
        lambda text: re.match("https://[^/]+/[^/]", text) is not None and is_url(text) and is_outer(text),
        desktop_name,
    ),
    "image": Format(
        "a reference of an image with its tag or digest, such as registry.example.com:5000/team/name:tag, without a"
        " scheme; a tag other than latest, main and others that are another image every month",
        lambda text: is_image(text) and not FLOATING.search(text),
    ),
    "image_of_any_tag": Format(
        "a reference of an image with its tag or digest, such as registry.example.com:5000/team/name:tag, without a"
        " scheme",
        is_image,
    ),
    "image_and_digest": Format(
        "a reference of an image with its digest, such as registry.example.com:5000/team/name@sha256:..., without a"
        " scheme",
        lambda text: "@" in text and is_image(text),
    ),
    "image_prefix": Format(
        "the beginning of a reference of an image, of letters, digits and ._:/@- only, with the / behind the host, such"
        " as registry.example.com:5000/trigger/ (without it, other hosts begin alike)",
        pattern(f"{REGISTRY}/[A-Za-z0-9._:/@-]*"),
    ),
    "image_with_registry": Format(
        "a reference of an image with its registry, and with its tag or digest, as images are deployed, such as"
        " docker.io/library/redis:7.4.5-bookworm (with redis:7.4.5-bookworm the archive would never be loaded)",
        lambda text: is_image(text) and re.match("[^/]*[.:][^/]*/|localhost/", text) is not None,
    ),
    "inventory_name": Format("the name of a host of the inventory", pattern(r"[^\s,]+")),
    "ipv4": Format("an IPv4 address, such as 192.0.2.7", is_ipv4),
    "ipv4_bind": Format("an IPv4 address of the control host, or 0.0.0.0 for all of them", is_ipv4),
    "json_headers": Format(
        'headers of HTTP as a JSON object in a text, such as {"authorization": "Bearer ..."}: names of letters, digits'
        " and dashes, each with a text of one line of ASCII characters",
        is_json_headers,
    ),
    "line": Format(
        "of one line, without blanks around it (a block of YAML after | ends with a line break)",
        is_line,
        secret_mistake,
    ),
    # For people to read, such as a name: what looks odd may be meant.
    "text": Format("of one line, without blanks around it", is_line),
    "key_url": Format(
        "an https address without a login in it, such as https://download.docker.com/linux",
        lambda text: text.startswith("https://") and is_url(text),
        package_key,
    ),
    "linux_user": Format(
        "the name of a user of the host", pattern("[A-Za-z_][A-Za-z0-9_.-]{0,31}([$]|@[A-Za-z0-9.-]{1,253})?")
    ),
    "collection_version": Format("a version of three numbers, such as 1.2.0", pattern("[0-9]+[.][0-9]+[.][0-9]+")),
    "engine_version": Format(
        "a version of two or three numbers from 20.10 on, such as 28.5 or 28.5.2",
        pattern("(20[.]1[0-9]|2[1-9][.][0-9]+|[3-9][0-9][.][0-9]+)([.][0-9]+)?"),
    ),
    "log_size": Format("a number with a unit, such as 10m (k, m or g)", pattern(f"(?i)[1-9][0-9]*{UNITS}")),
    "mail": Format("a mail address", pattern(MAIL)),
    "mail_pattern": Format(
        "one regular expression of mail addresses, such as ^.+@example\\.com$, without slashes around it, commas,"
        " semicolons and blanks (a list of addresses would fit none of them), and with $ at the end of it and of each"
        " alternative outside of parentheses (without it, me@example.com also fits me@example.com.evil.org), and an @"
        " in it and in each of these (without it, example.com$ also fits me@evil-example.com)",
        lambda text: is_mail_pattern(text) and is_anchored(text) and has_at(text),
        mail_pattern_slip,
    ),
    "mail_pattern_of_whole": Format(
        "one regular expression of mail addresses, such as ^(me|you)@example\\.com$, without slashes around it, commas,"
        " semicolons and blanks (a list of addresses would fit none of them), and with ^ at the beginning and $ at the"
        " end of it and of each alternative outside of parentheses (without them, me@example.com also fits"
        " me@example.com.evil.org), and an @ in it and in each of these",
        lambda text: is_mail_pattern(text) and is_anchored(text, start=True) and has_at(text),
        everybodys_pattern,
    ),
    "mirror": Format(
        "host, host:port or either with a path, without a scheme and a slash at the end",
        lambda text: (
            is_host_and_port(text.partition("/")[0])
            and ("/" not in text or re.fullmatch(rf"{PART}(/{PART})*", text.partition("/")[2]) is not None)
        ),
        base_image_mirror,
    ),
    "name": Format(
        "1 to 63 letters, digits, dots, dashes or underscores, the first a letter or digit",
        pattern("[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
    ),
    "namespace": Format(
        "of lowercase letters and digits, with single slashes, dots, underscores or dashes between them",
        pattern(rf"{PART}(/{PART})*"),
    ),
    "network": Format(
        "an address (IP), or a network by its first address, such as 10.0.0.0/16, and none of /0, which is everything",
        is_network,
    ),
    "object_path": Format(
        "a path of letters, digits, dots, dashes and underscores, without a slash in front and at the end,"
        " and without . and .. as names",
        pattern("(?!(.*/)?[.]{1,2}(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"),
    ),
    "outer_host": Format(
        "a host name of lowercase letters, digits, dashes and dots, or an IP address, without scheme and port, which"
        " containers reach (localhost is the container itself)",
        lambda text: is_host(text) and is_outer(text),
        desktop_name,
    ),
    "origin": Format(
        "scheme://host or scheme://host:port with http or https and nothing behind it, such as"
        " https://trigger.example.com (443 is no port of http, and 80 none of https);"
        " a host name has lowercase letters, digits, dashes and dots only",
        is_origin,
    ),
    "outer_origin": Format(
        "scheme://host or scheme://host:port with http or https and nothing behind it, which hosts and"
        " containers reach (localhost is the container itself; 443 is no port of http, and 80 none of https)",
        lambda text: is_origin(text) and is_outer(text),
        desktop_name,
    ),
    "outer_url": Format(
        "an http or https address without a login in it that containers reach (localhost is the container itself)",
        lambda text: is_url(text) and is_outer(text),
        desktop_name,
    ),
    "outer_telemetry": Format(
        "an http or https address without a login in it that containers reach (localhost is the container itself)",
        lambda text: is_url(text) and is_outer(text),
        lambda text: telemetry_base(text) or desktop_name(text),
    ),
    **{
        f"telemetry_{signal}": Format(
            "an http or https address without a login in it that containers reach (localhost is the container itself)",
            lambda text: is_url(text) and is_outer(text),
            signal_mistake(signal),
        )
        for signal in ("logs", "metrics", "traces")
    },
    "telemetry": Format(
        "an http or https address without a login in it; "
        "a host name has lowercase letters, digits, dashes and dots only",
        is_url,
        telemetry_base,
    ),
    "own_file": Format(
        "an absolute path of a file in a folder of its own, such as /opt/trigger/secrets.json: letters, digits"
        " and ._+@- only,"
        " and no folder that the system, a user or other programs use",
        lambda text: is_folder(text) and is_own_subfolder(text.rpartition("/")[0]),
    ),
    "password": Format(
        "of one line, without blanks around it (a block of YAML after | ends with a line break)",
        is_line,
        password_mistake,
    ),
    "platform": Format(
        "linux/amd64 or linux/arm64, each with or without a variant such as /v8",
        pattern("linux/(amd64(/v[1-4])?|arm64(/v[89])?)"),
    ),
    "platforms": Format(
        "linux/amd64, linux/arm64, or both with a comma between them",
        pattern("linux/(amd64|arm64)|linux/amd64,linux/arm64|linux/arm64,linux/amd64"),
    ),
    # Each reader of the address knows other parameters for certificates, so the role writes those.
    "postgres_url": Format(
        "of the form postgresql://user@host:port/database?parameters, without a password (that is"
        " trigger_secrets.postgres_password). What is not a letter, digit or . - _ is percent-encoded. The host is none"
        f" that is the container itself, such as localhost. sslmode is {', '.join(SSL_MODES)}, a schema is public, and"
        " there is no pgbouncer=true. Leave out ssl, sslcert, sslkey, sslidentity, sslpassword and sslrootcert"
        " (webapp_ca_file names the CA; certificates of clients are not offered), and user, host, port and dbname",
        is_postgres,
        desktop_name,
    ),
    "private_host": Format(
        "an IPv4 address, or a host name of lowercase letters, digits, dashes and dots with a dot in it, without scheme"
        " and port, which containers reach (localhost is the container itself; they do not know names without a dot)",
        is_private_host,
        desktop_name,
    ),
    "proxy": Format(
        "an address (IP), or a network by its first address, such as 10.0.0.0/16, and none of /0, which is everything;"
        " a proxy on the control host itself is 127.0.0.1, not written otherwise",
        is_proxy,
    ),
    "qualified_name": Format(
        "a fully qualified name, without scheme and port", lambda text: is_name(text) and "." in text
    ),
    "aws_region": Format("a region, such as eu-central-1", pattern("[a-z0-9-]+"), availability_zone),
    "region": Format("a region, such as eu-central-1", pattern("[a-z0-9-]+")),
    "registry": Format(
        "a registry as references of images name it (host or host:port, without a scheme), or a network of"
        " registries by its first address, such as 10.0.0.0/16, and none of /0, which is everything",
        lambda text: is_host_and_port(text) or is_network(text),
    ),
    "apt_repository": Format(
        "an http or https address without a login in it, such as https://download.docker.com/linux: without the name of"
        " the distribution, which is put behind it, and without a slash at the end",
        lambda text: is_url(text) and not re.search("/$|/(debian|ubuntu|raspbian)$|/dists(/|$)", text),
        package_repository,
    ),
    # Registries of others have names such as robot$team+ci and me@example.com.
    "registry_user": Format(
        "a name without blanks, colons, backquotes and braces, and with no # in front",
        lambda text: text.isprintable() and bool(re.fullmatch(r"(?!#)[^\s:`{}]{1,256}", text)),
    ),
    "restic_repository": Format(
        "an absolute path of a folder of its own, such as /var/backups/trigger (letters, digits and ._+@- only, and no"
        " folder that the system, a user or other programs use), or a repository as restic writes it, such as"
        " s3:https://s3.example.com/bucket, sftp:user@host:/path or rest:https://host:8000/path."
        " Names and passwords belong in backup_environment",
        is_repository,
        restic_port,
    ),
    "restic_variable": Format(
        "the name of an environment variable of restic or of a provider in capital letters (RESTIC_, AWS_, B2_, AZURE_,"
        " GOOGLE_, OS_, ST_, SWIFT_, RCLONE_; or a proxy), and none of RESTIC_REPOSITORY and RESTIC_PASSWORD: those are"
        " backup_repository and trigger_secrets.backup_key",
        pattern(
            "(?!RESTIC_(REPOSITORY|PASSWORD))(RESTIC|AWS|B2|AZURE|GOOGLE|OS|ST|SWIFT|RCLONE|XDG)_[A-Z0-9_]+|GO[A-Z]+|HOME|TMPDIR"
            "|SSL_CERT_(FILE|DIR)|SSH_AUTH_SOCK|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy"
        ),
    ),
    "restic_snapshot": Format("latest, or at least 8 characters of an id", pattern("latest|[0-9a-f]{8,64}")),
    "restore_time": Format(
        "a time with its zone that is not in the future, such as 2026-01-31T12:00:00Z, or latest",
        lambda text: text == "latest" or is_time(text),
    ),
    "schedule": Format(
        "a time as systemd writes it (OnCalendar), on a date that comes, such as *:0/15 or Sun *-*-* 03:30:00",
        is_schedule,
        lambda text: "comes again within a minute" if is_schedule(text) and shortest_gap(text) < MINUTE else "",
    ),
    # What takes minutes, and stops others meanwhile.
    "rare_schedule": Format(
        "a time as systemd writes it (OnCalendar), on a date that comes, such as *:0/15 or Sun *-*-* 03:30:00, and with"
        " at least 15 minutes between two of them",
        lambda text: is_schedule(text) and shortest_gap(text) >= 15 * 60,
    ),
    "runtime": Format("node-NUMBER, such as node-22, or bun", pattern("node-[1-9][0-9]*|bun")),
    "sender": Format(
        "a mail address, or a name and the address in angle brackets (a name with a comma has quotes around it)",
        pattern(rf'{MAIL}|([^<>@\n,;:"]*|"[^<>\n"]*" *)<{MAIL}>'),
    ),
    "serial": Format(
        "a number of workers, or a percentage of them such as 25%", pattern("[1-9][0-9]*|[1-9][0-9]?%|100%")
    ),
    "sql_name": Format("a name of at most 63 lowercase letters, digits and underscores", pattern("[a-z0-9_]{1,63}")),
    "subfolder": Format(
        "an absolute path of a folder of its own, such as /etc/trigger: letters, digits and ._+@- only, and no"
        " folder that the system, a user or other programs use",
        is_own_subfolder,
    ),
    "time_zone": Format("a time zone, such as Europe/Vienna", is_time_zone),
    "token": Format("a text without blanks and line breaks", pattern(r"\S+"), secret_mistake),
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


# Only the webapp and what belongs to it have these: of an adopted or external installation several may be alike.
HELD_TOGETHER = (
    re.compile("(postgres|redis|clickhouse|object_store)_.*|session_secret|magic_link_secret|encryption_key"),
    # Operators log in with both.
    re.compile("monitoring_password|status_page_password"),
)


def distinct_secrets(given: Mapping[str, object]) -> str | None:
    """Name secrets that have one value: who is told the one has the rights of the other."""
    names: dict[object, list[str]] = {}
    for name, value in given.items():
        names.setdefault(value, []).append(name)
    alike = [each for each in names.values() if len(each) > 1]
    shared = [each for each in alike if not any(all(map(held.fullmatch, each)) for held in HELD_TOGETHER)]
    told = "; ".join(" and ".join(each) for each in shared)
    return f"{told} have the same value, and those who know the one must not know the other" if told else None


def _read(path: str) -> tuple[str | None, str | None]:
    """Give the text of a file, and why it cannot be read. One that is missing is the affair of those who read it."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8"), None
    except FileNotFoundError:
        return None, None
    except UnicodeDecodeError:
        return None, f"{path} is not text, so it is no file in PEM form (openssl can convert one in DER form)"
    except OSError as error:
        return None, f"{path} on the controller cannot be read: {error.strerror}"


def text_file(path: str) -> str | None:
    """Say why the file cannot be read as text."""
    return _read(path)[1]


def ca_file(path: str) -> str | None:
    """Say why it is no file of CAs. ansible-vault opens an encrypted one later."""
    text, wrong = _read(path)
    if text is None or text.startswith("$ANSIBLE_VAULT"):
        return wrong
    problem = ca_problem(text, datetime.now(UTC))
    return f"{path} {problem}" if problem else None


# What a format cannot say, by the `check` of a row.
MAPPING_CHECKS: dict[str, Callable[[Mapping[str, object]], str | None]] = {
    "distinct_secrets": distinct_secrets,
    "engine_config": engine_config,
    "log_options": log_options,
}
TEXT_CHECKS: dict[str, Callable[[str], str | None]] = {
    "ca_file": ca_file,
    "file_to_write": file_to_write,
    "folder_to_write": folder_to_write,
    "text_file": text_file,
}
