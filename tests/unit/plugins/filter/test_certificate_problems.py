# SPDX-License-Identifier: MIT
from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.certificate_problems import (
    ca_problem,
    certificate_problems,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.certificates import Issued, Key, issue

NAME = "trigger.example.com"
NAMES = [NAME, "registry.trigger.example.com"]
ROOT = issue("Root", ca=True)
BETWEEN = issue("Between", ROOT, ca=True)
LEAF = issue(NAME, BETWEEN, names=NAMES)
ORDER = "The order in the file is: the server's own certificate first"
CHAIN = "gateway_certificate_file"
KEY = "gateway_certificate_key_file"
CA = "gateway_ca_file"


def pem(*chain: Issued) -> str:
    return "".join(one.pem for one in chain)


def problems(
    chain: str = pem(LEAF, BETWEEN),
    key: str = LEAF.key_pem(),
    *,
    names: list[str] = NAMES,
    ca: str = ROOT.pem,
    **options: Any,
) -> list[tuple[str, str]]:
    found = certificate_problems(chain, key, names=names, now=time.time(), ca_certificates=ca, **options)
    for one in found:
        assert set(one) == {"kind", "message"}
        assert one["message"].endswith(".")
        assert not one["message"].endswith("..")
        assert CHAIN in one["message"] or KEY in one["message"] or CA in one["message"]
        # A line of any key.
        assert not [line for line in key.splitlines()[1:-1] if len(line) > 30 and line in one["message"]]
    return [(one["kind"], one["message"]) for one in found]


def only(found: list[tuple[str, str]], *parts: str, kind: str = "error") -> None:
    """There is one problem, and it says this."""
    assert [one for one, _ in found] == [kind], found
    for part in parts:
        assert part in found[0][1]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_what_goes_together_is_good(key: Key) -> None:
    root = issue("Root", ca=True, key=key)
    leaf = issue(NAME, root, names=NAMES, key=key)
    assert problems(leaf.pem, leaf.key_pem(), ca=root.pem) == []
    # The CA may be sent too, without need.
    assert problems(pem(leaf, root), leaf.key_pem(), ca=root.pem) == []
    # A CA is its own certificate.
    own = issue(NAME, names=NAMES, ca=True, key=key)
    assert problems(own.pem, own.key_pem(), ca=own.pem) == []


def test_a_chain_is_good() -> None:
    assert problems() == []
    assert problems(pem(LEAF, BETWEEN).replace("\n", "\r\n"), LEAF.key_pem().replace("\n", "\r\n")) == []
    assert problems("Bag Attributes\n" + pem(LEAF, BETWEEN, ROOT)) == []
    assert problems(ca=pem(issue("Other", ca=True), ROOT)) == []
    # Publicly trusted, as far as can be seen.
    assert problems(ca="") == []


@pytest.mark.parametrize("format", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_each_form_of_a_key(format: serialization.PrivateFormat) -> None:
    made = LEAF.key.private_bytes(serialization.Encoding.PEM, format, serialization.NoEncryption()).decode()
    assert problems(key=made) == []
    # As `openssl ecparam -genkey` writes it.
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert problems(key=parameters + made) == []


@pytest.mark.parametrize("format", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_passphrase(format: serialization.PrivateFormat) -> None:
    protection = serialization.BestAvailableEncryption(b"secret")
    made = LEAF.key.private_bytes(serialization.Encoding.PEM, format, protection).decode()
    only(problems(key=made), f"{KEY}: a passphrase protects the key", "openssl pkey -in")


def other_key(key: Any) -> str:
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.decode()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (issue("x").key_pem(), "the key does not belong to the certificate"),
        ("", "holds no private key in PEM. It must hold"),
        ("nonsense", "holds no private key in PEM"),
        (LEAF.pem, "are gateway_certificate_file and gateway_certificate_key_file swapped?"),
        (LEAF.key_pem()[:150], "holds no private key in PEM"),
        (LEAF.key_pem().replace("\nM", "\nX", 1), "the key cannot be read"),
        (other_key(dsa.generate_private_key(1024)), "does not use keys of this kind"),
        (other_key(ec.generate_private_key(ec.SECP256K1())), "cannot use the curve secp256k1"),
    ],
)
def test_a_wrong_key(key: str, text: str) -> None:
    only(problems(key=key), KEY, text)


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ("", "holds no certificate in PEM"),
        ("nonsense", "holds no certificate in PEM"),
        (LEAF.pem[:-30], "holds a certificate that is cut off"),
        (LEAF.pem.replace("\nM", "\nX", 1), f"{CHAIN}: it cannot be read"),
        (LEAF.pem + BETWEEN.pem.replace("\nM", "\nX", 1), f"{CHAIN}, certificate 2: it cannot be read"),
        (LEAF.pem + LEAF.key_pem(), f"{CHAIN} holds a private key too"),
    ],
)
def test_a_certificate_that_cannot_be_used(chain: str, text: str) -> None:
    only(problems(chain), text)


