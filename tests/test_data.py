"""Images: the sets that ship, the full ones in torchvision's layout, pixels, and batches."""

import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from gmlib import data
from tests.assets import make_small

FULL = data.folder()  # of whoever runs the tests, before `alone` names another
COUNTS = {"train": 7, "test": 4}
PREFIX = {"train": "train", "test": "t10k"}

pytestmark = pytest.mark.usefixtures("alone")


# --- The sets that ship ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fashion_small", "mnist_small"])
@pytest.mark.parametrize(("split", "per_class"), [("train", 1_000), ("test", 200)])
def test_the_small_sets_are_balanced_and_mixed(name, split, per_class):
    images = data.load(name, split)
    assert images.pixels.shape == (10 * per_class, 1, 28, 28)
    assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert images.labels.bincount().tolist() == [per_class] * 10
    assert images.classes == data.CLASSES[name.removesuffix("_small")]
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert images.labels[:200].bincount(minlength=10).min() >= 5, "the order is not mixed"
    assert images.pixels.device.type == images.labels.device.type == "cpu"


@pytest.mark.parametrize("name", ["fashion_small", "mnist_small"])
def test_a_small_set_has_no_image_twice(name):
    both = torch.cat([data.load(name, split).pixels for split in ("train", "test")])
    assert len(set(map(bytes, both.flatten(1).numpy()))) == len(both)


def test_twins_among_the_faces_differ_in_the_glasses_only():
    splits = [data.load("faces", split) for split in ("train", "test")]
    drawn = data.asset("faces")
    assert [len(images.pixels) for images in splits] == [3_600, 400]
    for images, chosen in zip(splits, (~drawn["test"], drawn["test"]), strict=True):
        assert images.pixels.shape[1:] == (3, 32, 32)
        assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
        assert images.classes == data.FACE_ATTRIBUTES
        without, glasses = images.labels[0::2], images.labels[1::2]
        column = images.classes.index("glasses")
        assert (without[:, column] == 0).all() and (glasses[:, column] == 1).all()
        others = [i for i in range(len(images.classes)) if i != column]
        assert torch.equal(without[:, others], glasses[:, others])
        changed = (images.pixels[0::2] != images.pixels[1::2]).any(1)
        assert changed.any((1, 2)).all(), "a face looks the same with and without glasses"
        rows = changed.any((0, 2)).nonzero()
        assert rows.min() >= 8 and rows.max() <= 17, "not only the rows of the glasses change"
        native = images.pixels[:, :, ::2, ::2]
        assert np.array_equal(native, drawn["image"][chosen])
        doubled = native.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(images.pixels, doubled)
    everyone = torch.cat([images.pixels for images in splits]).flatten(1)
    assert len(set(map(bytes, everyone.numpy()))) == 4_000


def test_the_attributes_of_the_faces_are_balanced():
    labels = torch.cat([data.load("faces", split).labels for split in ("train", "test")])
    values = dict(zip(data.FACE_ATTRIBUTES, (2, 2, 2, 6, 3, 3, 3, 4), strict=True))
    for name, column in zip(data.FACE_ATTRIBUTES, labels.T, strict=True):
        counts = column.bincount()
        assert len(counts) == values[name]
        assert counts.max() - counts.min() <= 2, f"{name}: {counts.tolist()}"


def test_lines_are_pairs_of_a_drawing_and_its_colours():
    train, test = data.load("lines", "train"), data.load("lines", "test")
    drawn = data.asset("lines")
    assert len(train.pixels) + len(test.pixels) == 1_858
    assert 0.05 < len(test.pixels) / 1_858 < 0.2
    for images, chosen in ((train, ~drawn["test"]), (test, drawn["test"])):
        assert images.pixels.shape[1:] == (4, 32, 32) and images.pixels.dtype == torch.uint8
        assert np.array_equal(images.pixels[:, :1], drawn["line"][chosen])
        assert np.array_equal(images.pixels[:, 1:], drawn["colour"][chosen])
        assert np.array_equal(images.labels, drawn["group"][chosen])
        assert len(images.classes) == 11 and images.labels.max() < 11
        line, colour = images.pixels[:, :1].float(), images.pixels[:, 1:].float()
        # Ink lies where the picture is dark: a drawing is that of its own picture.
        ink, shade = 255 - line.flatten(1), 255 - colour.mean(1).flatten(1)
        own = (ink * shade).sum() / (ink.norm() * shade.norm())
        foreign = (ink * shade.roll(1, 0)).sum() / (ink.norm() * shade.norm())
        assert own > foreign + 0.2
        assert (colour[:, 0] != colour[:, 1]).flatten(1).any(1).float().mean() > 0.5
    known = set(map(bytes, train.pixels[:, 0].flatten(1).numpy()))
    assert not any(bytes(x) in known for x in test.pixels[:, 0].flatten(1).numpy())


