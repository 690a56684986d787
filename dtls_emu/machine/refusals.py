"""Why an ordinary user gets no namespaces of his own here, and what to do: exactly which switch, limit or mode it is."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.machine.tun import TUN
from dtls_emu.machine.unsharing import Step


if TYPE_CHECKING:
    from dtls_emu.machine.unsharing import UnshareError


__all__ = ["Refusal", "explain_refusal"]

_SYSCTL: Final = Path("/proc/sys")
_APPARMOR: Final = "kernel/apparmor_restrict_unprivileged_userns"  # Ubuntu, since 23.10
_CLONE: Final = "kernel/unprivileged_userns_clone"  # Debian and Arch, where patched in
_LIMITS: Final = {
    Step.USER: "user/max_user_namespaces",
    Step.MOUNT: "user/max_mnt_namespaces",
    Step.NETWORK: "user/max_net_namespaces",
}

_BEGINNING: Final = frozenset((Step.USER, Step.MAP, Step.MOUNT, Step.NETWORK, Step.FOLDER))
"""Steps that a restriction of user namespaces may show at: some let them be made, and give no rights in them."""

_OR_ROOT: Final = "; or run as root"


class Refusal(NamedTuple):
    """Why, and what to do about it."""

    reason: str
    remedy: str


def explain_refusal(refused: UnshareError, root: Path = Path("/")) -> Refusal:
    """Why a step was refused.

    Args:
        refused: the step, and the system's error.
        root: of the file system whose ``/proc/sys`` and ``/dev`` are looked at; tests have one of their own.
    """
    if refused.step is Step.TUN:
        return _tun(refused, root)
    if refused.step is Step.SETTINGS:
        return Refusal(
            "/proc/sys is read-only, as in a container",
            "podman or docker run --security-opt systempaths=unconfined; or run as root outside of the container",
        )
    said = os.strerror(refused.number)
    if refused.step in _BEGINNING and refused.number in {errno.EPERM, errno.EACCES}:
        return _forbidden(refused.step, said, root)
    limit = _LIMITS.get(refused.step)
    if limit is not None and refused.number == errno.ENOSPC:
        value = _setting(limit, root)
        name = limit.replace("/", ".")
        return Refusal(
            f"{refused.step}: the limit {name} is {'not known' if value is None else value}",
            f"sysctl -w {name}=15000, as root{_OR_ROOT}",
        )
    if refused.step is Step.USER and refused.number in {errno.EINVAL, errno.ENOSYS}:
        return Refusal("this kernel has no user namespaces (CONFIG_USER_NS)", "run as root")
    return Refusal(f"{refused.step}: {said}", "run as root")


def _forbidden(step: Step, said: str, root: Path) -> Refusal:
    """Who forbids user namespaces, in the order in which the kernel asks."""
    if _setting(_CLONE, root) == 0:
        return Refusal(
            "kernel.unprivileged_userns_clone is 0, so only root may make user namespaces",
            f"sysctl -w kernel.unprivileged_userns_clone=1, as root{_OR_ROOT}",
        )
    if _setting(_APPARMOR, root) == 1:
        return Refusal(
            "AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1",
            f"sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, as root, or an AppArmor profile for this Python "
            f"with `userns,`{_OR_ROOT}",
        )
    if _is_filtered(root):
        return Refusal(
            f"{step}: {said}; a seccomp filter is on this process, as in a container",
            "podman or docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined --device "
            f"{TUN}{_OR_ROOT} outside of the container",
        )
    return Refusal(
        f"{step}: {said}; a security module forbids it, or this process is in a chroot",
        "run as root",
    )


def _tun(refused: UnshareError, root: Path) -> Refusal:
    device = root / TUN.relative_to("/")
    try:
        mode = stat.S_IMODE(device.stat().st_mode)
    except OSError:
        return Refusal(f"there is no {TUN}", f"modprobe tun, as root; in a container also --device {TUN}")
    if refused.number == errno.EACCES:
        return Refusal(
            f"{TUN} has mode {mode:04o}, so this user may not open it",
            f"chmod 0666 {TUN}, as root: udev gives it that mode, and a user's rights end at his own namespaces",
        )
    if refused.number in {errno.ENODEV, errno.ENXIO}:
        return Refusal(f"{TUN} leads to no driver", "modprobe tun, as root")
    if refused.number == errno.EPERM:
        return Refusal(
            f"{TUN}: {os.strerror(errno.EPERM)}; a device cgroup or a security module forbids it",
            f"in a container: --device {TUN}",
        )
    return Refusal(f"{TUN}: {os.strerror(refused.number)}", "run as root")


def _setting(name: str, root: Path) -> int | None:
    """A number below ``/proc/sys``; None where the kernel has no such setting, or does not tell."""
    try:
        return int((root / _SYSCTL.relative_to("/") / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_filtered(root: Path) -> bool:
    """Whether system calls of this process pass a filter (proc_pid_status(5): Seccomp)."""
    try:
        text = (root / "proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return any(line.split() == ["Seccomp:", "2"] for line in text.splitlines())
