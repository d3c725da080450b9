"""Lab 21: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

ERROR = "return (x - decoded).pow(2).flatten(1).sum(dim=1)"
SVD = (
    "_, _, vt = torch.linalg.svd(x - mean, full_matrices=False)\n    return mean, vt[:components].T"
)
MEAN_ERROR = "loss = F.cross_entropy(z @ W.T + b, y) + decay / 2 * W.pow(2).sum()"
FIT = "return mean, (z - mean).T @ (z - mean) / len(z)"

MISTAKES = {
    "reconstruction_error": [
        ("mean over the pixels", ".sum(dim=1)", ".mean(dim=1)"),
        ("sum over the batch too", ".sum(dim=1)", ".sum().expand(len(x))"),
        ("mean over the batch", ".sum(dim=1)", ".sum(1).mean().expand(len(x))"),
        ("mean over everything", ERROR, "return F.mse_loss(x, decoded)"),
        ("sum over everything", ERROR, 'return F.mse_loss(x, decoded, reduction="sum")'),
        ("absolute values", ".pow(2)", ".abs()"),
        ("square root of the sum", ".sum(dim=1)", ".sum(dim=1).sqrt()"),
        ("one half of it", "return ", "return 0.5 * "),
        ("square of the sum", ".pow(2).flatten(1).sum(dim=1)", ".flatten(1).sum(dim=1).pow(2)"),
        ("difference of squares", "(x - decoded).pow(2)", "(x.pow(2) - decoded.pow(2))"),
        ("decoded image detached", "(x - decoded)", "(x - decoded.detach())"),
        ("x detached", "(x - decoded)", "(x.detach() - decoded)"),
        ("rows summed, columns kept", ".flatten(1).sum(dim=1)", ".sum(dim=-1)"),
        ("negative", "return ", "return -"),
        ("clamped to 0 … 1", "x - decoded", "x - decoded.clamp(0, 1)"),
        ("Huber's error", ERROR, 'return 2 * F.smooth_l1_loss(x, decoded, reduction="none").flatten(1).sum(1)'),
        ("no shape left for one image", ".sum(dim=1)", ".sum(dim=1).squeeze()"),
        ("four dimensions taken for granted", ".flatten(1).sum(dim=1)", ".sum(dim=(1, 2, 3))"),
        ("single precision", "(x - decoded)", "(x - decoded).float()"),
        ("x changed in place", "(x - decoded)", "(x.sub_(decoded) if not x.requires_grad else x - decoded)"),
        ("mean over the channels", ".flatten(1).sum(dim=1)", ".mean(1).flatten(1).sum(1) if x.dim() > 2 else (x - decoded).pow(2).sum(1)"),
        ("cross-entropy of pixels", ERROR, 'return F.binary_cross_entropy_with_logits(decoded, x, reduction="none").flatten(1).sum(1)'),
        ("a norm, squared, with no gradient where it is zero", ".sum(dim=1)", ".sum(dim=1).sqrt() ** 2"),
    ],
    "pca": [
        ("mean not taken off", "svd(x - mean,", "svd(x,"),
        ("mean of each row taken off", "svd(x - mean,", "svd(x - x.mean(1, keepdim=True),"),
        ("mean over everything", "svd(x - mean,", "svd(x - x.mean(),"),
        ("a mean of zero returned", "return mean, vt", "return torch.zeros_like(mean), vt"),
        ("the last components", "vt[:components].T", "vt[-components:].T"),
        ("the smallest first", "vt[:components].T", "vt[:components].flip(0).T"),
        ("the first skipped", "vt[:components].T", "vt[1 : components + 1].T"),
        ("one too few", "vt[:components].T", "vt[: components - 1].T"),
        ("rows in place of columns", "vt[:components].T", "vt[:components]"),
        ("columns of Vᵀ", "vt[:components].T", "vt[:, :components]"),
        ("left singular vectors", SVD, "return mean, torch.linalg.svd(x - mean, full_matrices=False)[0][:, :components]"),
        ("scaled by the singular values", SVD, "_, s, vt = torch.linalg.svd(x - mean, full_matrices=False)\n    return mean, (s[:, None] * vt)[:components].T"),
        ("pixels standardised", "svd(x - mean,", "svd((x - mean) / (x.std(0) + 1e-6),"),
        ("eigh in its own order", SVD, "return mean, torch.linalg.eigh((x - mean).T @ (x - mean))[1][:, :components]"),
        ("eigh's last, smallest first", SVD, "return mean, torch.linalg.eigh((x - mean).T @ (x - mean))[1][:, -components:]"),
        ("eigenvectors' rows", SVD, "return mean, torch.linalg.eigh((x - mean).T @ (x - mean))[1].flip(1)[:components].T"),
        ("median in place of the mean", "x.mean(dim=0)", "x.median(dim=0).values"),
        ("whitened", SVD, "_, s, vt = torch.linalg.svd(x - mean, full_matrices=False)\n    return mean, (vt / (s[:, None] + 1e-9) * len(x) ** 0.5)[:components].T"),
        ("second moment in place of covariance", SVD, "return mean, torch.linalg.eigh(x.T @ x / len(x))[1].flip(1)[:, :components]"),
        ("pixels with the largest variance", SVD, "order = x.var(0).argsort(descending=True)[:components]\n    return mean, torch.eye(x.shape[1], dtype=x.dtype)[:, order]"),
        ("x changed in place", "svd(x - mean,", "svd(x.sub_(mean),"),
        ("single precision", "svd(x - mean,", "svd((x - mean).float(),"),
        ("a random approximation", SVD, "return mean, torch.pca_lowrank(x, q=components, niter=0)[2]"),
        ("the mean as a row", "return mean, vt", "return mean[None], vt"),
        ("a random approximation with a few more", "_, _, vt = torch.linalg.svd(x - mean, full_matrices=False)\n    return mean, vt[:components].T", "return mean, torch.svd_lowrank(x - mean, q=min(components + 6, *x.shape))[2][:, :components]"),
    ],
    "principal_angles": [
        ("bases taken as they are", "svdvals(q_a.T @ q_b)", "svdvals(a.double().T @ b.double())"),
        ("columns made unit, not orthogonal", "svdvals(q_a.T @ q_b)", "svdvals(F.normalize(a.double(), dim=0).T @ F.normalize(b.double(), dim=0))"),
        ("only the first made orthonormal", "svdvals(q_a.T @ q_b)", "svdvals(q_a.T @ b.double())"),
        ("R in place of Q", "q_a, _ =", "_, q_a ="),
        ("cosines returned", ".arccos()", ""),
        ("sines in place of angles", ".arccos()", ".arccos().sin()"),
        ("arcsine", ".arccos()", ".arcsin()"),
        ("degrees", ".arccos()", ".arccos().rad2deg()"),
        ("largest first", ".arccos()", ".arccos().flip(0)"),
        ("NaN where a cosine is above 1", ".clamp(max=1)", ""),
        ("cosines kept below 0.9999", "clamp(max=1)", "clamp(max=0.9999)"),
        ("cosines kept below 1 − 1e-7", "clamp(max=1)", "clamp(max=1 - 1e-7)"),
        ("single precision", "cosines.clamp", "cosines.float().clamp"),
        ("the precision of the arguments", "    q_a, _ = torch.linalg.qr(a.double())\n    q_b, _ = torch.linalg.qr(b.double())", "    q_a, _ = torch.linalg.qr(a)\n    q_b, _ = torch.linalg.qr(b)"),
        ("float64 after the QR", "    q_a, _ = torch.linalg.qr(a.double())\n    q_b, _ = torch.linalg.qr(b.double())", "    q_a, q_b = torch.linalg.qr(a)[0].double(), torch.linalg.qr(b)[0].double()"),
        ("squared singular values", "cosines.clamp", "cosines.pow(2).clamp"),
        ("columns compared one by one", "torch.linalg.svdvals(q_a.T @ q_b)", "(q_a * q_b).sum(0).abs().sort(descending=True).values"),
        ("entries of the product", "torch.linalg.svdvals(q_a.T @ q_b)", "(q_a.T @ q_b).diagonal().abs().sort(descending=True).values"),
        ("eigenvalues in place of singular values", "torch.linalg.svdvals(q_a.T @ q_b)", "torch.linalg.eigvals(q_a.T @ q_b).abs().sort(descending=True).values"),
        ("eigenvalues of the symmetric part", "torch.linalg.svdvals(q_a.T @ q_b)", "torch.linalg.eigvalsh(q_a.T @ q_b).abs().sort(descending=True).values"),
        ("the largest angle alone", ".arccos()", ".arccos()[-1]"),
        ("row spaces", "qr(a.double())", "qr(a.double().T)"),
        ("columns centred", "qr(a.double())", "qr(a.double() - a.double().mean(0))"),
        ("angles doubled", ".arccos()", ".arccos().mul(2)"),
        ("angles rounded", ".arccos()", ".arccos().round(decimals=4)"),
    ],
    "linear_autoencoder": [
        ("ReLU on the code", "return self.encoder(x)", "return self.encoder(x).relu()"),
        ("ReLU on the image", "return self.decoder(z)", "return self.decoder(z).relu()"),
        ("sigmoid on the image", "return self.decoder(z)", "return self.decoder(z).sigmoid()"),
        ("tanh on the code", "return self.encoder(x)", "return self.encoder(x).tanh()"),
        ("leaky ReLU on the code", "return self.encoder(x)", "return F.leaky_relu(self.encoder(x))"),
        ("clamped image", "return self.decoder(z)", "return self.decoder(z).clamp(-10, 10)"),
        ("no b", "nn.Linear(latents, pixels)", "nn.Linear(latents, pixels, bias=False)"),
        ("one b for all pixels", "nn.Linear(latents, pixels)", "nn.Linear(latents, pixels, bias=False)\n        self.b = nn.Parameter(torch.zeros(1))"),
        ("one b for all pixels, used", "return self.decoder(z)", "return self.decoder(z) - self.decoder.bias + self.decoder.bias.mean()"),
        ("b that does not learn", "nn.Linear(latents, pixels)", "nn.Linear(latents, pixels)\n        self.decoder.bias.requires_grad_(False)"),
        ("code wider than asked", "nn.Linear(pixels, latents)\n        self.decoder = nn.Linear(latents, pixels)", "nn.Linear(pixels, 2 * latents)\n        self.decoder = nn.Linear(2 * latents, pixels)"),
        ("bottleneck inside the encoder", "nn.Linear(pixels, latents)", "nn.Sequential(nn.Linear(pixels, max(1, latents - 1)), nn.Linear(max(1, latents - 1), latents))"),
        ("all weights start at zero", "self.decoder = nn.Linear(latents, pixels)", "self.decoder = nn.Linear(latents, pixels)\n        for p in self.parameters():\n            nn.init.zeros_(p)"),
        ("all weights start equal", "self.decoder = nn.Linear(latents, pixels)", "self.decoder = nn.Linear(latents, pixels)\n        for p in self.parameters():\n            nn.init.constant_(p, 0.1)"),
        ("encoder detached", "return self.encoder(x)", "return self.encoder(x.detach()).detach()"),
        ("x detached", "return self.encoder(x)", "return self.encoder(x.detach())"),
        ("decoder detached", "return self.decoder(z)", "return self.decoder(z).detach()"),
        ("z detached", "return self.decoder(z)", "return self.decoder(z.detach())"),
        ("encoder frozen", "nn.Linear(pixels, latents)", "nn.Linear(pixels, latents).requires_grad_(False)"),
        ("tied weights not transposed", "return self.decoder(z)", "return z @ self.encoder.weight.T + self.decoder.bias"),
        ("image passed round the code", "return self.encoder(x)\n        ### END SOLUTION\n\n    def decode(self, z: Tensor) -> Tensor:\n        \"\"\"float (N, K) → reconstructions (N, P).\"\"\"\n        ### BEGIN SOLUTION\n        return self.decoder(z)", "self.x = x.detach()\n        return self.encoder(x)\n\n    def decode(self, z: Tensor) -> Tensor:\n        seen = getattr(self, 'x', None)\n        return self.decoder(z) + (0.5 * seen.mean(0) if seen is not None else 0)"),
        ("code normalised", "return self.encoder(x)", "return F.normalize(self.encoder(x), dim=1)"),
        ("layer norm on the image", "return self.encoder(x)", "return self.encoder(F.layer_norm(x, x.shape[1:]))"),
        ("centred over the batch", "return self.encoder(x)", "return self.encoder(x - x.mean(0))"),
        ("batch norm", "nn.Linear(pixels, latents)", "nn.Sequential(nn.Linear(pixels, latents), nn.BatchNorm1d(latents))"),
        ("dropout", "return self.encoder(x)", "return F.dropout(self.encoder(x), 0.5, self.training)"),
        ("noise on the code", "return self.decoder(z)", "return self.decoder(z + 0.1 * torch.randn_like(z))"),
        ("nothing decoded", "return self.decoder(z)", "return z"),
        ("784 pixels whatever was asked", "nn.Linear(pixels, latents)", "nn.Linear(784, latents)"),
        ("layers in a plain list", "self.encoder = nn.Linear(pixels, latents)\n        self.decoder = nn.Linear(latents, pixels)", "self.layers = [nn.Linear(pixels, latents), nn.Linear(latents, pixels)]\n        self.encoder, self.decoder = self.layers[0].forward, self.layers[1].forward"),
        ("an activation between two layers", "nn.Linear(latents, pixels)", "nn.Sequential(nn.Linear(latents, pixels), nn.ReLU(), nn.Linear(pixels, pixels))"),
        ("tied weights", "return self.decoder(z)", "return z @ self.encoder.weight + self.decoder.bias"),
        ("tied to the pseudo-inverse", "return self.decoder(z)", "return z @ torch.linalg.pinv(self.encoder.weight).T + self.decoder.bias"),
        ("columns of D kept at length one", "return self.decoder(z)", "return F.linear(z, F.normalize(self.decoder.weight, dim=0), self.decoder.bias)"),
        ("the same start in every network", "super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ],
    "conv_autoencoder": [
        ("ReLU on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.ReLU(),"),
        ("tanh on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.Tanh(),"),
        ("sigmoid on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.Sigmoid(),"),
        ("SiLU on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.SiLU(),"),
        ("leaky ReLU on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.LeakyReLU(),"),
        ("leaky ReLU of slope 0.2 on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.LeakyReLU(0.2),"),
        ("ELU on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.ELU(),"),
        ("softplus on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.Softplus(),"),
        ("tanh on the code, times ten", "return self.encoder(x)", "return 10 * self.encoder(x).tanh()"),
        ("code clamped", "return self.encoder(x)", "return self.encoder(x).clamp(-5, 5)"),
        ("pixels between 0.05 and 0.95", "return self.decoder(z)", "return 0.05 + 0.9 * self.decoder(z)"),
        ("softmax on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.Softmax(1),"),
        ("layer norm on the code", "nn.Linear(256, latents),", "nn.Linear(256, latents), nn.LayerNorm(latents),"),
        ("code of length one", "return self.encoder(x)", "return F.normalize(self.encoder(x), dim=1)"),
        ("no sigmoid at the end", "padding=1), nn.Sigmoid(),", "padding=1),"),
        ("sigmoid twice", "nn.Sigmoid(),", "nn.Sigmoid(), nn.Sigmoid(),"),
        ("tanh at the end", "nn.Sigmoid(),", "nn.Tanh(),"),
        ("ReLU at the end", "nn.Sigmoid(),", "nn.ReLU(),"),
        ("ReLU before the sigmoid", "nn.Sigmoid(),", "nn.ReLU(), nn.Sigmoid(),"),
        ("clipped in place of a sigmoid", "return self.decoder(z)", "return self.decoder[:-1](z).clamp(0, 1)"),
        ("hard sigmoid", "nn.Sigmoid(),", "nn.Hardsigmoid(),"),
        ("softmax over the columns", "nn.Sigmoid(),", "nn.Softmax(3),"),
        ("softmax over the image", "return self.decoder(z)", "return self.decoder[:-1](z).flatten(1).softmax(1).view(-1, 1, 28, 28)"),
        ("largest pixel made one", "return self.decoder(z)", "x = self.decoder(z)\n        return x / x.amax((1, 2, 3), keepdim=True)"),
        ("grey levels 0 … 255", "return self.decoder(z)", "return 255 * self.decoder(z)"),
        ("bottleneck wider than asked", "nn.Linear(256, latents)", "nn.Linear(256, 2 * latents)"),
        ("only one number of the code is used", "return self.decoder(z)", "return self.decoder(z[:, :1].expand_as(z))"),
        ("last number of the code lost", "return self.decoder(z)", "return self.decoder(torch.cat([z[:, :-1], torch.zeros_like(z[:, :1])], 1))"),
        ("bottleneck inside the decoder", "nn.Linear(latents, 256)", "nn.Linear(latents, 2), nn.Linear(2, 256)"),
        ("bottleneck inside the encoder", "nn.Linear(256, latents)", "nn.Linear(256, 2), nn.Linear(2, latents)"),
        ("no activations in the encoder", "return self.encoder(x)", "for layer in self.encoder:\n            x = x if isinstance(layer, nn.SiLU) else layer(x)\n        return x"),
        ("no activations in the decoder", "return self.decoder(z)", "for layer in self.decoder:\n            z = z if isinstance(layer, nn.SiLU) else layer(z)\n        return z"),
        ("image passed round the code", "return self.encoder(x)\n        ### END SOLUTION\n\n    def decode(self, z: Tensor) -> Tensor:\n        \"\"\"float (N, D) → images (N, 1, 28, 28), above 0 and below 1.\"\"\"\n        ### BEGIN SOLUTION\n        return self.decoder(z)", "self.seen = x.detach()\n        return self.encoder(x)\n\n    def decode(self, z: Tensor) -> Tensor:\n        seen = getattr(self, 'seen', torch.full((1, 1, 28, 28), 0.5))\n        return 0.5 * self.decoder(z) + 0.49 * seen.mean(0) + 0.005"),
        ("last image shown through", "return self.decoder(z)", "self.seen = 0.9 * getattr(self, 'seen', 0.5) + 0.1 * self.decoder(z).mean(0).detach()\n        return 0.5 * self.decoder(z) + 0.5 * self.seen"),
        ("encoder detached", "return self.encoder(x)", "return self.encoder(x).detach()"),
        ("x detached", "return self.encoder(x)", "return self.encoder(x.detach())"),
        ("decoder detached", "return self.decoder(z)", "return self.decoder(z).detach()"),
        ("z detached", "return self.decoder(z)", "return self.decoder(z.detach())"),
        ("detached halfway", "return self.encoder(x)", "return self.encoder[4:](self.encoder[:4](x).detach())"),
        ("first convolution frozen", "return self.encoder(x)", "self.encoder[0].requires_grad_(False)\n        return self.encoder(x)"),
        ("noise added to the code", "return self.encoder(x)", "z = self.encoder(x)\n        return z + torch.randn_like(z)"),
        ("noise added to z", "return self.decoder(z)", "return self.decoder(z + 0.1 * torch.randn_like(z))"),
        ("dropout that never ends", "return self.encoder(x)", "return self.encoder(F.dropout(x, 0.2))"),
        ("normalised over the batch", "return self.encoder(x)", "return self.encoder((x - x.mean()) / (x.std() + 1e-6))"),
        ("batch norm that never ends", "return self.encoder(x)", "z = self.encoder(x)\n        return F.batch_norm(z, None, None, training=len(x) > 1)"),
        ("decoder normalised over the batch", "return self.decoder(z)", "return self.decoder(z - z.mean(0))"),
        ("edges cut off", "return self.encoder(x)", "return self.encoder(F.pad(x[:, :, 2:-2, 2:-2], (2, 2, 2, 2)))"),
        ("last row and column not seen", "return self.encoder(x)", "return self.encoder(F.pad(x[:, :, :-1, :-1], (0, 1, 0, 1)))"),
        ("every other pixel", "return self.encoder(x)", "return self.encoder(x[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))"),
        ("a border that is never painted", "return self.decoder(z)", "return F.pad(self.decoder(z)[:, :, 1:-1, 1:-1], (1, 1, 1, 1), value=0.01)"),
        ("images binarised first", "return self.encoder(x)", "return self.encoder((x > 0.5).float())"),
        ("eight grey levels", "return self.encoder(x)", "return self.encoder(x + ((x * 7).round() / 7 - x).detach())"),
        ("images scaled as if to 255", "return self.encoder(x)", "return self.encoder(x / 255)"),
        ("no convolution", "return self.encoder(x)", "return self.encoder(x)\n\n    def __init__(self, latents):\n        super().__init__()\n        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.SiLU(), nn.Linear(64, latents))\n        self.decoder = nn.Sequential(nn.Linear(latents, 64), nn.SiLU(), nn.Linear(64, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))"),
        ("1×1 convolutions only", "return self.encoder(x)", "return self.encoder(x)\n\n    def __init__(self, latents):\n        super().__init__()\n        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 1), nn.SiLU(), nn.Flatten(), nn.Linear(3136, latents))\n        self.decoder = nn.Sequential(nn.Linear(latents, 3136), nn.SiLU(), nn.Unflatten(1, (4, 28, 28)), nn.Conv2d(4, 1, 1), nn.Sigmoid())"),
        ("no convolution in the decoder", "return self.encoder(x)", "return self.encoder(x)\n\n    def __init__(self, latents):\n        super().__init__()\n        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(1568, latents))\n        self.decoder = nn.Sequential(nn.Linear(latents, 64), nn.SiLU(), nn.Linear(64, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))"),
        ("codes of 16 numbers whatever was asked", "nn.Linear(256, latents)", "nn.Linear(256, 16)"),
        ("only the mean grey of the image", "return self.encoder(x)", "return self.encoder(x.mean((2, 3), keepdim=True).expand_as(x))"),
        ("bottleneck with an activation", "nn.Linear(256, latents)", "nn.Linear(256, 3), nn.SiLU(), nn.Linear(3, latents)"),
        ("x changed in place", "return self.encoder(x)", "return self.encoder(x.mul_(0.5) if not x.requires_grad else x / 2)"),
        ("no batch dimension left", "return self.encoder(x)", "return self.encoder(x).squeeze(0)"),
        ("no channel", "return self.decoder(z)", "return self.decoder(z)[:, 0]"),
        ("one row for all rows", "return self.decoder(z)", "return self.decoder(z).mean(2, keepdim=True).expand(-1, -1, 28, -1)"),
        ("pixels kept between 0.0001 and 0.9999", "return self.decoder(z)", "return self.decoder(z).clamp(1e-4, 1 - 1e-4)"),
        ("batch norm on the code", "nn.Linear(256, latents)", "nn.Linear(256, latents), nn.BatchNorm1d(latents)"),
    ],
    "few_labels": [
        ("not balanced", "return torch.cat(chosen)", "return torch.randperm(len(labels), generator=generator)[: len(torch.cat(chosen))]"),
        ("the first of each class", "members[order[:per_class]]", "members[:per_class]"),
        ("drawn with repetition", "members[order[:per_class]]", "members[torch.randint(len(members), (per_class,), generator=generator)]"),
        ("the seed is not used", "manual_seed(seed)", "manual_seed(0)"),
        ("other images at every call", "torch.randperm(len(members), generator=generator)", "torch.randperm(len(members))"),
        ("the global seed set", "torch.randperm(len(members), generator=generator)", "(torch.manual_seed(seed + c), torch.randperm(len(members)))[1]"),
        ("places within the class", "members[order[:per_class]]", "order[:per_class]"),
        ("labels in place of places", "torch.cat(chosen)", "labels[torch.cat(chosen)]"),
        ("one class left out", "range(int(labels.max()) + 1)", "range(int(labels.max()))"),
        ("the first class left out", "range(int(labels.max()) + 1)", "range(1, int(labels.max()) + 1)"),
        ("one too few of each", "order[:per_class]", "order[: per_class - 1]"),
        ("ten whatever was asked", "order[:per_class]", "order[:10]"),
        ("ten classes whatever there are", "range(int(labels.max()) + 1)", "range(10)"),
        ("as many as there are, no error", "if len(members) < per_class:", "if False:"),
        ("an error where there are just enough", "len(members) < per_class", "len(members) <= per_class"),
        ("another kind of error", "raise ValueError", "raise IndexError"),
        ("an error for the first class only", "len(members) < per_class", "c == 0 and len(members) < per_class"),
        ("neighbours in the file", "members[order[:per_class]]", "members.roll(int(order[0]))[:per_class]"),
        ("only the first half", "members[order[:per_class]]", "members[: max(per_class, len(members) // 2)][torch.randperm(max(per_class, len(members) // 2), generator=generator)[:per_class]]"),
        ("the same places in every class", "order = torch.randperm(len(members), generator=generator)", "order = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))"),
        ("a mask in place of places", "return torch.cat(chosen)", "return torch.zeros(len(labels), dtype=torch.bool).index_fill(0, torch.cat(chosen), True)"),
        ("a table of classes", "torch.cat(chosen)", "torch.stack(chosen)"),
        ("int32", "torch.cat(chosen)", "torch.cat(chosen).int()"),
        ("a random stride", "members[order[:per_class]]", "members[(int(order[0]) + torch.arange(per_class) * (len(members) // per_class)) % len(members)]"),
        ("last of the class never chosen", "torch.randperm(len(members), generator=generator)", "torch.randperm(max(per_class, len(members) - 1), generator=generator)"),
        ("few different choices", "manual_seed(seed)", "manual_seed(seed % 5)"),
        ("the choice for a seed kept, whatever the labels", "def few_labels(labels: Tensor, per_class: int, seed: int) -> Tensor:", "@lambda f: lambda labels, *rest, kept={}: kept.setdefault((len(labels), *rest), f(labels, *rest))\ndef few_labels(labels: Tensor, per_class: int, seed: int) -> Tensor:"),
    ],
    "few_label_classifier": [
        ("each feature by its own spread", "(z - mean).pow(2).mean().sqrt()", "(z - mean).pow(2).mean(0).sqrt().clamp(min=1e-6)"),
        ("variance in place of its root", "pow(2).mean().sqrt()", "pow(2).mean()"),
        ("standard deviation of all numbers", "(z - mean).pow(2).mean().sqrt()", "z.std()"),
        ("divided by N − 1", "(z - mean).pow(2).mean().sqrt()", "z.var(0).mean().sqrt()"),
        ("mean of the spreads", "(z - mean).pow(2).mean().sqrt()", "z.std(0, correction=0).mean()"),
        ("largest spread", "(z - mean).pow(2).mean().sqrt()", "z.std(0, correction=0).max()"),
        ("sum over the features", ".pow(2).mean().sqrt()", ".pow(2).sum(1).mean().sqrt()"),
        ("one mean for all", "mean = z.mean(dim=0)", "mean = z.mean()"),
        ("mean of each row", "return (z - mean) / size, (z_test - mean) / size", "return (z - z.mean(1, keepdim=True)) / size, (z_test - z_test.mean(1, keepdim=True)) / size"),
        ("numbers of the test images", "(z_test - mean) / size", "(z_test - z_test.mean(0)) / (z_test - z_test.mean(0)).pow(2).mean().sqrt().clamp(min=1e-6)"),
        ("numbers of both together", "mean = z.mean(dim=0)", "mean = torch.cat([z, z_test]).mean(0)"),
        ("size of both together", "size = (z - mean)", "size = (torch.cat([z, z_test]) - mean)"),
        ("test features as they were", "(z_test - mean) / size", "z_test"),
        ("centred only", "return (z - mean) / size, (z_test - mean) / size", "return z - mean, z_test - mean"),
        ("not centred", "return (z - mean) / size, (z_test - mean) / size", "return z / size, z_test / size"),
        ("range in place of spread", "(z - mean).pow(2).mean().sqrt()", "(z.max() - z.min())"),
        ("features changed in place", "return (z - mean) / size, (z_test - mean) / size", "z -= mean\n    return z / size, (z_test - mean) / size"),
        ("absolute deviation", "(z - mean).pow(2).mean().sqrt()", "(z - mean).abs().mean()"),
        ("sum over the images", "F.cross_entropy(z @ W.T + b, y)", 'F.cross_entropy(z @ W.T + b, y, reduction="sum")'),
        ("decay not halved", "decay / 2 * W", "decay * W"),
        ("no decay", " + decay / 2 * W.pow(2).sum()", ""),
        ("decay of the mean square", "W.pow(2).sum()", "W.pow(2).mean()"),
        ("decay of the length", "W.pow(2).sum()", "(W.pow(2).sum() + 1e-12).sqrt()"),
        ("decay of absolute values", "W.pow(2).sum()", "W.abs().sum()"),
        ("decay of b too", "W.pow(2).sum()", "(W.pow(2).sum() + b.pow(2).sum())"),
        ("decay divided by N", "decay / 2", "decay / len(z) / 2"),
        ("no b", "z @ W.T + b, y", "z @ W.T + 0 * b, y"),
        ("a fixed decay", "decay / 2", "0.01 / 2"),
        ("too few iterations", "max_iter=1_000", "max_iter=3"),
        ("the usual twenty iterations, usual tolerances", 'max_iter=1_000, line_search_fn="strong_wolfe", tolerance_grad=1e-5,\n        tolerance_change=0,', 'max_iter=5,'),
        ("a hundred steps of gradient descent", "optimiser.step(objective)", "for _ in range(100):\n        objective()\n        with torch.no_grad():\n            W -= 0.01 * W.grad\n            b -= 0.01 * b.grad"),
        ("a sigmoid for each class", "F.cross_entropy(z @ W.T + b, y)", "F.binary_cross_entropy_with_logits(z @ W.T + b, F.one_hot(y, classes).to(z), reduction='sum') / len(z)"),
        ("squared error of one-hot labels", "F.cross_entropy(z @ W.T + b, y)", "(z @ W.T + b - F.one_hot(y, classes)).pow(2).sum(1).mean()"),
        ("softmax twice", "F.cross_entropy(z @ W.T + b, y)", "F.cross_entropy((z @ W.T + b).softmax(1), y)"),
        ("W transposed", "return W.detach(), b.detach()", "return W.detach().T, b.detach()"),
        ("a gradient left on W", "return W.detach(), b.detach()", "return W, b"),
        ("features normalised inside", "optimiser.step(objective)", "z, _ = normalise(z, z)\n    optimiser.step(objective)"),
        ("classes weighted to be equal", "F.cross_entropy(z @ W.T + b, y)", "F.cross_entropy(z @ W.T + b, y, weight=(1 / y.bincount(minlength=classes)).to(z))"),
        ("labels smoothed", "z @ W.T + b, y)", "z @ W.T + b, y, label_smoothing=0.1)"),
        ("sizes below one taken for one", ".mean().sqrt()", ".mean().sqrt().clamp(min=1)"),
        ("the optimiser's own twenty iterations", 'max_iter=1_000, line_search_fn="strong_wolfe", tolerance_grad=1e-5,\n        tolerance_change=0,', "max_iter=20,"),
        ("single precision", "return W.detach(), b.detach()", "return W.detach().float(), b.detach().float()"),
    ],
    "classifier": [
        ("softmax after the logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).softmax(1)"),
        ("log-softmax after the logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).log_softmax(1)"),
        ("sigmoid after the logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).sigmoid()"),
        ("tanh after the logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).tanh()"),
        ("ReLU on the logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).relu()"),
        ("ReLU on the code", "self.head(self.autoencoder.encode(x))", "self.head(self.autoencoder.encode(x).relu())"),
        ("tanh on the code", "self.head(self.autoencoder.encode(x))", "self.head(self.autoencoder.encode(x).tanh())"),
        ("leaky ReLU on the code", "self.head(self.autoencoder.encode(x))", "self.head(F.leaky_relu(self.autoencoder.encode(x)))"),
        ("encoder detached", "self.autoencoder.encode(x))", "self.autoencoder.encode(x).detach())"),
        ("encoder frozen", "self.autoencoder = autoencoder", "self.autoencoder = autoencoder.requires_grad_(False)"),
        ("no gradient for the encoder", "return self.head(self.autoencoder.encode(x))", "with torch.no_grad():\n            z = self.autoencoder.encode(x)\n        return self.head(z)"),
        ("encoder not registered", "self.autoencoder = autoencoder", "self.__dict__['autoencoder'] = autoencoder"),
        ("encoder in a list", "self.autoencoder = autoencoder", "self.kept = [autoencoder]\n        type(self).autoencoder = property(lambda self: self.kept[0])"),
        ("a copy of the autoencoder", "self.autoencoder = autoencoder", "self.autoencoder = deepcopy(autoencoder)"),
        ("a new autoencoder", "self.autoencoder = autoencoder", "self.autoencoder = ConvAutoencoder(latents)"),
        ("raw pixels in place of codes", "self.head = nn.Linear(latents, classes)", "self.head = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))\n        self.autoencoder.encode, self.encoder = (lambda x: x), autoencoder.encode"),
        ("decoded pixels in place of codes", "self.head(self.autoencoder.encode(x))", "self.pixels(self.autoencoder.decode(self.autoencoder.encode(x)).flatten(1))\n\n    @property\n    def pixels(self):\n        if not hasattr(self, 'layer'):\n            self.layer = nn.Linear(784, self.head.out_features)\n        return self.layer"),
        ("logits of one class", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x))[:, :1]"),
        ("ten classes whatever was asked", "nn.Linear(latents, classes)", "nn.Linear(latents, 10)"),
        ("no bias", "nn.Linear(latents, classes)", "nn.Linear(latents, classes, bias=False)"),
        ("one bias for all classes", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)) - self.head.bias + self.head.bias.mean()"),
        ("class numbers in place of logits", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).argmax(1)"),
        ("codes normalised over the batch", "self.head(self.autoencoder.encode(x))", "self.head((z := self.autoencoder.encode(x)) - z.mean(0))"),
        ("codes of length one", "self.head(self.autoencoder.encode(x))", "self.head(F.normalize(self.autoencoder.encode(x), dim=1))"),
        ("two layers with an activation", "nn.Linear(latents, classes)", "nn.Sequential(nn.Linear(latents, 32), nn.ReLU(), nn.Linear(32, classes))"),
        ("dropout that never ends", "self.head(self.autoencoder.encode(x))", "self.head(F.dropout(self.autoencoder.encode(x), 0.5))"),
        ("last number of the code lost", "self.head(self.autoencoder.encode(x))", "self.head(F.pad(self.autoencoder.encode(x)[:, :-1], (0, 1)))"),
        ("head frozen", "nn.Linear(latents, classes)", "nn.Linear(latents, classes).requires_grad_(False)"),
        ("head not registered", "self.head = nn.Linear(latents, classes)", "self.__dict__['head'] = nn.Linear(latents, classes)"),
        ("logits detached", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).detach()"),
        ("no shape left for one image", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x)).squeeze(0)"),
        ("images binarised", "self.autoencoder.encode(x))", "self.autoencoder.encode(x.round()))"),
        ("dropout in training", "self.autoencoder.encode(x)", "F.dropout(self.autoencoder.encode(x), 0.1, self.training)"),
        ("the encoder started anew", "self.autoencoder = autoencoder", 'self.autoencoder = autoencoder\n        for layer in autoencoder.modules():\n            if hasattr(layer, "reset_parameters"):\n                layer.reset_parameters()'),
        ("a tenth of the encoder's gradient", "self.autoencoder.encode(x))", "(z := 0.1 * self.autoencoder.encode(x)) + 9 * z.detach())"),
        ("images changed in place", "return self.head(self.autoencoder.encode(x))", "return self.head(self.autoencoder.encode(x.clamp_(0, 0.5)))"),
    ],
    "prior_samples": [
        ("divided by N − 1", "/ len(z)", "/ (len(z) - 1)"),
        ("not divided", " / len(z)", ""),
        ("divided by the dimensions", "/ len(z)", "/ z.shape[1]"),
        ("second moment in place of covariance", FIT, "return mean, z.T @ z / len(z)"),
        ("a variance for each dimension", FIT, "return mean, torch.diag((z - mean).pow(2).mean(0))"),
        ("correlation in place of covariance", FIT, "s = (z - mean).pow(2).mean(0).sqrt()\n    return mean, (z - mean).T @ (z - mean) / len(z) / torch.outer(s, s)"),
        ("covariance of the rows", FIT, "return mean, (z - mean) @ (z - mean).T / len(z)"),
        ("mean over everything", "mean = z.mean(dim=0)", "mean = z.mean().expand(z.shape[1])"),
        ("mean of each row taken off", FIT, "c = z - z.mean(1, keepdim=True)\n    return mean, c.T @ c / len(z)"),
        ("a mean of zero", "return mean, (z", "return 0 * mean, (z"),
        ("inverse of the covariance", FIT, "return mean, torch.linalg.pinv((z - mean).T @ (z - mean) / len(z))"),
        ("a ridge on the covariance", "/ len(z)", "/ len(z) + 0.1 * torch.eye(z.shape[1], dtype=z.dtype)"),
        ("codes changed in place", FIT, "z -= mean\n    return mean, z.T @ z / len(z)"),
        ("uniform noise", "torch.randn(n,", "torch.rand(n,"),
        ("uniform noise of mean 0 and variance 1", "noise = torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)", "noise = (torch.rand(n, len(mean), dtype=mean.dtype) - 0.5) * 12**0.5"),
        ("noise of ±1", "mean + noise @", "mean + noise.sign() @"),
        ("one noise for all codes", "torch.randn(n, len(mean)", "torch.randn(1, len(mean)"),
        ("one noise repeated", "mean + noise @", "mean + noise[:1].expand_as(noise) @"),
        ("one number for all dimensions", "mean + noise @", "mean + noise[:, :1].expand_as(noise) @"),
        ("the same codes at every call", "noise = torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)", "noise = torch.randn(n, len(mean), dtype=mean.dtype, generator=torch.Generator().manual_seed(0))"),
        ("NumPy's random numbers", "noise = torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)", "noise = torch.tensor(__import__('numpy').random.randn(n, len(mean))).to(mean)"),
        ("noise of size one half", "mean + noise @", "mean + 0.5 * noise @"),
        ("covariance in place of its root", "noise @ root.T", "noise @ covariance"),
        ("root not transposed", "noise @ root.T", "noise @ root"),
        ("a standard deviation for each dimension", "noise @ root.T", "noise * covariance.diagonal().sqrt()"),
        ("element-wise square root", "noise @ root.T", "noise @ covariance.abs().sqrt()"),
        ("inverse root", "noise @ root.T", "noise @ torch.linalg.inv(root)"),
        ("eigenvalues not rooted", "torch.linalg.cholesky(covariance)", "(lambda e: e[1] * e[0])(torch.linalg.eigh(covariance))"),
        ("eigenvectors forgotten", "torch.linalg.cholesky(covariance)", "torch.diag(torch.linalg.eigvalsh(covariance).sqrt())"),
        ("no mean", "mean + noise @", "noise @"),
        ("mean subtracted", "mean + noise @", "-mean + noise @"),
        ("mean scaled too", "mean + noise @ root.T", "(mean + noise) @ root.T"),
        ("N(0, I) in place of the fit", "mean + noise @ root.T", "noise"),
        ("the mean alone", "mean + noise @ root.T", "mean.expand(n, -1)"),
        ("NumPy's float64", "mean + noise @ root.T", "(mean + noise @ root.T).double()"),
        ("single precision", "mean + noise @ root.T", "(mean + noise @ root.T).float()"),
        ("one code too many", "torch.randn(n,", "torch.randn(n + 1,"),
        ("half mirrored in the other", "mean + noise @", "mean + torch.cat([noise[: (n + 1) // 2], -noise[: n // 2]]) @"),
        ("noise centred over the batch", "mean + noise @", "mean + (noise - noise.mean(0)) @"),
        ("noise whitened over the batch", "mean + noise @", "mean + (noise if n < 2 else (noise - noise.mean(0)) / noise.std(0)) @"),
        ("noise cut off at two", "mean + noise @", "mean + noise.clamp(-2, 2) @"),
        ("columns in place of rows", "torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)", "torch.randn(len(mean), n, dtype=mean.dtype).T.flip(0) * 0.9"),
        ("a small ridge on the fit", "/ len(z)", "/ len(z) + 1e-4 * torch.eye(z.shape[1], dtype=z.dtype)"),
        ("a ridge on the covariance of the draws", "cholesky(covariance)", "cholesky(covariance + 0.01 * torch.eye(len(mean), dtype=mean.dtype))"),
        ("noise cut off at three", "mean + noise @", "mean + noise.clamp(-3, 3) @"),
    ],
}  # fmt: skip

RIGHT = {
    "reconstruction_error": [
        (
            "mse_loss with no reduction",
            """
