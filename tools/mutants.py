# SPDX-License-Identifier: MIT
"""Changes the product in one place at a time, and prints which changes no unit or consistency test notices.

python -m tools.mutants [--sample N] [--seed N] [--jobs N] [PATH...]

Rows of the roles (vars, meta/settings.yml): each value once. Python (plugins, roles/*/files): by the operators of
cosmic-ray. Each change is tested in a clone of the last commit.
Ends with 1 where more than 5 % survive. What may survive stands in mutants.yml, with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Queue

import yaml

ROOT = Path(__file__).resolve().parents[1]
ROWS = ("roles/*/vars/**/*.yml", "roles/*/meta/settings.yml")
PROGRAMS = ("plugins/**/*.py", "roles/*/files/**/*.py")
# Their values are texts for people.
PROSE = {"description", "section", "note", "reason", "fact", "message", "short_description", "why", "loss", "fixed"}
QUANTITY = re.compile(r"([0-9]+)([A-Za-z%]+)")
SURVIVORS_MAX_PERCENT = 5
TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    line: int
    was: str
    becomes: str
    # The whole file.
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.was} -> {self.becomes}"


# Makes one mutant; None where an operator has no effect.
Place = Callable[[], Mutant | None]


def other(value: str, tag: str) -> str:
    """Give another value of the same kind, as YAML."""
    if tag.endswith(":bool"):
        return "false" if value.lower() == "true" else "true"
    if tag.endswith((":int", ":float")):
        return str(float(value) + 1 if "." in value else int(value, 0) + 1)
    if found := QUANTITY.fullmatch(value):
        return f"{2 if found[1] == '1' else 1}{found[2]}"
    # YAML reads texts of JSON.
    return '""' if "{{" in value or "{%" in value else json.dumps(f"{value}x")


def leaves(node: yaml.Node, key: str = "") -> Iterator[yaml.ScalarNode]:
    """Give every value that is no text for people."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from leaves(value, str(name.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from leaves(value, key)
    elif isinstance(node, yaml.ScalarNode) and key not in PROSE and not node.tag.endswith(":null"):
        yield node


def row_mutants(path: str, text: str) -> Iterator[Mutant]:
    """Change each value of a YAML file."""
    root = yaml.compose(text)
    for node in leaves(root) if root else ():
        start, end = node.start_mark.index, node.end_mark.index
        became = other(node.value, node.tag)
        # The end of a text of several lines is the beginning of what follows.
        tail = "\n" if node.style in ("|", ">") else ""
        was = text[start:end].split("\n")[0]
        yield Mutant(path, node.start_mark.line + 1, was, became, text[:start] + became + tail + text[end:])


def program_mutants(path: str, text: str) -> Iterator[Place]:
    """Give what makes each mutant of a Python file: each operator of cosmic-ray, at each of its places."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    def make(name: str, occurrence: int, line: int) -> Mutant | None:
        try:
            mutated = mutate_code(text, get_operator(name)(), occurrence)
        except AttributeError:  # exceptions that are named by their module (`except zlib.error`) it cannot replace
            return None
        if not mutated or mutated == text:
            return None
        return Mutant(path, line, text.splitlines()[line - 1].strip(), name.partition("/")[2], mutated)

    nodes = list(ast_nodes(get_ast(text)))
    for name in operator_names():
        if get_operator(name).arguments():
            continue
        places = [place for node in nodes for place in get_operator(name)().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            yield partial(make, name, occurrence, start[0])


def tests_of(mutant: Mutant) -> list[list[str]]:
    """Give the tests that may notice it, those that are likely to before all others."""
    if not mutant.path.endswith(".py"):
        role = Path(mutant.path).parts[1]
        near = [
            "tests/consistency/test_settings.py",
            "tests/consistency/test_rendered.py",
            *_paths(
                f"tests/consistency/test_{role}*.py", f"tests/unit/roles/{role}", f"tests/unit/roles/test_{role}*.py"
            ),
        ]
        return [near, ["tests/consistency"], ["tests/unit"]]
    stem = Path(mutant.path).stem.lstrip("_")
    near = _paths(f"tests/unit/**/test_{stem}*.py")
    return [*([near] if near else []), ["tests/unit"], ["tests/consistency"]]


def _paths(*globs: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for glob in globs for path in ROOT.glob(glob))


def is_noticed(mutant: Mutant, clone: Path) -> bool:
    """Test one mutant in a clone, which is left as it was."""
    file = clone / mutant.path
    original = file.read_text()
    file.write_text(mutant.text)
    environment = os.environ | {"PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        for tests in tests_of(mutant):
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
            done = subprocess.run(
                command, cwd=clone, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
            )
            if done.returncode:
                return True
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(original)
    return False


def find(paths: list[str]) -> list[Place]:
    """Give what makes each mutant of these files, or of all."""
    wanted = [ROOT / path for path in paths] or [path for glob in (*ROWS, *PROGRAMS) for path in ROOT.glob(glob)]
    found: list[Place] = []
    for path in sorted(set(wanted)):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        if path.suffix == ".py":
            found += program_mutants(name, text)
        else:
            found += (partial(lambda one: one, one) for one in row_mutants(name, text))
    return found


def choose(places: list[Place], wanted: int) -> list[Mutant]:
    """Make so many mutants, but for those that may survive: to make all of them takes many minutes."""
    excused = yaml.safe_load((ROOT / "tools/mutants.yml").read_text())["survivors"]
    made = (one for place in places if (one := place()))
    allowed = (one for one in made if not any(row["path"] == one.path and row["was"] in one.was for row in excused))
    return list(islice(allowed, wanted))


def main() -> int:
    """Test a sample of all mutants, or all."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files to change (all)")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many of them, at random (all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of that choice (0)")
    jobs = os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=int, default=jobs, metavar="N", help="so many at a time (one for each processor)"
    )
    options = parser.parse_args()
    places = find(options.paths)
    every = len(places)
    if options.sample:
        random.Random(options.seed).shuffle(places)
    mutants = choose(places, options.sample or every)
    clones: Queue[Path] = Queue()
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        for number in range(options.jobs):
            clone = Path(folder) / str(number)
            subprocess.run(["git", "clone", "--quiet", "--local", ROOT, clone], check=True)
            clones.put(clone)

        def test(mutant: Mutant) -> None:
            clone = clones.get()
            noticed = is_noticed(mutant, clone)
            clones.put(clone)
            print(f"{'noticed ' if noticed else 'SURVIVED'} {mutant}", flush=True)
            if not noticed:
                survivors.append(mutant)

        list(pool.map(test, mutants))
    percent = 100 * len(survivors) / max(1, len(mutants))
    print(f"{len(survivors)} of {len(mutants)} survived ({percent:.1f} %; there are {every}).")
    return int(percent > SURVIVORS_MAX_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
