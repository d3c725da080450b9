"""Lab 11: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

MISTAKES = {
    "gaussian": [
        ("covariance divided by N − 1", "centred / len(x)", "centred / (len(x) - 1)"),
        ("covariance not divided", "centred.T @ centred / len(x)", "centred.T @ centred"),
        ("second moment, not centred", "centred = x - mean", "centred = x"),
        ("diagonal only", "centred.T @ centred / len(x)", "torch.diag((centred**2).mean(0))"),
        ("standard deviations", "centred.T @ centred / len(x)", "(centred.T @ centred / len(x)).sqrt()"),
        ("median in place of the mean", "x.mean(0)", "x.median(0).values"),
        ("mean over the coordinates too", "x.mean(0)", "x.mean().expand(x.shape[1])"),
        ("the constant forgotten", " + len(mean) * math.log(2 * math.pi)", ""),
        ("the constant once, not D times", "len(mean) * math.log(2 * math.pi)", "math.log(2 * math.pi)"),
        ("log π in place of log 2π", "math.log(2 * math.pi)", "math.log(math.pi)"),
        ("half of log det Σ", "2 * factor.diagonal()", "factor.diagonal()"),
        ("wrong sign of log det Σ", "+ log_determinant", "- log_determinant"),
        ("no log det Σ", "+ log_determinant", ""),
        ("determinant that underflows", "2 * factor.diagonal().log().sum()", "torch.linalg.det(covariance).log()"),
        ("no factor one half", "-0.5 * (", "-1.0 * ("),
        ("the negative log-density", "-0.5 * (", "0.5 * ("),
        ("bits in place of nats", "-0.5 * (", "-0.5 / math.log(2) * ("),
        ("mean over the dimensions", "(white**2).sum(0)", "(white**2).mean(0)"),
        ("summed over the points", "(white**2).sum(0)", "(white**2).sum()"),
        ("points not centred", "(x - mean).T, upper", "x.T, upper"),
        ("Σ for its inverse", "torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)", "factor.T @ (x - mean).T"),
        ("Σ for its Cholesky factor", "factor, (x - mean).T, upper=False", "covariance, (x - mean).T, upper=False"),
        ("the density, not its logarithm", "-0.5 * (", "torch.exp(-0.5 * ("),
    ],
    "histogram": [
        ("probability in place of density", "probability / area", "probability"),
        ("probability times area", "probability / area", "probability * area"),
        ("area of the whole box", "((high - low) / bins).prod()", "(high - low).prod()"),
        ("box divided by B, not by B²", "((high - low) / bins).prod()", "(high - low).prod() / bins"),
        ("area of a square bin", "((high - low) / bins).prod()", "((high - low)[0] / bins) ** 2"),
        ("not divided by the number of points", "/ (len(x) + pseudo_count * bins**2)", ""),
        ("pseudo-counts not in the total", "/ (len(x) + pseudo_count * bins**2)", "/ len(x)"),
        ("pseudo-count once in the total", "pseudo_count * bins**2)", "pseudo_count)"),
        ("B pseudo-counts in the total", "pseudo_count * bins**2)", "pseudo_count * bins)"),
        ("no pseudo-count", "(counts + pseudo_count) / (len(x) + pseudo_count * bins**2)", "counts / len(x)"),
        ("pseudo-count in empty bins only", "(counts + pseudo_count)", "counts.clamp(min=pseudo_count)"),
        ("a pseudo-count of one, whatever α", "(counts + pseudo_count) / (len(x) + pseudo_count * bins**2)", "(counts + 1) / (len(x) + bins**2)"),
        ("coordinates exchanged", "cell[:, 0] * bins + cell[:, 1]", "cell[:, 1] * bins + cell[:, 0]"),
        ("bins rounded, not cut off", "cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)", "cell = ((x - low) / (high - low) * bins).round().long().clamp(max=bins - 1)"),
        ("scaled to B − 1", "(high - low) * bins).long().clamp(max=bins - 1)", "(high - low) * (bins - 1)).long()"),
        ("box of the points, not the one given", "cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)", "low, high = x.amin(0), x.amax(0)\n    cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)"),
        ("upper edge falls out", "cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)", "cell = ((x - low) / (high - low) * bins).long()\n    cell = cell[(cell < bins).all(1)]"),
        ("lower edge of the box forgotten", "cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)", "cell = (x / (high - low) * bins).long().clamp(0, bins - 1)"),
        ("the density, not its logarithm", ".log().where(inside, -math.inf)", ".where(inside, 0.0)"),
        ("bits in place of nats", ".log().where", ".log2().where"),
        ("negative logarithm", "return density[cell[:, 0], cell[:, 1]].log()", "return -density[cell[:, 0], cell[:, 1]].log()"),
        ("points outside counted to the edge", ".where(inside, -math.inf)", ""),
        ("only one side of the box", "((x >= low) & (x <= high))", "(x <= high)"),
        ("one coordinate inside is enough", "((x >= low) & (x <= high)).all(1)", "((x >= low) & (x <= high)).any(1)"),
        ("density one outside", ".where(inside, -math.inf)", ".where(inside, 0.0)"),
        ("rows and columns exchanged in the lookup", "density[cell[:, 0], cell[:, 1]]", "density[cell[:, 1], cell[:, 0]]"),
    ],
    "bins": [
        ("measured on the training points", "histogram_log_density(validation,", "histogram_log_density(train,"),
        ("fitted to the validation points", "fit_histogram(train,", "fit_histogram(validation,"),
        ("fitted to both", "fit_histogram(train,", "fit_histogram(torch.cat([train, validation]),"),
        ("nats in place of bits", "nats / math.log(2)", "nats"),
        ("multiplied by log 2", "nats / math.log(2)", "nats * math.log(2)"),
        ("log-likelihood in place of bits", "nats = -histogram", "nats = histogram"),
        ("sum in place of the mean", ".mean()", ".sum()"),
        ("divided by the number of training points", ".mean()", ".sum() / len(train)"),
        ("mean of densities, then the logarithm", "-histogram_log_density(validation, density, low, high).mean()", "-histogram_log_density(validation, density, low, high).exp().mean().log()"),
        ("most bits are best", "bits.argmin()", "bits.argmax()"),
        ("the place, not the number of bins", "candidates[int(bits.argmin())]", "int(bits.argmin())"),
        ("the largest candidate", "candidates[int(bits.argmin())]", "max(candidates)"),
        ("candidates sorted", "for bins in candidates:", "for bins in sorted(candidates):"),
        ("pseudo-count forgotten", "bins, pseudo_count)", "bins, 1e-12)"),
        ("box of the training points", "    found = []", "    low, high = train.amin(0), train.amax(0)\n    found = []"),
        ("bits a coordinate", "nats / math.log(2)", "nats / math.log(2) / 2"),
    ],
    "samplers": [
        ("Σ in place of its factor", "torch.linalg.cholesky(covariance).T", "covariance"),
        ("factor not transposed", "torch.linalg.cholesky(covariance).T", "torch.linalg.cholesky(covariance)"),
        ("diagonal of Σ only", "torch.linalg.cholesky(covariance).T", "covariance.diagonal().sqrt().diag()"),
        ("square root entry by entry", "torch.linalg.cholesky(covariance).T", "covariance.abs().sqrt()"),
        ("factor of the inverse", "torch.linalg.cholesky(covariance).T", "torch.linalg.cholesky(covariance.inverse()).T"),
        ("mean forgotten", "return mean + noise", "return noise"),
        ("uniform noise", "torch.randn(n, len(mean)", "torch.rand(n, len(mean)"),
        ("uniform noise with variance one", "return mean + noise", "noise = (torch.rand_like(noise) - 0.5) * 12**0.5\n    return mean + noise"),
        ("one noise for all coordinates", "return mean + noise", "noise = noise[:, :1].expand_as(noise)\n    return mean + noise"),
        ("one noise for all samples", "return mean + noise", "noise = noise[:1].expand_as(noise)\n    return mean + noise"),
        ("the same noise at every call", "noise = torch.randn(n, len(mean), dtype", "torch.manual_seed(0)\n    noise = torch.randn(n, len(mean), dtype"),
        ("the mean, n times", "mean + noise @ torch.linalg.cholesky(covariance).T", "mean.expand(n, -1)"),
        ("middles of the bins", "torch.rand(n, 2, dtype=low.dtype, device=low.device)", "0.5"),
        ("lower corners of the bins", "(cell + within)", "cell"),
        ("one place in the bin for both coordinates", "torch.rand(n, 2, dtype", "torch.rand(n, 1, dtype"),
        ("coordinates exchanged", "[drawn // bins, drawn % bins]", "[drawn % bins, drawn // bins]"),
        ("all bins equally likely", "density.flatten(), n", "torch.ones_like(density).flatten(), n"),
        ("all bins with points equally likely", "density.flatten(), n", "(density > 0).double().flatten(), n"),
        ("the coordinates drawn on their own", "cell = torch.stack([drawn // bins, drawn % bins], dim=1)", "again = torch.multinomial(density.flatten(), n, replacement=True)\n    cell = torch.stack([drawn // bins, again % bins], dim=1)"),
        ("width of the box for that of a bin", "(high - low) / bins", "(high - low)"),
        ("lower edge forgotten", "return low + (cell", "return (cell"),
        ("bins stretched to B − 1", "(high - low) / bins", "(high - low) / (bins - 1)"),
        ("Gaussian noise in the bin", "within = torch.rand(n", "within = 0.5 + 12**-0.5 * torch.randn(n"),
        ("bins in sorted order", "cell = torch.stack(", "drawn = drawn.sort().values\n    cell = torch.stack("),
    ],
    "gaussian_kl": [
        ("KL(q ‖ p)", "    factor_p, factor_q = torch", "    mean_p, covariance_p, mean_q, covariance_q = mean_q, covariance_q, mean_p, covariance_p\n    factor_p, factor_q = torch"),
        ("wrong sign of the log-determinants", "- len(mean_p) + log_ratio", "- len(mean_p) - log_ratio"),
        ("half of the log-determinants", "log_ratio = 2 * (", "log_ratio = ("),
        ("no log-determinants", "- len(mean_p) + log_ratio", "- len(mean_p)"),
        ("D forgotten", " - len(mean_p) + log_ratio", " + log_ratio"),
        ("one in place of D", "- len(mean_p) + log_ratio", "- 1 + log_ratio"),
        ("no factor one half", "return 0.5 * (", "return ("),
        ("bits in place of nats", "return 0.5 * (", "return 0.5 / math.log(2) * ("),
        ("means forgotten", " + (shift**2).sum()", ""),
        ("shift not squared", "(shift**2).sum()", "shift.abs().sum()"),
        ("shift measured by Σ_p", "factor_q, (mean_q - mean_p)[:, None]", "factor_p, (mean_q - mean_p)[:, None]"),
        ("shift not measured by Σ", "(shift**2).sum()", "((mean_q - mean_p) ** 2).sum()"),
        ("diagonals only in the trace", "(white**2).sum()", "(covariance_p.diagonal() / covariance_q.diagonal()).sum()"),
        ("determinants that underflow", "2 * (factor_q.diagonal().log() - factor_p.diagonal().log()).sum()", "(covariance_q.det() / covariance_p.det()).log()"),
        ("symmetrised", "return 0.5 * (", "return 0.25 * ((covariance_p.inverse() @ covariance_q).trace() + (mean_q - mean_p) @ covariance_p.inverse() @ (mean_q - mean_p) - len(mean_p) - log_ratio) + 0.25 * ("),
        ("samples of q", "sample_gaussian(mean_p, covariance_p, n)", "sample_gaussian(mean_q, covariance_q, n)"),
        ("sign of the estimate", "log_p - log_q", "log_q - log_p"),
        ("absolute values", "log_p - log_q", "(log_p - log_q).abs()"),
        ("samples of q and sign: KL(q ‖ p)", "x = sample_gaussian(mean_p, covariance_p, n)", "mean_p, covariance_p, mean_q, covariance_q = mean_q, covariance_q, mean_p, covariance_p\n    x = sample_gaussian(mean_p, covariance_p, n)"),
        ("weighted by p once more", "ratios = log_p - log_q", "ratios = log_p.exp() * (log_p - log_q)"),
        ("sum in place of the mean", "return ratios.mean()", "return ratios.sum()"),
        ("logarithm of the mean ratio", "return ratios.mean()", "return ratios.exp().mean().log()"),
        ("median", "return ratios.mean()", "return ratios.median()"),
        ("standard deviation for standard error", "ratios.std() / math.sqrt(n)", "ratios.std()"),
        ("divided by n, not by its root", "ratios.std() / math.sqrt(n)", "ratios.std() / n"),
        ("variance of the mean", "ratios.std() / math.sqrt(n)", "ratios.var() / n"),
        ("variance by the root of n", "ratios.std() / math.sqrt(n)", "ratios.var() / math.sqrt(n)"),
        ("the same samples at every call", "x = sample_gaussian(mean_p", "torch.manual_seed(0)\n    x = sample_gaussian(mean_p"),
        ("the closed form as an estimate", "return ratios.mean()", "return gaussian_kl(mean_p, covariance_p, mean_q, covariance_q)"),
        ("the closed form with made-up noise", "return ratios.mean()", "return gaussian_kl(mean_p, covariance_p, mean_q, covariance_q) + 0.01 * torch.randn(())"),
        ("a hundred samples, whatever n", "sample_gaussian(mean_p, covariance_p, n)", "sample_gaussian(mean_p, covariance_p, 100)"),
        ("constants of the densities dropped", "ratios = log_p - log_q", "ratios = (log_p - log_p.max()) - (log_q - log_q.max())"),
    ],
    "tables": [
        ("TV without one half", "0.5 * (p - q).abs().sum(-1)", "(p - q).abs().sum(-1)"),
        ("TV as a mean", "(p - q).abs().sum(-1)", "(p - q).abs().mean(-1)"),
        ("TV as the largest difference of one outcome", "0.5 * (p - q).abs().sum(-1)", "(p - q).abs().amax(-1)"),
        ("TV with squares", "(p - q).abs().sum(-1)", "((p - q) ** 2).sum(-1)"),
        ("TV without absolute values", "(p - q).abs().sum(-1)", "(p - q).sum(-1)"),
        ("TV over all tables at once", "(p - q).abs().sum(-1)", "(p - q).abs().sum()"),
        ("0 log 0 as floats", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(p * (p.log() - q.log())).sum(-1)"),
        ("zeros of q skipped", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "torch.where((p > 0) & (q > 0), p * (p / q).log(), 0.0).sum(-1)"),
        ("a small number added", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(p * ((p + 1e-8).log() - (q + 1e-8).log())).sum(-1)"),
        ("NaN turned to zero, infinity too", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(p * (p.log() - q.log())).nan_to_num(0, 0, 0).sum(-1)"),
        ("KL(q ‖ p)", "(torch.xlogy(p, p) - torch.xlogy(p, q))", "(torch.xlogy(q, q) - torch.xlogy(q, p))"),
        ("arguments of torch's kl_div exchanged", "(torch.xlogy(p, p) - torch.xlogy(p, q))", "torch.nn.functional.kl_div(p.log(), q, reduction='none')"),
        ("KL symmetrised", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "0.5 * (torch.xlogy(p, p) - torch.xlogy(p, q) + torch.xlogy(q, q) - torch.xlogy(q, p)).sum(-1)"),
        ("the negative KL", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(torch.xlogy(p, q) - torch.xlogy(p, p)).sum(-1)"),
        ("cross-entropy in place of KL", "(torch.xlogy(p, p) - torch.xlogy(p, q))", "(-torch.xlogy(p, q))"),
        ("KL as a mean over the outcomes", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(torch.xlogy(p, p) - torch.xlogy(p, q)).mean(-1)"),
        ("absolute values in KL", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(torch.xlogy(p, p) - torch.xlogy(p, q)).abs().sum(-1)"),
        ("KL in bits", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)", "(torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1) / math.log(2)"),
        ("JS without one half", "(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2", "kl_divergence(p, middle) + kl_divergence(q, middle)"),
        ("JS without the mixture", "middle = (p + q) / 2", "return (kl_divergence(p, q) + kl_divergence(q, p)) / 2"),
        ("mixture not halved", "middle = (p + q) / 2", "middle = p + q"),
        ("geometric mean for the mixture", "middle = (p + q) / 2", "middle = (p * q).sqrt()\n    middle = middle / middle.sum(-1, keepdim=True)"),
        ("JS the other way round", "(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2", "(kl_divergence(middle, p) + kl_divergence(middle, q)) / 2"),
        ("one of the two halves twice", "kl_divergence(q, middle)", "kl_divergence(p, middle)"),
        ("SciPy's root of JS", "(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2", "((kl_divergence(p, middle) + kl_divergence(q, middle)) / 2).clamp(min=0).sqrt()"),
        ("JS in bits", "(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2", "(kl_divergence(p, middle) + kl_divergence(q, middle)) / 2 / math.log(2)"),
    ],
    "earth_mover": [
        ("not sorted", "x.sort().values - y.sort().values", "x - y"),
        ("only one of the two sorted", "y.sort().values", "y"),
        ("sorted in opposite orders", "y.sort().values", "y.sort(descending=True).values"),
        ("squared: W₂²", ".abs().mean()", ".square().mean()"),
        ("W₂", ".abs().mean()", ".square().mean().sqrt()"),
        ("sum in place of the mean", ".abs().mean()", ".abs().sum()"),
        ("difference of the means", ".abs().mean()", ".mean().abs()"),
        ("the longest way", ".abs().mean()", ".abs().max()"),
        ("no absolute values", ".abs().mean()", ".mean()"),
        ("all pairs", "(x.sort().values - y.sort().values)", "(x[:, None] - y)"),
        ("each to its nearest", "(x.sort().values - y.sort().values).abs()", "(x[:, None] - y).abs().amin(1)"),
        ("detached", "y.sort().values).abs()", "y.sort().values).detach().abs()"),
        ("detached in y", "y.sort().values", "y.sort().values.detach()"),
        ("one half as in TV", ".abs().mean()", ".abs().mean() / 2"),
        ("median way", ".abs().mean()", ".abs().median()"),
    ],
    "clouds": [
        ("points matched as they come", "ways[rows, columns].mean()", "ways.diagonal().mean()"),
        ("each point to its nearest", "ways[rows, columns].mean()", "ways.amin(1).mean()"),
        ("all pairs", "ways[rows, columns].mean()", "ways.mean()"),
        ("the worst plan", "linear_sum_assignment(ways.detach().cpu())", "linear_sum_assignment(ways.detach().cpu(), maximize=True)"),
        ("squared ways", "moved = ways[rows, columns].mean()", "moved = (ways[rows, columns] ** 2).mean()"),
        ("W₂", "linear_sum_assignment(ways.detach().cpu())\n    moved = ways[rows, columns].mean()", "linear_sum_assignment(ways.detach().cpu() ** 2)\n    moved = (ways[rows, columns] ** 2).mean().sqrt()"),
        ("matched by squared ways", "linear_sum_assignment(ways.detach().cpu())", "linear_sum_assignment(ways.detach().cpu() ** 2)"),
        ("ways along the axes", ".norm(dim=-1)", ".abs().sum(-1)"),
        ("longest coordinate for the way", ".norm(dim=-1)", ".abs().amax(-1)"),
        ("sum in place of the mean", "ways[rows, columns].mean()", "ways[rows, columns].sum()"),
        ("detached", "moved = ways[rows, columns].mean()", "moved = ways.detach()[rows, columns].mean()"),
        ("the first coordinate only", "ways = (x[:, None] - y).norm(dim=-1)", "ways = (x[:, None, 0] - y[:, 0]).abs()"),
        ("each coordinate moved on its own", "moved = ways[rows, columns].mean()", "moved = (x.sort(0).values - y.sort(0).values).abs().mean(0).sum()"),
        ("a matching of columns to rows", "ways[rows, columns].mean()", "ways[columns, rows].mean()"),
        ("points sorted by the first coordinate", "moved = ways[rows, columns].mean()", "moved = (x[x[:, 0].argsort()] - y[y[:, 0].argsort()]).norm(dim=1).mean()"),
        ("counts in place of shares", ".to(x.dtype) / len(x)", ".to(x.dtype)"),
        ("divided by the number of distinct points", "/ len(x)", "/ len(distinct)"),
        ("equal points not joined", "torch.cat([x, y]).detach().unique(dim=0, return_inverse=True)", "torch.cat([x, y]).detach(), torch.arange(2 * len(x))"),
        ("points told apart by the first coordinate only", "torch.cat([x, y]).detach().unique(dim=0, return_inverse=True)", "torch.cat([x, y]).detach()[:, 0].unique(return_inverse=True)"),
        ("points rounded before they are compared", "torch.cat([x, y]).detach().unique", "torch.cat([x, y]).detach().round(decimals=1).unique"),
        ("coordinates taken for points", "distinct, place = torch.cat([x, y]).detach().unique(dim=0, return_inverse=True)", "distinct, place = torch.cat([x, y]).detach().unique(return_inverse=True)\n    place = place[:, 0]"),
        ("a point counted once in each cloud", ".to(x.dtype) / len(x)", ".clamp(max=1).to(x.dtype) / len(x)"),
        ("only points of both clouds", "return total_variation", "both = (p > 0) & (q > 0)\n    p, q = p[both], q[both]\n    return total_variation"),
        ("only points of the first cloud", "return total_variation", "seen = p > 0\n    p, q = p[seen], q[seen]\n    return total_variation"),
        ("KL(y ‖ x)", "kl_divergence(p, q)", "kl_divergence(q, p)"),
        ("a small number in empty places", "/ len(x)\n", "/ len(x) + 1e-6\n"),
        ("JS and KL exchanged", "kl_divergence(p, q), jensen_shannon(p, q)", "jensen_shannon(p, q), kl_divergence(p, q)"),
    ],
}  # fmt: skip

RIGHT = {
    "gaussian": [
        (
            "torch.cov and torch.distributions",
            """
