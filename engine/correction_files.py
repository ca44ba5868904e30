"""The folder beside a project file with the corrections that its plan applies: an ``.npz`` each, named by digest."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.calibrate.result import TensorRange
from engine.errors import ProjectError
from engine.files import replacing, write_failure
from engine.plan.corrections import Correction, CorrectionStore

SUFFIX = ".corrections"


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What the file says beside its arrays: entry ``i`` of ``arrays`` is (table, name) of the array ``a{i}``."""

    kind: str
    title: str
    arrays: list[tuple[str, str]]
    ranges: dict[str, TensorRange]


class KeptCorrections(CorrectionStore):
    """A store whose corrections outlive this process: each is also a file in ``folder``, and those that are there
    already, from a process before this one, are found."""

    def __init__(self, folder: Path, known: CorrectionStore) -> None:
        super().__init__()
        self._folder = folder
        for correction in known:
            self.add(correction)

    def add(self, correction: Correction) -> str:
        """As of a store without a folder. Raises ProjectError where the file cannot be written."""
        write_corrections(self._folder, (correction,))
        return super().add(correction)

    def get(self, digest: str) -> Correction:
        if digest not in self and _path(self._folder, digest).exists():
            super().add(_read(_path(self._folder, digest), digest))
        return super().get(digest)


def folder_of(project: Path) -> Path:
    """Where the corrections of a project are."""
    return project.with_suffix(SUFFIX)


def write_corrections(folder: Path, corrections: Iterable[Correction]) -> None:
    """Write those that are not in the folder yet.

    Raises:
        ProjectError: A file cannot be written.
    """
    for correction in corrections:
        path = _path(folder, correction.digest)
        if path.exists():
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise write_failure(folder, failure, ProjectError) from failure
        tables = [(table, name) for table, arrays in correction.arrays.items() for name in arrays]
        manifest = _Manifest(correction.kind, correction.title, tables, dict(correction.ranges))
        arrays = {f"a{index}": correction.arrays[table][name] for index, (table, name) in enumerate(tables)}
        text = np.frombuffer(msgspec.json.encode(manifest), np.uint8)
        with replacing(path, ProjectError) as stream:
            np.savez_compressed(stream, allow_pickle=False, manifest=text, **arrays)


def read_corrections(folder: Path, digests: Iterable[str]) -> CorrectionStore:
    """The corrections of those digests.

    Raises:
        ProjectError: One is missing, damaged or changed.
    """
    store = CorrectionStore()
    for digest in digests:
        store.add(_read(_path(folder, digest), digest))
    return store


def remove_others(folder: Path, kept: Collection[str]) -> None:
    """Remove the corrections that a project no longer applies."""
    names = {_path(folder, digest).name for digest in kept}
    with contextlib.suppress(OSError):
        for path in folder.glob("*.npz"):
            if path.name not in names:
                path.unlink()
        folder.rmdir()  # fails, and stays, where it is not empty


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.npz"


def _read(path: Path, digest: str) -> Correction:
    hint = "put the file back, or remove its digest from 'corrections' in the project file"
    try:
        correction = _decoded(path.read_bytes())
    except FileNotFoundError as error:
        raise ProjectError("a correction of the project is not there", path=path, hint=hint) from error
    except OSError as error:
        raise ProjectError(f"cannot be read: {error.strerror or error}", path=path, hint=hint) from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, msgspec.MsgspecError) as error:
        raise ProjectError("is no correction: the file is damaged", path=path, hint=hint) from error
    if correction.digest != digest:
        raise ProjectError("was changed: its content is not what its name says", path=path, hint=hint)
    return correction


def _decoded(data: bytes) -> Correction:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        manifest = msgspec.json.decode(archive["manifest"].tobytes(), type=_Manifest)
        tables: dict[str, dict[str, NDArray[Any]]] = {"same": {}, "weights": {}, "weight_scales": {}, "biases": {}}
        for index, (table, name) in enumerate(manifest.arrays):
            tables[table][name] = archive[f"a{index}"]
    return Correction(manifest.kind, manifest.title, ranges=manifest.ranges, **tables)
