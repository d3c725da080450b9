"""Time batches of images: `python tests/benchmarks/batches.py [--quick]`.

An epoch of Fashion-MNIST's small set in batches of 128, in another order each time, as floats from
−1 to 1 and labels. Ours is what the labs do: one uint8 tensor, indices from gmlib.data, and
`to_float`. The peers read the same images: torchvision's own FashionMNIST through a DataLoader with
the transforms that its tutorials use, with no worker and with two; and a DataLoader over a
TensorDataset of ready floats. All stays on the processor.
"""

import argparse
import itertools
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pairs
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, transforms

from gmlib import data

BATCH = 128
REPEATS, QUICK = 9, 2
Batches = Iterable[tuple[Tensor, Tensor]]


def ours(images: data.Images, epoch: int = 0) -> Batches:
    """An epoch as the labs draw it."""
    per_epoch = len(images.pixels) // BATCH
    order = data.batches(len(images.pixels), BATCH, seed=0, start=epoch * per_epoch)
    for index in itertools.islice(order, per_epoch):
        pixels = images.pixels.index_select(0, index)
        yield data.to_float(pixels, -1, 1), images.labels.index_select(0, index)


def write_idx(values: Tensor, path: Path) -> None:
    """A uint8 tensor in the format of MNIST's files."""
    header = struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
    path.write_bytes(header + values.numpy().tobytes())


def torchvision_set(images: data.Images, root: Path) -> datasets.FashionMNIST:
    """The same images as torchvision reads them."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        write_idx(images.pixels[:, 0], raw / f"{split}-images-idx3-ubyte")
        write_idx(images.labels.byte(), raw / f"{split}-labels-idx1-ubyte")
    usual = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    return datasets.FashionMNIST(str(root), train=True, download=False, transform=usual)


def loader(dataset: object, workers: int = 0) -> DataLoader:
    return DataLoader(
        dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip


def held(batches: Batches) -> Counter:
    """The images of an epoch with their labels, in no order, as whole grey levels."""
    found: Counter = Counter()
    for x, y in batches:
        levels = ((x.flatten(1) + 1) * 127.5).round().byte().numpy()
        found.update((row.tobytes(), int(label)) for row, label in zip(levels, y, strict=True))
    return found


def compare(quick: bool = False) -> list[pairs.Row]:
    """A row for each peer."""
    images = data.load("fashion_small", count=(10 if quick else 78) * BATCH)  # whole batches
    images = data.Images(images.pixels.cpu(), images.labels.cpu(), images.classes)
    floats = TensorDataset(data.to_float(images.pixels, -1, 1), images.labels)
    torch_name = f"torch {version('torch').partition('+')[0]}"
    vision_name = f"torchvision {version('torchvision').partition('+')[0]}"
    with tempfile.TemporaryDirectory() as folder:
        read = torchvision_set(images, Path(folder))
        peers = {
            f"{vision_name}, ToTensor and Normalize, no workers": loader(read),
            f"{vision_name}, ToTensor and Normalize, 2 workers": loader(read, 2),
            f"{torch_name}, DataLoader of a TensorDataset": loader(floats),
        }
        rows = []
        for name, batches in peers.items():
            if held(ours(images)) != held(batches):
                raise SystemExit(f"{name} draws other images: there is nothing to compare")
            times = pairs.in_turns(
                lambda: drain(ours(images)),
                lambda batches=batches: drain(batches),
                QUICK if quick else REPEATS,
            )
            scaled = ([1e3 * t / (len(images.pixels) // BATCH) for t in each] for each in times)
            rows.append(pairs.row(f"a batch of {BATCH} images", name, "ms", *scaled))
    return rows


def drain(batches: Batches) -> None:
    for _ in batches:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, two repeats")
    print(pairs.text(compare(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