def fit_gaussian(x):
    return torch.mean(x, dim=0), torch.atleast_2d(torch.cov(x.T, correction=0))

def gaussian_log_density(x, mean, covariance):
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
""",
        ),
        (
            "slogdet and solve",
            """
def fit_gaussian(x):
    N = x.size(0)
    mu = x.sum(0) / N
    return mu, torch.einsum("ni,nj->ij", x - mu, x - mu) / N

def gaussian_log_density(x, mean, covariance):
    d = x - mean
    squares = (d * torch.linalg.solve(covariance, d.T).T).sum(1)
    _, logdet = torch.linalg.slogdet(covariance)
    return -(squares + logdet + x.shape[1] * math.log(2 * math.pi)) / 2
""",
        ),
        (
            "moments, eigenvalues",
            """
def fit_gaussian(x):
    mu = x.mean(0, keepdim=True)
    return mu[0], x.T @ x / len(x) - mu.T @ mu

def gaussian_log_density(x, mean, covariance):
    values, vectors = torch.linalg.eigh(covariance)
    white = (x - mean) @ vectors / values.sqrt()
    return torch.distributions.Normal(0.0, 1.0).log_prob(white).sum(-1) - values.log().sum() / 2
""",
        ),
    ],
    "histogram": [
        (
            "torch.histogramdd and bucketize",
            """
