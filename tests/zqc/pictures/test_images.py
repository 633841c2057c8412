"""Pictures become input tensors and back."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zqc.errors import ImageError, OptionError, OutputError
from zqc.pictures.images import (
    fit,
    holds_tensors,
    open_images,
    write_pngs,
    write_tensors,
)
from zqc.pictures.input_format import InputFormat

IMAGENET = InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def gradient(height: int, width: int) -> np.ndarray:
    """Return a picture whose three channels differ everywhere."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 3, columns * 2, rows + columns], axis=-1).astype(np.uint8)


def open_small(path: Path, **options: object):
    """Open as 3 x 8 x 8 with values 0…1, unless the options say otherwise."""
    defaults = {"channels": 3, "height": 8, "width": 8, "input_format": InputFormat()}
    return open_images(path, **{**defaults, **options})


@given(
    size=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    target=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    mode=st.sampled_from(["letterbox", "letterbox-top-left", "stretch"]),
)
def test_the_placement_maps_the_picture_onto_the_input(size, target, mode):
    """Corner 0,0 and corner w,h of the picture land on the borders of what is not padding."""
    (h, w), (height, width) = size, target
    fitted, placed = fit(np.full((h, w, 3), 200, np.uint8), height, width, mode)
    assert fitted.shape == (height, width, 3)
    filled = np.argwhere(fitted[:, :, 0] == 200)
    assert tuple(filled.min(axis=0)) == (placed.top, placed.left)
    bottom, right = filled.max(axis=0) + 1
    assert right == pytest.approx(placed.left + w * placed.scale_x)
    assert bottom == pytest.approx(placed.top + h * placed.scale_y)
    x1, y1, x2, y2 = placed.window(height, width)  # whose corners land on those of the input
    scale, corner = np.array([placed.scale_x, placed.scale_y]), (placed.left, placed.top)
    corners = np.array([[x1, y1], [x2, y2]]) * scale + corner
    assert corners == pytest.approx(np.array([[0, 0], [width, height]]), abs=1e-9)
    padding = fitted[(fitted != 200).any(axis=2)]
    assert (padding == 114).all()
    assert mode != "stretch" or not len(padding)
    assert mode == "letterbox" or (placed.left, placed.top) == (0, 0)


