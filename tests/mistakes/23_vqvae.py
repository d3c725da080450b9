"""Lab 23: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

MISTAKES = {
    "nearest": [
        ("argmax for argmin", ".argmin(dim=1)", ".argmax(dim=1)"),
        ("largest inner product, |e|² forgotten", "squares - 2 * z", "-2 * z"),
        ("factor 2 forgotten", "squares - 2 * z", "squares - z"),
        ("wrong sign of the product", "squares - 2 * z", "squares + 2 * z"),
        ("|e| for |e|²", "codebook.pow(2).sum(dim=1)", "codebook.norm(dim=1)"),
        ("argmin over the vectors", ".argmin(dim=1)", ".argmin(dim=0)"),
        ("the distance in place of the number", "argmin(dim=1)", "amin(dim=1)"),
        (
            "cosine in place of distance",
            "(squares - 2 * z @ codebook.T).argmin(dim=1)",
            "(F.normalize(z) @ F.normalize(codebook).T).argmax(dim=1)",
        ),
        ("sum of absolute differences", "(squares - 2 * z @ codebook.T)", "torch.cdist(z, codebook, p=1)"),
        ("largest difference", "(squares - 2 * z @ codebook.T)", "torch.cdist(z, codebook, p=torch.inf)"),
        (
            "all differences at once",
            "(squares - 2 * z @ codebook.T)",
            "(z[:, None] - codebook).pow(2).sum(2)",
        ),
        (
            "all differences at once, by vmap",
            "(squares - 2 * z @ codebook.T)",
            "torch.vmap(lambda v: (v - codebook).pow(2).sum(1))(z)",
        ),
        (
            "all differences at once, by pairwise_distance",
            "(squares - 2 * z @ codebook.T)",
            "F.pairwise_distance(z[:, None], codebook[None])",
        ),
        ("square of the sum", "codebook.pow(2).sum(dim=1)", "codebook.sum(dim=1).pow(2)"),
        ("mean for sum", "codebook.pow(2).sum(dim=1)", "codebook.pow(2).mean(dim=1)"),
        ("codes divided by their length", "(squares - 2 * z @ codebook.T).argmin", "(z @ F.normalize(codebook).T).argmax"),
        ("all differences at once, in half precision", "(squares - 2 * z @ codebook.T)", "(z.half()[:, None] - codebook.half()).float().pow(2).sum(2)"),
        ("one number in a row of its own", ".argmin(dim=1)", ".topk(1, largest=False).indices"),
        ("one-hot in place of numbers", ".argmin(dim=1)", ".argmin(dim=1)[:, None] == torch.arange(len(codebook))"),
        ("whole numbers as floats", ".argmin(dim=1)", ".argmin(dim=1).float()"),
        ("numbers from 1", ".argmin(dim=1)", ".argmin(dim=1) + 1"),
        ("a draw in place of the nearest", ".argmin(dim=1)", ".neg().softmax(1).multinomial(1)[:, 0]"),
        ("the second nearest", ".argmin(dim=1)", ".topk(min(2, len(codebook)), largest=False).indices[:, -1]"),
    ],
    "straight_through": [
        ("no detach", "(quantised - z).detach()", "(quantised - z)"),
        ("gradient copied to the codebook", "(quantised - z).detach()", "quantised - z.detach()"),
        ("gradient to the codebook alone", "z + (quantised - z).detach()", "quantised + (z - z.detach()) * 0"),
        ("everything detached", "z + (quantised - z).detach()", "quantised.detach()"),
        ("not quantised", "z + (quantised - z).detach()", "z"),
        ("the value of z, the gradient of the code", "z + (quantised - z).detach()", "quantised + (z - quantised).detach()"),
        ("wrong sign", "z + (quantised", "-z + (quantised"),
        ("a difference for the value", "(quantised - z).detach()", "quantised.detach()"),
        ("gradient zero outside ±1", "z + (quantised - z).detach()", "z.clamp(-1, 1) + (quantised - z.clamp(-1, 1)).detach()"),
        ("half of the gradient", "z + (quantised - z).detach()", "z / 2 + (quantised - z / 2).detach()"),
        ("gradient through tanh", "z + (quantised - z).detach()", "z.tanh() + (quantised - z.tanh()).detach()"),
        ("z detached, the code not", "z + (quantised - z).detach()", "z.detach() + (quantised - z.detach())"),
        ("the wrong z detached", "z + (quantised - z).detach()", "z.detach() + quantised.detach() - z"),
        ("z taken away again", "z + (quantised - z).detach()", "z + quantised.detach() - z"),
        ("gradient to both", "z + (quantised - z).detach()", "z + quantised - z.detach()"),
        ("mean of vector and code", "z + (quantised - z).detach()", "(z + (2 * quantised - z).detach()) / 2 + 0 * z"),
    ],
    "vq_loss": [
        ("β on the codebook loss", "F.mse_loss(quantised, z.detach()) + beta * ", "beta * F.mse_loss(quantised, z.detach()) + "),
        (
            "terms swapped",
            "F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())",
            "F.mse_loss(quantised.detach(), z) + beta * F.mse_loss(z.detach(), quantised)",
        ),
        ("both detached", "F.mse_loss(z, quantised.detach())", "F.mse_loss(z.detach(), quantised.detach())"),
        ("all detached", "F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, ", "F.mse_loss(quantised.detach(), z.detach()) + beta * F.mse_loss(z.detach(), "),
        ("nothing detached", "z.detach()) + beta * F.mse_loss(z, quantised.detach())", "z) + beta * F.mse_loss(z, quantised)"),
        ("commitment loss not detached", "quantised.detach()", "quantised"),
        ("codebook loss not detached", "z.detach()", "z"),
        ("commitment loss forgotten", " + beta * F.mse_loss(z, quantised.detach())", ""),
        ("codebook loss forgotten", "F.mse_loss(quantised, z.detach()) + ", ""),
        ("β forgotten", "beta * ", ""),
        ("β on both", "return F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())", "return beta * (F.mse_loss(quantised, z.detach()) + F.mse_loss(z, quantised.detach()))"),
        ("β and 1 − β", "return F", "return (1 - beta) * F"),
        ("β squared", "beta * ", "beta**2 * "),
        ("commitment loss subtracted", "+ beta", "- beta"),
        ("absolute differences", "F.mse_loss(quantised", "F.l1_loss(quantised"),
        ("Huber loss", "F.mse_loss(z,", "F.smooth_l1_loss(z,"),
        ("one gradient, weighted by both", " + beta * F.mse_loss(z, quantised.detach())", " * (1 + beta)"),
        ("sum over the vectors too", "return F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())", "return (F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())) * z.numel()"),
        (
            "distance for squared distance",
            "F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())",
            "(quantised - z.detach()).norm(dim=1).mean() + beta * (z - quantised.detach()).norm(dim=1).mean()",
        ),
        ("the codebook loss a mean, the commitment loss a sum", "beta * F.mse_loss(z, quantised.detach())", "beta * F.mse_loss(z, quantised.detach()) * z.shape[1]"),
        ("one value a vector", "F.mse_loss(z, quantised.detach())", 'F.mse_loss(z, quantised.detach(), reduction="none").mean(1)'),
    ],
    "ema_update": [
        ("counts not decayed", "counts = decay * counts + (1 - decay) * onehot", "counts = counts + onehot"),
        ("old counts not decayed", "counts = decay * counts", "counts = counts"),
        ("old sums not decayed", "sums = decay * sums", "sums = sums"),
        ("mean in place of the sum", "onehot.T @ z", "onehot.T @ z / onehot.sum(0).clamp(min=1)[:, None]"),
        ("decay the wrong way round in the counts", "decay * counts + (1 - decay)", "(1 - decay) * counts + decay"),
        ("decay the wrong way round in the sums", "decay * sums + (1 - decay)", "(1 - decay) * sums + decay"),
        ("batch not weighted in the counts", "(1 - decay) * onehot.sum(dim=0)", "onehot.sum(dim=0)"),
        ("batch not weighted in the sums", "(1 - decay) * onehot.T", "onehot.T"),
        ("only codes in use decay", "counts = decay * counts + (1 - decay) * onehot.sum(dim=0)", "n = onehot.sum(dim=0)\n    counts = torch.where(n > 0, decay * counts + (1 - decay) * n, counts)"),
        ("sums of unused codes do not decay", "sums = decay * sums + (1 - decay) * onehot.T @ z", "sums = torch.where(onehot.sum(0)[:, None] > 0, decay * sums + (1 - decay) * onehot.T @ z, sums)"),
        ("shares in place of counts", "onehot.sum(dim=0)", "onehot.mean(dim=0)"),
        ("used or not in place of counts", "onehot.sum(dim=0)", "onehot.amax(dim=0)"),
        ("no smoothing", "smoothed = (counts + eps) / (total + len(counts) * eps) * total", "smoothed = counts"),
        ("smoothed counts not rescaled", " / (total + len(counts) * eps) * total", ""),
        ("not multiplied by n", " / (total + len(counts) * eps) * total", " / (total + len(counts) * eps)"),
        ("ε once in the denominator", "len(counts) * eps", "eps"),
        ("ε in the denominator alone", "(counts + eps)", "counts"),
        ("D in place of K", "len(counts) * eps", "sums.shape[1] * eps"),
        ("the batch's size for the sum of counts", "total = counts.sum()", "total = len(z)"),
        ("ε added to the sums", "sums / smoothed[:, None]", "(sums + eps) / smoothed[:, None]"),
        ("counts decayed, then smoothed in place", "return counts, sums, sums / smoothed[:, None]", "return smoothed, sums, sums / counts[:, None].clamp(min=eps)"),
        ("normalised over the dimensions", "sums / smoothed[:, None]", "F.normalize(sums / smoothed[:, None], dim=1)"),
        ("counts clipped in place of smoothed", "smoothed = (counts + eps) / (total + len(counts) * eps) * total", "smoothed = counts.clamp(min=eps)"),
        ("codebook of this batch alone", "sums / smoothed[:, None]", "onehot.T @ z / onehot.sum(dim=0).clamp(min=1)[:, None]"),
        ("the sums given for the codebook", "sums / smoothed[:, None]", "sums"),
        ("smoothed counts kept as the counts", "return counts, sums, sums", "return smoothed, sums, sums"),
        ("sums divided by all counts", "/ smoothed[:, None]", "/ total"),
        ("only the last vector of a code added", "onehot.T @ z", "torch.zeros_like(sums).index_put((codes,), z)"),
        ("gradient into the encoder", "z = z.detach()", "z = z + 0"),
        ("fixed decay", "z = z.detach()", "z, decay = z.detach(), 0.99"),
        ("moving average of the codebook", "sums = decay * sums + (1 - decay) * onehot.T @ z", "n = onehot.sum(0)[:, None]\n    sums = counts[:, None] * (decay * sums / counts[:, None].clamp(min=1) + (1 - decay) * onehot.T @ z / n.clamp(min=1))"),
    ],
    "revive": [
        ("codes revived while in use", "counts < threshold", "counts > threshold"),
        ("all codes revived", "counts < threshold", "counts < torch.inf"),
        ("all revived when one is dead", "dead = counts < threshold", "dead = (counts < threshold).any().expand(len(counts))"),
        ("a code on the threshold revived", "counts < threshold", "counts <= threshold"),
        ("only counts of exactly zero", "counts < threshold", "counts == 0"),
        ("fixed threshold", "counts < threshold", "counts < 1"),
        ("threshold on the share", "counts < threshold", "counts / counts.sum() < threshold"),
        ("nothing revived", "dead = counts < threshold", "dead = counts < -1"),
        ("only one code revived", "dead = counts < threshold", "dead = (counts < threshold) & (counts == counts.min())"),
        ("counts left as they were", "torch.where(dead, torch.ones_like(counts), counts)", "counts"),
        ("counts set to zero", "torch.ones_like(counts)", "torch.zeros_like(counts)"),
        ("all counts set to 1", "torch.where(dead, torch.ones_like(counts), counts)", "torch.ones_like(counts)"),
        ("sums left as they were", "torch.where(dead[:, None], rows, sums)", "sums"),
        ("sums set to zero", "torch.where(dead[:, None], rows, sums)", "torch.where(dead[:, None], 0 * rows, sums)"),
        ("sums of other vectors", "torch.where(dead[:, None], rows, sums)", "torch.where(dead[:, None], rows.roll(1, 0), sums)"),
        ("all sums replaced", "torch.where(dead[:, None], rows, sums)", "rows"),
        ("all codes replaced", "torch.where(dead[:, None], rows, codebook)", "rows"),
        ("codebook left as it was", "torch.where(dead[:, None], rows, codebook)", "codebook"),
        ("one vector for all dead codes", "(len(counts),)", "(1,)"),
        ("always the first vectors", "torch.randint(len(z), (len(counts),), device=z.device)", "torch.arange(len(counts)) % len(z)"),
        ("never the last vector", "torch.randint(len(z), (", "torch.randint(len(z) - 1, ("),
        ("drawn from the first K vectors", "torch.randint(len(z), (len(counts),), device=z.device)", "torch.randint(len(counts), (len(counts),)).clamp(max=len(z) - 1)"),
        ("drawn from five vectors", "torch.randint(len(z), (", "torch.randint(min(len(z), 5), ("),
        ("the vector farthest from its code", "torch.randint(len(z), (len(counts),), device=z.device)", "torch.cdist(codebook, z).argmax(1)"),
        ("fails with fewer vectors than codes", "torch.randint(len(z), (len(counts),), device=z.device)", "torch.randperm(len(z))[: len(counts)]"),
        ("noise in place of vectors", "z.detach()[torch.randint(len(z), (len(counts),), device=z.device)]", "torch.randn_like(codebook)"),
        ("vectors with noise added", "z.detach()[torch.randint(len(z), (len(counts),), device=z.device)]", "z.detach()[torch.randint(len(z), (len(counts),))] + 0.01 * torch.randn_like(codebook)"),
        ("mean of the batch", "z.detach()[torch.randint(len(z), (len(counts),), device=z.device)]", "z.detach().mean(0).expand_as(codebook)"),
        ("another code in place of a vector", "z.detach()[torch.randint(len(z), (len(counts),), device=z.device)]", "codebook[torch.randint(len(codebook), (len(counts),))]"),
        ("gradient into the encoder", "z.detach()[", "z["),
        ("the same draw at every call", "torch.randint(len(z), (len(counts),), device=z.device)", "torch.randint(len(z), (len(counts),), generator=torch.Generator().manual_seed(0))"),
        ("vectors added to the old sums", "torch.where(dead[:, None], rows, sums)", "torch.where(dead[:, None], rows + sums, sums)"),
    ],
    "perplexity": [
        ("base 2 of a base-e entropy", ".sum().exp()", ".sum().exp2()"),
        ("base e of a base-2 entropy", ".sum().exp()", ".sum().div(math.log(2)).exp()"),
        ("the entropy itself", ".sum().exp()", ".sum()"),
        ("mean for sum", ".sum().exp()", ".mean().exp()"),
        ("wrong sign", ".sum().exp()", ".sum().neg().exp()"),
        ("counts in place of shares", " / codes.numel()", ""),
        ("shares of an image, not of a code", "codes.numel()", "len(codes)"),
        ("divided by the number of codes", "codes.numel()", "size"),
        ("number of codes in use", "torch.special.entr(shares).sum().exp()", "(shares > 0).sum().float()"),
        ("mean of the perplexities of images", "torch.special.entr(shares).sum().exp()", "torch.stack([torch.special.entr(torch.bincount(c.flatten(), minlength=size) / c.numel()).sum().exp() for c in codes]).mean()"),
        ("0 · log 0 not a number", "torch.special.entr(shares)", "(-shares * shares.log())"),
        ("log of a share plus 0.01", "torch.special.entr(shares)", "(-shares * (shares + 0.01).log())"),
        ("divided by K", ".sum().exp()", ".sum().exp() / size"),
        ("inverse of the sum of squares", "torch.special.entr(shares).sum().exp()", "1 / shares.pow(2).sum()"),
        ("mean surprise of codes, unweighted", "torch.special.entr(shares).sum()", "-shares[shares > 0].log().mean()"),
        ("softmax of the counts", "torch.bincount(codes.flatten(), minlength=size) / codes.numel()", "torch.bincount(codes.flatten(), minlength=size).float().softmax(0)"),
    ],
    "code_maps": [
        ("reshape in place of moving the dimension", "maps.movedim(1, -1).flatten(0, 2)", "maps.reshape(-1, maps.shape[1])"),
        ("dimensions before images", "maps.movedim(1, -1).flatten(0, 2)", "maps.transpose(0, 1).reshape(-1, maps.shape[1])"),
        ("columns for rows", "maps.movedim(1, -1).flatten(0, 2)", "maps.permute(0, 3, 2, 1).flatten(0, 2)"),
        ("images last", "maps.movedim(1, -1).flatten(0, 2)", "maps.permute(2, 3, 0, 1).flatten(0, 2)"),
        ("array of codes turned", ".view(n, height, width)", ".view(n, width, height).mT"),
        ("codes in one row", ".view(n, height, width)", ".view(n, height * width)"),
        ("a dimension too many", ".view(n, height, width)", ".view(n, 1, height, width)"),
        ("codes as floats", ".view(n, height, width)", ".view(n, height, width).float()"),
        ("dimension left at the end", "codebook[codes].movedim(-1, 1)", "codebook[codes]"),
        ("reshape in place of moving it back", "codebook[codes].movedim(-1, 1)", "codebook[codes].reshape(len(codes), -1, *codes.shape[1:])"),
        ("maps turned", "codebook[codes].movedim(-1, 1)", "codebook[codes.mT].movedim(-1, 1)"),
        ("one code to the right", "codebook[codes]", "codebook[codes.roll(1, -1)]"),
        ("images in reverse", "codebook[codes]", "codebook[codes.flip(0)]"),
        ("codes counted from 1", "codebook[codes]", "codebook[codes - 1]"),
        ("the first image's codes for all", "codebook[codes]", "codebook[codes[:1].expand_as(codes)]"),
        ("codes as unit vectors", "codebook[codes]", "F.normalize(codebook, dim=1)[codes]"),
    ],
    "code_prior": [
        ("sees the code that it predicts", "self.code(codes.flatten(1))[:, :-1]", "self.code(codes.flatten(1))[:, 1:]"),
        ("not moved", "torch.cat([first, known], dim=1)", "self.code(codes.flatten(1))"),
        ("moved the wrong way", "torch.cat([first, known], dim=1)", "torch.cat([self.code(codes.flatten(1))[:, 1:], first], dim=1)"),
        ("rolled: the first place sees the last code", "torch.cat([first, known], dim=1)", "self.code(codes.flatten(1)).roll(1, dims=1)"),
        ("moved by two", "torch.cat([first, known], dim=1)", "torch.cat([first, first, known[:, :-1]], dim=1)"),
        ("columns for rows", "codes.flatten(1)", "codes.mT.flatten(1)"),
        ("predicts the array turned", "return self.last(F.silu(self.blocks(h)))", "return self.last(F.silu(self.blocks(h))).mT"),
        ("read in columns, put down in rows", "unflatten(2, (SIDE, SIDE))", "unflatten(2, (SIDE, SIDE)).mT"),
        ("moved within each row", "torch.cat([first, known], dim=1).transpose(1, 2).unflatten(2, (SIDE, SIDE))", "F.pad(self.code(codes).movedim(-1, 1), (0, 1))[..., 1:]"),
        ("shape forced, not turned", ".transpose(1, 2).unflatten(2, (SIDE, SIDE))", ".reshape(len(codes), -1, SIDE, SIDE)"),
        ("label ignored", " + self.label(labels)[:, :, None, None]", ""),
        ("the label of the image before", "self.label(labels)", "self.label(labels.roll(1))"),
        ("attention to all places", "h = moved +", "w = (moved.flatten(2).mT @ moved.flatten(2) / 7).softmax(2)\n        h = (moved.flatten(2) @ w.mT).unflatten(2, (SIDE, SIDE)) +"),
        ("label of the first image for all", "self.label(labels)[:, :, None, None]", "self.label(labels[:1])[:, :, None, None]"),
        ("only two labels told apart", "self.label(labels)", "self.label(labels.clamp(max=1))"),
        ("softmax after the logits", "self.last(F.silu(self.blocks(h)))", "self.last(F.silu(self.blocks(h))).softmax(1)"),
        ("codes as amounts", "known = self.code(codes.flatten(1))[:, :-1]", "known = 0 * self.code(codes.flatten(1))[:, :-1]"),
        ("normalised over the image", "return self.last(F.silu(self.blocks(h)))", "return self.last(F.layer_norm(self.blocks(h), (h.shape[1], SIDE, SIDE)))"),
        ("a block that sees all around", "h = moved +", "h = F.avg_pool2d(moved, 3, 1, 1) +"),
        ("blocks left out", "self.last(F.silu(self.blocks(h)))", "self.last(F.silu(h))"),
        ("mean over the batch", "h = moved +", "h = moved - moved.mean(0) +"),
        ("too few logits", "nn.Conv2d(width, size, 1)", "nn.Conv2d(width, size - 1, 1)"),
        ("mean of all codes added", "h = moved +", "h = moved + known.mean(1)[:, :, None, None] +"),
    ],
    "sample_codes": [
        ("the likeliest code", "torch.distributions.Categorical(logits=logits).sample()", "logits.argmax(1)"),
        ("equal chances", "Categorical(logits=logits)", "Categorical(logits=0 * logits)"),
        ("logits taken for probabilities", "Categorical(logits=logits)", "Categorical(probs=logits.sigmoid())"),
        ("softmax twice", "Categorical(logits=logits)", "Categorical(logits=logits.softmax(1))"),
        ("temperature one half", "Categorical(logits=logits)", "Categorical(logits=2 * logits)"),
        ("only the two likeliest", "Categorical(logits=logits)", "Categorical(logits=logits.masked_fill(logits < logits.topk(2).values[:, -1:], -99))"),
        ("prior asked once", "prior(codes, labels)[:, :, row, column]", "prior(0 * codes, labels)[:, :, row, column]"),
        ("prior asked once a row", "    for row in range(SIDE):\n        for column in range(SIDE):\n            logits = prior(codes, labels)[:, :, row, column]", "    for row in range(SIDE):\n        rows = prior(codes, labels)\n        for column in range(SIDE):\n            logits = rows[:, :, row, column]"),
        ("column by column", "codes[:, row, column] = torch", "codes[:, column, row] = torch"),
        ("columns in the logits", "[:, :, row, column]", "[:, :, column, row]"),
        ("column by column throughout", "    for row in range(SIDE):\n        for column in range(SIDE):", "    for column in range(SIDE):\n        for row in range(SIDE):"),
        ("from the right", "for column in range(SIDE):", "for column in reversed(range(SIDE)):"),
        ("from below", "for row in range(SIDE):", "for row in reversed(range(SIDE)):"),
        ("logits of the place before", "[:, :, row, column]", "[:, :, row, column - 1]"),
        ("logits of the place after", "[:, :, row, column]", "[:, :, row, (column + 1) % SIDE]"),
        ("written one place too far", "codes[:, row, column] = torch", "codes[:, row, (column + 1) % SIDE] = torch"),
        ("labels ignored", "prior(codes, labels)", "prior(codes, 0 * labels)"),
        ("the first label for all", "prior(codes, labels)", "prior(codes, labels[:1].expand_as(labels))"),
        ("labels in reverse", "prior(codes, labels)", "prior(codes, labels.flip(0))"),
        ("one draw for all images", "Categorical(logits=logits).sample()", "Categorical(logits=logits[:1]).sample()"),
        ("one random number for all places", "torch.distributions.Categorical(logits=logits).sample()", "(logits.softmax(1).cumsum(1) < torch.rand(len(labels), 1, generator=torch.Generator().manual_seed(int(labels.sum())))).sum(1).clamp(max=logits.shape[1] - 1)"),
        ("half of the codes the likeliest", "Categorical(logits=logits).sample()", "Categorical(logits=logits).sample() if column % 2 else logits.argmax(1)"),
        ("one random number for all images", "torch.distributions.Categorical(logits=logits).sample()", "(logits.softmax(1).cumsum(1) < torch.rand(1)).sum(1).clamp(max=logits.shape[1] - 1)"),
        ("the last row left empty", "for row in range(SIDE):", "for row in range(SIDE - 1):"),
        ("the last column left empty", "for column in range(SIDE):", "for column in range(SIDE - 1):"),
        ("the same draw at every call", "    codes = torch.zeros(", "    torch.manual_seed(0)\n    codes = torch.zeros("),
        ("one row of 49 codes", "return codes", "return codes.flatten(1)"),
        ("codes as floats", "return codes", "return codes.float()"),
    ],
}  # fmt: skip

RIGHT = {
    "nearest": [
        (
            "cdist",
            """