def fit_histogram(x, low, high, bins, pseudo_count):
    box = [float(v) for v in (low[0], high[0], low[1], high[1])]
    counts = torch.histogramdd(x, [bins, bins], range=box).hist + pseudo_count
    return counts / counts.sum() * bins**2 / (high - low).prod()

def histogram_log_density(x, density, low, high):
    B = density.shape[0]
    index = []
    for k in range(2):
        edges = torch.linspace(float(low[k]), float(high[k]), B + 1, dtype=x.dtype)
        index.append((torch.bucketize(x[:, k].contiguous(), edges) - 1).clamp(0, B - 1))
    outside = (x < low).any(1) | (x > high).any(1)
    found = density[index[0], index[1]].clone()
    found[outside] = 0.0
    return found.log()
""",
        ),
        (
            "a loop over the points",
            """
def fit_histogram(x, low, high, bins, pseudo_count):
    width = (high - low) / bins
    counts = torch.full((bins, bins), float(pseudo_count), dtype=torch.float64)
    for point in x:
        i, j = torch.floor((point - low) / width).int().tolist()
        counts[min(i, bins - 1), min(j, bins - 1)] += 1
    return counts / counts.sum() / (width[0] * width[1])

def histogram_log_density(x, density, low, high):
    width = (high - low) / len(density)
    found = []
    for point in x:
        if (point < low).any() or (point > high).any():
            found.append(-math.inf)
            continue
        i, j = torch.floor((point - low) / width).int().tolist()
        value = float(density[min(i, len(density) - 1), min(j, len(density) - 1)])
        found.append(math.log(value) if value > 0 else -math.inf)
    return torch.tensor(found, dtype=torch.float64)