def test_count_takes_the_first_images():
    whole, some = data.load("faces", "test"), data.load("faces", "test", 5)
    assert torch.equal(some.pixels, whole.pixels[:5])
    assert torch.equal(some.labels, whole.labels[:5])
    assert torch.equal(data.load("faces", "test", 400).pixels, whole.pixels)


@pytest.mark.parametrize("count", [0, -1, 401])
def test_a_count_that_can_not_be_given_is_refused(count):
    with pytest.raises(ValueError, match=re.escape(f"has 400 images, not {count}")):
        data.load("faces", "test", count)


def test_an_unknown_set_or_split_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"'fashon'; there are fashion_small, .*, celeba"):
        data.load("fashon")
    with pytest.raises(ValueError, match="'valid'; expected 'train' or 'test'"):
        data.load("faces", "valid")


@pytest.mark.parametrize("damage", ["truncated", "not an archive", "empty", "missing"])
def test_a_damaged_shipped_file_is_named_with_the_way_out(damage, tmp_path, monkeypatch):
    path = tmp_path / "faces.npz"
    shutil.copy(data.ASSETS / "faces.npz", path)
    monkeypatch.setattr(data, "ASSETS", tmp_path)
    data.asset.cache_clear()
    assert len(data.load("faces").pixels) == 3_600
    data.asset.cache_clear()
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = {"truncated": whole[: len(whole) // 2], "empty": b""}
        path.write_bytes(half.get(damage, b"<html>not found</html>"))
    with pytest.raises(RuntimeError, match="restore it with `git checkout`") as caught:
        data.load("faces")
    assert str(path) in str(caught.value)


def test_a_shipped_file_with_a_flipped_byte_is_noticed(tmp_path, monkeypatch):
    whole = bytearray((data.ASSETS / "faces.npz").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "faces.npz").write_bytes(whole)
    monkeypatch.setattr(data, "ASSETS", tmp_path)
    data.asset.cache_clear()
    with pytest.raises(RuntimeError, match="can not be read"):
        data.load("faces")


# --- The full sets --------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 `array` as idx: two zeros, the type 8, how many sizes, the sizes, the bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def write_fashion(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A Fashion-MNIST of a few images in torchvision's layout; its pixels and labels by split."""
    random, made = np.random.default_rng(0), {}
    for split, n in COUNTS.items():
        pixels = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, n, dtype=np.uint8)
        raw = root / "FashionMNIST" / "raw"
        write_idx(raw / f"{PREFIX[split]}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{PREFIX[split]}-labels-idx1-ubyte", labels)
        made[split] = pixels, labels
    return made


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for full sets; Fashion-MNIST has few images, and no download goes out."""

    def no_network(self) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setenv("GMLIB_DATA", str(tmp_path / "sets"))
    monkeypatch.setitem(data.DOWNLOADED, "fashion", (*data.DOWNLOADED["fashion"][:2], COUNTS))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", no_network)
    data._torchvision_set.cache_clear()
    return tmp_path / "sets"


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("split", COUNTS)
def test_a_full_set_is_read_from_torchvisions_layout(split, root):
    pixels, labels = write_fashion(root)[split]
    images = data.load("fashion", split)
    assert images.pixels.shape == (COUNTS[split], 1, 28, 28)
    assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert np.array_equal(images.pixels[:, 0], pixels) and np.array_equal(images.labels, labels)
    assert images.classes == data.CLASSES["fashion"]
    assert np.array_equal(data.load("fashion", split, 2).pixels[:, 0], pixels[:2])


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("left", [0, 3, 10, -1])
def test_a_truncated_file_of_a_full_set_is_reported_and_left_alone(kind, left, root):
    write_fashion(root)
    path = root / "FashionMNIST" / "raw" / f"train-{kind}-ubyte"
    path.write_bytes(path.read_bytes()[:left])
    before = files(root), path.read_bytes()
    with pytest.raises(RuntimeError) as caught:
        data.load("fashion")
    message = str(caught.value)
    assert str(root / "FashionMNIST") in message and "delete" in message
    assert "GMLIB_DATA" in message and "fashion_small" in message
    assert "Error downloading" not in message, "a damaged file is no reason to download"
    assert (files(root), path.read_bytes()) == before


def test_a_missing_file_of_a_full_set_is_reported(root):
    write_fashion(root)
    (root / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(RuntimeError, match="missing or damaged: delete it"):
        data.load("fashion")


@pytest.mark.parametrize("short", ["images", "labels"])
def test_a_full_set_of_another_size_is_refused(short, root):
    write_fashion(root)
    raw = root / "FashionMNIST" / "raw"
    if short == "images":
        write_idx(raw / "train-images-idx3-ubyte", np.zeros((6, 28, 28), np.uint8))
    else:
        write_idx(raw / "train-labels-idx1-ubyte", np.zeros(6, np.uint8))
    found = "6 images and 7 labels" if short == "images" else "7 images and 6 labels"
    with pytest.raises(RuntimeError, match=f"{found}, expected 7.*delete it") as caught:
        data.load("fashion")
    assert str(root / "FashionMNIST") in str(caught.value)


@pytest.mark.parametrize("end", [RuntimeError("Error downloading t10k"), KeyboardInterrupt()])
def test_a_failed_download_leaves_no_half_file(end, root, monkeypatch):
    def half(self) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        Path(self.raw_folder, "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03half")
        raise end

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", half)
    expected = RuntimeError if isinstance(end, RuntimeError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        data.load("fashion")
    assert files(root) == []
    if expected is RuntimeError:
        for part in ("FashionMNIST", str(root), "Error downloading t10k", "GMLIB_DATA", "faces"):
            assert part in str(caught.value)

    monkeypatch.setattr(
        torchvision.datasets.FashionMNIST, "download", lambda self: write_fashion(Path(self.root))
    )
    assert len(data.load("fashion").pixels) == 7, "the next try is not stopped by the failed one"
    assert len(data.load("fashion", "test").pixels) == 4
    assert [p.name for p in root.iterdir()] == ["FashionMNIST"]


def test_a_whole_set_is_not_downloaded_again(root):
    write_fashion(root)
    data.load("fashion")
    data.load("fashion", "test")  # the download of `root` would raise


def test_a_set_of_colour_images_gets_channels_first(root, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    class Cifar:
        data, targets = pixels, [3, 1, 4, 1, 5]

        def __init__(self, folder: Path, train: bool, download: bool) -> None:
            assert (folder, train, download) == (root, False, False)

    (root / "cifar-10-batches-py").mkdir(parents=True)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Cifar)
    monkeypatch.setitem(data.DOWNLOADED, "cifar10", (*data.DOWNLOADED["cifar10"][:2], {"test": 5}))
    images = data.load("cifar10", "test")
    assert images.pixels.shape == (5, 3, 32, 32) and images.pixels.is_contiguous()
    for channel in range(3):
        assert np.array_equal(images.pixels[:, channel], pixels[..., channel])
    assert images.labels.tolist() == [3, 1, 4, 1, 5] and images.classes[3] == "cat"


def test_faces_of_celeba_are_cropped_about_the_centre_and_halved(root, monkeypatch):
    outside = np.zeros((218, 178, 3), np.uint8)  # CelebA's own size
    outside[45:173, 25:153] = [200, 100, 50]
    outside[45:109, 25:89] = [10, 20, 30]  # the upper left quarter of the crop

    class CelebA:
        attr, attr_names = torch.tensor([[0, 1], [1, 1]]), ["Bald", "Smiling", ""]

        def __init__(self, folder: Path, split: str, download: bool) -> None:
            assert (folder, split, download) == (root, "train", False)

        def __iter__(self) -> Iterator[tuple[Image.Image, Tensor]]:
            return iter([(Image.fromarray(outside), row) for row in self.attr])

    (root / "celeba").mkdir(parents=True)
    monkeypatch.setattr(torchvision.datasets, "CelebA", CelebA)
    images = data.load("celeba")
    assert images.pixels.shape == (2, 3, 64, 64) and images.pixels.dtype == torch.uint8
    assert images.pixels[0, :, :31, :31].flatten(1).unique(dim=1).tolist() == [[10], [20], [30]]
    assert images.pixels[0, :, 33:, 33:].flatten(1).unique(dim=1).tolist() == [[200], [100], [50]]
    assert images.labels.tolist() == [[0, 1], [1, 1]] and images.classes == ("Bald", "Smiling")


@pytest.mark.parametrize("name", ["cifar10", "celeba"])
def test_a_damaged_archive_is_named_by_the_folder_that_torchvision_makes(name, root):
    made = root / {"cifar10": "cifar-10-batches-py", "celeba": "celeba"}[name]
    made.mkdir(parents=True)
    (made / "test_batch").write_bytes(b"half")
    with pytest.raises(RuntimeError, match="not found or corrupted") as caught:
        data.load(name, "test")
    assert f"if {made} is there" in str(caught.value)


@pytest.mark.parametrize("name", ["fashion", "mnist"])
def test_the_small_set_is_the_beginning_of_each_class_of_the_full_one(name, monkeypatch):
    if not (FULL / data.DOWNLOADED[name][1] / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip(f"the full set of {name} is not in {FULL}; name its folder in GMLIB_DATA")
    monkeypatch.setenv("GMLIB_DATA", str(FULL))
    data._torchvision_set.cache_clear()
    shipped = data.asset(f"{name}_small")
    for split, count in (("train", 60_000), ("test", 10_000)):
        assert data.load(name, split).pixels.shape == (count, 1, 28, 28)
        for key, values in make_small.balanced(name, split).items():
            assert np.array_equal(values, shipped[key]), f"{key} was made from other images"


# --- Pixels ---------------------------------------------------------------------------------

GREYS = torch.arange(256, dtype=torch.uint8)


def test_levels_are_equally_wide_and_in_order():
    for levels in range(2, 257):
        found = data.to_levels(GREYS, levels)
        assert found.dtype == torch.int64
        assert found.tolist() == [p * levels // 256 for p in range(256)]
        widths = found.bincount(minlength=levels)
        assert len(widths) == levels and widths.max() - widths.min() <= 1
    assert data.to_levels(GREYS.view(4, 1, 8, 8), 8).shape == (4, 1, 8, 8)


def test_float_pixels_run_from_low_to_high():
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (2.0, 5.0)):
        found = data.to_float(GREYS, low, high)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.linspace(low, high, 256))
        assert (found[0], found[-1]) == (low, high)
    assert torch.equal(data.to_float(GREYS), data.to_float(GREYS, 0, 1))
    assert data.to_float(GREYS.view(4, 1, 8, 8)).shape == (4, 1, 8, 8)


def test_binary_pixels_are_one_with_the_probability_of_their_grey():
    pixels = GREYS.repeat(4_000, 1)
    state = torch.get_rng_state()
    found = data.binarise(pixels, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert found.dtype == torch.int64 and found.unique().tolist() == [0, 1]
    p = torch.arange(256).double() / 255
    error = (found.double().mean(0) - p).abs() / (p * (1 - p) / 4_000).sqrt().clamp(min=1e-9)
    assert error.max() < 5, "a share of ones is five standard errors away"
    assert torch.equal(found, data.binarise(pixels, seed=1))
    assert not torch.equal(found, data.binarise(pixels, seed=2))


def test_a_black_pixel_is_never_one(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.zeros(shape))
    assert data.binarise(GREYS[:2], seed=0).tolist() == [0, 1]


def test_pixels_of_another_type_are_refused():
    for change in (data.to_float, lambda x: data.to_levels(x, 8), lambda x: data.binarise(x, 0)):
        for wrong in (torch.rand(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.int64)):
            with pytest.raises(TypeError, match=f"pixels are {wrong.dtype}; expected torch.uint8"):
                change(wrong)


@pytest.mark.parametrize("levels", [-1, 0, 1, 257])
def test_a_number_of_levels_out_of_range_is_refused(levels):
    with pytest.raises(ValueError, match=f"levels is {levels}; expected 2 to 256"):
        data.to_levels(GREYS, levels)


# --- Batches --------------------------------------------------------------------------------


def first(n: int, size: int, count: int, **options: int) -> list[list[int]]:
    return [b.tolist() for b in islice(data.batches(n, size, **options), count)]


@pytest.mark.parametrize(("n", "size"), [(12, 4), (12, 12), (13, 4), (5, 1)])
def test_each_epoch_visits_every_index_once(n, size):
    per_epoch = n // size
    found = first(n, size, 3 * per_epoch, seed=0)
    epochs = [sum(found[i * per_epoch : (i + 1) * per_epoch], []) for i in range(3)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == per_epoch * size
        assert set(epoch) <= set(range(n))
    assert epochs[0] != epochs[1] != epochs[2] or n == size == 1
    assert all(len(batch) == size for batch in found)


def test_what_an_epoch_leaves_out_changes():
    left = [set(range(13)) - set(sum(first(13, 4, 3, seed=0, start=3 * e), [])) for e in range(20)]
    assert all(len(indices) == 1 for indices in left)
    assert len(set.union(*left)) > 5


@pytest.mark.parametrize("start", range(9))
def test_a_resumed_run_sees_what_it_would_have_seen(start):
    assert first(13, 4, 4, seed=5, start=start) == first(13, 4, start + 4, seed=5)[start:]


def test_the_seed_alone_fixes_the_order():
    state = torch.get_rng_state()
    found = first(50, 5, 20, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert first(50, 5, 20, seed=3) == found != first(50, 5, 20, seed=4)
    assert found[10:] != first(50, 5, 10, seed=4), "another seed is a later epoch"
    assert next(data.batches(50, 5, seed=3)).dtype == torch.int64


@pytest.mark.parametrize(("n", "size"), [(3, 4), (0, 1), (5, 0), (5, -1)])
def test_a_batch_that_can_not_be_drawn_is_refused(n, size):
    with pytest.raises(ValueError, match=f"a batch of {size} can not be drawn from {n} images"):
        next(data.batches(n, size, seed=0))
