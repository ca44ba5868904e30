"""Writing files: all or nothing."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.errors import ExportError, ProjectError
from engine.files import check_folder, replacing, write_atomic

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and limits")


def only(path: Path) -> None:
    """No temporary file is left beside ``path``."""
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_new_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    write_atomic(path, "caf\u00e9\n", ProjectError)
    assert path.read_bytes() == b"caf\xc3\xa9\n"
    write_atomic(path, b"two", ProjectError)
    assert path.read_bytes() == b"two"
    only(path)


@posix_only
def test_permissions_follow_the_old_file_or_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "f"
    old = os.umask(0o027)
    try:
        write_atomic(path, b"1", ProjectError)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(old)
    path.chmod(0o604)
    write_atomic(path, b"2", ProjectError)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@posix_only
def test_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "f", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomic(link, b"new", ProjectError)
    assert link.is_symlink() and target.read_bytes() == b"new"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"old", ProjectError)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    expected = re.escape(f"{path}: cannot be written: {os.strerror(code)}; what was there before is unchanged")
    with pytest.raises(ProjectError, match=expected):
        write_atomic(path, b"new", ProjectError)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    only(path)


@posix_only
def test_real_write_that_hits_a_limit(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "f"
    write_atomic(path, b"old", ExportError)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ExportError, match="cannot be written"):
            write_atomic(path, bytes(1_000_000), ExportError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    only(path)


def test_folder_that_is_missing_or_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be written: No such file"):
        write_atomic(tmp_path / "none" / "f", b"", ProjectError)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ProjectError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "f", b"", ProjectError)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ProjectError, match="cannot be written"):
        write_atomic(tmp_path / "folder", b"", ProjectError)


@posix_only
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_and_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(ProjectError, match="the file is read-only"):
        write_atomic(path, b"new", ProjectError)
    path.chmod(0o644)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(ProjectError, match="Permission denied"):
            write_atomic(path, b"new", ProjectError)
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == b"old"


def test_the_writer_may_fail_too(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def half_written() -> None:
        with replacing(path, ProjectError) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_written()
    assert path.read_bytes() == b"old"
    only(path)


def test_a_folder_that_is_not_there_is_said_before_long_work(tmp_path: Path) -> None:
    check_folder(tmp_path / "p.qscope", ProjectError)
    check_folder(Path("p.qscope"), ProjectError)
    (tmp_path / "file").touch()
    for folder in ("absent", "file"):
        with pytest.raises(ProjectError, match=r"p\.qscope: cannot be written: its folder is not there"):
            check_folder(tmp_path / folder / "p.qscope", ProjectError)


@pytest.mark.parametrize("command", ["new", "train", "tune"])
def test_commands_ask_before_they_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the model nor the data is there: what is said first is that nothing could be kept."""
    arguments = {"new": ["m.onnx", "--calibration", "d.npz"], "train": ["m.qscope", "--data", "d.npz"]}
    output = str(tmp_path / "absent" / "p.qscope")
    line = ["quantscope", command, *arguments.get(command, ["m.qscope"]), "-o", output]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        main()
    assert "cannot be written: its folder is not there" in capsys.readouterr().err
