"""Lab 22: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

MISTAKES = {
    "kl_to_prior": [
        ("log σ taken for log σ²", "logvar.exp() - logvar", "(2 * logvar).exp() - 2 * logvar"),
        ("log σ² taken for σ²", "logvar.exp() - logvar", "logvar - logvar.abs().log()"),
        ("mean over the dimensions", ".sum(dim=1)", ".mean(dim=1)"),
        ("sum over the batch too", ".sum(dim=1)", ".sum().expand(len(mu))"),
        ("mean over the batch", ".sum(dim=1)", ".sum(1).mean().expand(len(mu))"),
        ("no factor one half", "0.5 * (mu**2", "(mu**2"),
        ("wrong sign of log σ²", "- logvar - 1", "+ logvar - 1"),
        ("the −1 forgotten", "- logvar - 1", "- logvar"),
        ("μ not squared", "mu**2", "mu.abs()"),
        (
            "KL the other way round",
            "0.5 * (mu**2 + logvar.exp() - logvar - 1)",
            "0.5 * ((mu**2 + 1) / logvar.exp() + logvar - 1)",
        ),
        ("variance detached", "logvar.exp()", "logvar.exp().detach()"),
        ("the sign of an ELBO term", "0.5 * (mu**2", "-0.5 * (mu**2"),
        ("log σ² clamped at ±10", "logvar.exp()", "logvar.clamp(-10, 10).exp()"),
        ("no shape left for one code", ".sum(dim=1)", ".sum(dim=1).squeeze()"),
        ("free nats", ".sum(dim=1)", ".sum(dim=1).clamp(min=0.5)"),
        ("product of the variances, which underflows", "(mu**2 + logvar.exp() - logvar - 1).sum(dim=1)", "((mu**2 + logvar.exp() - 1).sum(1) - logvar.exp().prod(1).log())"),
    ],
    "reparameterise": [
        ("σ² in place of σ", "(logvar / 2).exp()", "logvar.exp()"),
        ("log σ² in place of σ", "(logvar / 2).exp()", "logvar"),
        ("1/σ in place of σ", "(logvar / 2).exp()", "(-logvar / 2).exp()"),
        ("μ in place of a sample", "mu + (logvar / 2).exp() * torch.randn_like(mu)", "mu"),
        ("one noise for the whole batch", "torch.randn_like(mu)", "torch.randn_like(mu[:1])"),
        ("one noise for all dimensions", "torch.randn_like(mu)", "torch.randn_like(mu[:, :1])"),
        ("uniform noise", "torch.randn_like(mu)", "torch.rand_like(mu)"),
        ("uniform noise between −1 and 1", "torch.randn_like(mu)", "(2 * torch.rand_like(mu) - 1)"),
        (
            "a sample with no gradient",
            "mu + (logvar / 2).exp() * torch.randn_like(mu)",
            "torch.normal(mu, (logvar / 2).exp())",
        ),
        ("σ detached", "(logvar / 2).exp()", "(logvar / 2).exp().detach()"),
        (
            "the same noise at every call",
            "torch.randn_like(mu)",
            "torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))",
        ),
        ("noise not scaled", "(logvar / 2).exp() * ", ""),
        ("noise only where gradients are recorded", "torch.randn_like(mu)", "torch.randn_like(mu) * torch.is_grad_enabled()"),
        ("log σ² clamped at ±4", "(logvar / 2)", "(logvar.clamp(-4, 4) / 2)"),
        ("NumPy's float64 noise", "torch.randn_like(mu)", "torch.randn_like(mu.double())"),
        ("noise centred over the batch", "torch.randn_like(mu)", "(e := torch.randn_like(mu)).sub(e.mean(0))"),
        ("noise of one half mirrored in the other", "torch.randn_like(mu)", "torch.cat([e := torch.randn_like(mu[: (len(mu) + 1) // 2]), -e])[: len(mu)]"),
    ],
    "vae": [
        ("ReLU after log σ²", "nn.Linear(256, 2 * latents),", "nn.Linear(256, 2 * latents), nn.ReLU(),"),
        (
            "softplus on log σ²",
            "return self.encoder(scaled).chunk(2, dim=1)",
            "mu, s = self.encoder(scaled).chunk(2, dim=1)\n        return mu, F.softplus(s)",
        ),
        (
            "one head for μ and log σ²",
            "return self.encoder(scaled).chunk(2, dim=1)",
            "return (self.encoder(scaled).chunk(2, dim=1)[0],) * 2",
        ),
        ("split along the batch", "chunk(2, dim=1)", "chunk(2, dim=0)"),
        (
            "noise added in the encoder",
            "return self.encoder(scaled).chunk(2, dim=1)",
            "mu, s = self.encoder(scaled).chunk(2, dim=1)\n"
            "        return mu + torch.randn_like(mu), s",
        ),
        (
            "softmax after the logits",
            "return self.decoder(z)",
            "return self.decoder(z).softmax(1)",
        ),
        ("sigmoid after the logits", "return self.decoder(z)", "return self.decoder(z).sigmoid()"),
        ("tanh after the logits", "return self.decoder(z)", "return self.decoder(z).tanh()"),
        ("ReLU after the logits", "return self.decoder(z)", "return self.decoder(z).relu()"),
        ("one number a pixel", "ConvTranspose2d(32, levels,", "ConvTranspose2d(32, 1,"),
        (
            "a dimension of the code lost",
            "return self.decoder(z)",
            "return self.decoder(torch.cat([z[:, :-1], torch.zeros_like(z[:, :1])], 1))",
        ),
        ("noise added in the decoder", "self.decoder(z)", "self.decoder(z + torch.randn_like(z))"),
        ("encoder detached", "self.encoder(scaled)", "self.encoder(scaled).detach()"),
        ("whole-number division", "x.float() / (self.levels - 1)", "(x // (self.levels - 1)).float()"),
        ("normalised over the batch", "* x.float() / (self.levels - 1) - 1", "* x.float() / x.sum()"),
        ("z detached", "return self.decoder(z)", "return self.decoder(z.detach())"),
        ("tanh after both heads", "nn.Linear(256, 2 * latents),", "nn.Linear(256, 2 * latents), nn.Tanh(),"),
        (
            "log σ² detached",
            "return self.encoder(scaled).chunk(2, dim=1)",
            "mu, s = self.encoder(scaled).chunk(2, dim=1)\n        return mu, s.detach()",
        ),
        ("levels scaled by the brightest of the batch", "/ (self.levels - 1)", "/ x.max()"),
        ("one map for all levels", "return self.decoder(z)", "return self.decoder(z)[:, :1] * torch.arange(self.levels)[:, None, None]"),
    ],
    "log_likelihood": [
        ("mean over the pixels", ".sum(dim=(1, 2))", ".mean(dim=(1, 2))"),
        ("sum over the batch too", ".sum(dim=(1, 2))", ".sum().expand(len(x))"),
        ("mean over the batch", ".sum(dim=(1, 2))", ".sum((1, 2)).mean().expand(len(x))"),
        ("the sign of a loss", "-F.cross_entropy", "F.cross_entropy"),
        ("softmax applied twice", "cross_entropy(logits,", "cross_entropy(logits.softmax(1),"),
        (
            "logarithm of an underflowing softmax",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "logits.softmax(1).gather(1, x)[:, 0].log()",
        ),
        (
            "softmax clipped at 1e-6",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "logits.softmax(1).gather(1, x)[:, 0].clamp(min=1e-6).log()",
        ),
        (
            "probability in place of its logarithm",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "logits.softmax(1).gather(1, x)[:, 0]",
        ),
        (
            "a sigmoid for each level",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "-F.binary_cross_entropy_with_logits(logits, F.one_hot(x[:, 0], logits.shape[1])"
            '.permute(0, 3, 1, 2).float(), reduction="none").sum(1)',
        ),
        (
            "softmax over the rows",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "logits.log_softmax(2).gather(1, x)[:, 0]",
        ),
        (
            "not normalised",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "logits.gather(1, x)[:, 0]",
        ),
        (
            "squared error of the expected level",
            '-F.cross_entropy(logits, x[:, 0], reduction="none")',
            "-((logits.softmax(1) * torch.arange(logits.shape[1])[:, None, None]).sum(1) - x[:, 0])"
            " ** 2",
        ),
        ("bits in place of nats", ".sum(dim=(1, 2))", ".sum(dim=(1, 2)) / math.log(2)"),
        ("squeeze that also takes a batch of one", "logits, x[:, 0]", "logits, x.squeeze()"),
        ("no shape left for one image", ".sum(dim=(1, 2))", ".sum(dim=(1, 2)).squeeze()"),
        ("background ignored", 'reduction="none"', 'reduction="none", ignore_index=0'),
    ],
    "elbo": [
        ("KL added", "- kl_to_prior", "+ kl_to_prior"),
        ("KL forgotten", " - kl_to_prior(mu, logvar)", ""),
        ("the negative ELBO", "return log_likelihood", "return -log_likelihood"),
        ("KL weighted by one half", "- kl_to_prior", "- 0.5 * kl_to_prior"),
        ("KL averaged over dimensions", "kl_to_prior(mu, logvar)", "kl_to_prior(mu, logvar) / mu.shape[1]"),
        (
            "KL averaged over the batch",
            "kl_to_prior(mu, logvar)",
            "kl_to_prior(mu, logvar).mean()",
        ),
        ("KL detached", "kl_to_prior(mu, logvar)", "kl_to_prior(mu, logvar).detach()"),
        ("arguments swapped", "kl_to_prior(mu, logvar)", "kl_to_prior(logvar, mu)"),
        (
            "reconstruction averaged over pixels",
            "log_likelihood(x, logits)",
            "log_likelihood(x, logits) / x[0].numel()",
        ),
        ("summed over the batch", "return log_likelihood(x, logits)", "return log_likelihood(x, logits).sum()"),
        ("free nats", "kl_to_prior(mu, logvar)", "kl_to_prior(mu, logvar).clamp(min=0.5)"),
        ("log σ² clamped at ±4", "kl_to_prior(mu, logvar)", "kl_to_prior(mu, logvar.clamp(-4, 4))"),
        ("no shape left for one image", "return log_likelihood(x, logits) - kl_to_prior(mu, logvar)", "return (log_likelihood(x, logits) - kl_to_prior(mu, logvar)).squeeze()"),
    ],
    "linear_gaussian": [
        ("s in place of s² in S", "W.T @ W / s**2", "W.T @ W / s"),
        ("no prior in S", "inv(identity + W.T", "inv(W.T"),
        ("precision in place of covariance", "torch.linalg.inv(identity + W.T @ W / s**2)", "identity + W.T @ W / s**2"),
        ("b forgotten in the posterior", "(x - b) @ W @", "x @ W @"),
        ("mean not divided by s²", "@ covariance / s**2, covariance", "@ covariance, covariance"),
        ("s in place of s² in p(x)", "s**2 * torch.eye(len(b)", "s * torch.eye(len(b)"),
        ("p(x | z = 0) for p(x)", "W @ W.T + s**2", "0 * W @ W.T + s**2"),
        ("p(x) with no mean", "MultivariateNormal(b, covariance)", "MultivariateNormal(0 * b, covariance)"),
        ("the trace term forgotten", " + logvar.exp() @ (W**2).sum(0)", ""),
        ("σ in place of σ² in the trace", "logvar.exp() @", "(logvar / 2).exp() @"),
        ("rows for columns of W", "logvar.exp() @ (W**2).sum(0)", "logvar.exp().sum(1) * (W**2).sum(1).mean()"),
        ("log 2πs", "2 * math.pi * s**2", "2 * math.pi * s"),
        ("the constant forgotten", "len(b) * math.log(2 * math.pi * s**2) + ", ""),
        ("the constant once, not P times", "len(b) * math.log", "math.log"),
        ("b forgotten in the bound", "(x - b - mu @ W.T)", "(x - mu @ W.T)"),
        ("KL added", "- kl_to_prior", "+ kl_to_prior"),
        ("W Wᵀ for Wᵀ W where W is square", "identity + W.T @ W", "identity + (W @ W.T if len(W) == len(W.T) else W.T @ W)"),
        ("x changed in place", "squares = ((x - b - mu", "x -= b\n    squares = ((x - mu"),
        ("single precision", "return (x - b) @ W @ covariance / s**2, covariance", "return ((x - b) @ W @ covariance / s**2).float(), covariance.float()"),
    ],
    "iwae": [
        ("mean of the logarithms", "torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))", "log_weights.mean(0)"),
        ("log K forgotten", " - math.log(len(log_weights))", ""),
        ("log K added", "- math.log(len", "+ math.log(len"),
        ("log of the number of images", "math.log(len(log_weights))", "math.log(log_weights.shape[1])"),
        (
            "exponentials that underflow",
            "torch.logsumexp(log_weights, dim=0)",
            "log_weights.exp().sum(0).log()",
        ),
        ("sum over the images", "torch.logsumexp(log_weights, dim=0)", "torch.logsumexp(log_weights, dim=1)"),
        ("the largest weight alone", "torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))", "log_weights.max(0).values"),
        ("weights detached", "torch.logsumexp(log_weights,", "torch.logsumexp(log_weights.detach(),"),
        ("prior forgotten", "+ log_prior - log_posterior", "- log_posterior"),
        ("posterior forgotten", " - log_posterior", ""),
        ("posterior added", "- log_posterior", "+ log_posterior"),
        ("log σ for log σ²", "(squares + logvar +", "(squares + 2 * logvar +"),
        ("σ in place of σ²", "/ logvar.exp()", "/ (logvar / 2).exp()"),
        ("2π forgotten once", "(z**2 + math.log(2 * math.pi))", "(z**2)"),
        ("KL in place of the sampled ratio", "+ log_prior - log_posterior", "- kl_to_prior(mu, logvar)"),
        ("z changed in place", "(z - mu) ** 2", "z.sub_(mu) ** 2"),
        ("log σ² clamped at ±6", "/ logvar.exp()", "/ logvar.clamp(-6, 6).exp()"),
        ("weights cut at −1000", "return log_likelihood(x, logits) + log_prior - log_posterior", "return (log_likelihood(x, logits) + log_prior - log_posterior).clamp(min=-1000)"),
    ],
    "pixel_decoder": [
        ("mask B in the first layer", "scaled, own=False", "scaled, own=True"),
        ("no mask in later layers", "self.masked(layer, F.silu(h), own=True)", "layer(F.silu(h))"),
        ("no mask at all", "layer.weight * mask", "layer.weight"),
        ("mask one row too low", "mask[:, :, middle + 1 :] = 0", "mask[:, :, middle + 2 :] = 0"),
        ("mask one row too high", "mask[:, :, middle + 1 :] = 0", "mask[:, :, middle:] = 0"),
        ("mask one column too far right", "middle, middle + own :]", "middle, middle + own + 1 :]"),
        ("mask one column too far left", "middle, middle + own :]", "middle, middle + own - 1 :]"),
        ("later pixels in place of earlier ones", "layer.weight * mask", "layer.weight * mask.flip(2, 3)"),
        ("columns for rows", "layer.weight * mask", "layer.weight * mask.mT"),
        ("quadrant in place of half-plane", "mask[:, :, middle + 1 :] = 0", "mask[:, :, middle + 1 :] = 0\n        mask[:, :, :, middle + 1 :] = 0"),
        ("z ignored", " + self.context(context)", ""),
        ("only one map of z", "self.context(context)", "self.context(context[:, :1].expand_as(context))"),
        ("mean of z over the image, zeros elsewhere", "self.context(context)", "0 * self.context(context).mean((2, 3), keepdim=True)"),
        ("softmax after the logits", "self.last(F.silu(h))", "self.last(F.silu(h)).softmax(1)"),
        ("x ignored", "self.masked(self.first, scaled, own=False) + self.context", "self.context"),
        (
            "mask applied once, lost at the first update",
            "return F.conv2d(h, layer.weight * mask, layer.bias, padding=middle)",
            "if not hasattr(layer, 'done'):\n"
            "            layer.done, layer.weight.data = True, layer.weight.data * mask\n"
            "        return layer(h)",
        ),
        ("levels scaled by the brightest of the image", "/ (self.levels - 1)", "/ x.amax((1, 2, 3), keepdim=True).clamp(min=1)"),
        ("border padded with copies", "return F.conv2d(h, layer.weight * mask, layer.bias, padding=middle)", "h = F.pad(h, (middle,) * 4, mode='replicate')\n        return F.conv2d(h, layer.weight * mask, layer.bias)"),
        ("z detached", "self.context(context)", "self.context(context.detach())"),
        ("normalised over the image", "self.masked(layer, F.silu(h), own=True)", "self.masked(layer, F.silu(F.group_norm(h, 4)), own=True)"),
        ("later layers in a plain list", "nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))", "[nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]"),
    ],
}  # fmt: skip

RIGHT = {
    "kl_to_prior": [
        (
            "torch.distributions",
            """