def test_two_files_that_are_swapped() -> None:
    found = problems(LEAF.key_pem(), LEAF.pem)
    assert "swapped?" in found[-1][1]


@pytest.mark.parametrize(
    ("listed", "name", "covered"),
    [
        ("trigger.example.com", "trigger.example.com", True),
        ("Trigger.Example.com", "trigger.EXAMPLE.com", True),
        ("*.example.com", "trigger.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "registry.trigger.example.com", False),
        ("*.com", "example.com", False),
        ("t*.example.com", "trigger.example.com", False),
        ("*.trigger.example.com", "*.trigger.example.com", True),
        ("example.com", "trigger.example.com", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::7", "2001:0db8:0::7", True),
        ("2001:db8::7", "[2001:db8::7]", True),
        ("192.0.2.7", "trigger.example.com", False),
        ("trigger.example.com", "192.0.2.7", False),
    ],
)
def test_which_names_are_covered(listed: str, name: str, covered: bool) -> None:
    leaf = issue("server", BETWEEN, names=[listed])
    found = problems(pem(leaf, BETWEEN), leaf.key_pem(), names=[name])
    if covered:
        assert found == []
    else:
        only(found, f"does not cover {name}; it is for {listed}", f"{CHAIN}, certificate 1 (CN=server)")


def test_an_address_as_a_name_covers_no_address() -> None:
    leaf = Issued(
        x509.CertificateBuilder(
            LEAF.certificate.issuer,
            LEAF.certificate.subject,
            LEAF.certificate.public_key(),
            7,
            LEAF.certificate.not_valid_before_utc,
            LEAF.certificate.not_valid_after_utc,
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("192.0.2.7")]), critical=False)
        .sign(BETWEEN.key, BETWEEN.certificate.signature_hash_algorithm),  # type: ignore[arg-type]
        LEAF.key,
    )
    only(problems(pem(leaf, BETWEEN), names=["192.0.2.7"]), "does not cover 192.0.2.7")


def test_names_that_are_missing_are_told_at_once() -> None:
    only(
        problems(names=[*NAMES, "a.example.com", "b.example.com"]), "does not cover a.example.com, b.example.com; it is"
    )


def test_a_common_name_does_not_count() -> None:
    leaf = issue(NAME, BETWEEN)
    only(problems(pem(leaf, BETWEEN), leaf.key_pem()), "lists no names", "Get one that lists", *NAMES)
    assert problems(pem(leaf, BETWEEN), leaf.key_pem(), names=[]) == []


def chain_with(days: tuple[float, float], which: str) -> dict[str, Any]:
    """Give a chain with one certificate that is valid then, the others are good."""
    good = (-1.0, 90.0)
    root = issue("Root", ca=True, days=days if which == "Root" else good)
    between = issue("Between", root, ca=True, days=days if which == "Between" else good)
    leaf = issue("Leaf", between, names=NAMES, days=days if which == "Leaf" else good)
    return {"chain": pem(leaf, between), "key": leaf.key_pem(), "ca": root.pem}


@pytest.mark.parametrize("which", ["Leaf", "Between", "Root"])
def test_every_certificate_must_be_valid_now(which: str) -> None:
    only(problems(**chain_with((-9, -1), which)), f"(CN={which}): it expired at ")
    only(problems(**chain_with((1, 90), which)), f"(CN={which}): it is not valid before ")
    only(problems(**chain_with((-1, 20.5), which)), f"(CN={which}): it expires in 20 days", kind="warning")
    assert problems(**chain_with((-1, 22), which)) == []
    assert problems(**chain_with((-1, 20), which), warn_days=14) == []
    only(problems(**chain_with((-1, 20), which), warn_days=30), "it expires in 19 days", kind="warning")


def test_the_order() -> None:
    only(problems(pem(BETWEEN, LEAF)), f"{CHAIN}, certificate 2 (CN={NAME}): it is the one", KEY, ORDER)
    upper = issue("Upper", ROOT, ca=True)
    lower = issue("Lower", upper, ca=True)
    leaf = issue(NAME, lower, names=NAMES)
    assert problems(pem(leaf, lower, upper), leaf.key_pem()) == []
    found = problems(pem(leaf, upper, lower), leaf.key_pem())
    assert [ORDER in text for _, text in found] == [True, True]
    assert (
        "certificate 1 (CN=trigger.example.com): its issuer is CN=Lower, not the one after it (CN=Upper)" in found[0][1]
    )


def test_an_issuer_of_the_same_name_only() -> None:
    impostor = issue("Between", ROOT, ca=True)
    only(problems(pem(LEAF, impostor)), "certificate 1", ORDER)
    only(problems(ca=issue("Root", ca=True).pem), "which did not sign it")