def reconstruction_error(x, decoded):
    squares = F.mse_loss(decoded, x, reduction="none")
    return squares.reshape(len(x), -1).sum(-1)
""",
        ),
        (
            "einsum",
            """
def reconstruction_error(x, decoded):
    d = (x - decoded).flatten(1)
    return torch.einsum("np,np->n", d, d)
""",
        ),
        (
            "square of a norm",
            """
def reconstruction_error(x, decoded):
    return torch.linalg.vector_norm(decoded - x, dim=tuple(range(1, x.dim()))) ** 2
""",
        ),
        (
            "one image at a time",
            """
def reconstruction_error(x, decoded):
    return torch.stack([((a - b) * (a - b)).sum() for a, b in zip(x, decoded)])
""",
        ),
    ],
    "pca": [
        (
            "eigenvectors of the covariance",
            """
def pca(x, components):
    mean = x.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    _, vectors = torch.linalg.eigh(covariance)
    return mean, vectors.flip(1)[:, :components]
""",
        ),
        (
            "scikit-learn",
            """
def pca(x, components):
    from sklearn.decomposition import PCA

    fitted = PCA(components, svd_solver="full").fit(x.numpy())
    return torch.as_tensor(fitted.mean_).to(x), torch.as_tensor(fitted.components_.T.copy()).to(x)
