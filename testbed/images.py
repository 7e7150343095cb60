# SPDX-License-Identifier: MIT
"""Makes base, node and service images and the archives of them, each only when what it is made of has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from . import engine
from .common import (
    IMAGES,
    LABEL,
    ROOT,
    TESTBED,
    TestbedError,
    docker,
    install,
    lock,
    replace_file,
    require,
    run,
    say,
    step,
)

INPUTS = f"{LABEL}.inputs"
BASE = "trigger-testbed/base"
NODE = "trigger-testbed/node"
SUITES = ("bookworm", "trixie")
# Of the base image that Dockerfiles name.
DEFAULT_SUITE = "trixie"
NODES = ("bookworm-docker", "trixie")
SERVICES = TESTBED / "images"
TABLE = SERVICES / "images.yml"
ARCHIVES = IMAGES / "archives.json"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# The interpreter of the images that are made from Debian 13.
_IMAGE_PYTHON = "3.13"


@dataclass(frozen=True)
class Service:
    """A row of images.yml; one without an archive is built where it is used."""

    key: str
    reference: str
    archive: str | None = None
    double: bool = False
    wheels: tuple[str, ...] = ()
    version: str = ""
    suite: str = DEFAULT_SUITE
    arguments: tuple[tuple[str, str], ...] = ()
    soak: bool = False

    @property
    def folder(self) -> Path:
        """Where its Dockerfile is."""
        return SERVICES / "doubles" / self.key if self.double else SERVICES / self.key

    @property
    def context(self) -> Path:
        """Doubles share Python code."""
        return SERVICES if self.double else self.folder


def read_table(text: str) -> list[Service]:
    """Read the rows of images.yml."""
    rows: list[dict[str, Any]] = yaml.safe_load(text)["images"]
    return [
        Service(
            row["key"],
            row["reference"],
            row.get("archive"),
            row.get("double", False),
            tuple(row.get("wheels", ())),
            row.get("version", ""),
            row.get("suite", DEFAULT_SUITE),
            tuple(row.get("arguments", {}).items()),
            row.get("soak", False),
        )
        for row in rows
    ]


def upstream() -> bool:
    """Tell whether the nodes are to pull the genuine images (IMAGES=upstream) instead of getting doubles."""
    choice = os.environ.get("IMAGES") or "doubles"
    if choice not in ("doubles", "upstream"):
        raise TestbedError(f"IMAGES={choice} is neither doubles nor upstream")
    return choice == "upstream"


def sources(dockerfile: str) -> list[str]:
    """Name what a Dockerfile copies from its context."""
    found: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if words and words[0].upper() in ("COPY", "ADD") and not any(word.startswith("--from=") for word in words):
            found += [word for word in words[1:-1] if not word.startswith("--")]
    return found


def fingerprint(context: Path, dockerfile: Path, extra: Iterable[str]) -> str:
    """Hash what an image is made of: Dockerfile, copied files with their modes, and what the caller names."""
    digest = hashlib.sha256()
    digest.update(dockerfile.read_bytes())
    for item in extra:
        digest.update(item.encode() + b"\0")
    for pattern in sources(dockerfile.read_text()):
        matches = sorted(context.glob(pattern.rstrip("/")))
        if not matches:
            raise TestbedError(f"{dockerfile.relative_to(ROOT)} copies {pattern}, which does not exist")
        files = [file for match in matches for file in ([match] if match.is_file() else sorted(match.rglob("*")))]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(context)} {file.stat().st_mode & 0o111:o}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def inspect(name: str) -> tuple[str, str]:
    """Give id and inputs of a local image, both empty when there is none."""
    try:
        found = docker("image", "inspect", "--format", f'{{{{.Id}}}} {{{{index .Config.Labels "{INPUTS}"}}}}', name)
    except TestbedError:
        return "", ""
    identity, _, inputs = found.strip().partition(" ")
    return identity, inputs


def mirror(targets: str) -> list[str]:
    """Take the Debian mirror from `apt-get indextargets`; none on other systems, where mmdebstrap knows its own."""
    labelled = [line.partition(" ") for line in targets.splitlines()]
    return [uri for label, _, uri in labelled if label == "Debian" and uri][:1]


def base(suite: str) -> str:
    """Have the base image of a Debian release; gives its id."""
    name = f"{BASE}:{suite}"
    tarball = IMAGES / f"base-{suite}.tar"
    if not inspect(name)[0]:
        if not tarball.exists():
            targets = run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
            # mmdebstrap chooses the format by the name.
            scratch = tarball.with_suffix(".new.tar")
            with step(f"Making a minimal Debian {suite}"):
                run("mmdebstrap", "--variant=minbase", suite, scratch, *mirror(targets))
            scratch.rename(tarball)
        with step(f"Importing Debian {suite}"):
            docker("import", "--change", f"LABEL {LABEL}=image", "--change", 'CMD ["bash"]', tarball, name)
    return inspect(name)[0]


def build(name: str, context: Path, dockerfile: Path, *extra: str, **arguments: str) -> str:
    """Build one image unless it is there and made of the same things (`extra`: those not in files); gives its id."""
    inputs = fingerprint(context, dockerfile, [*extra, *arguments.values()])
    if inspect(name)[1] != inputs:
        labels = ["--label", f"{LABEL}=image", "--label", f"{INPUTS}={inputs}"]
        with step(f"Building {name}"):
            # The host's network: its resolver may be one that containers cannot reach while an image is built.
            given = [word for key, text in arguments.items() for word in ("--build-arg", f"{key}={text}")]
            docker("build", "--network", "host", *given, *labels, "--tag", name, "--file", dockerfile, context)
    return inspect(name)[0]


def download_wheels(service: Service) -> Path:
    """Have the wheels that an image is made from; gives their folder."""
    folder = service.context / ".wheels"
    marker = folder / ".complete"
    wanted = "\n".join(service.wheels)
    if marker.exists() and marker.read_text() == wanted:
        return folder
    with step(f"Downloading wheels for {service.key}"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        # Made here, not part of the checkout.
        replace_file(folder / ".gitignore", "*\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run(*pip, "--python-version", _IMAGE_PYTHON, "--only-binary", ":all:", "--dest", folder, *service.wheels)
        replace_file(marker, wanted)
    return folder


def _service(service: Service, bases: Mapping[str, str]) -> str:
    if service.wheels:
        download_wheels(service)
    dockerfile = service.folder / "Dockerfile"
    facts = [bases[service.suite], *service.wheels]
    arguments = {
        **({"VERSION": service.version} if service.version else {}),
        **({} if service.suite == DEFAULT_SUITE else {"BASE": f"{BASE}:{service.suite}"}),
        **dict(service.arguments),
    }
    return build(service.reference, service.context, dockerfile, *facts, **arguments)


def lanes(services: list[Service]) -> list[list[Service]]:
    """Group what begins with the same layer: built at the same time it would be made, and archived, more than once."""
    found: dict[str, list[Service]] = {}
    for service in services:
        text = (service.folder / "Dockerfile").read_text().replace("\\\n", " ")
        first = next((line for line in text.splitlines() if line.startswith(("RUN", "COPY"))), service.key)
        found.setdefault(first, []).append(service)
    return list(found.values())


def _build_lane(lane: list[Service], bases: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(service.reference, _service(service, bases)) for service in lane]


def hello() -> tuple[str, str]:
    """Have the image of the hello run; gives its name and id."""
    service = next(service for service in read_table(TABLE.read_text()) if service.key == "hello")
    # Scenarios that run side by side ask for it at the same time.
    with lock(IMAGES / "lock"):
        return service.reference, _service(service, {DEFAULT_SUITE: base(DEFAULT_SUITE)})


def archive(path: Path, references: dict[str, str]) -> None:
    """Save images (reference -> id) into one file unless the file holds exactly these."""
    marker = path.with_suffix(".inputs")
    inputs = json.dumps(references, sort_keys=True)
    if path.exists() and marker.exists() and marker.read_text() == inputs:
        return
    scratch = path.with_suffix(".new")
    with step(f"Archiving {path.name} ({len(references)} images)"):
        docker("save", "--output", scratch, *references)
    # In this order a kill in between leaves a file without marker, which is made again.
    marker.unlink(missing_ok=True)
    scratch.rename(path)
    replace_file(marker, inputs)


def ensure(*, soak: bool = False) -> None:
    """Have all images and archives that the scenarios and the lab need; with `soak` also those of `make soak`."""
    engine.ensure()
    require({"mmdebstrap": "mmdebstrap"})
    if not KEYRING.exists():  # other distributions do not bring Debian's keys with mmdebstrap
        install([KEYRING.stem])
    with lock(IMAGES / "lock"), ThreadPoolExecutor(max_workers=2) as pool:
        bases = dict(zip(SUITES, pool.map(base, SUITES), strict=True))
        nodes = TESTBED / "nodes"
        pending = [
            pool.submit(build, f"{NODE}:{node}", nodes, nodes / node / "Dockerfile", bases[node.partition("-")[0]])
            for node in NODES
        ]
        table = [row for row in read_table(TABLE.read_text()) if row.archive and (soak or not row.soak)]
        services = [] if upstream() else table
        built = dict(chain.from_iterable(pool.map(lambda lane: _build_lane(lane, bases), lanes(services))))
        for future in pending:
            future.result()
        files: dict[Path, dict[str, str]] = {}
        for service in services:
            files.setdefault(IMAGES / str(service.archive), {})[service.reference] = built[service.reference]
        for path, references in files.items():
            archive(path, references)
        paths = {reference: str(path) for path, references in files.items() for reference in references}
        replace_file(ARCHIVES, json.dumps(paths, indent=2) + "\n")
    say("Images are ready")
