"""Time and error of the Fréchet distance: `python tests/benchmarks/frechet.py [--quick]`.

Compares the lab's own functions with what `pytorch-fid`, `torchmetrics` and `torch-fidelity` do
with the same features, in float64. Seconds run from features to a number, and stand beside those
of the last part, from means and covariances to the number. Each package is called as its users
call it. `pytorch-fid` takes the root by `scipy.linalg.sqrtm`, whose argument `disp` SciPy 1.18
drops; there the same code runs with a `sqrtm` that takes the argument, and the table says so.

The true distance is known without any root. Let the second set be y = (x − m) M + m + s, with m
the mean of x and M symmetric and positive definite. That is the gradient of a convex function, so
no way from the one set to the other is shorter than x → y, and the Gaussians with the sets'
moments have the distance ‖s‖² + tr (I − M) Σ (I − M), whatever the rank of Σ. It is summed here
from the features in long double, and held against mpmath with 60 digits on small sets.
"""

import argparse
import inspect
import os
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from unittest import mock

import mpmath
import numpy as np
import pairs
import scipy.linalg
import torch
from torch import Tensor, nn

LAB = "32_scores"
SIZES = {128: (64, 10_000), 512: (250, 10_000), 2_048: (1_000, 10_000)}  # dims: few, many samples
QUICK = {64: (32, 1_000), 128: (64, 1_000)}
REPEATS = 3
SLOW = 2.0  # seconds from which one repeat is enough


def pair(samples: int, dims: int, seed: int = 0) -> tuple[Tensor, Tensor, float]:
    """Two sets of features, (samples, dims) float64 each, and their true squared distance."""
    draw = np.random.default_rng(seed)
    turn, other = (np.linalg.qr(draw.standard_normal((dims, dims)))[0] for _ in range(2))
    x = draw.standard_normal((samples, dims)) * np.geomspace(1, 0.05, dims) @ turn + 0.5
    stretch = other * np.linspace(0.5, 1.5, dims) @ other.T  # commutes with no covariance of x
    stretch = (stretch + stretch.T) / 2
    centred, shift = x - x.mean(0), draw.standard_normal(dims) / dims**0.5
    y = centred @ stretch + x.mean(0) + shift
    moved = (centred - (y - y.mean(0))).astype(np.longdouble)
    apart = (x.astype(np.longdouble).mean(0) - y.astype(np.longdouble).mean(0)) ** 2
    true = float((moved**2).sum() / (samples - 1) + apart.sum())
    return torch.from_numpy(x), torch.from_numpy(y), true


def exact(x: Tensor, y: Tensor) -> float:
    """The squared distance by eigenvalues of R Σ₂ R, R R = Σ₁, with 60 digits; small sets only."""
    with mpmath.workdps(60):
        means, covariances = [], []
        for features in (x, y):
            a = mpmath.matrix(features.tolist())
            mean = [mpmath.fsum(a[:, j]) / a.rows for j in range(a.cols)]
            for i in range(a.rows):
                for j in range(a.cols):
                    a[i, j] -= mean[j]
            means.append(mean)
            covariances.append(a.T * a / (a.rows - 1))
        values, vectors = mpmath.eigsy(covariances[0])
        half = mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values])
        root = vectors * half * vectors.T
        squares = mpmath.eigsy(root * covariances[1] * root, eigvals_only=True)
        traces = sum(c[i, i] for c in covariances for i in range(c.rows))
        apart = sum((a - b) ** 2 for a, b in zip(*means, strict=True))
        return float(apart + traces - 2 * sum(mpmath.sqrt(max(s, 0)) for s in squares))


def verify() -> None:
    """Hold the true distance against 60 digits, for few and for many samples."""
    for samples, dims in ((5, 9), (30, 6)):
        x, y, true = pair(samples, dims, seed=samples)
        if abs(exact(x, y) / true - 1) > 1e-13:
            raise SystemExit(f"the reference is wrong: {true} for {exact(x, y)}")


class Same(nn.Module):
    """A network for torchmetrics that returns the features that go in."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_features = dims

    def forward(self, features: Tensor) -> Tensor:
        return features


def by_own(names: dict[str, Any], x: Tensor, y: Tensor) -> tuple[float, float]:
    """The distance, and the seconds of its last part, which is all of it with few samples."""
    start = time.perf_counter()
    if len(x) <= x.shape[1]:
        return float(names["frechet_of_features"](x, y)), time.perf_counter() - start
    a, b = names["moments"](x), names["moments"](y)
    given = a[1], names["covariance"](a), b[1], names["covariance"](b)
    start = time.perf_counter()
    return float(names["frechet_distance"](*given)), time.perf_counter() - start


def sqrtm_takes_disp() -> bool:
    """Whether SciPy's sqrtm has the argument that pytorch-fid calls it with."""
    return "disp" in inspect.signature(scipy.linalg.sqrtm).parameters