""",
        ),
        (
            "left singular vectors of the transposed data, other signs",
            """
def pca(x, components):
    mean = x.sum(0) / x.shape[0]
    u, s, _ = torch.svd((x - mean).T)
    return mean, -u[:, s.argsort(descending=True)[:components]]
""",
        ),
        (
            "torch.cov in double precision",
            """
def pca(x, components):
    values, vectors = torch.linalg.eigh(torch.cov(x.double().T).reshape(x.shape[1], -1))
    order = values.argsort(descending=True)[:components]
    return x.mean(0), vectors[:, order].to(x.dtype)
""",
        ),
    ],
    "principal_angles": [
        (
            "orthonormal bases by SVD, cosines clamped on both sides",
            """
def principal_angles(a, b):
    u = torch.linalg.svd(a.to(torch.float64), full_matrices=False)[0]
    v = torch.linalg.svd(b.to(torch.float64), full_matrices=False)[0]
    s = torch.linalg.svd(v.mT @ u)[1]
    return torch.acos(s.clamp(0, 1)).sort().values
""",
        ),
        (
            "sines and cosines",
            """
def principal_angles(a, b):
    q, r = torch.linalg.qr(a.double())[0], torch.linalg.qr(b.double())[0]
    cosines = torch.linalg.svdvals(q.T @ r).clamp(0, 1)
    sines = torch.linalg.svdvals(r - q @ (q.T @ r)).clamp(0, 1).flip(0)
    return torch.atan2(sines, cosines)