def nearest(z, codebook):
    return torch.cdist(z, codebook).min(dim=1).indices
""",
        ),
        (
            "all three terms, by addmm",
            """
def nearest(z, codebook):
    distances = (z * z).sum(-1, keepdim=True) + (codebook * codebook).sum(-1)
    return torch.addmm(distances, z, codebook.t(), alpha=-2.0).argmin(-1)
""",
        ),
        (
            "one code after another",
            """
def nearest(z, codebook):
    best = torch.full((len(z),), torch.inf)
    chosen = torch.zeros(len(z), dtype=torch.long)
    for k, code in enumerate(codebook):
        distance = (z - code).pow(2).sum(1)
        chosen[distance < best] = k
        best = torch.minimum(best, distance)
    return chosen
""",
        ),
        (
            "all differences, a thousand vectors at a time, in doubles",
            """
def nearest(z, codebook):
    chunks = z.double().split(500)
    return torch.cat([((c[:, None] - codebook) ** 2).sum(2).argmin(1) for c in chunks])
""",
        ),
        (
            "largest of the product less half the square",
            """
def nearest(z, codebook):
    half = torch.einsum("kd,kd->k", codebook, codebook) / 2
    return torch.argmax(F.linear(z, codebook, -half), dim=1)
""",
        ),
    ],
    "straight_through": [
        (
            "the code detached, z less itself",
            """
