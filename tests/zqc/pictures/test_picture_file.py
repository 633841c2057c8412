"""Pictures of every kind are read as RGB; what is none is told in one line."""

import logging
import os
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from zqc.errors import ImageError
from zqc.pictures.picture_file import picture_size, read_picture


def gradient(height: int, width: int) -> np.ndarray:
    """Return a picture whose three channels differ everywhere."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 3, columns * 2, rows + columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK"])
def test_every_kind_of_picture_reads_as_rgb(tmp_path, mode):
    """Grey, alpha, palette, bilevel and CMYK pictures become H x W x 3 bytes."""
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    assert np.array_equal(read_picture(path), np.full((4, 5, 3), 255, np.uint8))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled(tmp_path, suffix):
    """65535 becomes 255 and 257 becomes 1; the high byte is not cut to 8 bits."""
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(path)
    assert read_picture(path)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_the_exif_orientation_is_applied(tmp_path):
    """A picture that was stored turned is read upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(gradient(4, 6)).save(tmp_path / "x.png", exif=exif)
    upright = np.rot90(gradient(4, 6), k=-1)
    assert np.array_equal(read_picture(tmp_path / "x.png"), upright)


def test_the_size_is_that_of_the_pixels(tmp_path):
    """Width and height as they are read, turned by the EXIF orientation; no picture has none."""
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(gradient(4, 6))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        picture.save(path, exif=exif)
        assert picture_size(path) == read_picture(path).shape[1::-1]
    path.write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        picture_size(path)
    with pytest.raises(ImageError, match="does not exist"):
        picture_size(tmp_path / "b.jpg")


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_an_unreadable_picture_is_named(tmp_path, content):
    """Empty, foreign and cut-off files raise ImageError with the file name."""
    path = tmp_path / "broken.png"
    if content is None:
        Image.fromarray(gradient(64, 64)).save(path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken\.png"):
        read_picture(path)


def test_a_float_picture_is_refused(tmp_path):
    """A TIFF of floats has no known white."""
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match="float"):
        read_picture(tmp_path / "x.tif")


def test_colours_of_cmyk_and_palettes(tmp_path):
    """Red stays red, in the CMYK of a JPEG and behind a palette with transparent entries."""
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    palette = red.quantize(4)
    palette.save(tmp_path / "x.png", transparency=bytes([0, 128, 255, 255]))
    for name in ("x.jpg", "x.png"):
        found = read_picture(tmp_path / name)[8, 8].astype(int)
        assert np.abs(found - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_several_pictures_in_one_file(tmp_path, suffix, caplog):
    """Of an animation the first picture is taken, which is said once."""
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("white", "black"))
    path = tmp_path / f"x.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert read_picture(path).min() > 250
    assert caplog.messages == [f"{path} holds 2 pictures, the first one is taken"]


def test_postscript_is_not_interpreted(tmp_path):
    """A file is what its content says, and programs that draw pictures are none."""
    path = tmp_path / "x.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n%%EOF\n")
    with pytest.raises(ImageError, match="not in a format that is read: BMP, GIF"):
        read_picture(path)


def test_a_bomb(tmp_path):
    """A small file of very many pixels is refused before it is decoded."""
    path = tmp_path / "x.png"
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    for read in (read_picture, picture_size):
        with pytest.raises(ImageError, match=r"x\.png has more than 179 million pixels"):
            read(path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe(tmp_path):
    """A pipe or a folder is refused and not waited for."""
    os.mkfifo(tmp_path / "x.png")
    for path in (tmp_path / "x.png", tmp_path):
        with pytest.raises(ImageError, match="is no picture, but a folder, a pipe"):
            read_picture(path)
