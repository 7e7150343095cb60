# SPDX-License-Identifier: MIT
"""Programs of Debian's packages, without installing these: that would start servers."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from testbed.common import CACHE, TestbedError, run

UNPACK = """
cd "$1"
file=$2
shift 2
apt-get download -q "$@"
dpkg-deb --fsys-tarfile "$1"_*.deb | tar -x "./$file"
shift
for library; do
  dpkg-deb -x "$library"_*.deb .
done
rm -- *.deb
"""
# Not every user has those of administrators on the path.
FOLDERS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@cache
def unpacked(file: str, package: str, *libraries: str) -> Path:
    """Find a program, or take it from its package, beside what packages of libraries have."""
    installed = shutil.which(Path(file).name, path=FOLDERS)
    if installed:
        return Path(installed)
    folder = CACHE / package
    place = folder / file
    if not place.exists():
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            run("sh", "-ec", UNPACK, "sh", fresh, file, package, *libraries)
        except TestbedError as error:
            raise TestbedError(f"{place.name} is missing. Install {package}, or let apt-get find it: {error}") from None
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return place