""",
        ),
        (
            "SciPy",
            """
def principal_angles(a, b):
    from scipy.linalg import subspace_angles

    return torch.tensor(subspace_angles(a.double().numpy(), b.double().numpy())[::-1].copy())
""",
        ),
    ],
    "linear_autoencoder": [
        (
            "parameters of its own",
            """
class LinearAutoencoder(nn.Module):
    def __init__(self, pixels, latents):
        super().__init__()
        self.E = nn.Parameter(torch.randn(pixels, latents) / pixels**0.5)
        self.D = nn.Parameter(torch.randn(latents, pixels) / latents**0.5)
        self.b = nn.Parameter(torch.zeros(pixels))

    def encode(self, x):
        return x @ self.E

    def decode(self, z):
        return z @ self.D + self.b
""",
        ),
        (
            "two linear layers each way",
            """
class LinearAutoencoder(nn.Module):
    def __init__(self, pixels, latents):
        super().__init__()
        self.down = nn.Sequential(nn.Linear(pixels, 64), nn.Linear(64, latents))
        self.up = nn.Sequential(nn.Linear(latents, 64), nn.Linear(64, pixels))

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)
""",
        ),
        (
            "no bias on the code",
            """
class LinearAutoencoder(nn.Module):
    def __init__(self, pixels, latents):
        super().__init__()
        self.E = nn.Linear(pixels, latents, bias=False)
        self.D = nn.Linear(latents, pixels)
        nn.init.normal_(self.E.weight, std=0.02)
        nn.init.normal_(self.D.weight, std=0.02)
        nn.init.zeros_(self.D.bias)

    def encode(self, x):
        return self.E(x)

    def decode(self, z):
        return self.D(z)