def kl_to_prior(mu, logvar):
    q = torch.distributions.Normal(mu, torch.exp(0.5 * logvar))
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return torch.distributions.kl_divergence(q, p).sum(-1)
""",
        ),
        (
            "sum first, expm1",
            """
def kl_to_prior(mu, logvar):
    return (mu.pow(2).sum(1) + (torch.expm1(logvar) - logvar).sum(1)) / 2
""",
        ),
        (
            "einsum",
            """
def kl_to_prior(mu, logvar):
    sigma = torch.exp(logvar / 2)
    squares = torch.einsum("nd,nd->n", mu, mu) + torch.einsum("nd,nd->n", sigma, sigma)
    return 0.5 * (squares - logvar.sum(1) - mu.size(1))
""",
        ),
    ],
    "reparameterise": [
        (
            "rsample",
            """
def reparameterise(mu, logvar):
    return torch.distributions.Normal(mu, torch.exp(logvar / 2)).rsample()
""",
        ),
        (
            "square root of the variance, noise of its own",
            """
def reparameterise(mu, logvar):
    epsilon = torch.randn(*mu.shape, dtype=mu.dtype, device=mu.device)
    return torch.addcmul(mu, logvar.exp().sqrt(), epsilon)
""",
        ),
        (
            "noise by an inverse cumulative distribution, with the opposite sign",
            """
