# SPDX-License-Identifier: MIT
"""Makes the Python environment of the checkout: `python3 bootstrap.py FOLDER REQUIREMENTS_FILE`.

Runs before anything is installed, with whatever python3 there is: standard library and old syntax only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11")
TEST = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"


def usable():
    # type: () -> str | None
    """Find an interpreter that is new enough and can make environments."""
    found = (shutil.which(name) for name in CANDIDATES)
    return next(
        (path for path in found if path and subprocess.call([path, "-c", TEST], stderr=subprocess.DEVNULL) == 0), None
    )


def main(folder, requirements):
    # type: (str, str) -> None
    """Make the environment anew; the caller's stamp comes last, so a half-made one is never taken for a whole one."""
    python = usable()
    if python is None and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "python3-venv"]
        if os.geteuid() != 0:
            sys.exit("Python >= 3.11 with venv is missing. Run: sudo " + " ".join(command))
        subprocess.check_call(["apt-get", "update", "-q"])
        subprocess.check_call(command, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
        python = usable()
    if python is None:
        sys.exit("Python >= 3.11 with venv is missing: install it, then try again")
    print("Making the Python environment in " + folder, flush=True)
    subprocess.check_call([python, "-m", "venv", "--clear", folder])
    pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Ansible's thousands of modules are compiled when they are used; most never are.
    subprocess.check_call([*pip, "--no-compile", "-r", requirements])


if __name__ == "__main__":
    main(*sys.argv[1:])
