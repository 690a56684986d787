"""The steps of a plan, carried out in the kernel with pyroute2, and undone.

Everything is made where it belongs: no interface is in the machine's own namespace, not even for a moment. What
is undone may be gone already, in part or as a whole; that is no error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from dtls_emu.errors import RunError
from dtls_emu.machine.linux import CLONE_NEWNET
from dtls_emu.machine.netns import NamespaceError, entered, namespace_path


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.deploy.plan import CableEnd, JoinHosts, MakeNamespace, MakeNic
    from dtls_emu.deploy.state import Interface, Namespace


__all__ = [
    "is_ours",
    "join_hosts",
    "make_namespace",
    "make_nic",
    "remove_interface",
    "remove_namespace",
    "set_link_up",
    "set_mtu",
]

_LOOPBACK: Final = 1  # the first interface of every namespace
_SCOPE_LINK: Final = 253  # linux/rtnetlink.h
_SCOPE_HOST: Final = 254
_TABLE_LOCAL: Final = 255
_PROTO_BOOT: Final = 3  # as `ip` has it when nothing is said


def make_namespace(step: MakeNamespace) -> int:
    """Make a namespace that must not be there, and return its inode.

    Raises:
        FileExistsError: it is there.
        RunError: it cannot be made.
    """
    with _explained(f"network namespace {step.name}"):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Only this thread goes into the new one; pyroute2's own `create` forks, threads of libraries or not.
            _check(_LIBC.unshare(CLONE_NEWNET))
            netns.attach(step.name, "thread-self")
        finally:
            _check(_LIBC.setns(home, CLONE_NEWNET))
            os.close(home)
        inode = namespace_path(step.name).stat().st_ino
        with entered(step.name), IPRoute() as kernel:
            for key, value in step.settings.items():
                _write_setting(key, value)
            kernel.link("set", index=_LOOPBACK, state="up")
            if step.address is not None:
                _add_address(
                    kernel, _LOOPBACK, address=str(step.address), prefixlen=step.address.max_prefixlen
                )
        return inode


def join_hosts(step: JoinHosts) -> None:
    """Lay a cable.

    Raises:
        RunError: it cannot be laid.
    """
    near, far = step.ends
    with _explained(f"cable {near.device} in {near.namespace}"):
        there = os.open(namespace_path(far.namespace), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with entered(near.namespace), IPRoute() as kernel:
                peer = {"ifname": far.device, "mtu": step.mtu, "net_ns_fd": there}
                kernel.link("add", kind="veth", ifname=near.device, mtu=step.mtu, peer=peer)
        finally:
            os.close(there)
        for end in step.ends:
            _connect(end)


def make_nic(step: MakeNic) -> None:
    """Make the TUN device of a VM, which stays when nobody has it open.

    Raises:
        RunError: it cannot be made.
    """
    with (
        _explained(f"TUN device {step.device} in {step.namespace}"),
        entered(step.namespace),
        IPRoute() as kernel,
    ):
        kernel.link("add", kind="tuntap", mode="tun", ifname=step.device, ifr={"no_pi": True})
        index = _index(step.device)
        kernel.link("set", index=index, mtu=step.mtu, state="up")
        for address, length in step.addresses:
            _add_address(kernel, index, address=str(address), prefixlen=length)
            scope = (
                {"family": socket.AF_INET, "scope": _SCOPE_LINK}
                if address.version == 4
                else {"family": socket.AF_INET6}
            )
            kernel.route("add", dst="default", oif=index, proto=_PROTO_BOOT, **scope)
        for prefix in step.behind:  # AnyIP: every address in it is the machine's own
            kernel.route(
                "add", dst=str(prefix), oif=index, type="local", table=_TABLE_LOCAL, scope=_SCOPE_HOST
            )


def set_mtu(namespace: str, device: str, mtu: int) -> None:
    """Set the MTU of an interface.

    Raises:
        RunError: it is not there, or refuses.
    """
    with _explained(f"{device} in {namespace}"), entered(namespace), IPRoute() as kernel:
        kernel.link("set", index=_index(device), mtu=mtu)


def set_link_up(namespace: str, device: str, *, up: bool) -> None:
    """Plug an interface in, or pull it out.

    Raises:
        RunError: it is not there.
    """
    with _explained(f"{device} in {namespace}"), entered(namespace), IPRoute() as kernel:
        kernel.link("set", index=_index(device), state="up" if up else "down")


def is_ours(made: Namespace) -> bool:
    """Whether the namespace is there and is the one that was made; without a recorded inode, whatever is there."""
    try:
        found = namespace_path(made.name).stat()
    except OSError:
        return False
    return found.st_dev == _namespace_device() and made.inode in {None, found.st_ino}


def remove_interface(made: Interface) -> None:
    """Remove an interface from a namespace that is there.

    Raises:
        RunError: the kernel refuses.
    """
    with (
        _explained(f"{made.name} in {made.namespace}"),
        entered(made.namespace),
        IPRoute() as kernel,
        suppress(_NoSuchInterface),
    ):
        kernel.link("del", index=_index(made.name))


def remove_namespace(made: Namespace, *, same_boot: bool) -> str:
    """Remove a namespace, with all that is in it once no process is.

    Args:
        made: which.
        same_boot: the machine has not been booted since; if it has, only an empty file can be left of it.

    Returns:
        Why it is still there, as it should be: somebody else made it. Empty when it is gone.

    Raises:
        RunError: the kernel refuses.
    """
    path = namespace_path(made.name)
    with _explained(f"network namespace {made.name}"):
        try:
            found = path.stat()
        except FileNotFoundError:
            return ""
        if found.st_dev == _namespace_device():
            if not same_boot or made.inode not in {None, found.st_ino}:
                return f"{path} is another namespace by now"
            netns.remove(made.name)
        elif path.is_file() and not found.st_size:
            path.unlink()  # made, and whoever made it was killed before a namespace was on it; or a reboot was
        else:
            return f"{path} is no namespace"
    return ""


def _connect(end: CableEnd) -> None:
    with entered(end.namespace), IPRoute() as kernel:
        index = _index(end.device)
        # First up, then the address: before, IPv6 makes no route to the peer.
        kernel.link("set", index=index, state="up")
        length = end.address.max_prefixlen
        _add_address(kernel, index, local=str(end.address), address=str(end.peer), prefixlen=length)


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise _NoSuchInterface(errno.ENODEV, os.strerror(errno.ENODEV)) from None


class _NoSuchInterface(OSError):  # noqa: N818 (never seen outside)
    """There is none of this name where this thread is."""


def _add_address(kernel: Any, index: int, **address: str | int) -> None:
    kernel.addr("add", index=index, **address)


def _write_setting(key: str, value: int) -> None:
    """Set a default of the namespace that this thread is in."""
    path = Path("/proc/sys/net/ipv6/conf/default") / key
    with suppress(FileNotFoundError):  # a kernel without IPv6 has nothing to switch off
        path.write_text(str(value), encoding="ascii")


def _namespace_device() -> int:
    """The device number of nsfs, on which every namespace is."""
    return Path("/proc/self/ns/net").stat().st_dev


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what the kernel says into an error that names the thing."""
    try:
        yield
    except FileExistsError:
        raise
    except NetlinkError as error:
        raise RunError(f"{what}: {os.strerror(error.code)}{_hint(error.code)}") from error
    except OSError as error:
        raise RunError(f"{what}: {error.strerror or error}{_hint(error.errno)}") from error
    except NamespaceError as error:
        raise RunError(f"{what}: {error}") from error


def _hint(number: int | None) -> str:
    if number == errno.EROFS:
        return (
            "; in a container its runtime has made /proc/sys read-only: --security-opt systempaths=unconfined"
        )
    return "; it needs root" if number in {errno.EPERM, errno.EACCES} else ""


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
