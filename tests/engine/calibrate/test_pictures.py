"""From pictures to model inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.calibrate.pictures import normalise, prepare, read_picture
from engine.calibrate.recipe import Recipe
from engine.errors import DataError


def gradient(height: int, width: int) -> Image.Image:
    """Red grows with the row, green with the column, blue is 7."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)[None, :]
    pixels[..., 2] = 7
    return Image.fromarray(pixels)


def test_channel_order_layout_and_arithmetic() -> None:
    image = gradient(4, 6)
    size = (4, 6)
    rgb = prepare(image, Recipe(size=size, crop="none", mean=(1.0, 2.0, 3.0), scale=(2.0, 4.0, 8.0)))
    assert rgb.dtype == np.float32 and rgb.shape == (3, 4, 6) and rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb[0, :, 0], (np.arange(4) - 1) / 2)
    np.testing.assert_array_equal(rgb[1, 0], (np.arange(6) - 2) / 4)
    np.testing.assert_array_equal(rgb[2], np.full((4, 6), 0.5))
    bgr = prepare(image, Recipe(size=size, crop="none", channels="BGR"))
    assert bgr[0, 3, 5] == 7 and bgr[1, 3, 5] == 5 and bgr[2, 3, 5] == 3
    last = prepare(image, Recipe(size=size, crop="none", layout="NHWC"))
    np.testing.assert_array_equal(last[3, 5], [3, 5, 7])
    grey = prepare(image, Recipe(size=size, crop="none", channels="L"))
    assert grey.shape == (1, 4, 6)


def test_centre_crop_is_a_fraction_of_the_shorter_side_before_resizing() -> None:
    # 0.875 * 16 = 14 pixels: rows (16 - 14 + 1) // 2 = 1 .. 14, columns (20 - 14 + 1) // 2 = 3 .. 16
    prepared = prepare(gradient(16, 20), Recipe(size=14, crop_fraction=0.875, resample="nearest"))
    np.testing.assert_array_equal(prepared[0, :, 0], np.arange(1, 15))
    np.testing.assert_array_equal(prepared[1, 0], np.arange(3, 17))


def test_centre_crop_keeps_the_aspect_ratio_of_the_input() -> None:
    prepared = prepare(gradient(40, 40), Recipe(size=(10, 20), resample="nearest"))
    assert prepared.shape == (3, 10, 20)
    assert prepared[0].min() >= 10 and prepared[0].max() < 30  # the middle 20 rows
    assert prepared[1].min() <= 1 and prepared[1].max() >= 38  # all columns


def test_letterbox_pads_with_the_mean() -> None:
    prepared = prepare(gradient(10, 20), Recipe(size=20, crop="letterbox", mean=100.0))
    assert not prepared[:, :5].any() and not prepared[:, 15:].any()
    np.testing.assert_array_equal(prepared[0, 5:15, 0], np.arange(10) - 100.0)


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_resampling_keeps_a_flat_picture_flat(resample: str) -> None:
    flat = Image.new("RGB", (37, 23), (10, 20, 30))
    prepared = prepare(flat, Recipe(size=11, resample=resample))  # type: ignore[arg-type]
    np.testing.assert_array_equal(prepared[:, 5, 5], [10, 20, 30])


def test_modes() -> None:
    recipe = Recipe(size=4, crop="none")
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"):
        assert prepare(gradient(4, 4).convert(mode), recipe).shape == (3, 4, 4), mode
    wide = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    np.testing.assert_array_equal(prepare(wide, Recipe(size=4, crop="none", channels="L")), 128)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to view
    gradient(4, 8).save(tmp_path / "turned.png", exif=exif)
    turned = read_picture(tmp_path / "turned.png")
    assert turned.size == (4, 8)
    assert turned.getpixel((0, 0))[0] == 3  # type: ignore[index]  # the lower left corner came to the upper left


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_unreadable_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is not a readable picture.*; replace the file or remove it") as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


def test_truncated_picture(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match="is not a readable picture"):
        read_picture(path)


def test_normalise_matches_prepare_for_pixels() -> None:
    for layout in ("NCHW", "NHWC"):
        recipe = Recipe(size=5, crop="none", layout=layout, mean=(1.0, 2.0, 3.0), scale=(4.0, 5.0, 6.0))  # type: ignore[arg-type]
        image = gradient(5, 5)
        pixels = np.asarray(image) if layout == "NHWC" else np.moveaxis(np.asarray(image), -1, 0)
        np.testing.assert_array_equal(normalise(pixels[None], recipe)[0], prepare(image, recipe))