def straight_through(z, quantised):
    return quantised.detach() + z - z.detach()
""",
        ),
        (
            "an autograd function",
            """
class Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, quantised):
        return quantised.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None

def straight_through(z, quantised):
    return Through.apply(z, quantised)
""",
        ),
        (
            "a hook",
            """
def straight_through(z, quantised):
    with torch.no_grad():
        step = quantised - z
    return torch.add(z, step)
""",
        ),
    ],
    "vq_loss": [
        (
            "sum over the dimensions",
            """
def vq_loss(z, quantised, beta):
    codebook_loss = (z.detach() - quantised).pow(2).sum(1).mean()
    commitment = (z - quantised.detach()).pow(2).sum(1).mean()
    return codebook_loss + beta * commitment
""",
        ),
        (
            "norms, mean of everything",
            """
def vq_loss(z, quantised, beta):
    both = (quantised - z.detach()) ** 2 + beta * (quantised.detach() - z) ** 2
    return both.mean()
""",
        ),
        (
            "sum divided by the batch, norm squared",
            """
def vq_loss(z, quantised, beta):
    to_code = torch.linalg.vector_norm(quantised - z.detach(), dim=-1).square()
    to_z = torch.linalg.vector_norm(z - quantised.detach(), dim=-1).square()
    return torch.sum(to_code + beta * to_z) / len(z)
