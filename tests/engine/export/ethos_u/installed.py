"""Where Vela is for tests: in the environment (the extra), or where ``make conformance`` puts it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import ExportError
from engine.export.ethos_u.vela import find_vela

FOLDER = Path(__file__).resolve().parents[4] / ".cache" / "ethos-u"


def provide_vela() -> None:
    """Put the folder of ``make conformance`` at the end of the path, where Vela is found then."""
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))


def is_installed() -> bool:
    provide_vela()
    try:
        find_vela()
    except ExportError:
        return False
    return True


needs_vela = pytest.mark.skipif(not is_installed(), reason="Vela is not installed: make conformance")
