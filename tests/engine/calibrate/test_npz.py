"""Rows of ``.npz`` arrays without the arrays."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.calibrate.npz import open_npz
from engine.errors import DataError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_in_any_order(tmp_path: Path, save: object) -> None:
    array = np.random.default_rng(0).standard_normal((40, 3, 5)).astype(np.float32)
    texts = np.array(["calibration", "evaluation"] * 20)
    save(tmp_path / "a.npz", x=array, split=texts)  # type: ignore[operator]
    arrays = open_npz(tmp_path / "a.npz")
    assert list(arrays) == ["x", "split"]
    assert arrays["x"].shape == (40, 3, 5) and arrays["x"].dtype == np.float32
    for indices in ([0, 1, 2], [39], [5, 3, 3, 30, 0], []):
        rows = arrays["x"].rows(indices)
        np.testing.assert_array_equal(rows, array[indices])
        assert rows.flags.writeable
    np.testing.assert_array_equal(arrays["split"].all(), texts)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", x=np.zeros((2000, 8192), np.uint8))  # type: ignore[operator]
    tracemalloc.start()
    try:
        array = open_npz(tmp_path / "a.npz")["x"]
        for index in range(2000):
            array.rows([index])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # of 16 MB


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", x=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(DataError, match=r"array 'x' holds Python objects \(a pickle\), which is never loaded"):
        open_npz(tmp_path / "p.npz")


def test_fortran_order_and_single_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.asfortranarray(np.zeros((3, 4))))
    with pytest.raises(DataError, match=r"Fortran order; save numpy\.ascontiguousarray"):
        open_npz(tmp_path / "f.npz")
    np.savez(tmp_path / "s.npz", x=np.float32(1))
    with pytest.raises(DataError, match="is a single number"):
        open_npz(tmp_path / "s.npz")


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="cannot be read"):
        open_npz(path)
    path.write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"is not a readable \.npz file"):
        open_npz(path)
    np.savez(path, x=np.zeros((100, 100)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"is not a readable \.npz file"):
        open_npz(path)


def test_damaged_compressed_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, (50, 1000), np.uint8))
    data = bytearray(path.read_bytes())
    data[20_000:20_100] = b"\xff" * 100
    path.write_bytes(data)
    array = open_npz(path)["x"]
    with pytest.raises(DataError, match="array 'x' cannot be read"):
        array.all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_file_that_changes_while_it_is_open(tmp_path: Path, save: object) -> None:
    path = tmp_path / "x.npz"
    save(path, x=np.ones((100, 1000)))  # type: ignore[operator]
    array = open_npz(path)["x"]
    array.rows([0])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="was changed while it was open; open it again"):
        array.rows([50])
    path.unlink()
    with pytest.raises(DataError, match="array 'x' cannot be read"):
        array.rows([50])


def test_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 8)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    with pytest.raises(DataError, match="array 'x' is shorter than its header says"):
        open_npz(path)