def test_an_issuer_that_is_no_ca() -> None:
    plain = issue("Plain", ROOT)
    leaf = issue(NAME, plain, names=NAMES)
    only(problems(pem(leaf, plain), leaf.key_pem()), "certificate 2 (CN=Plain)", "is no CA")


def test_a_chain_that_does_not_lead_to_the_ca() -> None:
    other = issue("Other", ca=True)
    only(
        problems(ca=other.pem),
        f"certificate 2 (CN=Between): it is issued by CN=Root, and {CA} holds CN=Other",
    )
    # What is between them is missing.
    only(problems(LEAF.pem), f"it is issued by CN=Between, and {CA} holds CN=Root", f"between them to {CHAIN}")
    own = issue(NAME, names=NAMES, ca=True)
    only(problems(own.pem, own.key_pem()), f"{CA} holds CN=Root")


@pytest.mark.parametrize(
    ("ca", "text"),
    [
        (BETWEEN.pem, f"{CA} (CN=Between): it is issued by CN=Root, and clients trust"),
        ("nonsense", f"{CA} holds no certificate in PEM"),
        (ROOT.pem + ROOT.key_pem(), f"{CA} holds a private key too"),
    ],
)
def test_a_wrong_ca(ca: str, text: str) -> None:
    only(problems(ca=ca), text)


def test_a_ca_that_is_none() -> None:
    own = issue(NAME, names=NAMES)
    only(problems(own.pem, own.key_pem(), ca=own.pem), f"{CA} (CN={NAME}): it is no CA")


def test_what_nobody_knows() -> None:
    only(problems(pem(LEAF, BETWEEN, ROOT), ca=""), "certificate 3 (CN=Root): it is its own CA", CA)
    own = issue(NAME, names=NAMES, ca=True)
    only(problems(own.pem, own.key_pem(), ca=""), f"{CHAIN} (CN={NAME}): it is its own CA")
    only(problems(LEAF.pem, ca=""), "it comes alone", "Add the one of CN=Between", kind="warning")


@pytest.mark.parametrize(("use", "good"), [("SERVER_AUTH", True), ("CLIENT_AUTH", False)])
def test_what_it_is_made_for(use: str, good: bool) -> None:
    uses = x509.ExtendedKeyUsage([getattr(x509.oid.ExtendedKeyUsageOID, use)])
    leaf = issue(NAME, BETWEEN, names=NAMES, more=[uses])
    found = problems(pem(leaf, BETWEEN), leaf.key_pem())
    if good:
        assert found == []
    else:
        only(found, "not made for servers")


def test_everything_that_is_wrong_is_told() -> None:
    root = issue("Root", ca=True, days=(-9, -1))
    leaf = issue(NAME, root, names=["x.example.com"], days=(-9, -2))
    found = problems(leaf.pem, issue("x").key_pem(), ca=root.pem)
    assert [kind for kind, _ in found] == ["error"] * 4


@given(chain=st.text(), key=st.text(), ca=st.text(), names=st.lists(st.text()))
def test_nonsense_is_a_problem_and_no_exception(chain: str, key: str, ca: str, names: list[str]) -> None:
    assert problems(chain, key, ca=ca, names=names)
    assert problems(names=names) == [] or names


@given(st.integers(0, len(LEAF.pem) - 1), st.characters(codec="ascii"))
def test_one_wrong_character_is_no_exception(place: int, wrong: str) -> None:
    chain = LEAF.pem[:place] + wrong + LEAF.pem[place + 1 :] + BETWEEN.pem
    problems(chain)
    problems(ca=ROOT.pem[:place] + wrong + ROOT.pem[place + 1 :])
    key = LEAF.key_pem()
    problems(key=key[:place] + wrong + key[place + 1 :])


def test_nothing_at_all() -> None:
    found = certificate_problems(None, None, names=[], now=0, ca_certificates=None)  # type: ignore[arg-type]
    assert [one["kind"] for one in found] == ["error", "error"]


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "Certificate", object)
    with pytest.raises(AnsibleFilterError, match="older than 42"):
        problems()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no certificate that can be read"),
        ("-----BEGIN CERTIFICATE-----\n", "holds no certificate that can be read"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate that can be read"),
        (ROOT.pem + ROOT.key_pem(), "holds a private key"),
        (issue("Old", ca=True, days=(-9, -1)).pem, "holds CN=Old, which expired at"),
        (LEAF.pem, "which is no CA. Give the certificate of CN=Between"),
    ],
)
def test_what_is_no_file_of_cas(text: str, words: str) -> None:
    assert words in ca_problem(text, datetime.now(UTC))


@pytest.mark.parametrize(
    "text",
    [
        ROOT.pem,
        pem(BETWEEN, ROOT),
        pem(issue("Old", ca=True, days=(-9, -1)), ROOT),
        issue("one that is its own issuer").pem,
        f"Root\n{ROOT.pem}",
    ],
)
def test_what_is_a_file_of_cas(text: str) -> None:
    assert ca_problem(text, datetime.now(UTC)) == ""