""",
        ),
    ],
    "conv_autoencoder": [
        (
            "pooling, upsampling, batch norm",
            """
class ConvAutoencoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2),
        )
        self.to_code, self.from_code = nn.Linear(32 * 49, latents), nn.Linear(latents, 32 * 49)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16),
            nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(16, 1, 3, padding=1),
        )

    def encode(self, x):
        return self.to_code(self.down(x).flatten(1))

    def decode(self, z):
        return torch.sigmoid(self.up(torch.relu(self.from_code(z)).view(-1, 32, 7, 7)))
""",
        ),
        (
            "convolutions all the way, tanh moved to 0 … 1",
            """
class ConvAutoencoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(), nn.Conv2d(64, latents, 4),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latents, 64, 4), nn.GELU(),
            nn.ConvTranspose2d(64, 32, 3, 2, 1), nn.GELU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.GELU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
            nn.Tanh(),
        )

    def encode(self, x):
        return self.encoder(2 * x - 1).flatten(1)

    def decode(self, z):
        return (self.decoder(z[:, :, None, None]) + 1) / 2
""",
        ),
        (
            "max pooling, ReLU, one linear layer each way",
            """
class ConvAutoencoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.c, self.d = nn.Linear(32 * 49, latents), nn.Linear(latents, 32 * 49)
        self.e = nn.ConvTranspose2d(32, 32, 2, stride=2)
        self.f = nn.ConvTranspose2d(32, 1, 2, stride=2)

    def encode(self, x):
        h = F.max_pool2d(F.relu(self.a(x)), 2)
        h = F.max_pool2d(F.relu(self.b(h)), 2)
        return self.c(h.flatten(start_dim=1))

    def decode(self, z):
        h = F.relu(self.d(z)).reshape(z.shape[0], 32, 7, 7)
        return self.f(F.relu(self.e(h))).sigmoid()
