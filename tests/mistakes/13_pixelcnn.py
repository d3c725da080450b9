"""Lab 13: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

MISTAKES = {
    "masked_convolution": [
        ("masks A and B swapped", 'if kind == "A"', 'if kind == "B"'),
        ("mask A sees its own pixel", "(source < target if", "(source <= target if"),
        ("mask B does not see its own pixel", "source <= target)", "source < target)"),
        ("mask B for both kinds", 'source < target if kind == "A" else source <= target', "source <= target"),
        ("the own row seen whole", "mask[:, :, :middle] = 1", "mask[:, :, : middle + 1] = 1"),
        ("one row missing", "mask[:, :, :middle] = 1", "mask[:, :, : middle - 1] = 1"),
        ("one column too far right", "mask[:, :, middle, :middle] = 1", "mask[:, :, middle, : middle + 2] = 1"),
        ("one column missing", "mask[:, :, middle, :middle] = 1", "mask[:, :, middle, : middle - 1] = 1"),
        ("the top row of the kernel missing", "mask[:, :, :middle] = 1", "mask[:, :, 1:middle] = 1"),
        ("upper left quadrant only", "mask[:, :, :middle] = 1", "mask[:, :, :middle, : middle + 1] = 1"),
        ("later pixels in place of earlier ones", "weight * self.mask", "weight * self.mask.flip(2, 3)"),
        ("columns for rows", "weight * self.mask", "weight * self.mask.mT"),
        ("no mask at all", "self.conv.weight * self.mask", "self.conv.weight"),
        (
            "mask applied once, lost at the first update",
            "weight = self.conv.weight * self.mask",
            "weight = self.conv.weight\n"
            "        if not hasattr(self, 'done'):\n"
            "            weight.data *= self.mask\n"
            "            self.done = True",
        ),
        ("a mask that learns", 'self.register_buffer("mask", mask)', "self.mask = nn.Parameter(mask)"),
        ("weights detached", "self.conv.weight * self.mask", "self.conv.weight.detach() * self.mask"),
        ("bias forgotten", "weight, self.conv.bias,", "weight, None,"),
        ("image wrapped around", "return F.conv2d(x, weight, self.conv.bias, padding=self.conv.padding)", "r = self.conv.padding[0]\n        return F.conv2d(F.pad(x, (r, r, r, r), mode='circular'), weight, self.conv.bias)"),
        ("colour order reversed", "(source < target if kind == \"A\" else source <= target)", "(source > target if kind == \"A\" else source >= target)"),
        ("colours interleaved, not in thirds", "source = torch.arange(inputs) * colours // inputs\n        target = torch.arange(outputs)[:, None] * colours // outputs", "source = torch.arange(inputs) % colours\n        target = torch.arange(outputs)[:, None] % colours"),
        ("number of a map for its colour", "torch.arange(inputs) * colours // inputs", "torch.arange(inputs)"),
        ("colours ignored", "(source < target if kind == \"A\" else source <= target).float()", 'float(kind == "B")'),
        ("colour order at earlier pixels too", 'self.register_buffer("mask", mask)', 'self.register_buffer("mask", mask * (source <= target)[:, :, None, None])'),
        ("every colour sees all of its own pixel's", "else source <= target)", "else source < colours + target)"),
    ],
    "receptive_field": [
        ("channels added", "(gradient[0] != 0).any(dim=0)", "gradient[0].sum(dim=0) != 0"),
        ("outputs added", "network(x)[..., row, column].flatten()", "[network(x)[..., row, column].sum()]"),
        ("only the first channel", "(gradient[0] != 0).any(dim=0)", "gradient[0, 0] != 0"),
        ("only the first output", ".flatten():", ".flatten()[:1]:"),
        ("all channels asked for", ".any(dim=0)", ".all(dim=0)"),
        ("row and column swapped", "[..., row, column]", "[..., column, row]"),
        ("the whole output", "[..., row, column].flatten()", ".flatten()"),
        ("only positive derivatives", "gradient[0] != 0", "gradient[0] > 0"),
        ("small derivatives left out", "gradient[0] != 0", "gradient[0].abs() > 0.5"),
        ("the last output in place of all", "seen |= (", "seen = ("),
        ("the pixel itself always seen", "return seen", "seen[row, column] = True\n    return seen"),
        ("what a later pixel would see", "return seen", "return seen.flip(0, 1)"),
        ("value in place of derivative", "(gradient[0] != 0)", "(x[0] * 0 + value != 0)"),
        ("one column off", "row, column].", "row, column - 1]."),
        ("everything earlier, without a look", "return seen", "raster = torch.arange(seen.numel()).reshape(seen.shape)\n    return raster < raster[row, column]"),
    ],
    "pixelcnn": [
        (
            "mask types swapped",
            'MaskedConv2d("A", 1, channels, kernel), nn.ReLU())\n        for _ in range(layers - 1):\n            self.masked.extend([MaskedConv2d("B",',
            'MaskedConv2d("B", 1, channels, kernel), nn.ReLU())\n        for _ in range(layers - 1):\n            self.masked.extend([MaskedConv2d("A",',
        ),
        ("mask A in every layer", 'MaskedConv2d("B"', 'MaskedConv2d("A"'),
        ("mask B in every layer", 'MaskedConv2d("A"', 'MaskedConv2d("B"'),
        ("one layer too many", "range(layers - 1)", "range(layers)"),
        ("one layer missing", "range(layers - 1)", "range(layers - 2)"),
        ("kernel of 3 whatever is asked", "channels, channels, kernel)", "channels, channels, 3)"),
        ("no mask in later layers", 'MaskedConv2d("B", channels, channels, kernel)', "nn.Conv2d(channels, channels, kernel, padding=kernel // 2)"),
        ("a head that looks around", "nn.Conv2d(channels, levels, 1)", "nn.Conv2d(channels, levels, 3, padding=1)"),
        ("rectifier after the logits", "nn.Conv2d(channels, levels, 1)\n", "nn.Conv2d(channels, levels, 1), nn.ReLU()\n"),
        ("softmax after the logits", "self.head(self.masked(scaled))", "self.head(self.masked(scaled)).softmax(1)"),
        ("a residual around mask A", "self.head(self.masked(scaled))", "self.head(self.masked(scaled) + scaled)"),
        ("no rectifiers", "self.head(self.masked(scaled))", "self.head[2](self.head[0](nn.Sequential(*list(self.masked)[::2])(scaled)))"),
        ("image ignored", "self.masked(scaled)", "self.masked(0 * scaled)"),
        ("levels in the place of colours", "[:, :, None]", "[:, None]"),
        ("image turned upside down", "self.masked(scaled)", "self.masked(scaled.flip(2))"),
        ("image scaled by its own largest level", "/ (self.levels - 1) - 1", "/ x.float().max() - 1"),
    ],
    "gated_block": [
        ("gate halves swapped", "what.tanh() * how_much.sigmoid()", "what.sigmoid() * how_much.tanh()"),
        ("maps of the gate interleaved", "x.chunk(2, dim=1)", "(x[:, ::2], x[:, 1::2])"),
        ("sigmoid on both halves", "what.tanh()", "what.sigmoid()"),
        ("gate added in place of multiplied", "what.tanh() * how", "what.tanh() + how"),
        ("a rectifier in place of tanh", "what.tanh()", "what.relu()"),
        ("halves swapped in the vertical stack", "return gate(vertical + self.told_v(s))", "return gate((vertical + self.told_v(s)).roll(vertical.shape[1] // 2, 1))"),
        ("halves swapped in the horizontal stack", "gate(both)", "gate(both.roll(both.shape[1] // 2, 1))"),
        ("no shift between the stacks", "F.pad(vertical, (0, 0, 1, 0))[:, :, :-1]", "vertical"),
        ("shifted up", "F.pad(vertical, (0, 0, 1, 0))[:, :, :-1]", "F.pad(vertical, (0, 0, 0, 1))[:, :, 1:]"),
        ("shifted by two rows", "F.pad(vertical, (0, 0, 1, 0))[:, :, :-1]", "F.pad(vertical, (0, 0, 2, 0))[:, :, :-2]"),
        ("shifted to the right", "F.pad(vertical, (0, 0, 1, 0))[:, :, :-1]", "F.pad(vertical, (1, 0, 0, 0))[..., :-1]"),
        ("first row rolled around", "F.pad(vertical, (0, 0, 1, 0))[:, :, :-1]", "vertical.roll(1, 2)"),
        ("both outputs shifted", "return gate(vertical +", "return gate(shifted +"),
        ("vertical kernel one row too low", "(r, r, r, 0)", "(r, r, r - 1, 1)"),
        ("vertical kernel one column off", "(r, r, r, 0)", "(r + 1, r - 1, r, 0)"),
        ("horizontal kernel one column too far", "(r, 0, 0, 0)", "(r - 1, 1, 0, 0)"),
        ("horizontal kernel to the right", "(r, 0, 0, 0)", "(0, r, 0, 0)"),
        ("the wrong side cropped", "[..., : h.shape[-1]]", "[..., -h.shape[-1] :]"),
        ("residual in the first block", "new if self.first else h + new", "h + new"),
        ("no residual", "new if self.first else h + new", "new"),
        ("residual from the vertical stack", "else h + new", "else v + new"),
        ("residual on the vertical stack too", "return gate(vertical + self.told_v(s))", "return (0 if self.first else v) + gate(vertical + self.told_v(s))"),
        ("no 1×1 layer after the gate", "self.residual(gate(both))", "gate(both)"),
        ("label missing in the vertical stack", "gate(vertical + self.told_v(s))", "gate(vertical)"),
        ("label missing in the horizontal stack", " + self.told_h(s)", ""),
        ("layers of what is told swapped", "return gate(vertical + self.told_v(s))", "return gate(vertical + self.told_h(s))"),
        ("label handed over with the features", "shifted = F.pad(vertical,", "shifted = F.pad(vertical + self.told_v(s),"),
        ("one label for the batch", "self.told_h(s)", "self.told_h(s[:1])"),
        ("what is told averaged over the places", "self.told_h(s)", "self.told_h(s.mean((2, 3), keepdim=True))"),
        ("vertical stack not handed over", "left + self.vertical_to_horizontal(shifted) +", "left +"),
        ("handed over without its own layer", "self.vertical_to_horizontal(shifted)", "shifted"),
        ("horizontal stack hands to the vertical one", "return gate(vertical + self.told_v(s))", "return gate(both + self.told_v(s))"),
        ("horizontal stack ignored", "both = left + self", "both = self"),
    ],
    "likelihood": [
        ("mean in place of sum", ".sum(dim=(1, 2, 3))", ".mean(dim=(1, 2, 3))"),
        ("sum over the batch too", ".sum(dim=(1, 2, 3))", ".sum().expand(len(x))"),
        ("mean over the batch", ".sum(dim=(1, 2, 3))", ".sum(dim=(1, 2, 3)).mean().expand(len(x))"),
        ("colours averaged", ".sum(dim=(1, 2, 3))", ".sum(dim=(2, 3)).mean(dim=1)"),
        ("only the first colour", ".sum(dim=(1, 2, 3))", "[:, 0].sum(dim=(1, 2))"),
        ("log p, not −log p", "return F.cross", "return -F.cross"),
        ("bits for nats", ".sum(dim=(1, 2, 3))", ".sum(dim=(1, 2, 3)) / math.log(2)"),
        ("logits taken for log-probabilities", 'F.cross_entropy(logits, x, reduction="none")', "-logits.gather(1, x[:, None])[:, 0]"),
        ("exponentials that overflow", 'F.cross_entropy(logits, x, reduction="none")', "-(logits.exp() / logits.exp().sum(1, keepdim=True)).log().gather(1, x[:, None])[:, 0]"),
        ("softmax over the colours", 'F.cross_entropy(logits, x, reduction="none")', "-logits.log_softmax(2).gather(1, x[:, None])[:, 0]"),
        ("softmax twice", "F.cross_entropy(logits,", "F.cross_entropy(logits.softmax(1),"),
        ("log-softmax detached", "F.cross_entropy(logits,", "F.cross_entropy(logits.detach(),"),
        ("label smoothing", 'reduction="none"', 'reduction="none", label_smoothing=0.1'),
        ("nats per dimension", "(dimensions * math.log(2))", "dimensions"),
        ("bits of an image", "(dimensions * math.log(2))", "math.log(2)"),
        ("multiplied by log 2", "nats / (dimensions * math.log(2))", "nats * math.log(2) / dimensions"),
        ("decimal digits", "math.log(2)", "math.log(10)"),
        ("eight levels assumed", "math.log(2)", "math.log(8)"),
    ],
    "samplers": [
        ("the most probable level", "            logits = model(x, labels)[:, :, 0, i, j]\n            x[:, 0, i, j] = draw(logits, noise[:, i, j])", "            logits = model(x, labels)[:, :, 0, i, j]\n            x[:, 0, i, j] = logits.argmax(1)"),
        ("a whole row from one pass", "        for j in range(noise.shape[2]):\n            logits = model(x, labels)[:, :, 0, i, j]", "        every = model(x, labels)\n        for j in range(noise.shape[2]):\n            logits = every[:, :, 0, i, j]"),
        ("all pixels from one pass", "    for i in range(top.shape[2], noise.shape[1]):\n        for j in range(noise.shape[2]):\n            logits = model(x, labels)[", "    every = model(x, labels)\n    for i in range(top.shape[2], noise.shape[1]):\n        for j in range(noise.shape[2]):\n            logits = every["),
        ("logits of the next pixel", "labels)[:, :, 0, i, j]", "labels)[:, :, 0, i, min(j + 1, noise.shape[2] - 1)]"),
        ("logits of the pixel before", "labels)[:, :, 0, i, j]", "labels)[:, :, 0, i, max(j - 1, 0)]"),
        ("logits of the row above", "labels)[:, :, 0, i, j]", "labels)[:, :, 0, max(i - 1, 0), j]"),
        ("column after column", "    for i in range(top.shape[2], noise.shape[1]):\n        for j in range(noise.shape[2]):\n            logits = model(x", "    for j in range(noise.shape[2]):\n        for i in range(top.shape[2], noise.shape[1]):\n            logits = model(x"),
        ("from the last pixel back", "for j in range(noise.shape[2]):\n            logits = model(x", "for j in reversed(range(noise.shape[2])):\n            logits = model(x"),
        ("label ignored", "model(x, labels)", "model(x, torch.zeros_like(labels))"),
        ("no label at all", "model(x, labels)", "model(x)"),
        *(
            (name, "            logits = model(x, labels)[:, :, 0, i, j]\n            x[:, 0, i, j] = draw(logits, noise[:, i, j])", f"            logits = model(x, labels)[:, :, 0, i, j]\n            x[:, 0, i, j] = draw({drawn})")
            for name, drawn in (
                ("noise of the mirrored pixel", "logits, noise[:, i, -1 - j]"),
                ("one noise for all pixels", "logits, noise[:, 0, 0]"),
                ("one noise for all images", "logits, noise[:1, i, j].expand(len(x))"),
                ("noise of its own", "logits, torch.rand_like(noise[:, i, j])"),
                ("noise turned around", "logits, 1 - noise[:, i, j]"),
                ("softmax before the softmax of draw", "logits.softmax(1), noise[:, i, j]"),
            )
        ),
        ("written one pixel late", "labels)[:, :, 0, i, j]\n            x[:, 0, i, j] =", "labels)[:, :, 0, i, j]\n            x[:, 0, i, (j + 1) % noise.shape[2]] ="),
        ("given rows drawn over", "    x = canvas(noise, top)\n    for i in range(top.shape[2], noise.shape[1])", "    x = canvas(noise, top)\n    for i in range(noise.shape[1])"),
        ("given rows not used", "    x = canvas(noise, top)\n    for", "    x = canvas(noise, 0 * top)\n    for"),
        ("given rows lost", "noise[:, i, j])\n    return x\n    ### END SOLUTION\n\n\n@", "noise[:, i, j])\n    x[:, :, : top.shape[2]] = 0\n    return x\n\n\n@"),
        ("begun a row late", "    x = canvas(noise, top)\n    for i in range(top.shape[2],", "    x = canvas(noise, top)\n    for i in range(top.shape[2] + 1,"),
        ("ended a row early", "    x = canvas(noise, top)\n    for i in range(top.shape[2], noise.shape[1])", "    x = canvas(noise, top)\n    for i in range(top.shape[2], noise.shape[1] - 1)"),
        ("not cropped", "    s = model.told(labels)\n", "    return sample_plain(model, noise, labels, top)\n    s = model.told(labels)\n"),
        ("cropped one row too tight", "i - reach - 1", "i - reach"),
        ("cropped one column too tight on the left", "max(j - reach, 0)", "max(j - reach + 1, 0)"),
        ("cropped one column too tight on the right", "j + reach + 1", "j + reach"),
        ("nothing right of the pixel", "j + reach + 1", "j + 1"),
        ("the row itself cut off", "slice(up, i + 1)", "slice(up, max(i, 1))"),
        ("the reach of the first block forgotten", "for block in model.blocks)", "for block in model.blocks[1:])"),
        ("a reach of one a block", "sum(block.reach for block in model.blocks)", "len(model.blocks)"),
        ("told the place in the part, not in the whole", "s[part]", "s[..., : i + 1 - up, : x[part].shape[-1]]"),
        ("what is told not cut", "logits = model.logits(x[part], s[part])[:, :, 0, i - up, j - left]", "logits = model.logits(x[part], s)[:, :, 0, i - up, j - left]"),
        ("cut at the wrong place", "[:, :, 0, i - up, j - left]", "[:, :, 0, -1, -1]"),
        ("the last pixel of the part", "j - left]", "-1]"),
    ],
    "sample_cached": [
        ("not cached: the plain sampler", "    x, blocks = canvas(noise, top), model.blocks\n", "    return sample_plain(model, noise, labels, top)\n    x, blocks = canvas(noise, top), model.blocks\n"),
        ("cropped, not cached", "    x, blocks = canvas(noise, top), model.blocks\n", "    return sample_cropped(model, noise, labels, top)\n    x, blocks = canvas(noise, top), model.blocks\n"),
        ("vertical stack computed for every pixel", "        for j in range(width):\n", "        for j in range(width):\n            from_above(model, list(kept), pixels[:, :, :1], s[:, :, :1])\n"),
        ("cache off by one row: the row itself", "pixels[:, :, i - 1 : i]", "pixels[:, :, i : i + 1]"),
        ("cache off by one row: two rows above", "pixels[:, :, i - 1 : i]", "pixels[:, :, max(i - 2, 0) : max(i - 2, 0) + 1]"),
        ("first row never pushed", "if i > 0:", "if i > 1:"),
        ("queue not moved on", "kept[k][:, :, 1:], row]", "kept[k][:, :, :-1], row]"),
        ("queue turned around", "[kept[k][:, :, 1:], row]", "[row, kept[k][:, :, :-1]]"),
        ("queue forgets the older rows", "kept[k][:, :, 1:], row]", "0 * kept[k][:, :, 1:], row]"),
        ("given rows not pushed", "        if i > 0:", "        if i > top.shape[2]:"),
        ("given rows drawn over", "        if i < top.shape[2]:\n            continue\n", ""),
        ("pixels kept unscaled", "model.scale(x[:, :, i, j])", "x[:, :, i, j].to(pixels.dtype)"),
        ("drawn pixels not kept", "rows[0][:, blocks[0].reach + j] = pixels[:, :, i, j]", "pass"),
        ("one column too far right", "rows[k][:, j : j + block.horizontal.kernel_size[1]]", "rows[k][:, j + 1 : j + 1 + block.horizontal.kernel_size[1]]"),
        ("input row written one column late", "rows[k][:, block.reach + j] = h", "rows[k][:, min(block.reach + j + 1, rows[k].shape[1] - 1)] = h"),
        ("label missing in the vertical stack", "gate(total + block.told_v(s))", "gate(total)"),
        ("label missing in the horizontal stack", "block.told_h.weight[..., 0, 0], s)", "0 * block.told_h.weight[..., 0, 0], s)"),
        ("place of the row above in the horizontal stack", "s[:, :, i])", "s[:, :, max(i - 1, 0)])"),
        ("place of the row below in the vertical stack", "s[:, :, i - 1 : i])", "s[:, :, i : i + 1])"),
        ("bias of the horizontal layer forgotten", ", s) + block.horizontal.bias", ", s)"),
        ("bias of the residual layer forgotten", "block.residual.bias, gated", "0 * block.residual.bias, gated"),
        ("no residual", "h = h + torch.addmm(block", "h = torch.addmm(block"),
        ("residual forgets the first block", "h = h + torch.addmm(block", "h = (h if k > 1 else 0) + torch.addmm(block"),
        ("nothing handed over", "[own + share for", "[own + 0 * share for"),
        ("above of another column", "above[k][j]", "above[k][j - 1]"),
        ("above of the first block for all", "torch.addmm(above[k][j]", "torch.addmm(above[0][j]"),
        ("gated features handed over", "block.vertical_to_horizontal(total)", "block.vertical_to_horizontal(total.tanh())"),
        ("no rectifier in the head", "h.relu()", "h"),
        ("noise of the mirrored pixel", "noise[:, i, j]", "noise[:, i, -1 - j]"),
        ("noise of the row above", "noise[:, i, j]", "noise[:, i - 1, j]"),
        ("the most probable level", "draw(h, noise[:, i, j])", "h.argmax(1)"),
        ("a number begun with, not zero", "            h = 0\n", "            h = 0.1\n"),
        ("first row without what is told", "above = [beside(block, s[:, :, i]) for block in blocks]", "above = [beside(block, s[:, :, i] * (i > 0)) for block in blocks]"),
    ],
}  # fmt: skip

RIGHT = {
    "masked_convolution": [
        (
            "mask by parametrisation",
            """
class Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return torch.where(self.mask, weight, torch.zeros_like(weight))

class MaskedConv2d(nn.Module):
    def __init__(self, kind, inputs, outputs, kernel, colours=1):
        super().__init__()
        mask = torch.zeros(outputs, inputs, kernel * kernel, dtype=torch.bool)
        centre = kernel * kernel // 2
        mask[..., :centre] = True
        for o in range(outputs):
            for i in range(inputs):
                distance = o * colours // outputs - i * colours // inputs
                mask[o, i, centre] = distance > 0 or (distance == 0 and kind == "B")
        self.layer = nn.Conv2d(inputs, outputs, kernel, padding="same")
        shaped = mask.reshape(outputs, inputs, kernel, kernel)
        nn.utils.parametrize.register_parametrization(self.layer, "weight", Masked(shaped))

    def forward(self, x):
        return self.layer(x)
""",
        ),
        (
            "subclass of Conv2d, numpy mask",
            """
import numpy as np

class MaskedConv2d(nn.Conv2d):
    def __init__(self, kind, inputs, outputs, kernel, colours=1):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        mask = np.tri(kernel * kernel, k=-1)[kernel * kernel // 2].reshape(kernel, kernel)
        mask = np.tile(mask, (outputs, inputs, 1, 1))
        order = np.tri(colours, k=-1 if kind == "A" else 0)
        blocks = np.kron(order, np.ones((outputs // colours, inputs // colours)))
        mask[:, :, kernel // 2, kernel // 2] = blocks
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32), persistent=False)

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)
""",
        ),
        (
            "padding and cropping, no mask at all",
            """
class MaskedConv2d(nn.Module):
    def __init__(self, kind, inputs, outputs, kernel, colours=1):
        super().__init__()
        self.r, self.width = kernel // 2, outputs // colours
        self.above = nn.Conv2d(inputs, outputs, (self.r, kernel))
        self.left = nn.Conv2d(inputs, outputs, (1, self.r), bias=False)
        counts = [(c + (kind == "B")) * (inputs // colours) for c in range(colours)]
        self.own = nn.ModuleDict(
            {str(c): nn.Conv2d(n, self.width, 1, bias=False) for c, n in enumerate(counts) if n}
        )

    def forward(self, x):
        r = self.r
        out = self.above(F.pad(x, (r, r, r, 0)))[:, :, :-1]
        out = out + self.left(F.pad(x, (r, 0, 0, 0)))[..., :-1]
        parts = list(out.split(self.width, dim=1))
        for c, layer in self.own.items():
            parts[int(c)] = parts[int(c)] + layer(x[:, : layer.in_channels])
        return torch.cat(parts, dim=1)
""",
        ),
    ],
    "receptive_field": [
        (
            "random weights for the outputs",
            """
def receptive_field(network, x, row, column):
    x = x.detach().clone().requires_grad_(True)
    out = network(x)[..., row, column]
    total = (out * torch.randn_like(out)).sum()
    total.backward()
    return x.grad.abs().amax(dim=(0, 1)) > 0
""",
        ),
        (
            "the Jacobian",
            """
def receptive_field(network, x, row, column):
    jacobian = torch.autograd.functional.jacobian(
        lambda image: network(image)[..., row, column].reshape(-1), x
    )
    return jacobian.ne(0).flatten(0, 2).any(0)
""",
        ),
        (
            "by perturbation",
            """
@torch.no_grad()
def receptive_field(network, x, row, column):
    before = network(x.double().float())[..., row, column]
    seen = torch.zeros(x.shape[2:], dtype=torch.bool)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            for c in range(x.shape[1]):
                changed = x.clone()
                changed[0, c, i, j] += 10
                seen[i, j] |= bool(((network(changed)[..., row, column] - before).abs() > 1e-3).any())
    return seen
""",
        ),
    ],
    "pixelcnn": [
        (
            "a list of layers, other activations, one more 1×1",
            """
class PixelCNN(nn.Module):
    def __init__(self, levels, channels, layers, kernel=3):
        super().__init__()
        kinds = ["A"] + ["B"] * (layers - 1)
        sizes = [1] + [channels] * layers
        self.levels = levels
        self.layers = nn.ModuleList(
            MaskedConv2d(kind, i, o, kernel)
            for kind, i, o in zip(kinds, sizes[:-1], sizes[1:], strict=True)
        )
        self.first, self.second = nn.Conv2d(channels, 64, 1), nn.Conv2d(64, levels, 1)

    def forward(self, x):
        h = x.to(torch.float32) / (self.levels - 1)
        for layer in self.layers:
            h = torch.relu(layer(h))
        return self.second(F.relu(self.first(h))).unsqueeze(2)
""",
        ),
        (
            "padding and cropping, residual in later layers",
            """
class PixelCNN(nn.Module):
    def __init__(self, levels, channels, layers, kernel=3):
        super().__init__()
        self.r = kernel // 2
        self.scale = levels - 1
        self.up = nn.ModuleList()
        self.left = nn.ModuleList()
        for n in range(layers):
            inputs = channels if n else 1
            self.up.append(nn.Conv2d(inputs, channels, (self.r, kernel)))
            self.left.append(nn.Conv2d(inputs, channels, (1, self.r + (n > 0))))
        self.last = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.LeakyReLU(), nn.Conv2d(channels, levels, 1))

    def forward(self, x):
        r, h = self.r, x.float() / self.scale
        for n, (up, left) in enumerate(zip(self.up, self.left)):
            above = up(F.pad(h, (r, r, r, 0)))[:, :, :-1]
            beside = left(F.pad(h, (r, 0, 0, 0)))[..., : h.shape[3]]
            new = F.leaky_relu(above + beside)
            h = h + new if n else new
        return self.last(h)[:, :, None]
""",
        ),
    ],
    "gated_block": [
        (
            "the given weights as masked kernels, slices, roll",
            """
def gate(x):
    half = x.shape[1] // 2
    return torch.sigmoid(x[:, half:]) * torch.tanh(x[:, :half])

class GatedBlock(nn.Module):
    def __init__(self, inputs, channels, kernel, maps, first=False):
        super().__init__()
        self.reach, self.first = kernel // 2, first
        self.vertical = nn.Conv2d(inputs, 2 * channels, (self.reach + 1, kernel))
        self.horizontal = nn.Conv2d(inputs, 2 * channels, (1, self.reach + (not first)))
        self.vertical_to_horizontal = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.residual = nn.Conv2d(channels, channels, 1)
        self.told_v = nn.Conv2d(maps, 2 * channels, 1, bias=False)
        self.told_h = nn.Conv2d(maps, 2 * channels, 1, bias=False)

    def forward(self, v, h, s):
        r = self.reach
        square = F.pad(self.vertical.weight, (0, 0, 0, r))
        line = F.pad(self.horizontal.weight, (0, r + self.first))
        v_sum = F.conv2d(v, square, self.vertical.bias, padding=r)
        h_sum = F.conv2d(h, line, self.horizontal.bias, padding=(0, r))
        down = self.vertical_to_horizontal(v_sum).roll(1, dims=2)
        down = torch.cat([torch.zeros_like(down[:, :, :1]), down[:, :, 1:]], dim=2)
        h_sum = h_sum + down + F.conv2d(s, self.told_h.weight)
        v_new = gate(v_sum + torch.einsum('ok,nkhw->nohw', self.told_v.weight[:, :, 0, 0], s))
        h_new = self.residual(gate(h_sum))
        if not self.first:
            h_new = h_new + h
        return v_new, h_new
""",
        ),
        (
            "own layers, full kernels with a mask in a buffer",
            """
def gate(x):
    return F.glu(torch.cat([torch.tanh(x.chunk(2, 1)[0]), x.chunk(2, 1)[1]], 1), dim=1)

class GatedBlock(nn.Module):
    def __init__(self, inputs, channels, kernel, maps, first=False):
        super().__init__()
        self.reach, self.first = kernel // 2, first
        self.vertical = nn.Conv2d(inputs, 2 * channels, kernel, padding=kernel // 2)
        self.horizontal = nn.Conv2d(inputs, 2 * channels, (1, kernel), padding=(0, kernel // 2))
        self.vertical_to_horizontal = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.residual = nn.Conv2d(channels, channels, 1)
        self.told_v = nn.Conv2d(maps, 2 * channels, 1, bias=False)
        self.told_h = nn.Conv2d(maps, 2 * channels, 1, bias=False)
        rows = torch.arange(kernel) <= kernel // 2
        self.register_buffer("rows", rows[:, None].float())
        self.register_buffer("columns", (torch.arange(kernel) <= kernel // 2 - first).float())

    def forward(self, v, h, s):
        up = F.conv2d(v, self.vertical.weight * self.rows, self.vertical.bias, padding=self.reach)
        left = F.conv2d(
            h, self.horizontal.weight * self.columns, self.horizontal.bias, padding=(0, self.reach)
        )
        above = torch.zeros_like(up)
        above[:, :, 1:] = up[:, :, :-1]
        out = self.residual(gate(left + self.vertical_to_horizontal(above) + self.told_h(s)))
        return gate(up + self.told_v(s)), out if self.first else out + h
""",
        ),
    ],
    "likelihood": [
        (
            "log-softmax and gather",
            """
def negative_log_likelihood(x, logits):
    return -logits.log_softmax(1).gather(1, x.unsqueeze(1)).flatten(1).sum(1)

def bits_per_dimension(nats, dimensions):
    return nats * math.log2(math.e) / dimensions
""",
        ),
        (
            "torch.distributions",
            """
def negative_log_likelihood(x, logits):
    pixels = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 4, 1))
    return -torch.distributions.Independent(pixels, 3).log_prob(x)

def bits_per_dimension(nats, dimensions):
    return nats.div(dimensions).div(math.log(2.0))
""",
        ),
        (
            "one-hot and logsumexp",
            """
def negative_log_likelihood(x, logits):
    chosen = torch.einsum("nlchw,nchwl->nchw", logits, F.one_hot(x, logits.shape[1]).to(logits.dtype))
    return (logits.logsumexp(1) - chosen).sum((-1, -2, -3))

def bits_per_dimension(nats, dimensions):
    return torch.as_tensor(nats) / math.log(2 ** dimensions)
""",
        ),
    ],
    "samplers": [
        (
            "one loop, searchsorted, padding with the last level",
            """
@torch.no_grad()
def sample_plain(model, noise, labels, top):
    n, height, width = noise.shape
    x = torch.full((n, 1, height, width), 1)
    x[:, :, : top.shape[2]] = top
    for place in range(top.shape[2] * width, height * width):
        i, j = place // width, place % width
        p = torch.softmax(model(x, labels)[:, :, 0, i, j].to(torch.float64), dim=1)
        level = torch.searchsorted(p.cumsum(1), noise[:, i, j, None].contiguous(), right=True)[:, 0]
        x[:, 0, i, j] = level.clamp(max=p.shape[1] - 1)
    return x

@torch.no_grad()
def sample_cropped(model, noise, labels, top):
    n, height, width = noise.shape
    R = model.blocks[0].reach + (len(model.blocks) - 1) * model.blocks[-1].reach
    told = F.pad(model.told(labels), (R, R, R + 1, 0))
    x = canvas(noise, top)
    for place in range(top.shape[2] * width, height * width):
        i, j = divmod(place, width)
        rows = range(max(0, i - R - 2), i + 1)
        columns = range(max(0, j - R - 1), min(width, j + R + 2))
        near = x[:, :, rows.start : rows.stop, columns.start : columns.stop]
        s = told[:, :, rows.start + R + 1 : rows.stop + R + 1, columns.start + R : columns.stop + R]
        out = model.logits(near, s)[:, :, 0, -1, j - columns.start]
        x[:, 0, i, j] = draw(out, noise[:, i, j])
    return x
""",
        ),
        (
            "rows appended, only what was drawn goes in",
            """
@torch.no_grad()
def sample_plain(model, noise, labels, top):
    drawn = top
    for row in range(top.shape[2], noise.shape[1]):
        drawn = torch.cat([drawn, torch.zeros_like(noise[:, None, :1]).long()], dim=2)
        for column in range(noise.shape[2]):
            logits = model(drawn, labels).squeeze(2)[:, :, row, column]
            drawn[:, 0, row, column] = draw(logits, noise[:, row, column])
    return drawn

@torch.no_grad()
def sample_cropped(model, noise, labels, top):
    x, s = canvas(noise, top), model.told(labels)
    reach = 0
    for block in model.blocks:
        reach += block.vertical.kernel_size[1] // 2
    for i in range(top.shape[2], x.shape[2]):
        band = slice(max(0, i - 1 - reach), i + 1)
        for j in range(x.shape[3]):
            begin = max(0, j - reach)
            columns = slice(begin, j + 1 + reach)
            logits = model.logits(x[:, :, band, columns], s[:, :, band, columns])
            x[:, 0, i, j] = draw(logits[:, :, 0, i - band.start, j - begin], noise[:, i, j])
    return x
""",
        ),
    ],
    "sample_cached": [
        (
            "all features kept as maps, convolutions of windows",
            """
@torch.no_grad()
def sample_cached(model, noise, labels, top):
    n, height, width = noise.shape
    given, r0 = top.shape[2], model.blocks[0].reach
    x = torch.zeros(n, 1, height, width, dtype=torch.long)
    x[:, :, :given] = top
    image, s = model.scale(x), model.told(labels)
    v = [image.new_zeros(n, b.vertical.in_channels, height + b.reach, width + 2 * b.reach) for b in model.blocks]
    h = [image.new_zeros(n, b.horizontal.in_channels, height, width + b.reach) for b in model.blocks]
    h[0][:, :, :, r0:] = image
    handed = [image.new_zeros(n, b.vertical.out_channels, height, width) for b in model.blocks]

    def finish(i):
        v[0][:, :, i + r0, r0 : r0 + width] = model.scale(x[:, :, i])
        for k, b in enumerate(model.blocks):
            total = b.vertical(v[k][:, :, i : i + b.reach + 1])
            if i + 1 < height:
                handed[k][:, :, i + 1] = b.vertical_to_horizontal(total)[:, :, 0]
            if k + 1 < len(v):
                r = model.blocks[k + 1].reach
                new = gate(total + b.told_v(s[:, :, i : i + 1]))
                v[k + 1][:, :, i + r, r : r + width] = new[:, :, 0]

    for i in range(height):
        for j in range(width if i >= given else 0):
            carried = 0
            for k, b in enumerate(model.blocks):
                if k:
                    h[k][:, :, i, b.reach + j] = carried[:, :, 0, 0]
                near = h[k][:, :, i : i + 1, j : j + b.horizontal.kernel_size[1]]
                both = b.horizontal(near) + handed[k][:, :, i : i + 1, j : j + 1]
                both = both + b.told_h(s[:, :, i : i + 1, j : j + 1])
                carried = carried + b.residual(gate(both))
            x[:, 0, i, j] = draw(model.head(carried)[:, :, 0, 0], noise[:, i, j])
            h[0][:, :, i, r0 + j] = model.scale(x[:, :, i, j])
        finish(i)
    return x
""",
        ),
        (
            "queues along the row, einsum, given rows in one pass",
            """
def from_above(model, kept, row, s):
    raise NotImplementedError

@torch.no_grad()
def sample_cached(model, noise, labels, top):
    n, height, width = noise.shape
    rows, s = [row for row in top.unbind(2)], model.told(labels)
    memory = None
    for i in range(height):
        shares = []
        if i == 0:
            memory = [torch.zeros(n, b.vertical.in_channels, b.reach + 1, width) for b in model.blocks]
            shares = [torch.zeros(n, b.vertical.out_channels, width) for b in model.blocks]
        else:
            new = model.scale(rows[i - 1])[:, :, None]
            for k, b in enumerate(model.blocks):
                memory[k] = memory[k].roll(-1, dims=2)
                memory[k][:, :, -1] = new[:, :, 0]
                total = F.conv2d(memory[k], b.vertical.weight, b.vertical.bias, padding=(0, b.reach))
                shares.append(torch.einsum("oi,niw->now", b.vertical_to_horizontal.weight[:, :, 0, 0], total[:, :, 0]))
                new = gate(total + b.told_v(s[:, :, i - 1 : i]))
        if i < top.shape[2]:
            continue
        queues = [[torch.zeros(n, b.horizontal.in_channels)] * b.horizontal.kernel_size[1] for b in model.blocks]
        line = []
        for j in range(width):
            feature = None
            for k, b in enumerate(model.blocks):
                if k:
                    queues[k] = queues[k][1:] + [feature]
                taps = torch.stack(queues[k], dim=2)
                both = torch.einsum("nit,oit->no", taps, b.horizontal.weight[:, :, 0]) + b.horizontal.bias
                both = both + shares[k][:, :, j] + b.told_h(s[:, :, i : i + 1, j : j + 1])[..., 0, 0]
                out = gate(both) @ b.residual.weight[:, :, 0, 0].T + b.residual.bias
                feature = out if feature is None else feature + out
            logits = model.head(feature[:, :, None, None])[:, :, 0, 0]
            level = draw(logits, noise[:, i, j])
            line.append(level)
            queues[0] = queues[0][1:] + [model.scale(level[:, None])]
        rows.append(torch.stack(line, dim=1)[:, None])
    return torch.stack(rows, dim=2)
""",
        ),
    ],
}