""",
        ),
    ],
    "ema_update": [
        (
            "bincount and index_add, no gradient",
            """
@torch.no_grad()
def ema_update(counts, sums, z, codes, decay, eps=1e-5):
    n = torch.bincount(codes, minlength=len(counts)).to(counts)
    s = torch.zeros_like(sums).index_add_(0, codes, z)
    counts, sums = torch.lerp(n, counts, decay), torch.lerp(s, sums, decay)
    n = counts.sum()
    smooth = n * (counts + eps) / (n + counts.numel() * eps)
    return counts, sums, sums / smooth.unsqueeze(1)
""",
        ),
        (
            "in place, scatter_add",
            """
def ema_update(counts, sums, z, codes, decay, eps=1e-5):
    with torch.no_grad():
        ones = torch.ones(len(z), dtype=z.dtype)
        counts.mul_(decay).scatter_add_(0, codes, ones * (1 - decay))
        rows = codes[:, None].expand_as(z)
        sums.mul_(decay).scatter_add_(0, rows, z * (1 - decay))
        n, K = counts.sum(), len(counts)
        codebook = sums * (n + K * eps) / ((counts[:, None] + eps) * n)
    return counts.clone(), sums.clone(), codebook
""",
        ),
        (
            "a loop over the codes",
            """
