"""Lab 32: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

_LOG_P = "log_p = logits.double().log_softmax(dim=1)  # log p(y|x)"
_MARGINAL = "log_p.logsumexp(dim=0) - math.log(len(logits))"
_KL = "(log_p.exp() * (log_p - log_marginal)).sum(dim=1)"
_ROOT = """
    def root(covariance: Tensor) -> Tensor:
        \"\"\"R (D, rank) with R Rᵀ = covariance.\"\"\"
        lower, failed = torch.linalg.cholesky_ex(covariance)
        if not failed:
            return lower
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values.max()
        return vectors[:, kept] * values[kept].sqrt()

    overlap = root(covariance_1).T @ root(covariance_2)
    if overlap.shape[0] > overlap.shape[1]:
        overlap = overlap.T  # the smaller product, which has no eigenvalue of zero to round
    squares = torch.linalg.eigvalsh(overlap @ overlap.T)
    trace_of_root = squares.clamp(min=0).sqrt().sum()
"""
_TRACE = "squares.clamp(min=0).sqrt().sum()"
_SQUARES = "torch.linalg.eigvalsh(overlap @ overlap.T)"
_SVD = "torch.linalg.svdvals(a @ b.T).sum()"
_COVARIANCES = "(x.T.cov().reshape(x.shape[1], -1), y.T.cov().reshape(x.shape[1], -1))"

MISTAKES = {
    "inception_score": [
        ("no exponential", "return kl.mean().exp()", "return kl.mean()"),
        ("mean of the exponentials", "kl.mean().exp()", "kl.exp().mean()"),
        ("sum over the samples", "kl.mean().exp()", "kl.sum().exp()"),
        ("KL the other way round", _KL, "(log_marginal.exp() * (log_marginal - log_p)).sum(dim=1)"),
        ("the marginal in front of the logarithm", "(log_p.exp() * (log_p", "(log_marginal.exp() * (log_p"),
        ("the sign of the KL", "kl.mean().exp()", "(-kl).mean().exp()"),
        ("mean over the classes", "log_marginal)).sum(dim=1)", "log_marginal)).mean(dim=1)"),
        ("softmax over the samples", "log_softmax(dim=1)", "log_softmax(dim=0)"),
        ("marginal from the mean logits", _MARGINAL, "logits.double().mean(0).log_softmax(0)"),
        ("marginal from the mean of log p", _MARGINAL, "log_p.mean(0)"),
        ("marginal is a sum", _MARGINAL, "log_p.logsumexp(dim=0)"),
        ("marginal over the classes", _MARGINAL, "(log_p.logsumexp(dim=1) - math.log(logits.shape[1]))[:, None]"),
        ("a uniform marginal", _MARGINAL, "torch.full_like(log_p[0], -math.log(log_p.shape[1]))"),
        ("only the spread of p(y)", _KL, "-(log_marginal.exp() * log_marginal).sum().expand(len(log_p))"),
        ("only the sureness", _KL, "(log_p.exp() * log_p).sum(dim=1) + math.log(log_p.shape[1])"),
        ("logarithms to base 2", _KL, "(log_p.exp() * (log_p - log_marginal)).sum(dim=1) / math.log(2)"),
        ("the sure class alone", _LOG_P, "log_p = (1e4 * F.one_hot(logits.argmax(1), logits.shape[1]).double()).log_softmax(1)"),
        ("logits taken for probabilities", _LOG_P, "log_p = logits.double().clamp(min=1e-12).log()"),
        ("softmax applied twice", "logits.double().log_softmax", "logits.double().softmax(1).log_softmax"),
        ("logarithm of a probability of zero", _LOG_P, "log_p = logits.softmax(1).log().double()"),
        ("logarithm of a marginal of zero", _MARGINAL, "log_p.exp().mean(0).log()"),
        ("a tenth of the samples as a split", "kl.mean().exp()", "torch.stack([c.mean().exp() for c in kl.chunk(10)]).mean()"),
        ("split in two, marginals apart", _KL, "torch.cat([(c.exp() * (c - (c.logsumexp(0) - math.log(len(c))))).sum(1) for c in log_p.chunk(2)])"),
        ("probabilities clipped at 0.01", _LOG_P, "log_p = logits.double().softmax(1).clamp(min=1e-2).log()"),
        ("Jensen–Shannon", _KL, "0.5 * (log_p.exp() * (log_p - log_marginal)).sum(1) + 0.5 * (log_marginal.exp() * (log_marginal - log_p)).sum(1)"),
        ("a float32 result", "kl.mean().exp()", "kl.mean().exp().float()"),
        ("at most 1,000 samples", _LOG_P, "logits = logits[:1_000]\n    log_p = logits.double().log_softmax(dim=1)"),
        ("0.001 inside the logarithms", _KL, "(log_p.exp() * ((log_p.exp() + 1e-3).log() - (log_marginal.exp() + 1e-3).log())).sum(dim=1)"),
        ("divided by N − 1", "kl.mean().exp()", "(kl.sum() / max(len(kl) - 1, 1)).exp()"),
    ],
    "statistics": [
        ("scatter divided by n", "centred.T @ centred", "centred.T @ centred / len(features)"),
        ("scatter divided by n − 1", "centred.T @ centred", "centred.T @ centred / max(1, len(features) - 1)"),
        ("not centred", "centred = features - mean", "centred = features"),
        ("in float32", "features = features.double()", "features = features.float()"),
        ("float64 too late", "    features = features.double()\n    mean = features.mean(dim=0)\n    centred = features - mean\n    return len(features), mean, centred.T @ centred", "    mean = features.mean(dim=0)\n    centred = features - mean\n    return len(features), mean.double(), (centred.T @ centred).double()"),
        ("raw moments, which lose digits", "centred.T @ centred", "features.T @ features - len(features) * torch.outer(mean, mean)"),
        ("a scatter of samples, not of features", "centred.T @ centred", "centred @ centred.T"),
        ("variances only", "centred.T @ centred", "torch.diag((centred**2).sum(0))"),
        ("mean over the features", "features.mean(dim=0)", "features.mean(dim=1, keepdim=True)"),
        ("centred in place", "    features = features.double()\n    mean = features.mean(dim=0)\n    centred = features - mean", "    mean = features.double().mean(dim=0)\n    features -= mean\n    centred = features.double()"),
        ("number of features for number of samples", "return len(features), mean", "return features.shape[1], mean"),
        ("means averaged without weights", "mean_a + step * (n_b / n)", "(mean_a + mean_b) / 2"),
        ("weights of the means swapped", "mean_a + step * (n_b / n)", "mean_a + step * (n_a / n)"),
        ("step the wrong way", "step = n_a + n_b, mean_b - mean_a", "step = n_a + n_b, mean_a - mean_b"),
        ("scatters added, means forgotten", " + torch.outer(step, step) * (n_a * n_b / n)", ""),
        ("outer product not weighted", " * (n_a * n_b / n)", ""),
        ("weight n_a n_b / n²", "(n_a * n_b / n)", "(n_a * n_b / n**2)"),
        ("weight n_b / n", "(n_a * n_b / n)", "(n_b / n)"),
        ("weight n / (n_a n_b)", "(n_a * n_b / n)", "(n / (n_a * n_b))"),
        ("step squared, not its outer product", "torch.outer(step, step)", "torch.diag(step**2)"),
        ("sum of the squared step", "torch.outer(step, step)", "step.square().sum()"),
        ("scatter averaged over the batches", "scatter = scatter_a + scatter_b +", "scatter = (n_a * scatter_a + n_b * scatter_b) / n +"),
        ("merged through raw moments", "scatter = scatter_a + scatter_b + torch.outer(step, step) * (n_a * n_b / n)", "m = mean_a + step * (n_b / n)\n    scatter = scatter_a + n_a * torch.outer(mean_a, mean_a) + scatter_b + n_b * torch.outer(mean_b, mean_b) - n * torch.outer(m, m)"),
        ("scatter added in place", "scatter = scatter_a + scatter_b +", "scatter = scatter_a.add_(scatter_b) +"),
        ("mean moved in place", "mean_a + step * (n_b / n), scatter", "mean_a.add_(step * (n_b / n)), scatter"),
        ("number of batches counted", "n, step = n_a + n_b", "n, step = n_a + 1"),
        ("divided by n", "scatter / (n - 1)", "scatter / n"),
        ("divided in place", "return scatter / (n - 1)", "scatter /= n - 1\n    return scatter"),
        ("a single sample forgotten", "scatter = scatter_a + scatter_b +", "if n_b < 2:\n        return a\n    scatter = scatter_a + scatter_b +"),
        ("divided by n − 2", "scatter / (n - 1)", "scatter / (n - 2)"),
        ("scatter not divided", "scatter / (n - 1)", "scatter"),
        ("correlation for covariance", "scatter / (n - 1)", "scatter / scatter.diagonal().sqrt().outer(scatter.diagonal().sqrt())"),
        ("only the variances", "scatter / (n - 1)", "torch.diag(scatter.diagonal()) / (n - 1)"),
        ("the standard deviations", "scatter / (n - 1)", "(scatter / (n - 1)).abs().sqrt()"),
    ],
    "frechet": [
        (
            "directions of little variance left out",
            "        if not failed:\n            return lower\n        values, vectors = torch.linalg.eigh(covariance)\n        kept = values > len(values) * torch.finfo(values.dtype).eps * values.max()",
            "        values, vectors = torch.linalg.eigh(covariance)\n        kept = values > 1e-5 * values.max()",
        ),
        ("root of each entry", _TRACE, "(covariance_1 @ covariance_2).clamp(min=0).sqrt().trace()"),
        ("the diagonal only", _TRACE, "(covariance_1.diagonal() * covariance_2.diagonal()).sqrt().sum()"),
        ("product of the roots", _TRACE, "(lambda f: (f(covariance_1) * f(covariance_2)).sum())(lambda s: (lambda e: e[1] * e[0].clamp(min=0).sqrt() @ e[1].T)(torch.linalg.eigh(s)))"),
        ("entries of each root first", _TRACE, "(covariance_1.clamp(min=0).sqrt() @ covariance_2.clamp(min=0).sqrt()).trace()"),
        ("no root", _TRACE, "squares.sum()"),
        ("a product that is taken for symmetric", _SQUARES, "torch.linalg.eigvalsh(covariance_1 @ covariance_2)"),
        ("a product made symmetric", _SQUARES, "(lambda p: torch.linalg.eigvalsh((p + p.T) / 2))(covariance_1 @ covariance_2)"),
        ("singular values of the product", _SQUARES, "torch.linalg.svdvals(covariance_1 @ covariance_2)"),
        ("eigenvalues of each, sorted", _SQUARES, "torch.linalg.eigvalsh(covariance_1) * torch.linalg.eigvalsh(covariance_2)"),
        ("the wrong side of the factors", "root(covariance_1).T @ root(covariance_2)", "root(covariance_1) @ root(covariance_2).T"),
        ("missing means", "(mean_1 - mean_2).square().sum() + traces", "traces"),
        ("distance of the means not squared", "(mean_1 - mean_2).square().sum()", "(mean_1 - mean_2).norm()"),
        ("mean over the features", "(mean_1 - mean_2).square().sum()", "(mean_1 - mean_2).square().mean()"),
        ("absolute differences", "(mean_1 - mean_2).square().sum()", "(mean_1 - mean_2).abs().sum()"),
        ("squared sum of differences", "(mean_1 - mean_2).square().sum()", "(mean_1 - mean_2).sum().square()"),
        ("sum of the means", "(mean_1 - mean_2)", "(mean_1 + mean_2)"),
        ("root of the result", "return (mean_1 - mean_2).square().sum() + traces - 2 * trace_of_root", "return ((mean_1 - mean_2).square().sum() + traces - 2 * trace_of_root).clamp(min=0).sqrt()"),
        ("squared once more", "return (mean_1 - mean_2).square().sum() + traces - 2 * trace_of_root", "return ((mean_1 - mean_2).square().sum() + traces - 2 * trace_of_root) ** 2"),
        ("no factor 2", "- 2 * trace_of_root", "- trace_of_root"),
        ("the sign of the root", "- 2 * trace_of_root", "+ 2 * trace_of_root"),
        ("sum of all entries for the trace", "covariance_1.trace() + covariance_2.trace()", "covariance_1.sum() + covariance_2.sum()"),
        ("one trace", "covariance_1.trace() + covariance_2.trace()", "covariance_1.trace()"),
        ("means of the traces", "covariance_1.trace() + covariance_2.trace()", "covariance_1.diagonal().mean() + covariance_2.diagonal().mean()"),
        ("in float32", _SQUARES, "torch.linalg.eigvalsh((overlap @ overlap.T).float()).double()"),
        ("NaN where Cholesky fails", "if not failed:", "if True:"),
        ("an error where Cholesky fails", "lower, failed = torch.linalg.cholesky_ex(covariance)", "lower, failed = torch.linalg.cholesky(covariance), False"),
        ("root of a negative eigenvalue", _ROOT, "    values, vectors = torch.linalg.eigh(covariance_1)\n    half = vectors @ torch.diag(values.sqrt()) @ vectors.T\n    trace_of_root = torch.linalg.eigvalsh(half @ covariance_2 @ half).sqrt().sum()\n"),
        ("NaN counted as nothing", _ROOT, "    roots = torch.linalg.eigvals(covariance_1 @ covariance_2).real.sqrt()\n    trace_of_root = torch.where(roots.isnan().any(), 0.0, roots.sum())\n"),
        ("1e-6 on the diagonal", _ROOT, "    eye = 1e-6 * torch.eye(len(mean_1)).double()\n    root = torch.linalg.cholesky(covariance_1 + eye)\n    trace_of_root = torch.linalg.eigvalsh(root.T @ (covariance_2 + eye) @ root).clamp(min=0).sqrt().sum()\n"),
        ("1e-3 on the diagonal", _ROOT, "    eye = 1e-3 * torch.eye(len(mean_1)).double()\n    root = torch.linalg.cholesky(covariance_1 + eye)\n    trace_of_root = torch.linalg.eigvalsh(root.T @ (covariance_2 + eye) @ root).clamp(min=0).sqrt().sum()\n"),
        ("eigenvalues below 1e-10 dropped", "squares.clamp(min=0).sqrt()", "squares.where(squares > 1e-10, 0.0).sqrt()"),
        ("variances below 1e-12 dropped", "kept = values > len(values) * torch.finfo(values.dtype).eps * values.max()", "kept = values > 1e-12"),
        ("a share of 1e-8 on the diagonal", _ROOT, "    eye = torch.eye(len(mean_1)).double()\n    root = torch.linalg.cholesky(covariance_1 + 1e-8 * covariance_1.trace() / len(mean_1) * eye)\n    trace_of_root = torch.linalg.eigvalsh(root.T @ covariance_2 @ root).clamp(min=0).sqrt().sum()\n"),
        ("determinants for traces", _TRACE, "(covariance_1.det() * covariance_2.det()).clamp(min=0).sqrt()"),
        ("the KL divergence in its place", _TRACE, "0.5 * torch.linalg.pinv(covariance_2).mul(covariance_1).sum()"),
        ("Frobenius norm of the difference", "traces - 2 * trace_of_root", "(covariance_1 - covariance_2).square().sum()"),
        ("one feature is not allowed", "traces = covariance_1.trace()", "assert len(mean_1) > 1\n    traces = covariance_1.trace()"),
    ],
    "frechet_features": [
        ("not centred", "a = (x - x.mean(dim=0)) /", "a = x /"),
        ("both centred by one mean", "b = (y - y.mean(dim=0))", "b = (y - x.mean(dim=0))"),
        ("divided by n", "math.sqrt(len(x) - 1)", "math.sqrt(len(x))"),
        ("one number of samples for both", "math.sqrt(len(y) - 1)", "math.sqrt(len(x) - 1)"),
        ("not divided", " / math.sqrt(len(x) - 1)", ""),
        ("divided by n − 1, no root", "math.sqrt(len(x) - 1)", "(len(x) - 1)"),
        ("the trace of the product", _SVD, "(a @ b.T).trace()"),
        ("Frobenius norm for the nuclear norm", _SVD, "(a @ b.T).norm()"),
        ("the largest singular value", _SVD, "torch.linalg.svdvals(a @ b.T).max()"),
        ("squared singular values", _SVD, "torch.linalg.svdvals(a @ b.T).square().sum()"),
        ("roots of the singular values", _SVD, "torch.linalg.svdvals(a @ b.T).sqrt().sum()"),
        ("features against features", "a @ b.T", "(a.T @ b if len(a) == len(b) else a @ b.T)"),
        ("singular values of each, sorted", _SVD, "(lambda s, t: (s[: len(t)] * t[: len(s)]).sum())(torch.linalg.svdvals(a), torch.linalg.svdvals(b))"),
        ("paired samples", _SVD, "(a[: min(len(a), len(b))] * b[: min(len(a), len(b))]).sum().abs()"),
        ("traces are not squared", "a.square().sum() + b.square().sum()", "a.abs().sum() + b.abs().sum()"),
        ("mean for sum in the trace", "a.square().sum() + b.square().sum()", "a.square().mean() + b.square().mean()"),
        ("missing means", "(x.mean(dim=0) - y.mean(dim=0)).square().sum() + traces", "traces"),
        ("means of the centred features", "(x.mean(dim=0) - y.mean(dim=0))", "(a.mean(dim=0) - b.mean(dim=0))"),
        ("no factor 2", "2 * trace_of_root", "trace_of_root"),
        ("in float32", "x, y = x.double(), y.double()", "x, y = x.float(), y.float()"),
        ("float64 too late", "x, y = x.double(), y.double()", "pass"),
        ("always by covariances", "if min(len(x), len(y)) > x.shape[1]:", "if True:"),
        ("eigenvalues of the Gram matrix, which lose digits", _SVD, "torch.linalg.eigvalsh(a @ b.T @ b @ a.T).clamp(min=0).sqrt().sum()"),
        ("complex eigenvalues", "if min(len(x), len(y)) > x.shape[1]:\n        (_, mean_1, _), (_, mean_2, _) = a, b = moments(x), moments(y)\n        return frechet_distance(mean_1, covariance(a), mean_2, covariance(b))", f"if True:\n        s, t = {_COVARIANCES}\n        return (x.mean(0) - y.mean(0)).square().sum() + s.trace() + t.trace() - 2 * torch.linalg.eigvals(s @ t).sqrt().real.sum()"),
        ("the larger set cut to the smaller", "x, y = x.double(), y.double()", "n = min(len(x), len(y))\n    x, y = x[:n].double(), y[:n].double()"),
        ("few only where both together are fewer", "if min(len(x), len(y)) > x.shape[1]:", "if len(x) + len(y) > x.shape[1]:"),
        ("at most 1,000 samples", "x, y = x.double(), y.double()", "x, y = x[:1_000].double(), y[:1_000].double()"),
        ("small singular values dropped", _SVD, "(lambda s: s[s > 1e-5 * s.max()].sum())(torch.linalg.svdvals(a @ b.T))"),
        ("at most 20 samples", "x, y = x.double(), y.double()", "x, y = x[:20].double(), y[:20].double()"),
        ("centred in place", "x, y = x.double(), y.double()", "x, y = x.double(), y.double()\n    m = x.mean(dim=0)\n    x -= m\n    y -= m"),
        ("root of the result", "return (x.mean(dim=0) - y.mean(dim=0)).square().sum() + traces - 2 * trace_of_root", "return ((x.mean(dim=0) - y.mean(dim=0)).square().sum() + traces - 2 * trace_of_root).clamp(min=0).sqrt()"),
        ("few samples only", "if min(len(x), len(y)) > x.shape[1]:", "if min(len(x), len(y)) > x.shape[1]:\n        raise ValueError\n    if False:"),
        ("the two-product with D×D in the middle", _SVD, "torch.linalg.svdvals(a @ torch.eye(x.shape[1]).double() @ b.T).sum()"),
        ("ridge of 1e-6", _SVD, "(torch.linalg.eigvalsh(a @ b.T @ b @ a.T) + 1e-6).clamp(min=0).sqrt().sum()"),
    ],
    "kernel_distance": [
        ("the diagonal counted", "(k.sum() - k.trace()) / (len(a) * (len(a) - 1))", "k.mean()"),
        ("the diagonal left out, divided by N²", "(len(a) * (len(a) - 1))", "len(a) ** 2"),
        ("the diagonal counted, divided by N(N−1)", "(k.sum() - k.trace())", "k.sum()"),
        ("the diagonal left out between the sets too", "2 * kernel(x, y).mean()", "2 * (lambda k: (k.sum() - k.diagonal().sum()) / (k.numel() - min(k.shape)))(kernel(x, y))"),
        ("no factor 2", "- 2 * kernel", "- kernel"),
        ("a sum between the sets", "kernel(x, y).mean()", "kernel(x, y).sum()"),
        ("divided by N² between unequal sets", "kernel(x, y).mean()", "kernel(x, y).sum() / len(x) ** 2"),
        ("the sign", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return 2 * kernel(x, y).mean() - within(x) - within(y)"),
        ("degree 2", ") ** 3", ") ** 2"),
        ("degree 4", ") ** 3", ") ** 4"),
        ("D forgotten", "a @ b.T / a.shape[1] + 1", "a @ b.T + 1"),
        ("root of D", "/ a.shape[1] + 1", "/ a.shape[1] ** 0.5 + 1"),
        ("D fixed at 128", "/ a.shape[1] + 1", "/ 128 + 1"),
        ("divided by N", "/ a.shape[1] + 1", "/ a.shape[0] + 1"),
        ("the + 1 forgotten", "/ a.shape[1] + 1)", "/ a.shape[1])"),
        ("+ 1 before the division", "(a @ b.T / a.shape[1] + 1)", "((a @ b.T + 1) / a.shape[1])"),
        ("a Gaussian kernel", "(a @ b.T / a.shape[1] + 1) ** 3", "torch.exp(-torch.cdist(a, b) ** 2 / (2 * a.shape[1]))"),
        ("held at zero", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return (within(x) + within(y) - 2 * kernel(x, y).mean()).clamp(min=0)"),
        ("absolute value", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return (within(x) + within(y) - 2 * kernel(x, y).mean()).abs()"),
        ("root of it", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return (within(x) + within(y) - 2 * kernel(x, y).mean()).abs().sqrt()"),
        ("one set twice", "within(x) + within(y)", "2 * within(x)"),
        ("the terms within averaged", "within(x) + within(y)", "(within(x) + within(y)) / 2"),
        ("in float32", "x, y = x.double(), y.double()", "x, y = x.float(), y.float()"),
        ("float64 too late", "x, y = x.double(), y.double()", "pass"),
        ("features centred", "x, y = x.double(), y.double()", "x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)"),
        ("at most 1,000 samples", "x, y = x.double(), y.double()", "x, y = x[:1_000].double(), y[:1_000].double()"),
        ("a float32 result", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return (within(x) + within(y) - 2 * kernel(x, y).mean()).float()"),
        ("cut to the smaller set", "x, y = x.double(), y.double()", "n = min(len(x), len(y))\n    x, y = x[:n].double(), y[:n].double()"),
        ("times a hundred", "return within(x) + within(y) - 2 * kernel(x, y).mean()", "return 100 * (within(x) + within(y) - 2 * kernel(x, y).mean())"),
        ("neighbours only, the linear-time estimate", "(k.sum() - k.trace()) / (len(a) * (len(a) - 1))", "k.diagonal(1).mean()"),
    ],
    "disturb": [
        ("added in uint8, which wraps", "noisy = pixels.float() + sigma * torch.randn(pixels.shape, device=pixels.device)\n    return noisy.round().clamp(0, 255).byte()", "return pixels + (sigma * torch.randn(pixels.shape)).round().long().byte()"),
        ("not held at 0 and 255", "noisy.round().clamp(0, 255).byte()", "noisy.round().long().byte()"),
        ("held above only", "noisy.round().clamp(0, 255)", "noisy.round().clamp(max=255).long()"),
        ("held at 1 for images in [0, 1]", "noisy.round().clamp(0, 255)", "noisy.round().clamp(0, 1)"),
        ("cut, not rounded", "noisy.round().clamp(0, 255)", "noisy.clamp(0, 255)"),
        ("σ as a variance", "sigma * torch.randn", "sigma**0.5 * torch.randn"),
        ("σ squared", "sigma * torch.randn", "sigma**2 * torch.randn"),
        ("σ for pixels in [0, 1]", "sigma * torch.randn", "255 * sigma * torch.randn"),
        ("uniform noise", "torch.randn(pixels.shape, device=pixels.device)", "(2 * torch.rand(pixels.shape) - 1)"),
        ("uniform noise of the right variance", "torch.randn(pixels.shape, device=pixels.device)", "(12**0.5 * (torch.rand(pixels.shape) - 0.5))"),
        ("only brighter", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels.shape).abs()"),
        ("one noise for all images", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels.shape[1:])"),
        ("one noise for all channels", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels[:, :1].shape)"),
        ("one noise for a row", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels[..., :1].shape)"),
        ("one noise for an image", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels[:, :, :1, :1].shape)"),
        ("the same at every call", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))"),
        ("noise of half the width, twice", "torch.randn(pixels.shape, device=pixels.device)", "torch.randn(*pixels.shape[:3], pixels.shape[3] // 2 + 1).repeat(1, 1, 1, 2)[..., : pixels.shape[3]]"),
        ("noise of half the images, and its negative", "torch.randn(pixels.shape, device=pixels.device)", "(lambda e: torch.cat([e, -e])[: len(pixels)])(torch.randn(len(pixels) // 2 + 1, *pixels.shape[1:]))"),
        ("noise in place of the image", "pixels.float() + sigma", "pixels.float().mean() + sigma"),
        ("floats", "noisy.round().clamp(0, 255).byte()", "noisy.round().clamp(0, 255)"),
        ("noise times the pixel", "pixels.float() + sigma *", "pixels.float() + pixels / 128 * sigma *"),
        ("reach 2σ", "math.ceil(3 * sigma)", "math.ceil(2 * sigma)"),
        ("reach 4σ, as SciPy's", "math.ceil(3 * sigma)", "int(4 * sigma + 0.5)"),
        ("reach always 3", "math.ceil(3 * sigma)", "3"),
        ("reach cut down", "math.ceil(3 * sigma)", "int(3 * sigma)"),
        ("σ² without the 2", "(2 * sigma**2)", "(sigma**2)"),
        ("σ not squared", "(2 * sigma**2)", "(2 * sigma)"),
        ("offsets not squared", "-(offsets**2)", "-offsets.abs()"),
        ("weights not normalised", "torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0)", "torch.exp(-(offsets**2) / (2 * sigma**2))"),
        ("a box", "torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0)", "torch.full((2 * reach + 1,), 1 / (2 * reach + 1))"),
        ("rows only", "    x = F.conv2d(x, weights.view(1, 1, -1, 1), padding=(reach, 0))\n", ""),
        ("rows twice", "weights.view(1, 1, -1, 1), padding=(reach, 0)", "weights.view(1, 1, 1, -1), padding=(0, reach)"),
        ("the edge goes on beyond itself", "    x = F.conv2d(x, weights.view(1, 1, 1, -1), padding=(0, reach))\n    x = F.conv2d(x, weights.view(1, 1, -1, 1), padding=(reach, 0))", "    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), 'replicate'), weights.view(1, 1, 1, -1))\n    x = F.conv2d(F.pad(x, (0, 0, reach, reach), 'replicate'), weights.view(1, 1, -1, 1))"),
        ("cut, not rounded, after the blur", "x.round().clamp(0, 255).byte().reshape", "x.clamp(0, 255).byte().reshape"),
        ("rounded after the rows too", "x = F.conv2d(x, weights.view(1, 1, 1, -1), padding=(0, reach))", "x = F.conv2d(x, weights.view(1, 1, 1, -1), padding=(0, reach)).floor()"),
        ("channels mixed", "x = pixels.flatten(0, 1)[:, None].float()", "x = pixels.float().mean(1, keepdim=True).expand(pixels.shape).flatten(0, 1)[:, None]"),
        ("weights at the edge made to add up to one", "return x.round().clamp(0, 255).byte().reshape(pixels.shape)", "one = torch.ones(1, 1, *pixels.shape[2:])\n    one = F.conv2d(one, weights.view(1, 1, 1, -1), padding=(0, reach))\n    one = F.conv2d(one, weights.view(1, 1, -1, 1), padding=(reach, 0))\n    return (x / one).round().clamp(0, 255).byte().reshape(pixels.shape)"),
        ("blurred floats", "return x.round().clamp(0, 255).byte().reshape", "return x.round().clamp(0, 255).reshape"),
        ("one pixel off", "return x.round().clamp(0, 255).byte().reshape(pixels.shape)", "return x.roll(1, 3).round().clamp(0, 255).byte().reshape(pixels.shape)"),
        ("blurred twice", "    x = pixels.flatten(0, 1)[:, None].float()", "    x = pixels.flatten(0, 1)[:, None].float()\n    x = F.conv2d(x, weights.view(1, 1, 1, -1), padding=(0, reach))"),
    ],
    "nearest": [
        ("a small number within the root", "distances.min(dim=1)", "distances.square().clamp(min=1e-10).sqrt().min(dim=1)"),
        ("centred, then float32", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', 'torch.cdist((chunk - references.mean(0)).float(), (references - references.mean(0)).float(), compute_mode="use_mm_for_euclid_dist")'),
        ("squared distances", "torch.cat([f.values for f in found])", "torch.cat([f.values for f in found]) ** 2"),
        ("city-block distance", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "torch.cdist(chunk, references, p=1)"),
        ("largest difference", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "torch.cdist(chunk, references, p=math.inf)"),
        ("cosine", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "1 - F.normalize(chunk) @ F.normalize(references).T"),
        ("the furthest", "distances.min(dim=1)", "distances.max(dim=1)"),
        ("nearest query of each reference", "distances.min(dim=1)", "distances.min(dim=0)"),
        ("indices of the queries", "torch.cat([f.indices for f in found])", "torch.arange(len(queries))"),
        ("a copy is skipped", "distances.min(dim=1)", "distances.masked_fill(distances < 1e-4, 1e9).min(dim=1)"),
        ("the second nearest", "distances.min(dim=1)", "distances.kthvalue(min(2, len(references)), dim=1)"),
        ("the root forgotten in the quick formula", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "chunk.square().sum(1, keepdim=True) - 2 * chunk @ references.T + references.square().sum(1)"),
        ("the quick formula in float32", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "(lambda c, r: (c.square().sum(1, keepdim=True) - 2 * c @ r.T + r.square().sum(1)).clamp(min=0).sqrt())(chunk.float(), references.float())"),
        ("NaN at a copy", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "(chunk.square().sum(1, keepdim=True) - 2 * chunk @ references.T + references.square().sum(1) - 1e-9).sqrt()"),
        ("torch's cdist as it comes, in float32", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "torch.cdist(chunk.float(), references.float())"),
        ("‖x‖² forgotten", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "(references.square().sum(1) - 2 * chunk @ references.T).clamp(min=0).sqrt()"),
        ("‖y‖² forgotten, by the inner product", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "(chunk.square().sum(1, keepdim=True) - 2 * chunk @ references.T).abs().sqrt()"),
        ("all differences at once", "    references, found = references.double(), []\n    for chunk in queries.double().split(500):\n        distances = torch.cdist(chunk, references, compute_mode=\"donot_use_mm_for_euclid_dist\")\n        found.append(distances.min(dim=1))\n    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])", "    distances = (queries.double()[:, None] - references.double()).square().sum(2).sqrt()\n    return tuple(distances.min(dim=1))"),
        ("found by inner product", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "-(chunk @ references.T)"),
        ("rounding below zero under the root", 'torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")', "(chunk.square().sum(1, keepdim=True) - 2 * chunk @ references.T + references.square().sum(1)).sqrt()"),
        ("found by the quick formula in float32", "    references, found = references.double(), []\n    for chunk in queries.double().split(500):\n        distances = torch.cdist(chunk, references, compute_mode=\"donot_use_mm_for_euclid_dist\")\n        found.append(distances.min(dim=1))\n    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])", "    q, r = queries.float(), references.float()\n    index = (q.square().sum(1, keepdim=True) - 2 * q @ r.T + r.square().sum(1)).argmin(1)\n    return (queries.double() - references.double()[index]).norm(dim=1), index"),
        ("only the first 500 references", "references, found = references.double(), []", "references, found = references[:500].double(), []"),
        ("only the first 500 queries", "queries.double().split(500)", "[queries.double()[:500]]"),
        ("the last chunk lost", "queries.double().split(500)", "queries.double().split(500)[: max(1, len(queries) // 500)]"),
        ("indices within a chunk of references", "    references, found = references.double(), []\n    for chunk in queries.double().split(500):\n        distances = torch.cdist(chunk, references, compute_mode=\"donot_use_mm_for_euclid_dist\")\n        found.append(distances.min(dim=1))\n    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])", "    exact = \"donot_use_mm_for_euclid_dist\"\n    parts = [torch.cdist(queries.double(), r.double(), compute_mode=exact).min(1) for r in references.split(40)]\n    best = torch.stack([p.values for p in parts]).min(0)\n    return best.values, torch.stack([p.indices for p in parts]).gather(0, best.indices[None])[0]"),
        ("mean over the features", "torch.cat([f.values for f in found])", "torch.cat([f.values for f in found]) / queries.shape[1] ** 0.5"),
        ("indices as floats", "torch.cat([f.indices for f in found])", "torch.cat([f.indices for f in found]).double()"),
    ],
}  # fmt: skip

RIGHT = {
    "inception_score": [
        (
            "entropies",
            """def inception_score(logits):
    p = logits.double().softmax(1)
    diversity = torch.special.entr(p.mean(0)).sum()
    unsureness = torch.special.entr(p).sum(1).mean()
    return torch.exp(diversity - unsureness)