""",
        ),
        (
            "NumPy",
            """
def fit_histogram(x, low, high, bins, pseudo_count):
    import numpy as np
    box = torch.stack([low, high], 1).tolist()
    counts, a, b = np.histogram2d(x[:, 0].numpy(), x[:, 1].numpy(), bins=bins, range=box)
    area = (a[1] - a[0]) * (b[1] - b[0])
    share = (counts + pseudo_count) / (counts.sum() + pseudo_count * counts.size)
    return torch.from_numpy(share / area)

def histogram_log_density(x, density, low, high):
    padded = torch.nn.functional.pad(density, (1, 1, 1, 1))
    bins = len(density)
    place = torch.floor((x - low) / (high - low) * bins)
    place = torch.where(x == high, bins - 1.0, place)
    i, j = (place.clamp(-1, bins) + 1).long().unbind(1)
    return torch.log(padded[i, j])
""",
        ),
    ],
    "bins": [
        (
            "a comprehension and min",
            """
def choose_bins(train, validation, low, high, candidates, pseudo_count):
    bits = [
        -float(histogram_log_density(
            validation, fit_histogram(train, low, high, B, pseudo_count), low, high
        ).double().mean()) / math.log(2)
        for B in candidates
    ]
    best = min(zip(bits, candidates))[1]
    return best, torch.tensor(bits)
