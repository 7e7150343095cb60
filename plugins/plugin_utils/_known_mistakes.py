# SPDX-License-Identifier: MIT
"""Texts of the right form that nobody means: what a message says behind the name of the setting, or nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import urlsplit

# Joiners belong to words of some languages and to pictures.
JOINERS = "\u200c\u200d"
# Whole values that another program would have filled in.
PLACEHOLDER = re.compile(r"\$\{[A-Za-z_]\w*(:?[-?+=][^{}]*)?\}|\$\([^()]+\)|<[A-Za-z][\w .:/-]*>")
QUOTED = re.compile("\"[^\"]*\"|'[^']*'")
DESKTOP = re.compile(r"(?i)(?<![\w.-])(host|gateway)[.]docker[.]internal(?![\w.-])")
# What the defaults put behind a mirror themselves. Elsewhere, a project may have that name.
NAMESPACE = re.compile("((registry-1|index)[.])?(docker[.]io|ghcr[.]io)/(library|triggerdotdev)")
# What htpasswd writes, in place of what somebody types.
HASH = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|\$apr1\$.+|\{SHA\}.+|\$[56]\$.+\$.+")
DOCKERS_HOST = re.compile("https?://download[.]docker[.]com/?")
OTHER_PACKAGES = re.compile("/linux/(centos|rhel|fedora|sles|static)(/|$)")


def _unseen(text: str) -> str:
    """Name the first character that nobody sees, or that looks like a blank and is none."""
    for character in text:
        if character == "\u00a0" or (unicodedata.category(character) == "Cf" and character not in JOINERS):
            return f"U+{ord(character):04X} ({unicodedata.name(character, 'without a name').lower()})"
    return ""


def secret_mistake(text: str) -> str:
    """Say what a password or a token is not: a name of one, its encrypted form, or one with signs of its source."""
    if text.startswith(("$ANSIBLE_VAULT", "!vault")):
        return "holds the text of a vault and would be used as it stands: write !vault | in front of it, without quotes"
    if PLACEHOLDER.fullmatch(text):
        return "is a placeholder, which nothing fills in here: write the value itself, or a lookup of Ansible"
    if len(text) > 1 and QUOTED.fullmatch(text):
        return "has quotes as its first and last character, which would be part of it: leave them out"
    if unseen := _unseen(text):
        return f"has a character that is not seen: {unseen}. Write it again without that"
    return ""


def password_mistake(text: str) -> str:
    """Say the same of a password that clients log in with: its hash is made here."""
    words = "is the hash of a password, and clients would have to send the hash itself: write the password"
    return secret_mistake(text) or (words if HASH.fullmatch(text) else "")


def desktop_name(text: str) -> str:
    found = DESKTOP.search(text)
    return (
        f"has {found[0]}, a name of Docker Desktop that no engine of a server knows: write the name or the address of"
        " the host"
        if found
        else ""
    )


def package_key(text: str) -> str:
    if re.search("/(debian|ubuntu|raspbian)(/gpg)?/?$", text):
        return (
            "has the name of the distribution at its end, which is put behind it, with the file gpg: leave out"
            " what follows the folder above, as in https://download.docker.com/linux"
        )
    return package_repository(text)


def package_repository(text: str) -> str:
    if DOCKERS_HOST.fullmatch(text):
        return "has no packages: Docker's repository is https://download.docker.com/linux"
    if OTHER_PACKAGES.search(text):
        return (
            "has packages for other systems than Debian and Ubuntu: write the folder above, as in"
            " https://download.docker.com/linux"
        )
    return ""


def base_image_mirror(text: str) -> str:
    host, slash, _path = text.partition("/")
    if found := NAMESPACE.fullmatch(text):
        return f"ends in /{found[4]}, which is part of the names of images: leave that out"
    if slash and "." not in host and ":" not in host and host != "localhost":
        return f"begins with {host}, which Docker takes for a name of Docker Hub: write the host with a dot or its port"
    return ""


def restic_port(text: str) -> str:
    found = re.fullmatch("sftp:(([^/@:]+@)?[^/@:]+):([0-9]{1,5})/(.*)", text)
    return (
        f"means the folder {found[3]}/{found[4]} at port 22: write sftp://{found[1]}:{found[3]}/{found[4]} for the port"
        f" (with // in front of an absolute path), or sftp:{found[1]}:./{found[3]}/{found[4]} for that folder"
        if found
        else ""
    )


# Where collectors take gRPC, which nothing here speaks.
GRPC_PORT = 4317
SIGNAL = re.compile("/v1/(traces|logs|metrics)/?$")


def _otlp(text: str) -> tuple[str, str]:
    """Give the path of an address, and what is wrong with its port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "", ""
    words = "leads to port 4317, where collectors take gRPC: OTLP over HTTP mostly has port 4318"
    return parts.path, words if port == GRPC_PORT else ""


def telemetry_base(text: str) -> str:
    """Say what is wrong with an address that clients put the path of each signal behind."""
    path, wrong_port = _otlp(text)
    if found := SIGNAL.search(path):
        return f"ends in {found[0]}, which clients put behind it themselves: leave that out"
    if path.endswith("/"):
        return "ends in a slash, and what clients put behind it begins with one: leave it out"
    return wrong_port


def signal_mistake(signal: str) -> Callable[[str], str]:
    """Give what is wrong with an address that one signal is sent to as it stands."""

    def mistake(text: str) -> str:
        path, wrong_port = _otlp(text)
        found = SIGNAL.search(path)
        if "://" in text and not path and "?" not in text:
            return f"has no path, and {signal} go to the very address: mostly it ends in /v1/{signal}"
        if found and found[1] != signal:
            return f"ends in {found[0]}, where {found[1]} go: {signal} mostly go to /v1/{signal}"
        return wrong_port or desktop_name(text)

    return mistake


def availability_zone(text: str) -> str:
    found = re.fullmatch("([a-z]{2}(-[a-z]+)+-[0-9]+)[a-z]", text)
    return f"is a zone of a region: write {found[1]}" if found else ""


def bearer_mistake(text: str) -> str:
    if re.match("(?i)bearer\\s", text):
        return "begins with Bearer, which is put in front of it: leave that out"
    return "has blanks in it, as no bearer token has" if re.search(r"\s", text) else ""


def webhook_mistake(key: str, address: str) -> str:
    """Say that an address takes messages of another form than this key sends. It may be a secret."""
    if key == "webhook_url" and re.match(r"https://hooks[.]slack\.com(/|$)", address):
        return "is an address of Slack, which takes messages of another form: write it as slack_webhook_url"
    discord = re.match(r"https://([a-z]+[.])?discord(app)?[.]com/api/(v[0-9]+/)?webhooks/", address)
    if discord and (key == "webhook_url" or not re.search("/slack/?([?#]|$)", address)):
        return "is an address of Discord: write it as slack_webhook_url, with /slack at its end"
    return ""


def mail_pattern_slip(text: str) -> str:
    if "\\\\" in text:
        return "has two backslashes, which fit a backslash in an address: write one (single quotes or none around it)"
    if re.search(r"(^|\|)\^@", text):
        return "has ^@, with nothing between them: no address begins with @. Write ^.+@"
    return ""


def everybodys_pattern(text: str) -> str:
    """Say that a pattern of administrators fits addresses of anybody. One that only JavaScript reads may not."""
    try:
        fits = re.search(text, "someone@nobody.invalid") is not None
    except re.error:
        fits = False
    words = "fits every address, so that everyone would be an administrator: name the addresses or your domain"
    return mail_pattern_slip(text) or (words if fits else "")
