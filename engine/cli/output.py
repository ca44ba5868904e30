"""Tables, progress bars and JSON of the command line."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from engine.errors import ExportError
from engine.files import write_atomic


class Tell(Protocol):
    """How far something is."""

    def __call__(self, done: int, total: int, text: str = ..., /) -> None: ...


def write_json(path: Path | None, record: Any) -> None:
    """Write a record (struct, dict, list) as indented JSON; infinities become null. Nothing without a path.

    Raises:
        ExportError: The file cannot be written.
    """
    if path is not None:
        plain = _finite(msgspec.to_builtins(record))
        text = msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
        write_atomic(path, text + "\n", ExportError)


def _finite(value: Any) -> Any:
    """The value with None for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {key: _finite(item) for key, item in table.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[Any]", value)]
    return value


@contextmanager
def progress_bar(description: str) -> Generator[Tell]:
    """A progress bar on standard error (only where that is a terminal), fed with (done, total) and, where that changes,
    what is being done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None)


        def tell(done: int, total: int, text: str = description) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield tell


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> None:
    """A titled table on standard output; ``numeric`` columns are aligned to the right. Without rows, the title alone.

    Piped output is not cut to a width and has no trailing blanks.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(220, console.width))
    console.print(title, style="italic", markup=False, highlight=False, soft_wrap=True)
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def decibels(value: float | None, half_width: float | None = None) -> str:
    """A level with its confidence interval; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if half_width is None else f"{value:.1f} ±{half_width:.1f}"
