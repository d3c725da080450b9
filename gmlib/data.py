"""Images as one uint8 tensor on the device, batched there by index.

No worker processes and no Python per image: a batch is an `index_select`, then a cast. The full
sets lie in a folder of torchvision's layout (`GMLIB_DATA`, else `~/.cache/gmlib/data`).
"""

import os
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gmlib import profile

ASSETS = Path(__file__).parent / "assets"
CLASSES = {
    "fashion": tuple("T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot".split()),
    "mnist": tuple("0123456789"),
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
}
FACE_ATTRIBUTES = tuple("glasses beard hair hair_colour skin mouth gaze clothes_colour".split())
SHIPPED = ("fashion_small", "mnist_small", "faces", "lines")
DOWNLOADED = {  # torchvision's class, the folder it makes, how many images it has
    "fashion": ("FashionMNIST", "FashionMNIST", {"train": 60_000, "test": 10_000}),
    "mnist": ("MNIST", "MNIST", {"train": 60_000, "test": 10_000}),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", {"train": 50_000, "test": 10_000}),
    "celeba": ("CelebA", "celeba", {"train": 162_770, "test": 19_962}),
}
NAMES = (*SHIPPED, *DOWNLOADED)


class Images(NamedTuple):
    """A set of images and what is known of each."""

    pixels: Tensor  # uint8 (N, C, H, W), 0 to 255
    labels: Tensor  # int64 (N,), or (N, A) where an image has A attributes
    classes: tuple[str, ...]  # the name of each label, or of each attribute


def folder() -> Path:
    """Where the full data sets are, in torchvision's layout."""
    return Path(os.environ.get("GMLIB_DATA") or Path.home() / ".cache" / "gmlib" / "data")


def load(name: str, split: str = "train", count: int | None = None) -> Images:
    """The images of a data set, on the device of this run.

    Args:
        name: these ship with the package: "fashion_small" and "mnist_small" (10,000 + 2,000
            images of 28×28, ten balanced classes), "faces" (32×32 RGB; rows 2i and 2i+1 are one
            face without and with glasses), "lines" (32×32; channel 0 is the line drawing, 1 to 3
            the coloured picture). torchvision brings "fashion", "mnist", "cifar10", "celeba".
        split: "train" or "test".
        count: only the first `count` images; the shipped sets are in mixed order.

    Raises:
        ValueError: unknown name or split, or more images asked for than there are.
        RuntimeError: a download failed, or a file is damaged; says which and what to do.
    """
    if name not in NAMES:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(NAMES)}")
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    images = _shipped(name, split) if name in SHIPPED else _from_torchvision(name, split)
    if count is not None:
        if not 0 < count <= len(images.pixels):
            raise ValueError(f"{name} ({split}) has {len(images.pixels)} images, not {count}")
        images = images._replace(pixels=images.pixels[:count], labels=images.labels[:count])
    device = profile.device()
    return images._replace(pixels=images.pixels.to(device), labels=images.labels.to(device))