def reparameterise(mu, logvar):
    u = torch.rand(mu.shape, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    epsilon = torch.special.ndtri(u).to(mu.dtype)
    return mu - torch.exp(0.5 * logvar) * epsilon
""",
        ),
    ],
    "vae": [
        (
            "linear layers, two heads, log-probabilities",
            """
class VAE(nn.Module):
    def __init__(self, latents, levels):
        super().__init__()
        self.levels = levels
        self.body = nn.Sequential(nn.Linear(784, 200), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(200, latents), nn.Linear(200, latents)
        self.first, self.second = nn.Linear(latents, 200), nn.Linear(200, 784 * levels)

    def encode(self, x):
        h = self.body(x.reshape(len(x), 784).to(torch.float32) / (self.levels - 1))
        return self.mean(h), self.log_variance(h)

    def decode(self, z):
        h = torch.relu(self.first(z))
        return self.second(h).reshape(-1, self.levels, 28, 28).log_softmax(1)
""",
        ),
        (
            "one-hot levels, upsampling and convolution, batch norm",
            """
class VAE(nn.Module):
    def __init__(self, latents, levels):
        super().__init__()
        self.levels, self.latents = levels, latents
        self.down = nn.ModuleList([nn.Conv2d(levels, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)])
        self.norm = nn.BatchNorm2d(16)
        self.to_code = nn.Linear(32 * 49, 2 * latents)
        self.from_code = nn.Linear(latents, 32 * 49)
        self.up = nn.ModuleList([nn.Conv2d(32, 16, 3, 1, 1), nn.Conv2d(16, levels, 3, 1, 1)])

    def encode(self, x):
        h = F.one_hot(x[:, 0], self.levels).permute(0, 3, 1, 2).float()
        h = F.relu(self.norm(self.down[0](h)))
        h = self.to_code(F.relu(self.down[1](h)).flatten(1)).view(-1, 2, self.latents)
        return h[:, 0], h[:, 1]

    def decode(self, z):
        h = F.relu(self.from_code(z)).view(-1, 32, 7, 7)
        h = F.relu(self.up[0](F.interpolate(h, scale_factor=2)))
        return self.up[1](F.interpolate(h, scale_factor=2))
""",
        ),
        (
            "tanh layers, log σ² from softplus and clamped",
            """
class VAE(nn.Module):
    def __init__(self, latents, levels):
        super().__init__()
        self.levels, self.latents = levels, latents
        self.down = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.Tanh())
        self.mean, self.spread = nn.Linear(100, latents), nn.Linear(100, latents)
        self.up = nn.Sequential(
            nn.Linear(latents, 100), nn.Tanh(), nn.Linear(100, 784 * levels)
        )

    def encode(self, x):
        h = self.down(2 * x / (self.levels - 1) - 1)
        return self.mean(h), (2 * F.softplus(self.spread(h)).log()).clamp(-10, 10)

    def decode(self, z):
        return self.up(z).view(-1, 28, 28, self.levels).permute(0, 3, 1, 2)
""",
        ),
    ],
    "log_likelihood": [
        (
            "log-softmax and gather",
            """
def log_likelihood(x, logits):
    return torch.log_softmax(logits, dim=1).gather(1, x).flatten(1).sum(1)
""",
        ),
        (
            "torch.distributions",
            """
def log_likelihood(x, logits):
    pixels = torch.distributions.Categorical(logits=logits.movedim(1, -1))
    return torch.distributions.Independent(pixels, 2).log_prob(x.squeeze(1))
""",
        ),
        (
            "one-hot and logsumexp",
            """
def log_likelihood(x, logits):
    chosen = (F.one_hot(x[:, 0], logits.size(1)).movedim(-1, 1) * logits).sum(1)
    return (chosen - torch.logsumexp(logits, 1)).sum(-1).sum(-1)
""",
        ),
    ],
    "elbo": [
        (
            "torch.distributions",
            """
def elbo(x, logits, mu, logvar):
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    pixels = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1))
    return pixels.log_prob(x[:, 0]).flatten(1).sum(1) - kl
