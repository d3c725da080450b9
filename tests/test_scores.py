"""Scores: against their formulas, on bad input, and with Inception's network."""

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy
import torch
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3 as inceptionv3

from gmlib import data, scores

N = 300

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def real(alone: Path) -> Tensor:
    return data.load("fashion_small", "test").pixels[:N]


@pytest.fixture(scope="module")
def samples(alone: Path) -> Tensor:
    """Other clothes, a little noisy: unlike `real`, and not of the same spread."""
    return noisy(data.load("fashion_small", "train", N).pixels, 0.1)


@pytest.fixture(scope="module")
def found(samples: Tensor, real: Tensor) -> dict[str, float]:
    return scores.score(samples, real, features="fashion")


def noisy(pixels: Tensor, strength: float) -> Tensor:
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return scores.to_pixels((data.to_float(pixels) + strength * noise).clamp(0, 1))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), in float64."""
    used = (a != 0).any(0) | (b != 0).any(0)  # a feature that is 0 everywhere adds nothing
    a, b = a[:, used].double().numpy(), b[:, used].double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * root))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """The unbiased square of the MMD under k(x, y) = (x·y / d + 1)³, in float64."""
    a, b = a.double(), b.double()

    def k(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    n, m = len(a), len(b)
    within = sum((k(x, x).sum() - k(x, x).trace()) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * k(a, b).sum() / (n * m))


def inception_score(logits: Tensor) -> float:
    """exp of the mean KL(p(y|x) ‖ p(y)), in float64."""
    p = logits.double().softmax(1)
    return math.exp((p * (p / p.mean(0)).log()).sum(1).mean())


# --- On the course's features ---------------------------------------------------------------


def test_each_score_equals_its_formula(found, samples, real):
    network = scores.classifier("fashion")
    a, b = network.features(samples), network.features(real)
    assert a.shape == (N, scores.FEATURES) and a.min() >= 0
    assert list(found) == ["fid_course", "kid_course", "is_course"]
    assert all(type(value) is float for value in found.values())
    assert found["fid_course"] == pytest.approx(frechet_distance(a, b), rel=1e-5)
    assert found["kid_course"] == pytest.approx(kernel_distance(a, b), rel=1e-3)
    assert found["is_course"] == pytest.approx(inception_score(network(samples)), rel=1e-5)
    assert 1 <= found["is_course"] <= 10


def test_equal_sets_have_no_distance(real):
    same = scores.score(real, real, features="fashion")
    assert abs(same["fid_course"]) < 1e-2
    features = scores.classifier("fashion").features(real)
    # The unbiased estimate is below zero here: equal images count only across the sets.
    assert same["kid_course"] == pytest.approx(kernel_distance(features, features), rel=1e-3)
    assert same["kid_course"] < 0


def test_one_image_again_and_again_has_the_least_inception_score(real):
    alike = scores.score(real[:1].expand(N, -1, -1, -1), real, features="fashion")
    assert alike["is_course"] == pytest.approx(1, abs=1e-4)


def test_the_order_of_the_images_does_not_matter(found, samples, real, monkeypatch):
    monkeypatch.setattr(scores, "CHUNK", 130)  # and neither does the size of a chunk
    turned = scores.score(samples.flip(0), real.roll(7, 0), features="fashion")
    assert turned == pytest.approx(found, rel=1e-3)


def test_more_noise_is_worse(real):
    less, more = (scores.score(noisy(real, s), real, features="fashion") for s in (0.1, 0.3))
    for name in ("fid_course", "kid_course"):
        assert 0 < less[name] < more[name]


def test_the_seed_fixes_the_subsets_and_nothing_else(samples, real):
    def score(seed: int) -> dict[str, float]:
        return scores.score(samples[:256], real, features="fashion", seed=seed)

    first = score(1)
    assert score(1) == first
    other = score(2)
    assert other["kid_course"] != first["kid_course"]
    assert other["kid_course"] == pytest.approx(first["kid_course"], rel=0.2)
    for name in ("fid_course", "is_course"):
        assert other[name] == pytest.approx(first[name], rel=1e-5)


def test_a_score_leaves_the_random_numbers_alone(samples, real):
    def states() -> list[object]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]

    scores.classifier.cache_clear()
    before = states()
    scores.score(samples, real, features="fashion", seed=5)
    assert states() == before
    scores.classifier.cache_clear()
    scores.class_accuracy(real, torch.zeros(N, dtype=torch.int64), features="fashion")
    assert states() == before


@pytest.mark.parametrize(("name", "least"), [("fashion", 0.91), ("mnist", 0.985)])
def test_the_classifiers_are_accurate(name, least):
    images = data.load(f"{name}_small", "test")
    network = scores.classifier(name)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert least <= scores.accuracy(network, images) <= 1
    one = scores.class_accuracy(images.pixels[:1], images.labels[:1], features=name)
    assert type(one) is float and one in (0.0, 1.0)


def test_accuracy_is_the_share_of_right_classes(real, monkeypatch):
    guesses = scores.classifier("fashion")(real).argmax(1)
    monkeypatch.setattr(scores, "CHUNK", 70)
    assert scores.class_accuracy(real, guesses, features="fashion") == 1
    assert scores.class_accuracy(real, (guesses + 1) % 10, features="fashion") == 0
    half = torch.where(torch.arange(N) % 2 == 0, guesses, (guesses + 1) % 10)
    assert scores.class_accuracy(real, half, features="fashion") == 0.5


# --- Bad input ------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[Tensor], Tensor], type[Exception], str]] = [
    (lambda x: x.float() / 255, TypeError, "are torch.float32; expected uint8, see gmlib.scores"),
    (lambda x: x.long(), TypeError, "are torch.int64; expected uint8"),
    (lambda x: x[:, 0], ValueError, r"have shape \(300, 28, 28\); expected \(N, 1, 28, 28\)"),
    (lambda x: x.expand(-1, 3, -1, -1), ValueError, r"\(300, 3, 28, 28\); expected \(N, 1, 28"),
    (lambda x: x[..., :27], ValueError, r"\(300, 1, 28, 27\); expected \(N, 1, 28, 28\)"),
    (lambda x: x[:255], ValueError, "there are 255 {name}; at least 256 are needed"),
    (lambda x: x[:0], ValueError, "there are 0 {name}; at least 256 are needed"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
@pytest.mark.parametrize("name", ["samples", "real"])
def test_images_that_can_not_be_scored_are_refused(change, error, message, name, samples, real):
    sets = {"samples": samples, "real": real}
    sets[name] = change(sets[name])
    with pytest.raises(error, match=message.format(name=name)) as caught:
        scores.score(**sets, features="fashion")
    assert name in str(caught.value)


def test_unknown_features_are_named_with_those_there_are(samples, real):
    with pytest.raises(ValueError, match="'vgg'; expected one of fashion, mnist or inception"):
        scores.score(samples, real, features="vgg")
    with pytest.raises(ValueError, match="'cifar'; there are fashion, mnist"):
        scores.classifier("cifar")
    with pytest.raises(ValueError, match="'inception'; there are fashion, mnist"):
        scores.class_accuracy(real, torch.zeros(N), features="inception")


@pytest.mark.parametrize("shape", [(), (1,), (N, 1), (N - 1,)])
def test_labels_of_another_number_are_refused(shape, real):
    told = re.escape(f"labels have shape {shape}; expected ({N},)")
    with pytest.raises(ValueError, match=told):
        scores.class_accuracy(real, torch.zeros(shape, dtype=torch.int64), features="fashion")


def test_the_accuracy_of_no_image_is_refused(real):
    with pytest.raises(ValueError, match="there are 0 samples; at least 1 are needed"):
        scores.class_accuracy(real[:0], torch.zeros(0), features="fashion")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-3.0, 7.0)])
def test_pixels_come_back_from_floats(low, high):
    greys = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    floats = data.to_float(greys, low, high).requires_grad_()
    assert torch.equal(scores.to_pixels(floats, low, high), greys)


def test_pixels_are_rounded_and_a_hair_outside_is_let_in():
    x = torch.tensor([-0.0009, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0009])
    assert scores.to_pixels(x).tolist() == [0, 0, 1, 254, 255, 255]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), -0.01, 1.01, 255.0])
def test_floats_out_of_range_are_not_made_pixels(bad):
    x = torch.full((2, 1, 4, 4), 0.5)
    x[1, 0, 2, 3] = bad
    with pytest.raises(ValueError, match="expected finite values between 0.0 and 1.0; got") as e:
        scores.to_pixels(x)
    assert f"{bad:.4g}" in str(e.value)


def test_no_floats_are_not_made_pixels():
    with pytest.raises(ValueError, match=r"empty tensor of shape \(0, 1, 28, 28\)"):
        scores.to_pixels(torch.zeros(0, 1, 28, 28))


# --- Inception ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(alone: Path) -> Path:
    """A file as torch-fidelity publishes it, with random weights of the same shapes."""
    with pytest.MonkeyPatch.context() as patch:
        network = inceptionv3.FeatureExtractorInceptionV3
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        patch.setattr(inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        torch.manual_seed(0)
        state = network("random", ["2048"]).state_dict()
    path = alone / "inception.pth"
    torch.save(state, path)
    return path


def test_inception_gives_features_and_logits_of_any_size(weights):
    state = torch.get_rng_state()
    network = scores.inception(weights)
    assert torch.equal(state, torch.get_rng_state())
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    pixels = torch.randint(0, 256, (2, 3, 20, 28), dtype=torch.uint8)
    features, logits = network(pixels)
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)
    saved = torch.load(weights)
    torch.testing.assert_close(logits, features @ saved["fc.weight"].T)  # without the bias
    assert scores.inception(weights) is network, "the weights are read once"


def test_scores_on_inceptions_features(weights, monkeypatch):
    """The whole way, with the fewest images: on the CPU each takes half a second."""
    monkeypatch.setattr(scores._checked, "__defaults__", (2,))
    grey = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    colour = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    network, seen = scores.inception(weights), []
    hook = network.register_forward_hook(lambda _, inputs, found: seen.append((inputs[0], found)))
    found = scores.score(grey, colour, features="inception", weights=weights)
    hook.remove()
    assert list(found) == ["fid_inception", "kid_inception", "is_inception"]
    threefold = [(x, y) for x, y in seen if torch.equal(x, grey.expand(-1, 3, -1, -1))]
    kept = [(x, y) for x, y in seen if torch.equal(x, colour)]
    assert threefold and kept and len(threefold) + len(kept) == len(seen)
    (a, logits), (b, _) = threefold[0][1], kept[0][1]
    assert found["kid_inception"] == pytest.approx(kernel_distance(a, b), rel=1e-3, abs=1e-5)
    assert found["is_inception"] == pytest.approx(inception_score(logits), rel=1e-5)
    # Of two points each a covariance has one direction, so the root has one number.
    spread = [(x[0] - x[1]).double() / math.sqrt(2) for x in (a, b)]
    root = abs(spread[0] @ spread[1])
    expected = (a.mean(0) - b.mean(0)).double().square().sum()
    expected += spread[0].square().sum() + spread[1].square().sum() - 2 * root
    assert found["fid_inception"] == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_inception_takes_one_channel_or_three(channels, weights):
    pixels = torch.zeros(256, channels, 8, 8, dtype=torch.uint8)
    told = re.escape(f"have shape (256, {channels}, 8, 8); expected (N, 1 or 3, H, W)")
    with pytest.raises(ValueError, match=told):
        scores.score(pixels, pixels, features="inception", weights=weights)


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "another network"])
def test_bad_weights_of_inception_are_named_with_the_way_out(damage, weights, tmp_path):
    path = tmp_path / "weights.pth"
    if damage == "another network":
        torch.save(nn.Linear(2, 2).state_dict(), path)
    elif damage != "missing":
        whole = weights.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"<html>")
    pixels = torch.zeros(256, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="weights could not be read") as caught:
        scores.score(pixels, pixels, features="inception", weights=path)
    for part in (str(path), inceptionv3.URL_INCEPTION_V3, "course's features"):
        assert part in str(caught.value)


def test_a_failed_download_of_inception_names_the_file(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(RuntimeError, match="URLError.*no route to host") as caught:
        scores.inception()
    file = tmp_path / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    assert str(file) in str(caught.value)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