@lru_cache
def asset(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file that ships with gmlib, read once: do not change them.

    Raises:
        RuntimeError: the file is missing or damaged.
    """
    path = ASSETS / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:
        raise RuntimeError(
            f"{path} can not be read ({type(error).__name__}: {error}); "
            "it ships with gmlib: restore it with `git checkout` or install gmlib again"
        ) from error


def _shipped(name: str, split: str) -> Images:
    arrays = asset(name)
    if name in ("fashion_small", "mnist_small"):
        classes = CLASSES[name.removesuffix("_small")]
        pixels, labels = arrays[f"{split}_pixels"], arrays[f"{split}_labels"]
    else:
        chosen = arrays["test"] == (split == "test")
        if name == "faces":
            classes = FACE_ATTRIBUTES
            pixels = arrays["image"].repeat(2, axis=2).repeat(2, axis=3)
            labels = np.stack([arrays[attribute] for attribute in classes], axis=1)
        else:
            classes = tuple(arrays["group_names"].tolist())
            pixels = np.concatenate([arrays["line"], arrays["colour"]], axis=1)
            labels = arrays["group"]
        pixels, labels = pixels[chosen], labels[chosen]
    return Images(torch.tensor(pixels), torch.tensor(labels).long(), classes)


@lru_cache
def _torchvision_set(name: str, split: str, root: Path):
    """torchvision's own data set, downloaded whole or not at all."""
    import torchvision

    kind = getattr(torchvision.datasets, DOWNLOADED[name][0])
    part = {"split": split} if name == "celeba" else {"train": split == "train"}
    if not (root / DOWNLOADED[name][1]).exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as partial:
            kind(partial, download=True, **part)
            for made in Path(partial).iterdir():
                os.replace(made, root / made.name)
    return kind(root, download=False, **part)


def _from_torchvision(name: str, split: str) -> Images:
    kind, made, counts = DOWNLOADED[name]
    root = folder()
    try:
        dataset = _torchvision_set(name, split, root)
        if name == "celeba":
            return _celeba(dataset)
        pixels = torch.as_tensor(dataset.data)
        labels = torch.as_tensor(dataset.targets)
        if not len(pixels) == len(labels) == counts[split]:
            found = f"{len(pixels)} images and {len(labels)} labels"
            raise ValueError(f"{split} holds {found}, expected {counts[split]}")
    except Exception as error:
        raise RuntimeError(
            f"{kind} could not be read from or downloaded to {root} "
            f"({type(error).__name__}: {error}). Put torchvision's copy there, or name the folder "
            f"that holds it in GMLIB_DATA; if {root / made} is there, a file in it is missing or "
            "damaged: delete it and try again. The sets that ship with the course need no "
            f"download: {', '.join(SHIPPED)}"
        ) from error
    pixels = pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return Images(pixels, labels.long(), CLASSES[name])


def _celeba(dataset) -> Images:
    """Aligned faces cropped to 128×128 about the centre and halved to 64×64."""
    from torchvision.transforms import functional as F

    crops = [F.resize(F.center_crop(image, 128), 64) for image, _ in dataset]
    pixels = torch.stack([F.pil_to_tensor(crop) for crop in crops])
    return Images(pixels, dataset.attr.long(), tuple(dataset.attr_names[: dataset.attr.shape[1]]))


def to_float(pixels: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """uint8 pixels of any shape as float32 between `low` and `high`; TypeError if not uint8."""
    _check_uint8(pixels)
    return pixels.float() * ((high - low) / 255) + low


def to_levels(pixels: Tensor, levels: int) -> Tensor:
    """uint8 pixels as int64 grey levels 0 … levels−1, equally wide.

    Raises:
        TypeError: `pixels` is not uint8.
        ValueError: `levels` is not between 2 and 256.
    """
    _check_uint8(pixels)
    if not 2 <= levels <= 256:
        raise ValueError(f"levels is {levels}; expected 2 to 256")
    return pixels.long() * levels // 256


def _check_uint8(pixels: Tensor) -> None:
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels are {pixels.dtype}; expected torch.uint8 (0 to 255)")


def binarise(pixels: Tensor, seed: int) -> Tensor:
    """Each uint8 pixel drawn once as 0 or 1 with probability pixel / 255; int64.

    This is the binarisation of Salakhutdinov and Murray (2008), with our own draw.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(pixels.shape, generator=generator).to(pixels.device)
    return (uniform < to_float(pixels)).long()


def batches(n: int, size: int, *, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Endless batches of indices below `n`: int64 (size,), on the device of this run.

    Each epoch visits every index once, in an order that `seed` and the epoch fix; the last,
    smaller batch of an epoch is left out. `start` skips that many batches, so a resumed run
    sees what it would have seen.

    Raises:
        ValueError: `n` is less than `size`, or `size` less than 1.
    """
    if not 1 <= size <= n:
        raise ValueError(f"a batch of {size} can not be drawn from {n} images")
    per_epoch = n // size
    epoch, skip = divmod(start, per_epoch)
    while True:
        generator = torch.Generator().manual_seed(hash((seed, epoch)) % 2**63)
        order = torch.randperm(n, generator=generator).to(profile.device())
        yield from order[: per_epoch * size].split(size)[skip:]
        epoch, skip = epoch + 1, 0
