"""What forbids an ordinary user's namespaces is named: which setting, which limit, which mode, and what to do."""

from __future__ import annotations

import errno
import os

import pytest

from dtls_emu.machine.refusals import explain_refusal
from dtls_emu.machine.unsharing import Step, UnshareError


def refused(step, number):
    return UnshareError(step, OSError(number, os.strerror(number)))


@pytest.fixture
def machine(tmp_path):
    """The files that are looked at, of a machine without any restriction."""

    def make(*, seccomp=0, tun=True, **settings):
        for name, value in settings.items():
            path = tmp_path / "proc/sys" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/self/status").write_text(f"Name:\tpython\nSeccomp:\t{seccomp}\n")
        (tmp_path / "dev/net").mkdir(parents=True)
        if tun:
            (tmp_path / "dev/net/tun").touch(mode=0o600)
        return tmp_path

    return make


@pytest.mark.parametrize("step", [Step.USER, Step.MAP, Step.MOUNT, Step.NETWORK, Step.FOLDER])
def test_apparmors_restriction_is_named_wherever_it_shows(machine, step):
    """Ubuntu lets the namespace be made, and gives no rights in it: the map is the first that fails."""
    root = machine(kernel__apparmor_restrict_unprivileged_userns=1)
    reason, remedy = explain_refusal(refused(step, errno.EPERM), root)
    assert reason == ("AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1")
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in remedy
    assert "profile" in remedy


def test_debians_switch_is_named(machine):
    """It is looked at before AppArmor's, as the kernel does."""
    root = machine(kernel__unprivileged_userns_clone=0, kernel__apparmor_restrict_unprivileged_userns=1)
    reason, remedy = explain_refusal(refused(Step.USER, errno.EPERM), root)
    assert reason.startswith("kernel.unprivileged_userns_clone is 0")
    assert "sysctl -w kernel.unprivileged_userns_clone=1" in remedy


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Step.USER, "user.max_user_namespaces"),
        (Step.MOUNT, "user.max_mnt_namespaces"),
        (Step.NETWORK, "user.max_net_namespaces"),
    ],
)
def test_a_limit_is_named_with_its_value(machine, step, name):
    """0 is how some distributions switch them off."""
    root = machine(**{name.replace(".", "__"): 0})
    reason, remedy = explain_refusal(refused(step, errno.ENOSPC), root)
    assert reason == f"{step}: the limit {name} is 0"
    assert f"sysctl -w {name}=" in remedy


def test_a_filter_of_system_calls_is_told_from_a_security_module(machine):
    """As a container's runtime has one."""
    refusal = refused(Step.USER, errno.EPERM)
    assert "seccomp" in explain_refusal(refusal, machine(seccomp=2)).reason


def test_without_any_sign_it_says_what_may_be_behind_it(machine):
    """It does not claim to know."""
    reason, remedy = explain_refusal(refused(Step.USER, errno.EPERM), machine())
    assert reason == (
        "user namespace: Operation not permitted; a security module forbids it, or this process is in a chroot"
    )
    assert remedy == "run as root"


@pytest.mark.parametrize(
    ("number", "tun", "reason"),
    [
        (errno.EACCES, True, "/dev/net/tun has mode 0600, so this user may not open it"),
        (errno.ENOENT, False, "there is no /dev/net/tun"),
        (errno.ENODEV, True, "/dev/net/tun leads to no driver"),
        (errno.EPERM, True, "/dev/net/tun: Operation not permitted; a device cgroup or a security module"),
        (errno.EBUSY, True, "/dev/net/tun: Device or resource busy"),
    ],
)
def test_what_is_wrong_with_the_device_is_named(machine, number, tun, reason):
    """Its mode, its absence, its driver, or who forbids it."""
    assert explain_refusal(refused(Step.TUN, number), machine(tun=tun)).reason.startswith(reason)


@pytest.mark.parametrize(
    ("step", "number", "reason"),
    [
        (Step.USER, errno.EINVAL, "this kernel has no user namespaces (CONFIG_USER_NS)"),
        (Step.MOUNT, errno.ENOMEM, "mount namespace: Cannot allocate memory"),
        (Step.SETTINGS, errno.EROFS, "/proc/sys is read-only, as in a container"),
    ],
)
def test_anything_else_is_said_as_the_kernel_says_it(machine, step, number, reason):
    """With the step that it was about."""
    assert explain_refusal(refused(step, number), machine()).reason == reason