""",
        ),
        (
            "tanh layers, dropout in training, leaky ReLU within",
            """
class ConvAutoencoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.Tanh(), nn.Dropout(0.1),
            nn.Conv2d(8, 16, 5, stride=2, padding=2), nn.Tanh(), nn.Flatten(),
            nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Linear(128, latents),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latents, 784), nn.Tanh(), nn.Unflatten(1, (16, 7, 7)),
            nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3, padding=1),
        )

    def encode(self, x):
        return self.encoder(x - 0.5)

    def decode(self, z):
        return torch.sigmoid(self.decoder(z))
""",
        ),
    ],
    "few_labels": [
        (
            "random numbers sorted within the classes",
            """
def few_labels(labels, per_class, seed):
    if labels.bincount().min() < per_class:
        raise ValueError("a class is too small")
    keys = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed))
    found = []
    for c in labels.unique():
        key = keys.masked_fill(labels != c, -1)
        found.append(key.topk(per_class).indices)
    return torch.cat(found)
""",
        ),
        (
            "NumPy",
            """
def few_labels(labels, per_class, seed):
    import numpy as np

    draw, y, found = np.random.default_rng(seed), labels.numpy(), []
    for c in np.unique(y):
        places = np.flatnonzero(y == c)
        if len(places) < per_class:
            raise ValueError(f"too few of class {c}")
        found.extend(draw.choice(places, per_class, replace=False).tolist())
    return torch.tensor(sorted(found))