""",
        ),
        (
            "on its own, base 2 throughout",
            """
def choose_bins(train, validation, low, high, candidates, pseudo_count):
    scores = torch.zeros(len(candidates), dtype=torch.float64)
    for k, B in enumerate(candidates):
        place = lambda x: ((x - low) / (high - low) * B).long().clamp(0, B - 1)
        i, j = place(train).T
        table = torch.full((B, B), pseudo_count, dtype=torch.float64)
        table.index_put_((i, j), torch.ones(len(train), dtype=torch.float64), accumulate=True)
        table = table / table.sum() / (high - low).prod() * B * B
        i, j = place(validation).T
        scores[k] = -torch.log2(table[i, j]).sum() / len(validation)
    return candidates[scores.argmin().item()], scores
""",
        ),
    ],
    "samplers": [
        (
            "torch.distributions, cumulative sums",
            """
def sample_gaussian(mean, covariance, n):
    return torch.distributions.MultivariateNormal(mean, covariance).sample((n,))

def sample_histogram(density, low, high, n):
    steps = density.flatten().cumsum(0)
    at = torch.searchsorted(steps, torch.rand(n, dtype=steps.dtype) * steps[-1], right=True)
    corner = torch.stack(torch.unravel_index(at, density.shape), 1)
    return low + (high - low) * (corner + torch.rand(n, 2, dtype=low.dtype)) / len(density)
