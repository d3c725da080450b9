"""Train the classifiers that ship with gmlib: `python -m tests.assets.make_classifier`.

On the full training sets of Fashion-MNIST and MNIST (see make_small.py); about ten minutes on
two CPU cores. Prints the accuracy on the full test sets and refuses to write a worse model.
"""

import os

import torch
from torch import Tensor
from torch.nn import functional as F

from gmlib import data, scores, train
from tests.assets import pack

LEAST = {"fashion": 0.91, "mnist": 0.99}
STEPS = 3_500


def loss(model: scores.Classifier, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Cross-entropy with a shift of up to two pixels, one shift a batch."""
    dy, dx = torch.randint(-2, 3, (2,)).tolist()
    pixels = pixels.roll((dy, dx), (2, 3))
    return {"loss": F.cross_entropy(model(pixels), labels, label_smoothing=0.05)}


if __name__ == "__main__":
    os.environ["GMLIB_PROFILE"] = "quick"
    for name, least in LEAST.items():
        torch.manual_seed(0)
        model = scores.Classifier()
        images = data.load(name)
        train.fit(
            model, loss, (images.pixels, images.labels), steps=STEPS, lr=3e-3,
            checkpoint=f"classifier_{name}",
        )  # fmt: skip
        model.eval()
        accuracy = scores.accuracy(model, data.load(name, "test"))
        print(f"{name}: {accuracy:.2%} of the full test set")
        if accuracy < least:
            raise SystemExit(f"expected at least {least:.0%}; the model is not written")
        weights = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
        pack.save(data.ASSETS / f"classifier_{name}.npz", **weights)
