"""Expected failures: what a person can cause and a person can mend.

Every stage raises a subclass of :class:`QuantscopeError`. The command line prints its text as one line and
exits with a status other than 0; the window shows the same text as a message. Anything else that is raised
is a defect of this program and reaches the crash hook with its traceback.

Chain the cause: ``raise ModelFileError("is not an ONNX file", path=path) from error``.
"""

from __future__ import annotations

import os


class QuantscopeError(Exception):
    """Base of all expected failures; ``str(error)`` is always exactly one line.

    The line reads ``PATH: node 'NODE': MESSAGE; HINT``, where the parts that were not given are left out.

    Args:
        message: What is wrong, with the values that show it, without a full stop.
        path: The file or folder concerned.
        node: The name or id of the graph node concerned.
        hint: The way out, as an instruction ("bind it with --dim batch=1").
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        node: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = _one_line(message)
        self.path = None if path is None else os.fspath(path)
        self.node = node
        self.hint = None if hint is None else _one_line(hint)
        super().__init__(self._composed())

    def _composed(self) -> str:
        prefix = [] if self.path is None else [" ".join(self.path.splitlines())]
        if self.node is not None:
            prefix.append(f"node '{_one_line(self.node)}'")
        line = ": ".join([*prefix, self.message])
        return line if self.hint is None else f"{line}; {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields: the default would compose the line a second time in the receiving process."""
        fields = {"message": self.message, "path": self.path, "node": self.node, "hint": self.hint}
        return _rebuilt, (type(self), fields)


def _one_line(text: str) -> str:
    """Collapse every run of white space, line breaks included, to one space."""
    return " ".join(text.split())


def _rebuilt(kind: type[QuantscopeError], fields: dict[str, str | None]) -> QuantscopeError:
    """Inverse of :meth:`QuantscopeError.__reduce__`."""
    return kind(fields["message"] or "", path=fields["path"], node=fields["node"], hint=fields["hint"])


class ModelFileError(QuantscopeError):
    """A model file cannot be read, is damaged, or is refused (pickle, external data outside its folder)."""


class GraphError(QuantscopeError):
    """A readable model with an invalid graph: a cycle, an unknown operator, an unbound or clashing shape."""


class PlanError(QuantscopeError):
    """A precision request, calibration choice or fusion region that names nothing or cannot be honoured."""


class CalibrationError(QuantscopeError):
    """Calibration cannot give usable ranges: no samples, or NaN or infinity in weights or activations."""


class DataError(QuantscopeError):
    """Samples, labels or a recipe do not fit the model: wrong size, channels or names, an empty folder."""


class TargetError(QuantscopeError):
    """A target description that is unknown, malformed or outside its limits."""


class MeasurementError(QuantscopeError):
    """A table of measurements with missing, absurd or repeated rows, or one that no fit can be made from."""


class ProjectError(QuantscopeError):
    """A project file that is malformed, whose model changed or moved, or that cannot be written."""


class CompileError(QuantscopeError):
    """A model cannot be compiled for its target, or a compiled form breaks a rule that all of them keep."""


class ExportError(QuantscopeError):
    """The plan cannot be expressed in the requested format, or the output cannot be written."""


class PackageError(QuantscopeError):
    """A compiled package is damaged, of an unknown version, or is given inputs it does not declare."""


class ThirdPartyError(QuantscopeError):
    """A program that confirms our results refused what it was given, crashed, or took too long."""


class ThirdPartyMissingError(ThirdPartyError):
    """A program that could confirm our results is not installed; the hint is the command that installs it."""


class ExecutorError(QuantscopeError):
    """Who was to measure plans cannot: workers that die, a scheduler that is not there or loses its workers."""


class EngineCrash(QuantscopeError):  # noqa: N818 - an event that befell the process, not a wrong input
    """The engine process ended or broke its protocol; the project in the window is intact."""


class Cancelled(QuantscopeError):  # noqa: N818 - an event that the user asked for, not a wrong input
    """The user stopped the work; whatever was finished is kept."""

    def __init__(
        self,
        message: str = "cancelled",
        *,
        path: str | os.PathLike[str] | None = None,
        node: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=path, node=node, hint=hint)