""",
        ),
        (
            "torch's KL divergence",
            """def inception_score(logits):
    p = torch.softmax(logits.to(torch.float64), dim=-1)
    q = p.mean(dim=0, keepdim=True).clamp_min(1e-300).log().expand_as(p)
    return F.kl_div(q, p, reduction="batchmean").exp()
""",
        ),
        (
            "a small number inside the logarithms",
            """def inception_score(logits):
    p = logits.double().softmax(dim=1)
    q = p.mean(0)
    kl = (p * ((p + 1e-16).log() - (q + 1e-16).log())).sum(1)
    return kl.mean().exp()
""",
        ),
        (
            "NumPy, sample by sample",
            """def inception_score(logits):
    import numpy as np
    from scipy.special import rel_entr, softmax

    p = softmax(logits.double().numpy(), axis=1)
    q = p.mean(axis=0)
    return torch.tensor(np.exp(np.mean([rel_entr(row, q).sum() for row in p])))
""",
        ),
    ],
    "statistics": [
        (
            "torch's own covariance",
            """def moments(features):
    x = features.to(torch.float64)
    n, d = x.shape
    scatter = torch.cov(x.T, correction=0).reshape(d, d) * n
    return n, x.mean(0), scatter

def merge(a, b):
    n = a[0] + b[0]
    mean = (a[0] * a[1] + b[0] * b[1]) / n
    scatter = a[2] + b[2]
    for k, m in ((a[0], a[1]), (b[0], b[1])):
        scatter = scatter + k * torch.outer(m - mean, m - mean)
    return n, mean, scatter