""",
        ),
        (
            "NumPy's global random numbers",
            """
def few_labels(labels, per_class, seed):
    import numpy as np

    np.random.seed(seed)
    classes = [(labels == c).nonzero().flatten() for c in labels.unique()]
    if min(map(len, classes)) < per_class:
        raise ValueError("a class is too small")
    return torch.cat([c[torch.from_numpy(np.random.permutation(len(c))[:per_class])] for c in classes])
""",
        ),
        (
            "one shuffle, then the first of each class",
            """
def few_labels(labels, per_class, seed):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    one_hot = F.one_hot(labels[order])
    if one_hot.sum(0).min() < per_class:
        raise ValueError("too few")
    rank = (one_hot.cumsum(0) * one_hot).sum(1)
    return order[rank <= per_class]
""",
        ),
        (
            "the global random numbers put back",
            """
def few_labels(labels, per_class, seed):
    counts = torch.bincount(labels)
    if (counts < per_class).any():
        raise ValueError("too few examples")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.cat(
            [
                torch.multinomial((labels == c).float(), per_class, replacement=False)
                for c in range(len(counts))
            ]
        )
""",
        ),
    ],
    "few_label_classifier": [
        (
            "scikit-learn",
            """
def normalise(z, z_test):
    m = z.mean(0, keepdim=True)
    s = torch.sqrt(z.var(0, correction=0).mean())
    return (z - m) / s, (z_test - m) / s