def test_shrinking_is_antialiased():
    """A checkerboard of single pixels becomes even grey, not a pattern of black and white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    small, _ = fit(board.repeat(3, axis=2), 8, 8, "stretch")
    assert np.abs(small.astype(int) - 127).max() <= 3


def test_an_unknown_fit_mode_is_refused():
    """A misspelt mode raises instead of doing something else."""
    with pytest.raises(OptionError, match="letterbox, letterbox-top-left, stretch"):
        fit(gradient(8, 8), 8, 8, "letterboxed")


def test_a_folder_is_read_in_batches_and_more_than_once(tmp_path):
    """Pictures come sorted by name, in batches, identically on a second reading."""
    for name in ("b.jpg", "a.png", "c.BMP"):
        Image.fromarray(gradient(8, 8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    images = open_small(tmp_path)
    assert images.names == ("a.png", "b.jpg", "c.BMP")
    assert len(images) == 3
    assert images.source == f"3 pictures from {tmp_path}"
    first, second = (list(images.batches(2)) for _ in range(2))
    assert [b.shape for b in first] == [(2, 3, 8, 8), (1, 3, 8, 8)]
    assert all(b.dtype == np.float32 for b in first)
    assert all(np.array_equal(x, y) for x, y in zip(first, second, strict=True))
    np.testing.assert_array_equal(first[0][0], InputFormat().to_tensor(gradient(8, 8)))


def test_the_limit_keeps_the_first_pictures(tmp_path):
    """A limit takes the first names; a limit below 1 is refused."""
    write_pngs(tmp_path, np.zeros((3, 3, 8, 8), np.float32), InputFormat())
    assert open_small(tmp_path, limit=2).names == ("000.png", "001.png")
    with pytest.raises(OptionError, match="limit"):
        open_small(tmp_path, limit=0)


def test_a_single_picture_is_a_set_of_one(tmp_path):
    """A file may stand in the place of a folder."""
    Image.fromarray(gradient(4, 8)).save(tmp_path / "x.png")
    images = open_small(tmp_path / "x.png")
    assert images.source == f"1 picture from {tmp_path / 'x.png'}"
    [(tensors, (placement,))] = images.placed_batches(4)
    assert tensors.shape == (1, 3, 8, 8)
    assert (placement.top, placement.width, placement.height) == (2, 8, 4)


def test_a_grey_model_gets_luminance(tmp_path):
    """With one channel, red counts 0.299, green 0.587 and blue 0.114."""
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "x.png")
    [tensor] = open_small(tmp_path, channels=1).batches(1)
    assert tensor.shape == (1, 1, 8, 8)
    assert tensor[0, 0, 0, 0] * 255 == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_ready_tensors_pass_unchanged(tmp_path, name):
    """Float arrays N,C,H,W are not scaled again, whatever the format says."""
    tensors = np.random.default_rng(0).normal(size=(5, 3, 8, 8))
    if name.endswith("npz"):
        np.savez(tmp_path / name, images=tensors)
    else:
        np.save(tmp_path / name, tensors)
    images = open_small(tmp_path / name, input_format=IMAGENET, limit=4)
    assert images.names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(
        np.concatenate(list(images.batches(3))), tensors[:4].astype(np.float32)
    )


@pytest.mark.parametrize("synthesised", [True, False])
def test_what_is_synthesised_is_known_again(tmp_path, synthesised):
    """The tensors are the same, and the set says where they came from."""
    tensors = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    write_tensors(tmp_path / "pictures.npz", tensors, synthesised=synthesised)
    pictures = open_small(tmp_path / "pictures.npz", height=4, width=5)
    assert pictures.synthesised == synthesised
    np.testing.assert_array_equal(next(pictures.batches(2)), tensors)


@pytest.mark.parametrize(("limit", "noise"), [(None, 3), (4, 2), (2, 0), (1, 0)])
def test_noise_beside_synthesised_pictures_is_known_again(tmp_path, limit, noise):
    """The last ones of the file are noise, as far as they are read; kinds come in this order."""
    tensors = np.random.default_rng(0).random((5, 3, 4, 5), np.float32)
    write_tensors(tmp_path / "pictures.npz", tensors, synthesised=True, noise=3)
    pictures = open_small(tmp_path / "pictures.npz", height=4, width=5, limit=limit)
    assert (pictures.synthesised, pictures.noise) == (True, noise)
    kinds = [np.concatenate([*kind.batches(2)]) for kind in pictures.kinds]
    assert [len(kind) for kind in kinds] == ([2, noise] if noise else [limit])
    np.testing.assert_array_equal(np.concatenate(kinds), tensors[:limit])


def test_the_array_of_the_input_goes_before_images_and_the_only_one(tmp_path):
    """Of several arrays the input's is taken, then ``images``; otherwise the choice is an error."""
    ones, twos = (np.full((1, 3, 8, 8), v, np.float32) for v in (1, 2))
    np.savez(tmp_path / "both.npz", images=ones, x=twos)
    np.savez(tmp_path / "other.npz", a=ones, b=twos)
    np.savez(tmp_path / "one.npz", a=ones)

    def first(name: str, input_name: str | None = None) -> float:
        return next(open_small(tmp_path / name, input_name=input_name).batches(1))[0, 0, 0, 0]

    assert first("both.npz", "x") == 2
    assert first("both.npz", "y") == 1
    assert first("one.npz") == 1
    with pytest.raises(ImageError, match="2 arrays"):
        first("other.npz")


