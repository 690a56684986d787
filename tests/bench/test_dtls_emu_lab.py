"""The lab that stands for dtls-emu, and what its cards may have fallen back to."""

from dtls_emu.lab import compile_lab, load_lab
from side_by_side.dtls_emu_lab import INSIDE, LAB, fallback


def _report(backend="ipsec-mb", reason="as the lab says", trouble=""):
    return {
        "host": "host-1",
        "trouble": trouble,
        "card": {"backend": backend, "backend_reason": reason},
    }


def test_the_lab_is_valid_and_as_the_other_peers_are(tmp_path):
    """MTU 1400 inside over 1500 with room for the overhead, and no delay on the link."""
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.format(mtu=1400))
    topology = compile_lab(load_lab(str(path)))
    assert [vm.mtu for vm in topology.vms.values()] == [1400, 1400]
    assert [str(vm.addresses[0]) for vm in topology.vms.values()] == list(INSIDE)
    link = topology.link("host-1", "host-2")
    assert (link.mtu, link.delay, link.loss) == (1500, 0, 0)


def test_cards_that_do_what_was_asked_have_no_fallback():
    """Both of them."""
    assert not fallback([_report(), _report()], "ipsec-mb")


def test_one_card_with_another_backend_is_a_fallback():
    """With the reason that the card gives."""
    reports = [_report(), _report("cryptography", "fell back from ipsec-mb: no library")]
    assert fallback(reports, "ipsec-mb") == "host-1 uses cryptography: fell back from ipsec-mb: no library"


def test_a_card_in_trouble_says_so():
    """Its figures are not those of a working card."""
    assert fallback([_report(trouble="its device is gone")], "ipsec-mb") == "host-1: its device is gone"