def covariance(a):
    return a[2] / (a[0] - 1)
""",
        ),
        (
            "NumPy",
            """def moments(features):
    import numpy as np

    x = features.numpy().astype(np.float64)
    mean = x.mean(axis=0)
    return len(x), torch.from_numpy(mean), torch.from_numpy((x - mean).T @ (x - mean))

def merge(a, b):
    delta = (b[1] - a[1])[:, None]
    n = a[0] + b[0]
    return n, a[1] + b[0] / n * delta[:, 0], a[2] + b[2] + a[0] * b[0] / n * (delta @ delta.T)

def covariance(a):
    n, mean, scatter = a
    return torch.div(scatter, n - 1)
""",
        ),
        (
            "counts as tensors",
            """def moments(features):
    x = features.double()
    m = x.sum(0) / x.shape[0]
    return torch.tensor(x.shape[0]), m, torch.einsum("ni,nj->ij", x - m, x - m)

def merge(a, b):
    na, ma, sa = a
    nb, mb, sb = b
    n = na + nb
    d = ma - mb
    return n, mb + d * na / n, sa + sb + d[:, None] * d[None] * na * nb / n

def covariance(a):
    return a[2] / (a[0] - 1)
""",
        ),
    ],
    "frechet": [
        (
            "SciPy's sqrtm, as FID was first computed",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    from scipy.linalg import sqrtm

    root = sqrtm((covariance_1 @ covariance_2).numpy())
    way = (mean_1 - mean_2).dot(mean_1 - mean_2)
    return way + covariance_1.trace() + covariance_2.trace() - 2 * float(root.trace().real)
""",
        ),
        (
            "complex eigenvalues, as torchmetrics",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    a = (mean_1 - mean_2).square().sum()
    b = covariance_1.trace() + covariance_2.trace()
    c = torch.linalg.eigvals(covariance_1 @ covariance_2).sqrt().real.sum()
    return a + b - 2 * c
""",
        ),
        (
            "roots by eigh, singular values of their product",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    def root(s):
        values, vectors = torch.linalg.eigh(s)
        return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T

    fidelity = torch.linalg.svdvals(root(covariance_1) @ root(covariance_2)).sum()
    traces = torch.trace(covariance_1) + torch.trace(covariance_2)
    return torch.sum((mean_1 - mean_2) ** 2) + traces - 2 * fidelity
""",
        ),
        (
            "the root within the root, held at zero",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    values, vectors = torch.linalg.eigh(covariance_1)
    half = vectors * values.clamp(min=0).sqrt() @ vectors.T
    middle = half @ covariance_2 @ half
    inner = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0)
    d = mean_1 - mean_2
    return (d @ d + covariance_1.trace() + covariance_2.trace() - 2 * inner.sqrt().sum()).clamp(min=0)