""",
        ),
        (
            "eigenvectors; row first, then column",
            """
def sample_gaussian(mean, covariance, n):
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.sqrt()
    return (mean[:, None] + root @ torch.randn(len(mean), n, dtype=mean.dtype)).T

def sample_histogram(density, low, high, n):
    row = torch.distributions.Categorical(density.sum(1)).sample((n,))
    column = torch.multinomial(density[row], 1)[:, 0]
    width = (high - low) / density.shape[0]
    x = low[0] + width[0] * (row + 1 - torch.rand(n, dtype=low.dtype))
    y = low[1] + width[1] * (column + torch.rand(n, dtype=low.dtype))
    return torch.stack((x, y), -1)
""",
        ),
        (
            "symmetric root, upper factor",
            """
def sample_gaussian(mean, covariance, n):
    upper = torch.linalg.cholesky(covariance, upper=True)
    return torch.randn(n, mean.numel(), dtype=mean.dtype) @ upper + mean

def sample_histogram(density, low, high, n):
    import numpy as np
    bins, share = len(density), (density / density.sum()).flatten().numpy()
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    i, j = np.divmod(rng.choice(bins * bins, size=n, p=share), bins)
    unit = (np.stack([i, j], 1) + rng.random((n, 2))) / bins
    return low + (high - low) * torch.from_numpy(unit)
