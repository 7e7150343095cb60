# SPDX-License-Identifier: MIT
"""Which patterns JavaScript's RegExp takes without flags.

The webapp compiles patterns with `new RegExp(text)`, so by the grammar for web browsers (annex B of ECMA-262): over
UTF-16 code units, with braces and brackets that may stand for themselves, and with escapes of any letter.
"""

from __future__ import annotations

from collections.abc import Sequence

# ECMAScript 2025 has groups with modifiers, and names that two alternatives share.
EDITIONS = (2023, 2025)
MODIFIERS = "ims"
DIGITS = "0123456789"
HEX = f"{DIGITS}abcdefABCDEF"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONTROLS = {"b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


class PatternError(ValueError):
    """What keeps a text from being a pattern."""


def _units(text: str) -> list[str]:
    """Split the text into UTF-16 code units; of a character beyond U+FFFF the grammar sees two."""
    raw = text.encode("utf-16-le", "surrogatepass")
    return [chr(int.from_bytes(raw[at : at + 2], "little")) for at in range(0, len(raw), 2)]


def _joined(units: Sequence[str]) -> str:
    raw = b"".join(ord(unit).to_bytes(2, "little") for unit in units)
    return raw.decode("utf-16-le", "replace")


class _Parser:
    def __init__(self, units: list[str], edition: int, named: bool) -> None:
        self.units, self.edition, self.named, self.at = units, edition, named, 0
        self.names: set[str] = set()
        self.references: list[str] = []

    def sees(self, text: str) -> bool:
        return "".join(self.units[self.at : self.at + len(text)]) == text

    def eats(self, text: str) -> bool:
        if self.sees(text):
            self.at += len(text)
            return True
        return False

    def next(self) -> str:
        """Give the next unit; empty at the end."""
        unit = self.units[self.at] if self.at < len(self.units) else ""
        self.at += 1 if unit else 0
        return unit

    def run(self, kind: str, limit: int = 1 << 30) -> str:
        """Eat as many units of the kind as there are."""
        start = self.at
        while self.at < len(self.units) and self.at - start < limit and self.units[self.at] in kind:
            self.at += 1
        return "".join(self.units[start : self.at])

    def parse(self) -> None:
        self.disjunction()
        if self.at < len(self.units):
            raise PatternError("a group is closed that was not opened")
        missing = [name for name in self.references if name not in self.names]
        if missing:
            raise PatternError(f"no group is named {missing[0]}")

    def disjunction(self) -> set[str]:
        """Parse alternatives; give the names of the groups in them."""
        found = self.alternative()
        while self.eats("|"):
            more = self.alternative()
            if self.edition < 2025 and found & more:
                raise PatternError("two groups share a name")
            found |= more
        return found

    def alternative(self) -> set[str]:
        found: set[str] = set()
        while self.at < len(self.units) and self.units[self.at] not in "|)":
            more = self.term()
            if found & more:
                raise PatternError("two groups share a name")
            found |= more
        return found

    def term(self) -> set[str]:
        names: set[str] = set()
        repeatable = True
        if self.sees("("):
            repeatable, names = self.group()
        elif self.eats("["):
            self.bracket()
        elif self.eats("\\"):
            repeatable = self.escape()
        elif self.braces() or self.next() in "*+?":
            raise PatternError("nothing to repeat")
        else:
            repeatable = self.units[self.at - 1] not in "^$"
        if self.quantifier() and not repeatable:
            raise PatternError("an assertion cannot be repeated")
        return names

    def braces(self) -> bool:
        """Eat {n}, {n,} or {n,m}; any other brace stands for itself."""
        start = self.at
        if self.eats("{"):
            low = self.run(DIGITS)
            high = self.run(DIGITS) if low and self.eats(",") else low
            if low and self.eats("}"):
                if high and int(high) < int(low):
                    raise PatternError("numbers of a quantifier are out of order")
                return True
        self.at = start
        return False

    def quantifier(self) -> bool:
        if self.braces() or any(self.eats(sign) for sign in "*+?"):
            self.eats("?")
            return True
        return False

    def group(self) -> tuple[bool, set[str]]:
        """Parse a group; tell whether it may be repeated, and the names in it."""
        self.next()
        names: set[str] = set()
        repeatable = True
        if self.eats("?"):
            if self.eats("<=") or self.eats("<!"):
                repeatable = False
            elif self.eats("<"):
                names = {self.name()}
                self.names |= names
            elif not (self.eats(":") or self.eats("=") or self.eats("!")):
                self.modifiers()
        inner = self.disjunction()
        if names & inner:
            raise PatternError("two groups share a name")
        if not self.eats(")"):
            raise PatternError("a group is not closed")
        return repeatable, names | inner

    def modifiers(self) -> None:
        on = self.run(MODIFIERS)
        dash = self.eats("-")
        off = self.run(MODIFIERS) if dash else ""
        flags = on + off
        if self.edition < 2025 or not flags or len(set(flags)) < len(flags) or not self.eats(":"):
            raise PatternError("a group begins with (? and something that JavaScript does not know")

    def name(self) -> str:
        start = self.at
        while self.at < len(self.units) and self.units[self.at] != ">":
            self.at += 1
        name = _joined(self.units[start : self.at])
        if not self.eats(">") or not name.replace("$", "_").isidentifier():
            raise PatternError("the name of a group is none")
        return name

    def escape(self) -> bool:
        """Parse what follows a backslash; tell whether it may be repeated."""
        unit = self.next()
        if not unit:
            raise PatternError("it ends with a backslash")
        if unit == "k" and self.named:
            if not self.eats("<"):
                raise PatternError("\\k names no group")
            self.references.append(self.name())
        elif unit == "c" and not (self.at < len(self.units) and self.units[self.at] in LETTERS):
            self.at -= 1  # the backslash stands for itself
        return unit not in "bB"

    def bracket(self) -> None:
        self.eats("^")
        while not self.eats("]"):
            low = self.member()
            if self.sees("-") and not self.sees("-]"):
                self.next()
                high = self.member()
                if low is not None and high is not None and low > high:
                    raise PatternError("a range is out of order")

    def member(self) -> int | None:
        """Parse one member of a class; give its code unit, or none where it stands for many."""
        unit = self.next()
        if not unit:
            raise PatternError("a class is not closed")
        if unit != "\\":
            return ord(unit)
        return self.class_escape()

    def class_escape(self) -> int | None:
        unit = self.next()
        if not unit:
            raise PatternError("it ends with a backslash")
        if unit in "dDwWsS":
            return None
        if unit in CONTROLS:
            return CONTROLS[unit]
        if unit == "c":
            if self.at < len(self.units) and self.units[self.at] in f"{LETTERS}{DIGITS}_":
                return ord(self.next()) % 32
            self.at -= 1
            return ord("\\")
        if unit in "xu":
            return self.hexadecimal(unit, 2 if unit == "x" else 4)
        if unit in "01234567":
            digits = unit + self.run("01234567", 2 if unit in "0123" else 1)
            return int(digits, 8)
        if unit == "k" and self.named:
            raise PatternError("\\k is in a class")
        return ord(unit)

    def hexadecimal(self, unit: str, length: int) -> int:
        start = self.at
        digits = self.run(HEX, length)
        if len(digits) == length:
            return int(digits, 16)
        self.at = start
        return ord(unit)


def pattern_problem(text: str, edition: int = EDITIONS[0]) -> str:
    """Say why `new RegExp(text)` throws; empty when it does not."""
    units = _units(text)
    try:
        parser = _Parser(units, edition, named=False)
        parser.parse()
        if parser.names:
            _Parser(units, edition, named=True).parse()
    except PatternError as error:
        return str(error)
    return ""