""",
        ),
        (
            "written out in one place",
            """
def elbo(x, logits, mu, logvar):
    nll = F.cross_entropy(logits, x.squeeze(1), reduction="none").flatten(1).sum(1)
    return -(nll + 0.5 * torch.sum(mu * mu + torch.exp(logvar) - 1 - logvar, -1))
""",
        ),
    ],
    "linear_gaussian": [
        (
            "solves, Woodbury's identity, a sum over dimensions",
            """
def linear_posterior(x, W, b, s):
    precision = torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / s**2
    mean = torch.linalg.solve(precision, W.T @ (x - b).T / s**2).T
    return mean, torch.cholesky_inverse(torch.linalg.cholesky(precision))

def linear_log_marginal(x, W, b, s):
    P, D = W.shape
    inner = s**2 * torch.eye(D, dtype=W.dtype) + W.T @ W
    r = x - b
    quadratic = (r * r).sum(1) - ((r @ W) * torch.linalg.solve(inner, (r @ W).T).T).sum(1)
    logdet = torch.logdet(inner) + (P - D) * math.log(s**2)
    return -0.5 * (P * math.log(2 * math.pi) + logdet + quadratic / s**2)

def linear_elbo(x, mu, logvar, W, b, s):
    bound = torch.distributions.Normal(mu @ W.T + b, s).log_prob(x).sum(1)
    for d in range(W.shape[1]):
        bound = bound - logvar[:, d].exp() * W[:, d].pow(2).sum() / (2 * s**2)
    return bound - 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1)
