"""The folder of compiled kernels follows the sources they are made of, and none of its faults ends a program."""

import ast
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dtls_emu.wire.kernel_cache as module
from dtls_emu.host.loop.cached import loop_is_compiled
from dtls_emu.testing.present import present
from dtls_emu.wire.kernel_cache import (
    KERNEL_SUFFIX,
    MARKER,
    UNUSED_FOR,
    choose_cache,
    kernel_cache,
    kernel_sources,
)


def test_a_changed_source_means_another_folder(monkeypatch, tmp_path):
    """Whichever file it is: a kernel may inline another's."""
    package = tmp_path / "dtls_emu"
    shutil.copytree(
        Path(module.__file__).parent.parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(module, "__file__", str(package / "wire" / "kernel_cache.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {kernel_cache()}
    assert folders == {kernel_cache()}
    for changed in (
        "wire/memory.py",
        "crypto/framing.py",
        "nic/flow_table.py",
        "tunnel/liveness.py",
        "host/device/tun_io.py",
        "overhead.py",
    ):
        (package / changed).write_text((package / changed).read_text() + "\n")
        assert kernel_cache() not in folders, changed
        folders.add(kernel_cache())
    assert {folder.parent for folder in folders} == {tmp_path / "cache" / "dtls-emu" / "kernels"}


def test_every_source_of_a_kernel_counts():
    """Modules with kernels or intrinsics, and those that they import from: a constant is compiled in."""
    package = Path(module.__file__).parent.parent
    counted = set(kernel_sources())
    found = set()
    for source in package.rglob("*.py"):
        text = source.read_text()
        if "\n@kernel" not in text and " intrinsic(" not in text and "ExternalFunction(" not in text:
            continue
        found.add(source)
        for node in ast.parse(text).body:  # what only type checkers import is further inside
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dtls_emu."):
                imported = package.joinpath(*present(node.module).split(".")[1:])
                found.add(imported.with_suffix(".py") if imported.with_suffix(".py").is_file() else imported)
    assert found - counted == set()
    assert len(found) > 20


def test_a_change_that_no_kernel_depends_on_keeps_what_is_compiled():
    """A command's text, or a plan of a deployment, is in no kernel."""
    package = Path(module.__file__).parent.parent
    counted = {path.relative_to(package).parts[0] for path in kernel_sources()}
    assert not counted & {"cli", "deploy", "measure", "simulation", "teach", "testing"}


def test_whether_kernels_are_compiled_is_known_before_they_are_needed(monkeypatch, tmp_path):
    """A first start says that it takes longer; the loop's file is what tells."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not loop_is_compiled()
    subprocess.run([sys.executable, "-c", LOAD_LOOP], check=True, timeout=300)
    assert loop_is_compiled()


LOAD_LOOP = """
from dtls_emu.assembly.cards import choose_engine
from dtls_emu.host.loop.warming import warm_up
assert warm_up(choose_engine("null"))
"""


# ------------------------------------------------------------------------------- where there is no usual place


@pytest.fixture
def places(monkeypatch, tmp_path):
    """A user's cache and a temporary folder of this test's own."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("dtls_emu.wire.kernel_cache.tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(module, "_held", [])
    yield tmp_path
    for each in module._held:
        os.close(each)


def break_no_home(monkeypatch, _places):
    """An unknown user without HOME."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("dtls_emu.wire.kernel_cache.os.getuid", lambda: 0x7FFF_FFF0)


def break_relative_home(monkeypatch, _places):
    """An empty HOME, which would put the cache wherever the program is started."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")


def break_file(_monkeypatch, places):
    """A file where the folder is to be."""
    (places / "cache").touch()


def break_foreign(_monkeypatch, places):
    """A folder of somebody else: root would execute what is in it."""
    (places / "cache").mkdir()
    os.chown(places / "cache", 12345, 12345)


def break_open(_monkeypatch, places):
    """A folder that everybody may write to."""
    (places / "cache").mkdir()
    (places / "cache").chmod(0o777)


def break_named(monkeypatch, _places):
    """What the user has named cannot be made."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")


FAULTS = [
    break_no_home,
    break_relative_home,
    break_file,
    pytest.param(break_foreign, marks=pytest.mark.root),
    break_open,
    break_named,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_without_its_usual_place_a_private_folder_is_used_and_found_again(monkeypatch, places, fault):
    """Below the temporary folder, for its owner only, under a name that cannot be told beforehand."""
    fault(monkeypatch, places)
    looked = choose_cache(make=False)
    assert looked.trouble
    assert list((places / "tmp").iterdir()) == []
    chosen = choose_cache()
    (private,) = (places / "tmp").iterdir()
    assert (present(chosen.folder).parent, chosen.is_writable) == (private, True)
    assert private.stat().st_mode & 0o777 == 0o700
    assert chosen.trouble == looked.trouble
    assert choose_cache(make=False).folder == choose_cache().folder == chosen.folder


def test_a_temporary_folder_of_somebody_else_or_open_to_others_is_not_taken(monkeypatch, places):
    """Whoever makes one of that name beforehand could have code executed."""
    break_file(monkeypatch, places)
    planted = places / "tmp" / f"{module.TEMPORARY}planted"
    planted.mkdir(mode=0o755)
    link = places / "tmp" / f"{module.TEMPORARY}link"
    link.symlink_to(places)
    assert present(choose_cache().folder).parent not in {planted, link}


def test_where_nothing_can_be_written_nothing_is_kept(monkeypatch, places):
    """The trouble names both places."""
    break_file(monkeypatch, places)
    monkeypatch.setattr("dtls_emu.wire.kernel_cache.tempfile.tempdir", "/proc/nowhere")
    chosen = choose_cache()
    assert (chosen.folder, chosen.is_writable) == (None, False)
    assert "Not a directory" in chosen.trouble
    assert "No such file" in chosen.trouble


@pytest.mark.usefixtures("places")
def test_a_cache_that_can_only_be_read_is_read_when_it_has_the_kernels(monkeypatch):
    """As in an image with a read-only root."""
    folder = present(choose_cache().folder)
    monkeypatch.setattr(
        "dtls_emu.wire.kernel_cache.tempfile.TemporaryFile",
        lambda **_: (_ for _ in ()).throw(OSError(30, "Read-only")),
    )
    assert choose_cache().folder is None
    (folder / "host").mkdir()
    (folder / "host" / f"turn.run_loop-1.py3-0{KERNEL_SUFFIX}").touch()
    assert (choose_cache().folder, choose_cache().is_writable) == (folder, False)


# ------------------------------------------------------------------------------------------------ old folders


def old_folder(places, package):
    """A folder as an older state of a package leaves it, and its marker."""
    folder = places / "cache" / "dtls-emu" / "kernels" / f"old-{len(package)}"
    folder.mkdir(parents=True)
    marker = folder / MARKER
    marker.write_bytes(module.MARKER_FORMAT.encode() + os.fsencode(package))
    (folder / f"some{KERNEL_SUFFIX}").touch()
    return folder, marker


def test_a_new_state_removes_what_an_older_one_of_the_same_package_left(places):
    """And that of a package that is gone; once, when it makes its folder."""
    ours, _ = old_folder(places, str(module._package()))
    gone, _ = old_folder(places, "/no/such/package")
    chosen = choose_cache()
    assert present(chosen.folder).is_dir()
    assert not ours.exists()
    assert not gone.exists()
    later, _ = old_folder(places, "/another/that/is/gone")
    choose_cache()
    assert later.exists()


def test_what_is_in_use_not_ours_or_still_wanted_stays(places):
    """A lock, no marker, another package's that was used lately, a link to elsewhere."""
    used, marker = old_folder(places, str(module._package()))
    wanted, _ = old_folder(places, str(places))
    unmarked = used.parent / "0123456789abcdef"
    unmarked.mkdir()
    foreign = used.parent / "notes"
    foreign.mkdir()
    (foreign / MARKER).write_text("my own notes\n")
    outside = places / "outside"
    shutil.copytree(used, outside)
    (used.parent / "link").symlink_to(outside)
    with marker.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        choose_cache()
    assert all(each.is_dir() for each in (used, wanted, unmarked, foreign, outside))


def test_another_packages_folder_goes_when_it_was_not_used_for_long(places):
    """Its marker's time says when it was."""
    unused, marker = old_folder(places, str(places))
    long_ago = marker.stat().st_mtime - UNUSED_FOR - 1
    os.utime(marker, (long_ago, long_ago))
    choose_cache()
    assert not unused.exists()


@pytest.mark.usefixtures("places")
def test_a_folder_in_use_is_locked_and_its_marker_renewed():
    """So that a newer state that starts meanwhile leaves it alone."""
    folder = present(choose_cache().folder)
    with (folder / MARKER).open("rb") as marker, pytest.raises(BlockingIOError):
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.utime(folder / MARKER, (0, 0))
    choose_cache()
    assert (folder / MARKER).stat().st_mtime > 0