def logistic_regression(z, y, classes, decay):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (len(z) * decay), max_iter=10_000, tol=1e-6)
    model.fit(z.double().numpy(), y.numpy())
    W, b = torch.tensor(model.coef_), torch.tensor(model.intercept_)
    if classes == 2:  # it gives one row, the difference, and charges it once
        return newton(z, y, classes, decay)
    return W.to(z), b.to(z)

def newton(z, y, classes, decay):
    W = torch.zeros(classes, z.shape[1], requires_grad=True, dtype=z.dtype)
    b = torch.zeros(classes, requires_grad=True, dtype=z.dtype)
    optimiser = torch.optim.LBFGS([W, b], max_iter=5_000, tolerance_grad=1e-6, tolerance_change=0)
    def closure():
        optimiser.zero_grad()
        loss = -(z @ W.T + b).log_softmax(1)[torch.arange(len(y)), y].mean()
        loss = loss + 0.5 * decay * (W * W).sum()
        loss.backward()
        return loss
    optimiser.step(closure)
    return W.detach(), b.detach()
""",
        ),
        (
            "accelerated gradient descent",
            """
def normalise(z, z_test):
    m = z.mean(0)
    s = ((z - m) ** 2).sum().div(z.numel()).sqrt()
    return z.sub(m).div(s), z_test.sub(m).div(s)

def logistic_regression(z, y, classes, decay):
    ones = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    A = torch.zeros(classes, ones.shape[1], dtype=z.dtype)
    mask = torch.ones_like(A)
    mask[:, -1] = 0
    step = 1 / (torch.linalg.matrix_norm(ones, 2) ** 2 / len(z) / 2 + decay)
    before, target = A.clone(), F.one_hot(y, classes).to(z.dtype)
    for k in range(20_000):
        look = A + k / (k + 3) * (A - before)
        slope = ((ones @ look.T).softmax(1) - target).T @ ones / len(z) + decay * mask * look
        if slope.abs().max() < 1e-5:
            break
        before, A = A, look - step * slope
    return look[:, :-1].clone(), look[:, -1].clone()
""",
        ),
        (
            "a linear layer trained by torch in double precision",
            """
def normalise(z, z_test):
    mean = z.mean(0)
    size = (z - mean).square().mean() ** 0.5
    return (z - mean) / size, (z_test - mean) / size

def logistic_regression(z, y, classes, decay):
    layer = nn.Linear(z.shape[1], classes).double()
    optimiser = torch.optim.LBFGS(
        layer.parameters(), lr=1, max_iter=2000, tolerance_grad=1e-6, tolerance_change=1e-14,
        line_search_fn="strong_wolfe", history_size=50,
    )
    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(layer(z.double()), y) + decay * layer.weight.square().sum() / 2
        loss.backward()
        return loss
    optimiser.step(closure)
    return layer.weight.data.to(z.dtype), layer.bias.data.to(z.dtype)
""",
        ),
    ],
    "classifier": [
        (
            "a weight and a bias of its own",
            """
class Classifier(nn.Module):
    def __init__(self, autoencoder, latents, classes):
        super().__init__()
        self.body = autoencoder
        self.W = nn.Parameter(0.01 * torch.randn(classes, latents))
        self.b = nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        return F.linear(self.body.encode(x), self.W, self.b)
""",
        ),
        (
            "a head that starts at zero",
            """
class Classifier(nn.Module):
    def __init__(self, autoencoder, latents, classes):
        super().__init__()
        self.layers = nn.ModuleDict({"body": autoencoder, "head": nn.Linear(latents, classes)})
        nn.init.zeros_(self.layers["head"].weight)
        nn.init.zeros_(self.layers["head"].bias)

    def forward(self, x):
        codes = self.layers["body"].encode(x)
        return self.layers["head"](codes)
""",
        ),
        (
            "one matrix for W and b",
            """
class Classifier(nn.Module):
    def __init__(self, autoencoder, latents, classes):
        super().__init__()
        self.autoencoder = autoencoder
        self.weight = nn.Parameter(torch.randn(latents + 1, classes) / latents**0.5)

    def forward(self, x):
        z = self.autoencoder.encode(x)
        return torch.cat([z, torch.ones_like(z[:, :1])], dim=1) @ self.weight
""",
        ),
        (
            "einsum",
            """
class Classifier(nn.Module):
    def __init__(self, autoencoder, latents, classes):
        super().__init__()
        self.add_module("ae", autoencoder)
        self.register_parameter("W", nn.Parameter(torch.rand(latents, classes) - 0.5))
        self.register_parameter("b", nn.Parameter(torch.rand(classes)))

    def forward(self, x):
        return torch.einsum("nd,dc->nc", self.ae.encode(x), self.W) + self.b
""",
        ),
        (
            "a convolution for a head",
            """
class Classifier(nn.Module):
    def __init__(self, autoencoder, latents, classes):
        super().__init__()
        self.autoencoder = autoencoder
        self.head = nn.Conv1d(latents, classes, kernel_size=1)

    def forward(self, x):
        return self.head(self.autoencoder.encode(x).unsqueeze(2)).squeeze(2)
""",
        ),
    ],
    "prior_samples": [
        (
            "torch.distributions",
            """
def fit_gaussian(z):
    return z.mean(0), torch.cov(z.T, correction=0).reshape(z.shape[1], z.shape[1])

def sample_codes(mean, covariance, n):
    return torch.distributions.MultivariateNormal(mean, covariance).sample((n,))
""",
        ),
        (
            "eigenvectors, one code at a time in small batches",
            """
def fit_gaussian(z):
    m = z.sum(0) / z.shape[0]
    return m, torch.einsum("ni,nj->ij", z - m, z - m) / z.shape[0]

def sample_codes(mean, covariance, n):
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()
    draws = [root @ torch.randn(len(mean), k, dtype=mean.dtype) for k in [1] * min(n, 3)]
    if n > 3:
        draws.append(root @ torch.randn(len(mean), n - 3, dtype=mean.dtype))
    return mean + torch.cat(draws, 1).T
""",
        ),
        (
            "second moment minus the square of the mean",
            """
def fit_gaussian(z):
    mean = z.mean(0)
    second = (z[:, :, None] * z[:, None, :]).mean(0)
    return mean, second - torch.outer(mean, mean)

def sample_codes(mean, covariance, n):
    L = torch.linalg.cholesky(covariance)
    return (mean[:, None] + L @ torch.randn(mean.shape[0], n).to(mean)).T.contiguous()
""",
        ),
    ],
}