""",
        ),
    ],
    "iwae": [
        (
            "torch.distributions, the largest weight taken out",
            """
def log_weight(x, logits, z, mu, logvar):
    q = torch.distributions.Normal(mu, torch.exp(logvar / 2))
    ratio = torch.distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
    return torch.log_softmax(logits, 1).gather(1, x).sum((1, 2, 3)) + ratio.sum(1)

def iwae_bound(log_weights):
    largest = log_weights.max(dim=0, keepdim=True).values.detach()
    return largest[0] + (log_weights - largest).exp().mean(0).log()
""",
        ),
    ],
    "pixel_decoder": [
        (
            "padding and cropping, no mask",
            """
class PixelDecoder(nn.Module):
    def __init__(self, levels, context):
        super().__init__()
        self.levels = levels
        self.above = nn.Conv2d(1, 24, (3, 5))
        self.left = nn.Conv2d(1, 24, (1, 3))
        self.from_z = nn.Conv2d(context, 24, 3, padding=1)
        self.mix = nn.Conv2d(24, 24, 1)
        self.out = nn.Conv2d(24, levels, 1)

    def forward(self, x, context):
        x = x.float() / (self.levels - 1)
        rows = self.above(F.pad(x, (2, 2, 3, 0)))[:, :, :-1]
        columns = self.left(F.pad(x, (3, 0, 0, 0)))[:, :, :, :-1]
        h = torch.tanh(rows + columns + self.from_z(context))
        return self.out(torch.tanh(self.mix(h)) + h)
