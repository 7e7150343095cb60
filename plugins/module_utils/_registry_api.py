# SPDX-License-Identifier: MIT
"""Reads and writes images in a registry over its HTTP interface, for what no command of the engine does.

Source: the OCI distribution and image specifications, RFC 8878 (zstd), and Docker's token authentication.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import ServiceError
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._http import Answer, Origin, origin, request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# What Docker calls the same things; an image in zstd has to be one of OCI.
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = ", ".join((MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json", DOCKER_INDEX))
# Where engines look for the CAs of a registry.
CERTIFICATES = Path("/etc/docker/certs.d")
WHAT = "the registry"


class Registry:
    """One repository of a registry, with a login that may push.

    `host` is `host[:port]`; `plain` says that it speaks http. Each method raises `ServiceError`, whose text holds no
    secret, where the registry does not do what was asked.
    """

    def __init__(self, host: str, repository: str, username: str, password: str, *, plain: bool) -> None:
        # Docker Hub answers under another name than the one in its images' references.
        answering = "registry-1.docker.io" if host == "docker.io" else host
        certificates = "\n".join(each.read_text() for each in sorted((CERTIFICATES / host).glob("*.crt")))
        self._place = origin(WHAT, f"{'http' if plain else 'https'}://{answering}", certificates, 80, 443)
        self._repository = repository
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        # The first answer says whether it wants a token instead.
        self._authorization = self._basic

    def manifest(self, reference: str) -> dict[str, Any] | None:
        """Give the manifest or index under a tag or digest; None: there is none."""
        answer = self._ask("GET", f"manifests/{reference}", {"Accept": ACCEPTED})
        if answer.status == 404:
            return None
        return _read(_good(answer, 200, "give a manifest"))

    def blob(self, digest: str) -> bytes:
        """Give a blob, whole; for configurations, which are small."""
        answer = self._ask("GET", f"blobs/{digest}", {})
        if answer.status in (301, 302, 303, 307, 308):
            place, target = _split(answer.headers["location"], self._place)
            # A store of objects, whose link has its own login.
            answer = request(WHAT, place, "GET", target, {"Host": place.authority})
        return _good(answer, 200, "give a blob")

    def write_blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Write a blob in one piece; gives its descriptor."""
        described = _descriptor(content, media_type)
        begun = self._ask("POST", "blobs/uploads/", {})
        _good(begun, 202, "begin an upload")
        _, target = _split(begun.headers["location"], self._place)
        target += f"{'&' if '?' in target else '?'}{urlencode({'digest': described['digest']})}"
        done = self._ask("PUT", target, {"Content-Type": "application/octet-stream"}, content)
        _good(done, 201, "take a blob")
        return described

    def write_manifest(self, reference: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write a manifest under a tag, or under its digest if the reference is empty; gives its descriptor."""
        content = json.dumps(manifest).encode()
        described = _descriptor(content, manifest["mediaType"])
        target = f"manifests/{reference or described['digest']}"
        answer = self._ask("PUT", target, {"Content-Type": described["mediaType"]}, content)
        _good(answer, 201, "take a manifest")
        return described

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        path = target if target.startswith("/") else f"/v2/{self._repository}/{target}"

        def once() -> Answer:
            sent = {"Host": self._place.authority, "Authorization": self._authorization, **headers}
            return request(WHAT, self._place, method, path, sent, body)

        answer = once()
        challenge = answer.headers.get("www-authenticate", "")
        if answer.status == 401 and challenge.lower().startswith("bearer "):
            self._authorization = self._token(challenge)
            answer = once()
        return answer

    def _token(self, challenge: str) -> str:
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        scope = {"scope": f"repository:{self._repository}:pull,push"}
        place, target = _split(asked.get("realm", ""), self._place)
        target += "?" + urlencode({**({"service": asked["service"]} if "service" in asked else {}), **scope})
        answer = request(WHAT, place, "GET", target, {"Host": place.authority, "Authorization": self._basic})
        given = _read(_good(answer, 200, "give a token"))
        return f"Bearer {given.get('token') or given.get('access_token', '')}"


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(content), "digest": _digest(content)}


def _split(url: str, ours: Origin) -> tuple[Origin, str]:
    """Give the origin of a URL, and its path with the query; without a host the origin is the registry's own."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return (origin(WHAT, url, ours.endpoint.ca, 80, 443) if parts.netloc else ours), target


def _good(answer: Answer, status: int, deed: str) -> bytes:
    if answer.status != status:
        raise ServiceError(f"The registry does not {deed}: HTTP {answer.status}")
    return answer.body


def _read(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ServiceError("The registry's answer is no object in JSON; does something else answer there?")
    return found


def zstd(content: bytes) -> bytes:
    """Give a zstd frame with one raw block; from 256 to 65791 bytes."""
    header = b"\x28\xb5\x2f\xfd" + b"\x60" + (len(content) - 256).to_bytes(2, "little")
    return header + (len(content) << 3 | 1).to_bytes(3, "little") + content


def layer() -> bytes:
    """Give the tar archive of the layer that is added: one file, the same each time."""
    text = b"A layer in zstd, as task images have them.\n"
    file = tarfile.TarInfo("trigger-probe")
    file.size = len(text)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(file, io.BytesIO(text))
    return stream.getvalue()


def add_zstd_layer(registry: Registry, source: str, tag: str) -> None:
    """Write the image of the tag `source` once more, as `tag`, with a layer in zstd on top."""
    manifest = registry.manifest(source)
    if manifest is None:
        raise ServiceError(f"The registry has no image of the tag {source}, which was pushed a moment ago")
    if "manifests" not in manifest:
        registry.write_manifest(tag, _extended(registry, manifest))
        return
    entries = [
        {**registry.write_manifest("", _extended(registry, of_platform)), "platform": entry["platform"]}
        for entry in manifest["manifests"]
        # Attestations of a build have this platform. An engine may push fewer platforms than the index lists.
        if entry.get("platform", {}).get("os", "unknown") != "unknown"
        and (of_platform := registry.manifest(entry["digest"])) is not None
    ]
    registry.write_manifest(tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def _extended(registry: Registry, manifest: Mapping[str, Any]) -> dict[str, Any]:
    added = layer()
    config = _read(registry.blob(manifest["config"]["digest"]))
    config["rootfs"]["diff_ids"].append(_digest(added))
    config.setdefault("history", []).append({"created_by": "selfhosted.trigger_dev"})
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": registry.write_blob(json.dumps(config).encode(), CONFIG),
        "layers": [
            *({**each, "mediaType": _oci(each["mediaType"])} for each in manifest["layers"]),
            registry.write_blob(zstd(added), f"{LAYER}+zstd"),
        ],
    }


def _oci(media_type: str) -> str:
    """Give OCI's name of a layer's type."""
    return f"{LAYER}+gzip" if media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip" else media_type
