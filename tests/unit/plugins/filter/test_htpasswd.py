# SPDX-License-Identifier: MIT
from __future__ import annotations

import ctypes
import ctypes.util
import sys
from types import ModuleType

import bcrypt as library
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.htpasswd import bcrypt, htpasswd

ANNA = {"name": "anna", "password": "first password"}
BEN = {"name": "ben", "password": "second $ päss"}


def fits(line: str, password: str) -> bool:
    """Ask the bcrypt library itself, not the one that made the hash."""
    return library.checkpw(password.encode(), line.split(":", 1)[1].replace("$2y$", "$2b$").encode())


def test_hashes_fit_and_have_the_kind_and_cost() -> None:
    text = htpasswd([ANNA, BEN], cost=5)
    anna, ben = text.splitlines()
    assert anna.startswith("anna:$2y$05$")
    assert fits(anna, "first password")
    assert fits(ben, "second $ päss")
    assert not fits(ben, "first password")
    assert text.endswith("\n")


def test_hashes_are_those_of_crypt() -> None:
    """The C library's crypt(3) has its own bcrypt, as Apache's httpd has, from which the format comes."""
    system = ctypes.CDLL(ctypes.util.find_library("crypt"))
    system.crypt.restype = ctypes.c_char_p
    for user in (ANNA, BEN, {"name": "carl", "password": "ä" * 36}):
        ((_, _, encoded),) = (line.partition(":") for line in htpasswd([user], cost=5).splitlines())
        assert system.crypt(user["password"].encode(), encoded.encode()) == encoded.encode()
        assert system.crypt(b"another", encoded.encode()) != encoded.encode()


def test_second_run_changes_nothing() -> None:
    first = htpasswd([ANNA, BEN], cost=4)
    assert htpasswd([ANNA, BEN], existing=first, cost=6) == first


def test_changed_password_gets_a_new_hash_and_others_keep_theirs() -> None:
    first = htpasswd([ANNA, BEN], cost=4)
    second = htpasswd([{**ANNA, "password": "changed-one"}, BEN], existing=first, cost=4)
    assert second.splitlines()[1] == first.splitlines()[1]
    assert second.splitlines()[0] != first.splitlines()[0]
    assert fits(second.splitlines()[0], "changed-one")


def test_removed_users_go_and_the_order_is_that_of_the_input() -> None:
    first = htpasswd([ANNA, BEN], cost=4)
    assert htpasswd([BEN], existing=first) == first.splitlines()[1] + "\n"
    assert htpasswd([BEN, ANNA], existing=first).splitlines() == first.splitlines()[::-1]
    assert htpasswd([], existing=first) == ""


@pytest.mark.parametrize("existing", ["anna:$2y$04$damaged\n", "anna:{SHA}xyz\n", "# comment\nrubbish\n"])
def test_useless_lines_are_replaced(existing: str) -> None:
    (line,) = htpasswd([ANNA], existing=existing, cost=4).splitlines()
    assert fits(line, "first password")


def test_72_bytes_are_the_limit() -> None:
    (line,) = htpasswd([{"name": "anna", "password": "ä" * 36}], cost=4).splitlines()
    assert fits(line, "ä" * 36)
    with pytest.raises(AnsibleFilterError, match="anna exceeds 72 bytes"):
        htpasswd([{"name": "anna", "password": "ä" * 36 + "x"}])


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", " a", "#a", None, 5])
def test_bad_names(name: object) -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be a user name"):
        htpasswd([{"name": name, "password": "x"}])


@pytest.mark.parametrize("password", ["", None, 12345, "a\0b"])
def test_bad_passwords_are_not_printed(password: object) -> None:
    with pytest.raises(AnsibleFilterError, match="password of anna") as caught:
        htpasswd([{"name": "anna", "password": password}])
    assert "12345" not in str(caught.value)


def test_duplicates() -> None:
    with pytest.raises(AnsibleFilterError, match="more than once: anna"):
        htpasswd([ANNA, ANNA])


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "passlib.hash", None)
    with pytest.raises(AnsibleFilterError, match=r"requirements\.txt"):
        bcrypt(4)


def test_libraries_that_do_not_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler:
        @classmethod
        def using(cls, **_settings: object) -> type[Handler]:
            return cls

        @staticmethod
        def hash(_password: str) -> str:
            raise ValueError("password cannot be longer than 72 bytes")

    module = ModuleType("passlib.hash")
    module.bcrypt = Handler  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "passlib.hash", module)
    with pytest.raises(AnsibleFilterError, match="do not fit together"):
        bcrypt(4)