def test_bytes_in_an_array_are_pixels(tmp_path):
    """A uint8 array N,H,W,3 is fitted and scaled as pictures are."""
    np.save(tmp_path / "x.npy", gradient(8, 8)[None])
    [tensor] = open_small(tmp_path / "x.npy").batches(1)
    np.testing.assert_array_equal(tensor[0], InputFormat().to_tensor(gradient(8, 8)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 8, 9)), "2 x 3 x 8 x 9; expected N x 3 x 8 x 8"),
        (np.zeros((3, 8, 8)), "expected N x 3 x 8 x 8"),
        (np.zeros((0, 3, 8, 8)), "0 x 3 x 8 x 8"),
        (np.float32(1), "expected N x 3 x 8 x 8"),
        (np.full((2, 3, 8, 8), np.nan), "tensor 0 .* NaN"),
        (np.zeros((2, 3, 8, 8), np.int32), "int32"),
        (np.zeros((2, 4, 8, 8), np.uint8), "N x H x W x 3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, array, message):
    """The message says what was expected and what was found."""
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ImageError, match=message):
        open_small(tmp_path / "x.npy")


def test_a_file_that_is_no_picture_is_not_counted(tmp_path):
    """Whatever its name says, it is refused before any of the others is read."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("none")
    assert len(open_small(tmp_path, limit=1)) == 1
    with pytest.raises(ImageError, match=r"b\.png as a picture"):
        open_small(tmp_path)


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_a_damaged_array_file_is_an_image_error(tmp_path, name):
    """Foreign bytes, pickles and archives of something else are translated."""
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(ImageError, match=name):
        open_small(path)
    np.save(tmp_path / "p.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "p.npy").rename(path) if name.endswith("npy") else _zip(path, tmp_path / "p.npy")
    with pytest.raises(ImageError, match=name):
        open_small(path)


def _zip(path: Path, member: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(member, "images.npy")


def test_nothing_to_read_is_an_image_error(tmp_path):
    """Missing paths and empty folders are named."""
    with pytest.raises(ImageError, match="does not exist"):
        open_small(tmp_path / "missing")
    with pytest.raises(ImageError, match="does not exist"):
        open_small(tmp_path / "missing.npz")
    with pytest.raises(ImageError, match="no pictures in"):
        open_small(tmp_path)


def test_pictures_cannot_feed_an_input_of_four_channels(tmp_path):
    """Other channel counts than 1 and 3 need ready tensors."""
    Image.fromarray(gradient(8, 8)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match="4 channels"):
        open_small(tmp_path, channels=4)


def test_written_pngs_read_back(tmp_path):
    """Tensors on the pixel grid survive PNG, in colour and in grey."""
    rng = np.random.default_rng(1)
    for channels in (1, 3):
        tensors = (rng.integers(0, 256, (2, channels, 8, 8)) / 255).astype(np.float32)
        files = write_pngs(tmp_path / str(channels), tensors, InputFormat())
        assert [f.name for f in files] == ["000.png", "001.png"]
        [back] = open_small(tmp_path / str(channels), channels=channels).batches(2)
        np.testing.assert_allclose(back, tensors, atol=1e-6)


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path):
    """A file in the place of the folder is reported."""
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OutputError, match="taken"):
        write_pngs(tmp_path / "taken", np.zeros((1, 3, 8, 8), np.float32), InputFormat())
    with pytest.raises(ImageError, match="4 channels"):
        write_pngs(tmp_path / "new", np.zeros((1, 4, 8, 8), np.float32), InputFormat())


def test_what_is_ready_already(tmp_path):
    """Float arrays are tensors; 8-bit arrays, pictures and folders are pixels."""
    np.savez(tmp_path / "float.npz", images=np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "pixels.npy", np.zeros((1, 8, 8, 3), np.uint8))
    assert holds_tensors(tmp_path / "float.npz")
    for name in ("pixels.npy", ".", "picture.png"):
        assert not holds_tensors(tmp_path / name)
    with pytest.raises(ImageError, match="does not exist"):
        holds_tensors(tmp_path / "none.npz")
