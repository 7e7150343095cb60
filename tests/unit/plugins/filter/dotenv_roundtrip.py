# SPDX-License-Identifier: MIT
"""Proves the filter dotenv against a real Docker Compose, here or inside a node.

python tests/unit/plugins/filter/dotenv_roundtrip.py --batches 40 -- docker compose
python tests/unit/plugins/filter/dotenv_roundtrip.py --shell "docker exec -i NODE sh -c" -- docker compose
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4] / "collections"))

from ansible_collections.selfhosted.trigger_dev.plugins.filter.dotenv import dotenv

# The environment file comes on stdin, so that the same lines work through `docker exec -i` and ssh.
SCRIPT = """
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/values.env"
printf '%s\\n' 'name: roundtrip' 'services: {{one: {{image: none, env_file: [values.env]}}}}' >"$folder/compose.yml"
{compose} -f "$folder/compose.yml" config --format json
"""


def roundtrip(
    values: Mapping[str, str], compose_argv: Sequence[str], shell: Sequence[str] = ("sh", "-c")
) -> dict[str, str]:
    """Give back the values as Docker Compose hands them to a container."""
    script = SCRIPT.format(compose=shlex.join(compose_argv))
    text = dotenv(values, header="round trip", allow_empty=list(values))
    done = subprocess.run([*shell, script], input=text.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    environment: dict[str, str] = json.loads(done.stdout)["services"]["one"]["environment"]
    # `config` prints a file that could be read again, so it doubles each `$`.
    return {name: value.replace("$$", "$") for name, value in environment.items()}


def check(compose_argv: Sequence[str], shell: Sequence[str], batches: int, size: int, *, shrink: bool = False) -> int:
    """Send made-up values through Docker Compose, many at a time, and give their number; shrinking costs many runs."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    tricky = st.sampled_from(
        ["\\", '"', "'", "$", "$$", "${", "}", "#", " ", "\n", "\r", "\t", "=", ":", "n", "0", "x", "\x85"]
    )
    anything = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    value = st.one_of(st.lists(tricky, max_size=12).map("".join), st.text(anything, max_size=24))
    count = 0

    @settings(
        max_examples=batches,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )
    @given(st.lists(value, min_size=size, max_size=size))
    def values_come_back(batch: list[str]) -> None:
        nonlocal count
        values = {f"KEY_{number}": text for number, text in enumerate(batch)}
        got = roundtrip(values, compose_argv, shell)
        assert got == values, [(values[name], got.get(name)) for name in values if got.get(name) != values[name]]
        count += len(values)

    values_come_back()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40, help="times that Compose is run")
    parser.add_argument("--size", type=int, default=100, help="values in each batch")
    parser.add_argument("--shell", default="sh -c", help="command that runs a shell script where Compose is")
    parser.add_argument("compose", nargs="+", help="command of Docker Compose")
    given = parser.parse_args()
    count = check(given.compose, shlex.split(given.shell), given.batches, given.size, shrink=True)
    print(f"{count} values came back unchanged")


if __name__ == "__main__":
    main()
