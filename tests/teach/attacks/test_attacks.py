"""Each attack is stopped where it should be, works where it is said to, and never otherwise."""

from __future__ import annotations

import pytest

from dtls_emu.lab import load_lab
from dtls_emu.teach.attacks import ATTACKS, attack
from dtls_emu.teach.attacks.labs import drop_unencrypted, with_null_backend, without_encryption
from dtls_emu.teach.attacks.telling import NoAttackError, _musts
from dtls_emu.teach.blocks import Octets, Verdict
from dtls_emu.teach.playground import PlaygroundError


@pytest.fixture(autouse=True)
def attackers_are_seen(wire_watch):
    """Whoever watches the wire takes what an attacker puts there for the cards' own; that is his doing, not theirs."""
    yield
    wire_watch.violations.clear()
    wire_watch._compare()
    wire_watch.violations.clear()


@pytest.mark.parametrize("name", ATTACKS)
def test_under_drop_unencrypted_every_attack_is_stopped(name):
    """And where settings are named under which it works, it works there."""
    report = attack(name, drop_unencrypted(load_lab("two-vms")))
    assert report.attempt.stopped, report.attempt.by
    assert report.as_expected
    verdicts = [block.good for block in report.document.blocks if isinstance(block, Verdict)]
    assert verdicts == ([True, False] if ATTACKS[name].weakness else [True])


@pytest.mark.parametrize("name", ATTACKS)
def test_without_encryption_what_works_is_what_is_expected_to(name):
    """Nothing is stopped by luck."""
    report = attack(name, without_encryption(load_lab("two-vms")))
    assert report.attempt.stopped != ATTACKS[name].works_under(without_encryption(load_lab("two-vms")))


@pytest.mark.parametrize("name", ["eavesdrop", "tamper", "forge"])
def test_a_backend_without_a_cipher_protects_nothing(name):
    """Whatever the record looks like."""
    report = attack(name, with_null_backend(load_lab("two-vms")))
    assert not report.attempt.stopped
    assert report.as_expected


def test_stripping_works_where_unencrypted_is_allowed():
    """It is what the setting means; and is stopped under the other one."""
    report = attack("strip", load_lab("two-vms"))
    assert not report.attempt.stopped
    assert report.as_expected
    assert "DropUnencrypted" in str(report.document.as_dict())


@pytest.mark.parametrize(
    "name", ["eavesdrop", "replay", "tamper", "forge", "reorder", "hello-flood", "downgrade"]
)
def test_what_was_tried_is_shown_with_its_bytes(name):
    """Annotated, as they were on the fabric."""
    octets = [
        block for block in attack(name, load_lab("two-vms")).document.blocks if isinstance(block, Octets)
    ]
    assert octets
    assert all(each.layers for each in octets)


@pytest.mark.parametrize("name", ATTACKS)
def test_each_names_requirements_that_are_there(name):
    """Lines of tunnel/MUSTS.md."""
    assert len(_musts(ATTACKS[name]).rows) == len(ATTACKS[name].musts) > 0


def test_an_attack_that_nobody_knows_is_refused():
    """With those that there are."""
    with pytest.raises(NoAttackError, match="no attack is called reply; did you mean `replay`"):
        attack("reply", load_lab("two-vms"))


def test_where_nothing_arrives_anyway_nothing_is_attacked():
    """A link that loses everything: one line says so, whatever the attack."""
    lab = load_lab("two-vms")
    lossy = lab.model_copy(update={"link_defaults": lab.link_defaults.model_copy(update={"loss": 1.0})})
    for name in ATTACKS:
        with pytest.raises(PlaygroundError, match="no packet from vm-a to vm-b arrives in this lab"):
            attack(name, lossy)
