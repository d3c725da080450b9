"""Inception Score, Fréchet and kernel distances between sets of images, by torchmetrics.

The features are those of Inception v3 or of the course's own small classifiers. A score on the
latter has `course` in its name: it is not the FID of the papers, nor to be set beside it.
"""

import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import data, profile

FEATURES = 128
MIN_SAMPLES = 2 * FEATURES  # fewer give a covariance that says little about 128 features
CLASSIFIERS = ("fashion", "mnist")
CHUNK = 500


class Classifier(nn.Module):
    """The course's classifier: three convolutions, 128 features, ten classes.

    The features are the rectified activations before the last linear layer.
    """

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
            return [*layers, nn.ReLU(), nn.MaxPool2d(2)]

        self.body = nn.Sequential(
            *block(1, 32), *block(32, 64), *block(64, 128), nn.Flatten(), nn.Linear(1152, FEATURES)
        )
        self.head = nn.Linear(FEATURES, 10)

    def features(self, pixels: Tensor) -> Tensor:
        """(N, 1, 28, 28) uint8 → (N, 128) float32, not negative."""
        return F.relu(self.body(data.to_float(pixels, -1, 1)))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 1, 28, 28) uint8 → (N, 10) float32 logits."""
        return self.head(self.features(pixels))


@lru_cache
def classifier(name: str) -> Classifier:
    """The trained classifier of "fashion" or "mnist", frozen; ValueError for any other name.

    `python -m tests.assets.make_classifier` trains both on the full training sets.
    """
    if name not in CLASSIFIERS:
        raise ValueError(f"no classifier is called {name!r}; there are {', '.join(CLASSIFIERS)}")
    with torch.random.fork_rng():  # the weights that are drawn here are not kept
        model = Classifier()
    arrays = data.asset(f"classifier_{name}")
    model.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    return model.eval().requires_grad_(False).to(profile.device())


@lru_cache
def inception(weights: str | Path | None = None) -> nn.Module:
    """Inception v3 as FID uses it, from torch-fidelity: uint8 RGB (N, 3, H, W) → (N, 2048).

    Args:
        weights: the file `weights-inception-2015-12-05-6726825d.pth`; None downloads it once.

    Raises:
        RuntimeError: the weights are not there or damaged; says what to do.
    """
    from torch_fidelity import feature_extractor_inceptionv3 as inceptionv3

    url, names = inceptionv3.URL_INCEPTION_V3, ["2048", "logits_unbiased"]
    file = Path(weights or Path(torch.hub.get_dir(), "checkpoints", Path(url).name))
    try:
        with torch.random.fork_rng():
            model = inceptionv3.FeatureExtractorInceptionV3("inception", names, weights)
    except Exception as error:
        raise RuntimeError(
            f"Inception's weights could not be read from {file} ({type(error).__name__}: {error}). "
            f"Delete that file if there is one, download {url}, and give the path of your copy as "
            "`weights`; or score on the course's features"
        ) from error
    return model.eval().requires_grad_(False).to(profile.device())


def _read(extractor: str, weights: str | Path | None, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits, of one pass through the network."""
    if extractor == "inception":
        return inception(weights)(pixels)
    found = classifier(extractor).features(pixels)
    return found, classifier(extractor).head(found)


