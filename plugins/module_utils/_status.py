# SPDX-License-Identifier: MIT
"""What checks have found, as a document and as a page: for the playbook status, and for the timer of a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

# Of the document, which docs/status.schema.json describes.
FORMAT = 1
UNREACHABLE = "unreachable or failed"
# Facts of a document that tells of one host alone say so.
LOCAL = "local"
LOCAL_TEXT = (
    "What the control host sees by itself. The playbook status also looks at the bucket, clocks, the other hosts, "
    "and what task containers and clients reach."
)

# Those of a document that does not tell of all hosts of the inventory name the ones that it leaves out.
LEFT_OUT = "left_out"

# No script, nothing from elsewhere. Colours have a contrast of 4.5 and more; no state is told by colour alone.
STYLE = """\
:root { --back: #ffffff; --card: #f5f6f8; --line: #d5d9e0; --text: #1b1f27; --soft: #565d6b;
  --good: #1a6b35; --bad: #b3261e; --bad-back: #fdecea; --warn: #7a5200; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12151b; --card: #1b2029; --line: #343c4a; --text: #e8ebf1; --soft: #a3acbb;
    --good: #6fd18f; --bad: #ff9d94; --bad-back: #3a1f1d; --warn: #f0c060; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); margin: 0; overflow-wrap: anywhere; }
.verdict { border: 1px solid var(--line); border-left: .5rem solid var(--good); border-radius: .5rem; }
.verdict { background: var(--card); padding: 1rem; }
.verdict.warn { border-left-color: var(--warn); }
.verdict.bad { border-left-color: var(--bad); }
.state { font-weight: 700; white-space: nowrap; color: var(--good); }
.warn > .state { color: var(--warn); }
.bad > .state, .count { color: var(--bad); }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; overflow-wrap: anywhere; }
th, td { border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; width: 38%; }
.state { width: 8rem; }
tr.bad { background: var(--bad-back); }
@media (max-width: 40rem) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr, tbody th, td { display: block; width: auto; border: 0; padding: .1rem .6rem; }
  tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
}
"""


def _check(row: Mapping[str, Any]) -> dict[str, Any]:
    ok, detail = bool(row["ok"]), " ".join(str(row["detail"]).split())
    return {"what": str(row["what"]), "ok": ok, "warning": ok and bool(row.get("warning")), "detail": detail}


def report(
    found: Mapping[str, Iterable[Mapping[str, Any]]], unreachable: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the document: facts, whether all is well, how many checks there were, and those of each host.

    A host that could not be reached or failed has one check, which is not ok.
    """
    rows = {host: [_check(row) for row in checks] for host, checks in found.items()}
    for host in unreachable:
        lost = {"what": UNREACHABLE, "ok": False, "detail": "see the output of the run"}
        rows.setdefault(host, []).append(_check(lost))
    hosts: list[dict[str, Any]] = [
        {
            "name": host,
            "wrong": sum(not check["ok"] for check in checks),
            "warnings": sum(check["warning"] for check in checks),
            "checks": checks,
        }
        for host, checks in rows.items()
    ]
    counts = {key: sum(host[key] for host in hosts) for key in ("wrong", "warnings")}
    checks = sum(len(host["checks"]) for host in hosts)
    return {"format": FORMAT, **facts, "ok": counts["wrong"] == 0, "checks": checks, **counts, "hosts": hosts}


def _row(check: Mapping[str, Any]) -> str:
    if not check["ok"]:
        kind, state = ' class="bad"', "&#10007; not ok"
    elif check["warning"]:
        kind, state = ' class="warn"', "! warning"
    else:
        kind, state = "", "&#10003; ok"
    what, detail = escape(check["what"]), escape(check["detail"])
    return f'<tr{kind}><th scope="row">{what}</th><td class="state">{state}</td><td>{detail}</td></tr>'


def _section(number: int, host: Mapping[str, Any]) -> Iterator[str]:
    count = f' <span class="count">({host["wrong"]} not ok)</span>' if host["wrong"] else ""
    yield f'<section aria-labelledby="host-{number}">'
    yield f'<h2 id="host-{number}">{escape(host["name"])}{count}</h2>'
    yield "<table>"
    yield ('<thead><tr><th scope="col">check</th><th scope="col">state</th><th scope="col">detail</th></tr></thead>')
    yield "<tbody>"
    # What is wrong comes first, and then what warns.
    yield from map(_row, sorted(host["checks"], key=lambda check: (check["ok"], not check["warning"])))
    yield "</tbody>"
    yield "</table>"
    yield "</section>"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    left_out = found.get(LEFT_OUT)
    well = "Everything that was looked at works" if left_out else "Everything works"
    well += f", with warnings: {found['warnings']}" if found["warnings"] else ""
    title = well if found["ok"] else f"{found['wrong']} not ok"
    verdict = well if found["ok"] else f"{found['wrong']} of {found['checks']} checks are not ok"
    kind = (" warn" if found["warnings"] else "") if found["ok"] else " bad"
    origin, version = escape(found["origin"]), escape(found["trigger_version"])
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>{title}: {origin}</title>"
    yield f"<style>\n{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield "<main>"
    yield f'<div class="verdict{kind}">'
    yield f"<h1>{verdict}</h1>"
    yield f'<p class="soft">{origin}, Trigger.dev {version}, {found["checks"]} checks at {escape(found["time"])}</p>'
    if found.get("scope") == LOCAL:
        yield f'<p class="soft">{LOCAL_TEXT}</p>'
    if left_out:
        yield f'<p class="soft">Not looked at, although in the inventory: {escape(", ".join(left_out))}</p>'
    yield "</div>"
    for number, host in enumerate(found["hosts"], 1):
        yield from _section(number, host)
    yield "</main>"
    yield "</body>"
    yield "</html>"


def page(found: Mapping[str, Any]) -> str:
    """Give the page of a document."""
    return "".join(f"{line}\n" for line in _lines(found))
