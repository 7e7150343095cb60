# SPDX-License-Identifier: MIT
"""What `make bench` makes of its measures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from testbed import bench
from testbed.bench import Measure
from testbed.bench_report import RATIOS, plot, ratios, spread, table
from testbed.common import TestbedError


def test_a_single_measure_has_no_spread() -> None:
    assert spread([2.5]).strip() == "2.50"


def test_more_of_them_have_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0]).strip() == "2.00  (1.00 to 3.00, 3 times)"


def test_a_row_tells_what_the_controller_computes_where_it_does() -> None:
    rows = [
        {"name": "a", "seconds": [1.0], "controller_seconds": [0.5, 0.7]},
        {"name": "b", "seconds": [1.0], "controller_seconds": []},
    ]
    first, second = table(rows)
    assert first.endswith("s, controller 0.6 s")
    assert second.endswith("1.00 s")


def test_a_ratio_is_told_where_both_were_measured() -> None:
    seconds = {"nothing to do, 2 workers": [30.0, 20.0, 40.0], "ping of 3 hosts": [2.0], "add worker 3": [1.0]}
    assert ratios(seconds, 8) == ["  nothing to do, 2 workers / ping of 3 hosts: 15.00"]


def test_every_ratio_is_of_measures_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_play", "_ping", "_runs", "_by_hand"):
        real = getattr(bench, name)
        monkeypatch.setattr(bench, name, _named(name, real))
    monkeypatch.setattr(bench, "_executed", lambda _: {})
    taken = {each.name for each in bench._measures(8, 1)[0]}
    assert {name.format(count=8) for pair in RATIOS for name in pair} <= taken


def _named(name: str, real: object) -> object:
    """Stand in for what takes a measure."""
    if name == "_ping":
        return lambda workers, runs: Measure(f"ping of {workers + 1} hosts")
    return lambda what, *_given, **_options: Measure(what)


def test_only_runs_with_nothing_to_do_are_drawn() -> None:
    found = [
        Measure("nothing to do, 2 workers", [3.0, 1.0, 2.0]),
        Measure("nothing to do, 8 workers", [5.0]),
        Measure("add worker 3", [9.0]),
    ]
    assert bench.noops(found) == {2: 2.0, 8: 5.0}


def test_the_plot_is_a_picture_with_each_number() -> None:
    root = ElementTree.fromstring(plot({2: 10.0, 8: 20.0}))  # our own text
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"2", "8", "10 s", "20 s"} <= set(texts)
    heights = [float(each.attrib["cy"]) for each in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert heights[0] > heights[1], "more seconds are further up"


def test_a_measure_has_what_the_controller_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    measure = Measure("A measure")
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"
    assert bench._command(measure, "python", "-c", busy, environment={}) == "done\n"
    assert measure.controller_seconds[0] >= 0.3
    assert measure.seconds[0] > 0
    assert measure.controller_mib[0] > 1


def test_a_program_that_fails_ends_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    with pytest.raises(TestbedError, match=r"A measure failed; a-measure\.log tells why"):
        bench._command(Measure("A measure"), "python", "-c", "raise SystemExit(3)", environment={})


@pytest.mark.parametrize("given", ["4", "many", "-5"])
def test_too_few_workers_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", given)
    with pytest.raises(TestbedError, match=rf"WORKERS must be a number of 5 or more, is {given}"):
        bench.measure()