def ema_update(counts, sums, z, codes, decay, eps=1e-5):
    z, K = z.detach(), counts.shape[0]
    used = torch.stack([(codes == k).to(z.dtype).sum() for k in range(K)])
    added = torch.stack([z[codes == k].sum(0) for k in range(K)])
    counts = counts - (1 - decay) * (counts - used)
    sums = sums - (1 - decay) * (sums - added)
    share = (counts + eps) / (counts + eps).sum()
    return counts, sums, sums / (share * counts.sum()).view(-1, 1)
""",
        ),
    ],
    "revive": [
        (
            "masks, in place on copies",
            """
@torch.no_grad()
def revive(codebook, counts, sums, z, threshold):
    codebook, counts, sums = codebook.clone(), counts.clone(), sums.clone()
    dead = counts < threshold
    rows = z[torch.randint(0, z.shape[0], (int(dead.sum()),))]
    codebook[dead], counts[dead], sums[dead] = rows, 1.0, rows
    return codebook, counts, sums
""",
        ),
        (
            "without replacement where there are enough vectors",
            """
def revive(codebook, counts, sums, z, threshold):
    dead = (counts < threshold).nonzero().squeeze(1)
    repeats = -(-max(len(dead), 1) // len(z))
    order = torch.cat([torch.randperm(len(z)) for _ in range(repeats)])[: len(dead)]
    rows = z.detach().index_select(0, order)
    return (
        codebook.index_copy(0, dead, rows),
        counts.index_fill(0, dead, 1.0),
        sums.index_copy(0, dead, rows),
    )
""",
        ),
        (
            "a loop",
            """
def revive(codebook, counts, sums, z, threshold):
    codebook, counts, sums = codebook.clone(), counts.clone(), sums.clone()
    for k in range(len(counts)):
        if counts[k] < threshold:
            row = z[torch.multinomial(torch.ones(len(z)), 1).item()].detach()
            codebook[k] = row
            sums[k] = row
            counts[k] = 1
    return codebook, counts, sums
""",
        ),
    ],
    "perplexity": [
        (
            "one-hot mean, small number in the logarithm",
            """
def perplexity(codes, size):
    p = F.one_hot(codes.reshape(-1), size).float().mean(0)
    return torch.exp(-torch.sum(p * torch.log(p + 1e-10)))
""",
        ),
        (
            "two to the power of the bits, used codes only",
            """
def perplexity(codes, size):
    _, n = codes.unique(return_counts=True)
    p = n / n.sum()
    return 2 ** -(p * p.log2()).sum()
""",
        ),
        (
            "torch.distributions",
            """
def perplexity(codes, size):
    p = torch.histc(codes.float(), bins=size, min=-0.5, max=size - 0.5)
    return torch.distributions.Categorical(probs=p).perplexity()
""",
        ),
    ],
    "code_maps": [
        (
            "permute, cdist, index_select",
            """
def to_vectors(maps):
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.size(1))

