"""The crash hook, and the picture without a display."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from engine.errors import GraphError, QuantscopeError
from gui.app import CrashHook, notice_of
from gui.document.notice import Level, Notice
from gui.screenshot import render

PROJECT = Path(str(files("resources").joinpath("models", "mobile_fmnist.qscope")))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_expected_error_is_its_line() -> None:
    notice = notice_of(GraphError("has a cycle", path="m.onnx", node="Add", hint="export it again"))
    assert notice == Notice(Level.ERROR, "m.onnx: node 'Add': has a cycle; export it again")


def test_an_unexpected_error_keeps_its_traceback_to_copy() -> None:
    posted: list[Notice] = []
    hook = CrashHook(posted.append)
    hook.install()
    try:
        error = raised(ZeroDivisionError("by\nzero"))
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        hook.remove()
    assert "\n" not in posted[0].text
    assert "ZeroDivisionError: by zero" in posted[0].text
    assert "Traceback" in posted[0].details


def test_an_error_while_reporting_goes_to_the_hook_before(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_on: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: passed_on.append(str(error)))

    def post(notice: Notice) -> None:
        second = RuntimeError("second")
        sys.excepthook(RuntimeError, second, None)

    hook = CrashHook(post)
    hook.install()
    sys.excepthook(ValueError, ValueError("first"), None)
    hook.remove()
    assert passed_on == ["second"]


def test_a_picture_of_a_demo_project(qapp: object, tmp_path: Path) -> None:
    output = tmp_path / "window.png"
    render(str(PROJECT), str(output), overlay="introduced", size=(900, 600))
    picture = QImage(str(output))
    assert (picture.width(), picture.height()) == (900, 600)
    assert len({picture.pixel(x, y) for x in range(0, 900, 9) for y in range(0, 600, 9)}) > 20


def test_no_picture_of_what_cannot_be_opened(qapp: object, tmp_path: Path) -> None:
    with pytest.raises(QuantscopeError, match=r"nowhere\.onnx"):
        render(str(tmp_path / "nowhere.onnx"), str(tmp_path / "window.png"), size=(900, 600))