""",
        ),
        (
            "masked layers with a buffer, one-hot levels",
            """
class MaskedConv2d(nn.Conv2d):
    def __init__(self, kind, *sizes, **options):
        super().__init__(*sizes, **options)
        flat = torch.ones(self.kernel_size[0] * self.kernel_size[1])
        middle = len(flat) // 2
        flat[middle + (kind == "B"):] = 0
        self.register_buffer("mask", flat.reshape(self.kernel_size))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)

class PixelDecoder(nn.Module):
    def __init__(self, levels, context):
        super().__init__()
        self.levels = levels
        self.a = MaskedConv2d("A", levels, 16, 3, padding=1)
        self.b = MaskedConv2d("B", 16, 16, 3, padding=1)
        self.z = nn.Conv2d(context, 16, 1)
        self.out = nn.Conv2d(16, levels, 1)

    def forward(self, x, context):
        h = F.one_hot(x[:, 0], self.levels).movedim(-1, 1).float()
        h = torch.relu(self.a(h) + self.z(context))
        return self.out(h + torch.relu(self.b(h)))
""",
        ),
        (
            "causal attention over the pixels before",
            """
class PixelDecoder(nn.Module):
    def __init__(self, levels, context):
        super().__init__()
        self.levels = levels
        self.level = nn.Embedding(levels + 1, 16)
        self.place = nn.Parameter(torch.randn(784, 16))
        self.from_z = nn.Conv2d(context, 16, 1)
        self.mix, self.out = nn.Linear(16, 48), nn.Linear(16, levels)

    def forward(self, x, context):
        before = F.pad(x.flatten(1), (1, -1), value=self.levels)
        h = self.level(before) + self.place + self.from_z(context).flatten(2).mT
        q, k, v = (part[:, None] for part in self.mix(h).chunk(3, dim=2))
        h = h + F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0]
        return self.out(torch.tanh(h)).mT.reshape(-1, self.levels, 28, 28)
""",
        ),
    ],
}
