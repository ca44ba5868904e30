"""Recipe files: reading, writing, and what is said about malformed ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import toml_io
from engine.calibrate.recipe import Recipe, dump_recipe, load_recipe
from engine.errors import DataError

ISSUE_RECIPE = """\
[input]                  # how a picture becomes the model's input
size = 224               # or [height, width]
crop = "center"          # or "none", "letterbox"
crop_fraction = 0.875    # of the shorter side, before resizing
resample = "bicubic"
channels = "RGB"         # or "BGR", "L"
layout = "NCHW"
mean = [127.0, 127.0, 127.0]
scale = [128.0, 128.0, 128.0]   # (x - mean) / scale
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_documented_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, ISSUE_RECIPE))
    assert (recipe.height, recipe.width, recipe.channel_count) == (224, 224, 3)
    assert recipe.channel_means == (127.0,) * 3
    assert recipe.sample_shape == (3, 224, 224)


def test_height_comes_before_width(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, '[input]\nsize = [48, 320]\nlayout = "NHWC"\nchannels = "L"\n'))
    assert recipe.sample_shape == (48, 320, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[input]\nsize = 224\ncrop = 'middle'", "key 'input.crop': invalid enum value 'middle', expected one of"),
        ("[input]\nsize = '224'", "key 'input.size': expected `int | array`, got `str`"),
        ("[input]\nsize = 0", "size is 0, expected a side in pixels or [height, width], each 1..65535"),
        ("[input]\nsize = [1, 2, 3]", "size is [1, 2, 3], expected a side in pixels"),
        ("[input]\ncrop = 'none'", "key 'input': object missing required field `size`"),
        ("[input]\nsize = 8\nmeen = 1", "key 'input': object contains unknown field `meen`, expected size, crop"),
        ("[input]\nsize = 8\nmean = [1, 2]", "mean has 2 numbers, expected 1 or 3 numbers for channels = 'RGB'"),
        ("[input]\nsize = 8\nscale = [1, 0, 1]", "scale divides and must not be 0"),
        ("[input]\nsize = 8\nmean = nan", "mean must be finite"),
        ("[input]\nsize = 8\ncrop_fraction = 1.5", "key 'input.crop_fraction': expected `float` <= 1.0"),
        ("[input\nsize = 8", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1"),
        ("", "object missing required field `input`"),
    ],
)
def test_malformed(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_recipe(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        load_recipe(tmp_path / "b.toml")


number = st.floats(-1e6, 1e6, allow_subnormal=False)
nonzero = number.filter(lambda value: value != 0)
side = st.integers(1, 4096)


@given(
    recipe=st.builds(
        Recipe,
        size=st.one_of(side, st.tuples(side, side)),
        crop=st.sampled_from(["center", "none", "letterbox"]),
        crop_fraction=st.floats(0.01, 1.0),
        resample=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
        channels=st.sampled_from(["RGB", "BGR"]),
        layout=st.sampled_from(["NCHW", "NHWC"]),
        mean=st.one_of(number, st.tuples(number, number, number)),
        scale=st.one_of(nonzero, st.tuples(nonzero, nonzero, nonzero)),
    )
)
def test_round_trip(recipe: Recipe) -> None:
    tables = toml_io.parse(dump_recipe(recipe), Path("r.toml"), DataError)
    again = toml_io.convert(tables["input"], Recipe, Path("r.toml"), DataError)
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


def test_fingerprint_is_of_the_meaning() -> None:
    plain = Recipe(size=8, crop="none", mean=1.0)
    assert plain.fingerprint == Recipe(size=(8, 8), crop="none", mean=(1.0,) * 3, crop_fraction=0.5).fingerprint
    assert plain.fingerprint != Recipe(size=8, crop="none", mean=2.0).fingerprint
    assert Recipe(size=8, crop_fraction=0.5).fingerprint != Recipe(size=8).fingerprint