def by_pytorch_fid(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The distance, and the seconds of its last part."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    # The statistics are those of calculate_activation_statistics.
    a, b = ((t.mean(axis=0), np.cov(t, rowvar=False)) for t in (x.numpy(), y.numpy()))
    start = time.perf_counter()
    if sqrtm_takes_disp():
        found = calculate_frechet_distance(*a, *b)
    else:
        own = scipy.linalg.sqrtm
        with mock.patch("scipy.linalg.sqrtm", lambda m, disp=True: own(m) if disp else (own(m), 0)):
            found = calculate_frechet_distance(*a, *b)
    return float(found), time.perf_counter() - start


def by_torchmetrics(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The distance, and the seconds of its last part."""
    from torchmetrics.image import FrechetInceptionDistance

    metric = FrechetInceptionDistance(Same(x.shape[1])).set_dtype(torch.float64)
    metric.update(x, real=True)
    metric.update(y, real=False)
    start = time.perf_counter()
    return float(metric.compute()), time.perf_counter() - start


def by_torch_fidelity(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The distance, and the seconds of its last part."""
    from torch_fidelity import metric_fid

    a, b = (metric_fid.fid_features_to_statistics(features) for features in (x, y))
    start = time.perf_counter()
    found = metric_fid.fid_statistics_to_metric(a, b, verbose=False)
    return float(*found.values()), time.perf_counter() - start


def measure(names: dict[str, Any], samples: int, dims: int) -> list[dict[str, Any]]:
    """A row for each way: medians of interleaved repeats, one repeat where it is slow."""
    x, y, true = pair(samples, dims)
    ways: dict[str, Callable[[Tensor, Tensor], tuple[float, float]]] = {
        "own": lambda x, y: by_own(names, x, y),
        "pytorch-fid": by_pytorch_fid,
        "torchmetrics": by_torchmetrics,
        "torch-fidelity": by_torch_fidelity,
    }
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, distance in ways.items():
            if found[way] and found[way][0][0] > SLOW:
                continue
            start = time.perf_counter()
            value, last = distance(x, y)
            found[way].append((time.perf_counter() - start, last, abs(value / true - 1)))
    rows = []
    for way, runs in found.items():
        whole, last, error = map(statistics.median, zip(*runs, strict=True))
        row = {"dims": dims, "samples": samples, "way": way}
        rows.append(row | {"seconds": whole, "last": last, "error": error})
    return rows


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """The measurements: few and many samples of each number of features, all four ways."""
    warnings.simplefilter("ignore")  # sqrtm warns of singular matrices, torchmetrics of memory
    verify()
    names = pairs.lab(LAB)
    for way in (lambda x, y: by_own(names, x, y), by_pytorch_fid, by_torchmetrics):
        way(*pair(8, 16)[:2])  # a first call pays for loading
    sizes = QUICK if quick else SIZES
    return [
        row
        for dims, both in sizes.items()
        for samples in both
        for row in measure(names, samples, dims)
    ]


def table(measured: list[dict[str, Any]]) -> str:
    """What is printed."""
    packages = ("scipy", "pytorch-fid", "torchmetrics", "torch-fidelity", "torch")
    lines = [
        "Fréchet distance of two sets of features in float64: seconds from features to the number, "
        f"seconds of its last part, relative error; {torch.get_num_threads()} threads",
        ", ".join(f"{name} {version(name)}" for name in packages),
        "dims  samples  way              seconds  × own     last part  × own     error",
    ]
    if not sqrtm_takes_disp():
        lines.insert(2, "pytorch-fid fails with this SciPy: its sqrtm is given `disp` for the test")
    own: dict[str, Any] = {}
    for row in measured:
        own = row if row["way"] == "own" else own
        whole, last = row["seconds"] / own["seconds"], row["last"] / own["last"]
        lines.append(
            f"{row['dims']:4d} {row['samples']:8d}  {row['way']:14s} {row['seconds']:9.3f} "
            f"{whole:6.1f} {row['last']:13.3f} {last:6.1f}   {row['error']:9.0e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer features and samples")
    os.environ["GMLIB_PROFILE"] = "test"  # the lab reads few images, and stays on the processor
    print(table(rows(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