""",
        ),
        (
            "nuclear norm of roots by SVD",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    u, s, _ = torch.linalg.svd(covariance_1)
    v, t, _ = torch.linalg.svd(covariance_2)
    overlap = torch.linalg.matrix_norm(s.sqrt()[:, None] * (u.T @ v) * t.sqrt(), "nuc")
    return (mean_1 - mean_2).pow(2).sum() + s.sum() + t.sum() - 2 * overlap
""",
        ),
        (
            "NumPy, a Python float",
            """def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    import numpy as np

    m, s, n, t = (v.numpy() for v in (mean_1, covariance_1, mean_2, covariance_2))
    values = np.linalg.eigvals(s @ t)
    return float(((m - n) ** 2).sum() + np.trace(s + t) - 2 * np.sqrt(values.astype(complex)).real.sum())
""",
        ),
    ],
    "frechet_features": [
        (
            "nuclear norm, with triangular factors where there are many samples",
            """def frechet_of_features(x, y):
    x, y = x.to(torch.float64), y.to(torch.float64)

    def factor(f):
        centred = (f - f.mean(0)) / (f.shape[0] - 1) ** 0.5
        if f.shape[0] <= f.shape[1]:
            return centred
        return torch.linalg.qr(centred, mode="r").R

    a, b = factor(x), factor(y)
    overlap = torch.linalg.matrix_norm(a @ b.T, ord="nuc")
    way = (x.mean(0) - y.mean(0)).pow(2).sum()
    return way + (a**2).sum() + (b**2).sum() - 2 * overlap
""",
        ),
        (
            "NumPy",
            """def frechet_of_features(x, y):
    import numpy as np

    x, y = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    a /= np.sqrt(len(x) - 1)
    b /= np.sqrt(len(y) - 1)
    s = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    way = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(way + (a**2).sum() + (b**2).sum() - 2 * s)
""",
        ),
        (
            "covariances where both have many samples",
            """def frechet_of_features(x, y):
    x, y = x.double(), y.double()
    n, m, d = len(x), len(y), x.shape[1]
    if n > 2 * d and m > 2 * d:
        s, t = (f.T.cov().reshape(d, d) for f in (x, y))
        return frechet_distance(x.mean(0), s, y.mean(0), t)
    a, b = x - x.mean(0), y - y.mean(0)
    s = torch.linalg.svd(a @ b.mT, full_matrices=False).S.sum() / math.sqrt((n - 1) * (m - 1))
    traces = x.var(0).sum() + y.var(0).sum()
    return F.mse_loss(x.mean(0), y.mean(0), reduction="sum") + traces - 2 * s
""",
        ),
    ],
    "kernel_distance": [
        (
            "masks",
            """def kernel_distance(x, y):
    x, y = x.double(), y.double()
    k = lambda a, b: torch.pow(torch.matmul(a, b.t()) / x.size(1) + 1.0, 3)
    off = lambda a: k(a, a)[~torch.eye(len(a), dtype=torch.bool)].mean()
    return off(x) + off(y) - 2 * k(x, y).mean()
""",
        ),
        (
            "the diagonal set to zero",
            """def kernel_distance(x, y):
    x, y = x.to(torch.float64), y.to(torch.float64)
    n, m, d = x.shape[0], y.shape[0], x.shape[1]
    kxx = (x @ x.T / d + 1) ** 3
    kyy = (y @ y.T / d + 1) ** 3
    kxy = (x @ y.T / d + 1) ** 3
    kxx.fill_diagonal_(0)
    kyy.fill_diagonal_(0)
    return kxx.sum() / (n * (n - 1)) + kyy.sum() / (m * (m - 1)) - 2 * kxy.sum() / (n * m)
""",
        ),
        (
            "scikit-learn's kernel",
            """def kernel_distance(x, y):
    from sklearn.metrics.pairwise import polynomial_kernel

    x, y = x.double().numpy(), y.double().numpy()
    xx, yy, xy = (polynomial_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    a = (xx.sum() - xx.diagonal().sum()) / n / (n - 1)
    b = (yy.sum() - yy.diagonal().sum()) / m / (m - 1)
    return float(a + b - 2 * xy.mean())
""",
        ),
    ],
    "disturb": [
        (
            "SciPy's Gaussian filter, torch's normal",
            """def add_noise(pixels, sigma):
    noise = torch.normal(0.0, torch.full(pixels.shape, float(sigma)))
    return torch.round(pixels + noise).clamp(0, 255).to(torch.uint8)

def blur(pixels, sigma):
    from scipy.ndimage import gaussian_filter1d

    x, r = pixels.numpy().astype(float), math.ceil(3 * sigma)
    for axis in (2, 3):
        x = gaussian_filter1d(x, sigma, axis=axis, mode="constant", radius=r)
    return torch.from_numpy(x).round().clamp(0, 255).to(torch.uint8)
""",
        ),
        (
            "one kernel in two dimensions, one group a channel",
            """def add_noise(pixels, sigma):
    noise = torch.randn_like(pixels, dtype=torch.float32) * sigma
    return (pixels + noise + 0.5).floor().clamp(0, 255).byte()

def blur(pixels, sigma):
    c, r = pixels.shape[1], math.ceil(3 * sigma)
    a = torch.arange(-r, r + 1, dtype=torch.float64)
    w = torch.exp(-0.5 * (a / sigma) ** 2)
    w = w / w.sum()
    kernel = torch.outer(w, w).expand(c, 1, -1, -1)
    return F.conv2d(pixels.double(), kernel, padding=r, groups=c).round().clamp(max=255).byte()
""",
        ),
        (
            "shifted copies added up",
            """def add_noise(pixels, sigma):
    noise = torch.empty(pixels.shape).normal_(0, 1)
    return torch.clip(torch.round(pixels.double() + sigma * noise), 0, 255).to(torch.uint8)

def blur(pixels, sigma):
    r = math.ceil(3 * sigma)
    weights = [math.exp(-(a**2) / (2 * sigma**2)) for a in range(-r, r + 1)]
    x = pixels.double()
    for axis in (2, 3):
        wide = F.pad(x, (0, 0, r, r) if axis == 2 else (r, r, 0, 0))
        x = sum(w * wide.narrow(axis, i, x.shape[axis]) for i, w in enumerate(weights)) / sum(weights)
    return (x + 0.5).clamp(0, 255).byte()
""",
        ),
    ],
    "nearest": [
        (
            "the quick formula in float64",
            """def nearest(queries, references):
    q, r = queries.double(), references.double()
    squares = (q**2).sum(1)[:, None] + (r**2).sum(1) - 2 * q @ r.T
    index = squares.argmin(1)
    return (q - r[index]).norm(dim=1), index
""",
        ),
        (
            "query by query",
            """def nearest(queries, references):
    distances, indices = [], []
    for query in queries:
        d = torch.linalg.vector_norm(references - query, dim=1)
        i = d.argmin()
        distances.append(d[i])
        indices.append(i)
    return torch.stack(distances), torch.stack(indices)
""",
        ),
        (
            "SciPy's tree",
            """def nearest(queries, references):
    from scipy.spatial import KDTree

    distance, index = KDTree(references.numpy()).query(queries.numpy())
    return torch.from_numpy(distance), torch.from_numpy(index).long()
""",
        ),
        (
            "scikit-learn, in float64",
            """def nearest(queries, references):
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(references.double().numpy())
    index = torch.from_numpy(found.kneighbors(queries.double().numpy(), return_distance=False)[:, 0])
    return (queries.double() - references.double()[index]).norm(dim=1), index
""",
        ),
    ],
}