def to_codes(maps, codebook):
    N, D, H, W = maps.shape
    return torch.cdist(to_vectors(maps), codebook).argmin(1).reshape(N, H, W)

def from_codes(codes, codebook):
    chosen = torch.index_select(codebook, 0, codes.reshape(-1))
    return chosen.view(*codes.shape, -1).permute(0, 3, 1, 2).contiguous()
""",
        ),
        (
            "one-hot products and einsum",
            """
def to_vectors(maps):
    return torch.einsum("ndhw->nhwd", maps).reshape(-1, maps.shape[1])

def to_codes(maps, codebook):
    products = torch.einsum("ndhw,kd->nkhw", maps, codebook)
    return (products - codebook.square().sum(1)[:, None, None] / 2).argmax(1)

def from_codes(codes, codebook):
    onehot = F.one_hot(codes, codebook.shape[0]).to(codebook.dtype)
    return torch.einsum("nhwk,kd->ndhw", onehot, codebook)
""",
        ),
        (
            "image by image, F.embedding",
            """
def to_vectors(maps):
    return torch.cat([image.flatten(1).T for image in maps])

def to_codes(maps, codebook):
    images = [nearest(image.flatten(1).T, codebook) for image in maps]
    return torch.stack(images).unflatten(1, maps.shape[2:])

