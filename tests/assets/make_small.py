"""Make the small sets from the full ones: `python -m tests.assets.make_small`.

The full sets come from `gmlib.data.folder()` in torchvision's layout or are downloaded there.
Debian's package dataset-fashion-mnist holds the same four files, to be unpacked into
FashionMNIST/raw.
"""

import numpy as np

from gmlib import data
from tests.assets import pack

PER_CLASS = {"train": 1_000, "test": 200}


def balanced(name: str, split: str) -> dict[str, np.ndarray]:
    """The first images of each class, in mixed order: `PER_CLASS[split]` of each."""
    images = data.load(name, split)
    labels = images.labels.cpu().numpy()
    first = [np.flatnonzero(labels == c)[: PER_CLASS[split]] for c in range(10)]
    order = np.random.default_rng(0).permutation(np.concatenate(first))
    return {
        f"{split}_pixels": images.pixels.cpu().numpy()[order],
        f"{split}_labels": labels[order].astype(np.uint8),
    }


if __name__ == "__main__":
    for name in ("fashion", "mnist"):
        path = data.ASSETS / f"{name}_small.npz"
        pack.save(path, **balanced(name, "train"), **balanced(name, "test"))
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