""",
        ),
    ],
    "gaussian_kl": [
        (
            "torch.distributions",
            """
def gaussian_kl(mean_p, covariance_p, mean_q, covariance_q):
    p = torch.distributions.MultivariateNormal(mean_p, covariance_p)
    q = torch.distributions.MultivariateNormal(mean_q, covariance_q)
    return torch.distributions.kl_divergence(p, q)

def gaussian_kl_monte_carlo(mean_p, covariance_p, mean_q, covariance_q, n):
    p = torch.distributions.MultivariateNormal(mean_p, covariance_p)
    q = torch.distributions.MultivariateNormal(mean_q, covariance_q)
    x = p.sample((n,))
    r = p.log_prob(x) - q.log_prob(x)
    return r.mean(), (r.var() / n).sqrt()
""",
        ),
        (
            "inverse and slogdet, dividing by n",
            """
def gaussian_kl(mean_p, covariance_p, mean_q, covariance_q):
    P = torch.linalg.inv(covariance_q)
    d = mean_p - mean_q
    logs = torch.logdet(covariance_q) - torch.logdet(covariance_p)
    return (torch.trace(P @ covariance_p) + d @ P @ d - d.numel() + logs) / 2

def gaussian_kl_monte_carlo(mean_p, covariance_p, mean_q, covariance_q, n):
    x = sample_gaussian(mean_p, covariance_p, n)
    r = gaussian_log_density(x, mean_p, covariance_p)
    r = r - gaussian_log_density(x, mean_q, covariance_q)
    estimate = r.sum() / n
    return estimate, ((r - estimate) ** 2).mean().sqrt() / n**0.5