def from_codes(codes, codebook):
    return torch.stack([F.embedding(c, codebook).permute(2, 0, 1) for c in codes])
""",
        ),
    ],
    "code_prior": [
        (
            "a transformer",
            """
class CodePrior(nn.Module):
    def __init__(self, size, classes, width=32):
        super().__init__()
        self.code = nn.Embedding(size + 1, width)
        self.start, self.label = size, nn.Embedding(classes, width)
        self.place = nn.Parameter(torch.randn(1, 49, width))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.out = nn.Linear(width, size)

    def forward(self, codes, labels):
        flat = codes.reshape(len(codes), 49)
        moved = F.pad(flat, (1, 0), value=self.start)[:, :49]
        h = self.code(moved) + self.place + self.label(labels)[:, None]
        h = h + self.o(F.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h), is_causal=True))
        h = h + self.mlp(h)
        return self.out(h).transpose(1, 2).reshape(len(codes), -1, 7, 7)
""",
        ),
        (
            "masked convolutions, the own code hidden by the first mask, one-hot codes",
            """
class Masked(nn.Conv2d):
    def __init__(self, own, *sizes):
        super().__init__(*sizes, padding=sizes[2] // 2)
        mask = torch.ones(self.kernel_size).flatten()
        mask[len(mask) // 2 + own:] = 0
        self.register_buffer("mask", mask.view(self.kernel_size))

    def forward(self, h):
        return F.conv2d(h, self.weight * self.mask, self.bias, padding=self.padding)

class CodePrior(nn.Module):
    def __init__(self, size, classes, width=24):
        super().__init__()
        self.size, self.classes = size, classes
        self.a = Masked(0, size, width, 5)
        self.b = Masked(1, width, width, 3)
        self.label = nn.Linear(classes, width)
        self.place = nn.Parameter(torch.randn(1, width, 7, 7))
        self.out = nn.Conv2d(width, size, 1)

    def forward(self, codes, labels):
        h = self.a(F.one_hot(codes, self.size).permute(0, 3, 1, 2).float())
        h = h + self.label(F.one_hot(labels, self.classes).float())[:, :, None, None] + self.place
        return self.out(torch.relu(self.b(F.elu(h))) + h).log_softmax(1)
""",
        ),
        (
            "a recurrent network over the raster, last layer starts at zero",
            """
class CodePrior(nn.Module):
    def __init__(self, size, classes, width=32):
        super().__init__()
        self.code, self.label = nn.Embedding(size, width), nn.Embedding(classes, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.above = nn.Embedding(size, width)
        self.place = nn.Embedding(49, width)
        self.out = nn.Linear(width, size)
        nn.init.zeros_(self.out.weight)

    def forward(self, codes, labels):
        flat, label = codes.flatten(1), self.label(labels)[:, None]
        h, _ = self.rnn(torch.cat([label, self.code(flat[:, :-1])], 1))
        above = F.pad(self.above(flat), (0, 0, 7, 0))[:, :49]
        h = torch.tanh(h + above + label + self.place.weight)
        return self.out(h).movedim(2, 1).unflatten(2, (7, 7))
""",
        ),
    ],
    "sample_codes": [
        (
            "multinomial over the flat array",
            """
@torch.no_grad()
def sample_codes(prior, labels):
    flat = torch.zeros(len(labels), 49, dtype=torch.int64, device=labels.device)
    for i in range(49):
        logits = prior(flat.view(-1, 7, 7), labels).flatten(2)[:, :, i]
        flat[:, i] = torch.multinomial(torch.softmax(logits, -1), num_samples=1).squeeze(1)
    return flat.reshape(len(labels), 7, 7)
""",
        ),
        (
            "Gumbel noise",
            """
@torch.no_grad()
def sample_codes(prior, labels):
    codes = torch.randint(2, (len(labels), 7, 7))
    for i in range(7):
        for j in range(7):
            logits = prior(codes, labels)[..., i, j]
            codes[:, i, j] = (logits - torch.log(-torch.log(torch.rand_like(logits)))).argmax(1)
    return codes
""",
        ),
        (
            "inverse of the cumulative distribution",
            """
def sample_codes(prior, labels):
    with torch.inference_mode():
        codes = labels.new_zeros(labels.shape[0], 7, 7)
        for i in range(49):
            p = prior(codes, labels)[:, :, i // 7, i % 7].softmax(1)
            u = torch.rand(len(labels), 1, dtype=p.dtype)
            codes[:, i // 7, i % 7] = (p.cumsum(1) < u).sum(1).clamp(max=p.shape[1] - 1)
    return codes.clone()
""",
        ),
    ],
}
