"""The forms without Qt: what is filled in, and why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gui.document.document import CalibrationSource

DEFAULT_SAMPLES = 64


@dataclass(frozen=True)
class SamplesForm:
    """Where samples come from. ``samples`` 0 means all; ``usual_split`` is taken where none is named. Pictures that are
    read as the calibration's were (not ``needs_recipe``) need no recipe of their own."""

    data: str = ""
    recipe: str = ""
    samples: int = DEFAULT_SAMPLES
    split: str = ""
    usual_split: str = "calibration"
    needs_recipe: bool = True

    @property
    def problem(self) -> str:
        """Why the form cannot be used yet; "" when it can."""
        if not self.data:
            return "Choose a folder of pictures or an .npz file"
        data = Path(self.data)
        if not data.exists():
            return f"There is no {self.data}"
        if data.is_file() and data.suffix.lower() != ".npz":
            return "Samples are a folder of pictures or an .npz file"
        if self.recipe and not Path(self.recipe).is_file():
            return f"There is no recipe {self.recipe}"
        if data.is_dir() and not self.recipe and self.needs_recipe:
            return "Pictures need a recipe: size, channels, mean and scale"
        return ""

    def source(self) -> CalibrationSource:
        return CalibrationSource(self.data, self.recipe or None, self.samples or None, self.split or None)


def suggested_recipe(data: str) -> str:
    """The one recipe that lies in or beside the data; "" where there is none or there are several."""
    path = Path(data)
    if not data or not path.exists():
        return ""
    folders = [path, path.parent] if path.is_dir() else [path.parent]
    for folder in folders:
        recipes = sorted(folder.glob("*.toml"))
        if len(recipes) == 1:
            return str(recipes[0])
    return ""