def score(
    samples: Tensor,
    real: Tensor,
    *,
    features: str,
    weights: str | Path | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Inception Score, Fréchet and kernel distance of `samples` to `real`.

    Args:
        samples, real: uint8 (N, C, H, W), at least 256 of each. The course's classifiers take
            (1, 28, 28); Inception takes any size, and grey images are given three channels.
        features: "fashion", "mnist" or "inception".
        weights: the file of Inception's weights.
        seed: for the subsets of the kernel distance.

    Returns:
        {"fid_…", "kid_…", "is_…"} with "course" or "inception" for "…". Fréchet: Heusel et al.
        (2017), in float64; kernel: the mean over 20 subsets, Bińkowski et al. (2018); Inception
        Score: Salimans et al. (2016), on one split, between 1 and the number of classes.

    Raises:
        TypeError: not uint8. ValueError: a wrong shape or too few images.
    """
    from torchmetrics.image import FrechetInceptionDistance as Frechet
    from torchmetrics.image import InceptionScore, KernelInceptionDistance

    samples, real = (_checked(n, t, features) for n, t in (("samples", samples), ("real", real)))
    given = nn.Identity()  # an extractor for torchmetrics where the features are what goes in
    given.num_features = 2048 if features == "inception" else FEATURES
    subset = min(1_000, len(samples), len(real))
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # torchmetrics warns that it keeps all features
        torch.manual_seed(seed)
        frechet, inception_score = Frechet(given), InceptionScore(given, splits=1)
        kernel = KernelInceptionDistance(given, subsets=20, subset_size=subset)
        for metric in (frechet, kernel, inception_score):
            metric.to(profile.device())
        for pixels, are_real in ((real, True), (samples, False)):
            for chunk in _chunks(pixels):
                seen, logits = _read(features, weights, chunk)
                for distance in (frechet, kernel):
                    distance.update(seen, real=are_real)
                if not are_real:
                    inception_score.update(logits)
        found = {
            "fid": frechet.compute(),
            "kid": kernel.compute()[0],
            "is": inception_score.compute()[0],
        }
    source = "inception" if features == "inception" else "course"
    return {f"{name}_{source}": float(value) for name, value in found.items()}


def class_accuracy(samples: Tensor, labels: Tensor, *, features: str) -> float:
    """Share of `samples` that the course's classifier takes for what `labels` says, 0 to 1.

    Takes uint8 (N, 1, 28, 28), int64 (N,), and "fashion" or "mnist". Raises TypeError: not uint8;
    ValueError: a wrong shape, no image, or another number of labels.
    """
    samples = _checked("samples", samples, features, least=1)
    if labels.shape != samples.shape[:1]:
        raise ValueError(f"labels have shape {tuple(labels.shape)}; expected ({len(samples)},)")
    return accuracy(classifier(features), data.Images(samples, labels, ()))


def to_pixels(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Floats between `low` and `high` as uint8 0 … 255, rounded; any shape.

    Raises:
        ValueError: no value, NaN, or values further than 1e-3 of the range outside it.
    """
    if x.numel() == 0:
        raise ValueError(f"expected pixels; got an empty tensor of shape {tuple(x.shape)}")
    scaled = (x.detach().float() - low) / (high - low)
    if not (scaled.isfinite().all() and scaled.min() > -1e-3 and scaled.max() < 1 + 1e-3):
        raise ValueError(
            f"expected finite values between {low} and {high}; "
            f"got {x.min().item():.4g} to {x.max().item():.4g}"
        )
    return (scaled.clamp(0, 1) * 255).round().byte()


def _chunks(pixels: Tensor) -> Iterator[Tensor]:
    return (chunk.to(profile.device()) for chunk in pixels.split(CHUNK))


def _checked(name: str, pixels: Tensor, features: str, least: int = MIN_SAMPLES) -> Tensor:
    if features not in (*CLASSIFIERS, "inception"):
        raise ValueError(
            f"features is {features!r}; expected one of {', '.join(CLASSIFIERS)} or inception"
        )
    if pixels.dtype != torch.uint8:
        raise TypeError(f"{name} are {pixels.dtype}; expected uint8, see gmlib.scores.to_pixels")
    if features == "inception":
        wanted, fits = "(N, 1 or 3, H, W)", pixels.shape[1:2] in ((1,), (3,))
    else:
        wanted, fits = "(N, 1, 28, 28)", pixels.shape[1:] == (1, 28, 28)
    if pixels.dim() != 4 or not fits:
        raise ValueError(f"{name} have shape {tuple(pixels.shape)}; expected {wanted}")
    if len(pixels) < least:
        raise ValueError(f"there are {len(pixels)} {name}; at least {least} are needed")
    if features == "inception" and pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    return pixels


def accuracy(model: nn.Module, images: data.Images) -> float:
    """Share of `images` that `model` puts into the right class, 0 to 1."""
    with torch.no_grad():
        guesses = torch.cat([model(chunk).argmax(1) for chunk in _chunks(images.pixels)])
    return float((guesses == images.labels.to(guesses.device)).double().mean())