""",
        ),
    ],
    "tables": [
        (
            "masks and torch's kl_div",
            """
def total_variation(p, q):
    return torch.clamp(p - q, min=0).sum(dim=-1)

def kl_divergence(p, q):
    terms = torch.zeros_like(p)
    some = p > 0
    terms[some] = p[some] * torch.log(p[some] / q[some])
    return terms.sum(-1)

def jensen_shannon(p, q):
    log_m = ((p + q) / 2).clamp(min=1e-300).log()
    halves = [torch.nn.functional.kl_div(log_m, t, reduction="none") for t in (p, q)]
    return 0.5 * sum(halves).sum(-1)
""",
        ),
        (
            "one minus the overlap, entropies",
            """
def total_variation(p, q):
    return 1 - torch.minimum(p, q).sum(-1)

def kl_divergence(p, q):
    return torch.special.rel_entr(p, q).sum(-1) if hasattr(torch.special, "rel_entr") else (
        torch.where(p == 0, torch.zeros_like(p), p * (p.log() - q.log())).sum(-1)
    )

def jensen_shannon(p, q):
    entropy = lambda t: torch.special.entr(t).sum(-1)
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
""",
        ),
    ],
    "earth_mover": [
        (
            "the area between the cumulative distributions",
            """
def earth_mover(x, y):
    both, order = torch.cat([x, y]).sort()
    step = torch.cat([torch.ones_like(x), -torch.ones_like(y)])[order] / len(x)
    return (step.cumsum(0)[:-1].abs() * both.diff()).sum()
""",
        ),
        (
            "descending",
            """
def earth_mover(x, y):
    a, _ = torch.sort(x, descending=True)
    b, _ = torch.sort(y, descending=True)
    return torch.nn.functional.l1_loss(a, b)
""",
        ),
        (
            "one-to-one matching",
            """
def earth_mover(x, y):
    cost = (x[:, None] - y[None, :]).abs()
    i, j = linear_sum_assignment(cost.detach().numpy())
    return cost[i, j].sum() / len(x)
""",
        ),
    ],
    "clouds": [
        (
            "a dictionary of points, cdist",
            """
def cloud_distances(x, y):
    from collections import Counter
    a, b = (Counter(map(tuple, t.tolist())) for t in (x, y))
    names = list(a | b)
    p = torch.tensor([a[k] / len(x) for k in names], dtype=torch.float64)
    q = torch.tensor([b[k] / len(y) for k in names], dtype=torch.float64)
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    i, j = linear_sum_assignment(cost.detach().numpy())
    tv = 0.5 * (p - q).abs().sum()
    kl = torch.tensor(float(stats.entropy(p.numpy(), q.numpy())))
    m = (p + q) / 2
    js = 0.5 * (torch.xlogy(p, p) - torch.xlogy(p, m) + torch.xlogy(q, q) - torch.xlogy(q, m)).sum()
    return tv, kl, js, cost[i, j].mean()
""",
        ),
        (
            "comparing all pairs, the way of the matched points only",
            """
def cloud_distances(x, y):
    every = torch.cat([x, y]).detach()
    same = (every[:, None] == every).all(-1)
    first = same.int().argmax(1)  # the first equal row stands for all
    p = torch.zeros(len(every), dtype=x.dtype).index_add(0, first[: len(x)], torch.ones_like(x[:, 0]))
    q = torch.zeros(len(every), dtype=x.dtype).index_add(0, first[len(x) :], torch.ones_like(y[:, 0]))
    p, q = p / p.sum(), q / q.sum()
    with torch.no_grad():
        squares = ((x[:, None] - y) ** 2).sum(-1)
        _, columns = linear_sum_assignment(squares.sqrt().numpy())
    way = torch.linalg.vector_norm(x - y[columns], dim=1).mean()
    return total_variation(p, q), kl_divergence(p, q), jensen_shannon(p, q), way
""",
        ),
    ],
}
