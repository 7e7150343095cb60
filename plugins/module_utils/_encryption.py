# SPDX-License-Identifier: MIT
"""Values in the webapp's database that are encrypted with its ENCRYPTION_KEY, and another key for all of them.

Measured with 4.2.0: AES-256-GCM, the 32 characters are the key, and a value is {"nonce", "ciphertext", "tag"} in
hexadecimal digits. The standard library of Python has no such cipher. Node has, and the image of the webapp has Node:
so a container of that image, without a network, opens and seals. Keys and values go in by standard input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._database import Database

# Says of each box whether the new key opens it, else whether the old one does, with what the new key makes of it. That
# is opened again and compared. Texts do not leave the process.
SCRIPT = r"""
const crypto = require("crypto");
const options = { authTagLength: 16 };
const open = (key, box) => {
  try {
    const bytes = Buffer.from(box.nonce, "hex");
    const cipher = crypto.createDecipheriv("aes-256-gcm", Buffer.from(key, "utf8"), bytes, options);
    cipher.setAuthTag(Buffer.from(box.tag, "hex"));
    return Buffer.concat([cipher.update(Buffer.from(box.ciphertext, "hex")), cipher.final()]);
  } catch (error) {
    return null;
  }
};
const seal = (key, text) => {
  const nonce = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv("aes-256-gcm", Buffer.from(key, "utf8"), nonce, options);
  const ciphertext = Buffer.concat([cipher.update(text), cipher.final()]);
  const parts = { nonce, ciphertext, tag: cipher.getAuthTag() };
  return Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, bytes.toString("hex")]));
};
const judge = (given, box) => {
  if (open(given.fresh, box)) return { state: "new" };
  const text = open(given.old, box);
  if (!text) return { state: "neither" };
  const sealed = seal(given.fresh, text);
  const again = open(given.fresh, sealed);
  return again && again.equals(text) ? { state: "old", box: sealed } : { state: "neither" };
};
let input = "";
process.stdin.on("data", part => { input += part; }).on("end", () => {
  const given = JSON.parse(input);
  process.stdout.write(JSON.stringify(given.boxes.map(box => judge(given, box))));
});
"""
BOX = {"nonce", "ciphertext", "tag"}
# Names of columns that tell of encryption; one that no place knows must not be left with the old key.
COLUMNS = """
SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
WHERE table_schema = 'public' AND column_name ILIKE '%encrypt%' ORDER BY 1, 2
"""
EXISTS = "SELECT to_regclass(:'name') IS NOT NULL AS there"
LISTED = 5
SALT = "selfhosted.trigger_dev backup "


class EncryptionError(Exception):
    """What keeps the values from getting another key. Its text never holds a value."""


@dataclass(frozen=True)
class Place:
    """Where encrypted values are: a column, or one key of the object in it."""

    table: str
    key: str
    column: str
    where: str = "true"
    path: str = ""

    @property
    def box(self) -> str:
        """The expression of the value."""
        column = f't."{self.column}"::jsonb'
        return f"{column} -> '{self.path}'" if self.path else column

    @property
    def query(self) -> str:
        return (
            f'SELECT t."{self.key}"::text AS id, {self.box} AS box FROM "{self.table}" t '
            f"WHERE {self.where} AND {self.box} <> 'null' ORDER BY 1"
        )

    def update(self, variable: str) -> str:
        """Give the statement that replaces values, of which each must still be the one that was read."""
        fresh = f"jsonb_set(t.\"{self.column}\"::jsonb, '{{{self.path}}}', n.fresh)" if self.path else "n.fresh"
        return (
            f'UPDATE "{self.table}" t SET "{self.column}" = {fresh} '
            f"FROM jsonb_to_recordset(:'{variable}'::jsonb) AS n(id text, old jsonb, fresh jsonb) "
            f'WHERE t."{self.key}"::text = n.id AND {self.box} = n.old RETURNING n.id'
        )


@dataclass(frozen=True)
class Sealed:
    """One encrypted value."""

    place: Place
    id: str
    box: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.place.table} {self.id}"


@dataclass(frozen=True)
class Vault:
    """All encrypted values of a database, and the image that opens and seals them."""

    database: Database
    places: Sequence[Place]
    image: str

    def read(self, run: Run) -> list[Sealed]:
        """Read every value. A place that is not known, and a value of another format, are errors."""
        known = {(place.table, place.column) for place in self.places}
        columns = [(str(row["table"]), str(row["column"])) for row in self.database.rows(run, COLUMNS)]
        strange = [".".join(each) for each in columns if each not in known]
        if strange:
            raise EncryptionError(
                f"The database has encrypted columns that this collection does not know: {', '.join(strange)}. The "
                "encryption key can only be replaced in the versions that are tested. Nothing was changed."
            )
        found: list[Sealed] = []
        for place in self.places:
            exists = self.database.rows(
                run, "SELECT to_regclass(:'name') IS NOT NULL AS there", name=f'"{place.table}"'
            )
            if exists[0]["there"]:
                found += [Sealed(place, row["id"], row["box"]) for row in self.database.rows(run, place.query)]
        odd = [each.name for each in found if not is_box(each.box)]
        if odd:
            raise EncryptionError(f"The database has values of an unknown format: {listed(odd)}. Nothing was changed.")
        return found

    def judge(self, run: Run, values: Sequence[Sealed], old: str, fresh: str) -> list[dict[str, Any]]:
        """Say of each value which of the two keys opens it, with what the new key makes of it."""
        if not values:
            return []
        argv = ["docker", "run", "--rm", "--interactive", "--network", "none", "--read-only", "--cap-drop", "ALL"]
        argv += ["--security-opt", "no-new-privileges", "--user", "1000:1000", "--entrypoint", "node"]
        given = {"old": old, "fresh": fresh, "boxes": [dict(each.box) for each in values]}
        done = run([*argv, self.image, "-e", SCRIPT], stdin=json.dumps(given), timeout=600)
        if done.code != 0:
            # What it says may quote its input.
            raise EncryptionError(f"A container of {self.image} cannot encrypt: it ended with code {done.code}.")
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        if len(answers) != len(values):
            raise EncryptionError(f"A container of {self.image} cannot encrypt: answers are missing.")
        return answers

    def check(self, run: Run, old: str, fresh: str) -> int:
        """See that each value can be opened; give how many there are."""
        values = self.read(run)
        require_opened(values, self.judge(run, values, old, fresh))
        return len(values)

    def replace(self, run: Run, old: str, fresh: str) -> int:
        """Encrypt every value with the new key, all of them or none; those that an earlier call has done stay."""
        values = self.read(run)
        answers = self.judge(run, values, old, fresh)
        require_opened(values, answers)
        stale = [(value, answer["box"]) for value, answer in zip(values, answers) if answer["state"] == "old"]
        if stale:
            self._write(run, stale)
            try:
                self._read_back(run, old, fresh)
            except Exception:
                self._write(run, [(Sealed(value.place, value.id, box), value.box) for value, box in stale])
                raise
        return len(stale)

    def _read_back(self, run: Run, old: str, fresh: str) -> None:
        values = self.read(run)
        wrong = [v.name for v, answer in zip(values, self.judge(run, values, old, fresh)) if answer["state"] != "new"]
        if wrong:
            raise EncryptionError(f"After the encryption the new key does not open {listed(wrong)}. It was undone.")

    def _write(self, run: Run, pairs: Sequence[tuple[Sealed, Mapping[str, str]]]) -> None:
        statements: list[str] = []
        counts: list[str] = []
        variables: dict[str, str] = {}
        for number, place in enumerate(self.places):
            rows = [{"id": v.id, "old": dict(v.box), "fresh": dict(box)} for v, box in pairs if v.place == place]
            if rows:
                name = f"boxes{number}"
                counts.append(f"(SELECT count(*) FROM step{len(statements)}) = {len(rows)}")
                statements.append(place.update(name))
                variables[name] = json.dumps(rows)
        # A value that is another one by now ends the statement, and with it every change.
        statements.append(f"SELECT 1 / ({' AND '.join(counts)})::int AS done")
        self.database.changed(run, *statements, **variables)


def is_box(value: object) -> bool:
    return isinstance(value, dict) and set(value) == BOX and all(isinstance(each, str) for each in value.values())


def require_opened(values: Iterable[Sealed], answers: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to go on where a value belongs to neither of the keys."""
    lost = [value.name for value, answer in zip(values, answers) if answer["state"] == "neither"]
    if lost:
        raise EncryptionError(
            f"The encryption key of this installation does not open {len(lost)} values in the database: {listed(lost)}."
            " The webapp cannot read them either. Delete them, or set them again in the dashboard. Nothing was changed."
        )


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def identity(encryption_key: str) -> str:
    """Give what backups tell an installation by (roles/backup/files/trigger_backup/plan.py), of its first key."""
    return hashlib.sha256(f"{SALT}{encryption_key}".encode()).hexdigest()[:16]
