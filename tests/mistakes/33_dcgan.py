"""Lab 33: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

STAGES_G = """        if k == 0:
            return self.norm_0(self.project(h[:, :, None, None]))
        return self.norm_1(self.grow(h)) if k == 1 else self.paint(h)"""
STAGES_D = """        if k == 0:
            return self.look(h)
        return self.norm(self.halve(h)) if k == 1 else self.judge(h).flatten()"""

MISTAKES = {
    "generator": [
        ("batch norm at the output", "nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "nn.Sequential(nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), nn.BatchNorm2d(channels))"),
        ("no batch norm in stage 0", "self.norm_0(self.project(h[:, :, None, None]))", "self.project(h[:, :, None, None])"),
        ("no batch norm in stage 1", "self.norm_1(self.grow(h)) if", "self.grow(h) if"),
        ("pixels copied, then a convolution", "self.grow = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)", "self.grow = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, padding=1, bias=False))"),
        ("the image by resizing", "nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, channels, 3, padding=1))"),
        ("the image by bilinear resizing", "nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear'), nn.Conv2d(width, channels, 3, padding=1))"),
        ("kernel 2", "nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "nn.ConvTranspose2d(width, channels, 2, stride=2)"),
        ("kernel 3, which covers places unevenly", "nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "nn.ConvTranspose2d(width, channels, 3, stride=2, padding=1, output_padding=1)"),
        ("ReLU inside a stage", "return self.norm_1(self.grow(h)) if", "return F.relu(self.norm_1(self.grow(h))) if"),
        ("tanh twice", "else self.paint(h)", "else self.paint(h).tanh()"),
        ("sigmoid at the end", "else self.paint(h)", "else self.paint(h).sigmoid()"),
        ("instance norm", "self.norm_1 = nn.BatchNorm2d(width)", "self.norm_1 = nn.InstanceNorm2d(width, affine=True)"),
        ("layer norm", "self.norm_0 = nn.BatchNorm2d(2 * width)", "self.norm_0 = nn.GroupNorm(1, 2 * width)"),
        ("batch norm that keeps no averages", "self.norm_1 = nn.BatchNorm2d(width)", "self.norm_1 = nn.BatchNorm2d(width, track_running_stats=False)"),
        ("batch norm with nothing to learn", "self.norm_0 = nn.BatchNorm2d(2 * width)", "self.norm_0 = nn.BatchNorm2d(2 * width, affine=False)"),
        ("a hidden dense layer", "nn.ConvTranspose2d(noise, 2 * width, size // 4, bias=False)", "nn.Sequential(nn.Conv2d(noise, 256, 1), nn.ConvTranspose2d(256, 2 * width, size // 4, bias=False))"),
        ("half of the noise unused", "h[:, :, None, None]", "(h * (torch.arange(h.shape[1]) % 2))[:, :, None, None]"),
        ("the grid of the clothes, whatever the size", "nn.ConvTranspose2d(noise, 2 * width, size // 4, bias=False)", "nn.ConvTranspose2d(noise, 2 * width, 7, bias=False)"),
        ("one channel, whatever is asked", "nn.ConvTranspose2d(width, channels, 4", "nn.ConvTranspose2d(width, 1, 4"),
        ("noise seen as a single value a map", "h[:, :, None, None]", "h.mean(1, keepdim=True).expand_as(h)[:, :, None, None]"),
        ("the last maps detached", "else self.paint(h)", "else self.paint(h.detach())"),
        ("half the width", STAGES_G, STAGES_G.replace("self.paint(h)", "self.paint(h * (torch.arange(h.shape[1]) % 2)[:, None, None])")),
        ("norm before the convolution", "self.norm_1(self.grow(h)) if k == 1", "self.grow(F.batch_norm(h, None, None, training=True)) if k == 1"),
        ("averages that move too fast", "self.norm_1 = nn.BatchNorm2d(width)", "self.norm_1 = nn.BatchNorm2d(width, momentum=0.8)"),
        ("dropout in the hidden maps", "self.norm_1(self.grow(h)) if", "F.dropout(self.norm_1(self.grow(h)), 0.2) if"),
        ("a bias for each place of stage 0", "nn.ConvTranspose2d(noise, 2 * width, size // 4, bias=False)", "nn.Sequential(nn.Flatten(), nn.Linear(noise, 2 * width * (size // 4) ** 2), nn.Unflatten(1, (2 * width, size // 4, size // 4)))"),
        ("batch norm with an ε of 0.001", "self.norm_1 = nn.BatchNorm2d(width)", "self.norm_1 = nn.BatchNorm2d(width, eps=1e-3)"),
        ("the paper's start values here already", "self.paint = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "self.paint = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)\n        for p in self.parameters():\n            if p.dim() == 4:\n                nn.init.normal_(p, 0.0, 0.02)"),
        ("a further convolution of 1×1", "self.grow = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)", "self.grow = nn.Sequential(nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.Conv2d(width, width, 1))"),
        ("the last bias does not learn", "self.paint = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)", "self.paint = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)\n        self.paint.bias.requires_grad_(False)"),
    ],
    "discriminator": [
        ("batch norm at the input stage", "self.look = nn.Conv2d(channels, width, 4, stride=2, padding=1)", "self.look = nn.Sequential(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.BatchNorm2d(width))"),
        ("batch norm of the images", "return self.look(h)", "return self.look(F.batch_norm(h, None, None, training=True))"),
        ("no batch norm", "self.norm(self.halve(h)) if", "self.halve(h) if"),
        ("a sigmoid after the logit", "self.judge(h).flatten()", "self.judge(h).flatten().sigmoid()"),
        ("a log-sigmoid after the logit", "self.judge(h).flatten()", "F.logsigmoid(self.judge(h).flatten())"),
        ("max-pooling for a stride", "nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)", "nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.MaxPool2d(2))"),
        ("average-pooling for a stride", "nn.Conv2d(channels, width, 4, stride=2, padding=1)", "nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.AvgPool2d(2))"),
        ("global average before the logit", "self.judge(h).flatten()", "self.judge(h.mean((2, 3), keepdim=True).expand_as(h)).flatten()"),
        ("kernel 3", "nn.Conv2d(channels, width, 4, stride=2, padding=1)", "nn.Conv2d(channels, width, 3, stride=2, padding=1)"),
        ("kernel 5", "nn.Conv2d(channels, width, 4, stride=2, padding=1)", "nn.Conv2d(channels, width, 5, stride=2, padding=2)"),
        ("leaky ReLU inside a stage too", "return self.look(h)", "return F.leaky_relu(self.look(h), 0.2)"),
        ("logits of shape (N, 1)", "self.judge(h).flatten()", "self.judge(h).flatten(1)"),
        ("no shape left for one image", "self.judge(h).flatten()", "self.judge(h).squeeze()"),
        ("logit averaged over the batch", "self.judge(h).flatten()", "self.judge(h).flatten().mean().expand(len(h))"),
        ("instance norm", "nn.BatchNorm2d(2 * width)", "nn.InstanceNorm2d(2 * width, affine=True)"),
        ("layer norm", "nn.BatchNorm2d(2 * width)", "nn.GroupNorm(1, 2 * width)"),
        ("a hidden dense layer", "nn.Conv2d(2 * width, 1, size // 4)", "nn.Sequential(nn.Conv2d(2 * width, 64, size // 4), nn.Conv2d(64, 1, 1))"),
        ("the logit clamped", "self.judge(h).flatten()", "self.judge(h).flatten().clamp(-1, 1)"),
        ("only the first channel is seen", "return self.look(h)", "return self.look(h * (torch.arange(h.shape[1]) == 0)[:, None, None])"),
        ("the grid of the clothes, whatever the size", "nn.Conv2d(2 * width, 1, size // 4)", "nn.Conv2d(2 * width, 1, 7)"),
        ("a layer that nothing uses", "self.judge = nn.Conv2d(2 * width, 1, size // 4)", "self.judge = nn.Conv2d(2 * width, 1, size // 4)\n        self.extra = nn.Linear(100, 1)"),
        ("batch norm that keeps no averages", "nn.BatchNorm2d(2 * width)", "nn.BatchNorm2d(2 * width, track_running_stats=False)"),
        ("the image detached", "return self.look(h)", "return self.look(h.detach())"),
        ("averages that move too fast", "nn.BatchNorm2d(2 * width)", "nn.BatchNorm2d(2 * width, momentum=0.8)"),
        ("dropout before the logit", "self.judge(h).flatten()", "self.judge(F.dropout(h, 0.2)).flatten()"),
        ("no bias in the first stage", "nn.Conv2d(channels, width, 4, stride=2, padding=1)", "nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False)"),
        ("spectral norm", "self.look = nn.Conv2d(channels, width, 4, stride=2, padding=1)", "self.look = nn.utils.parametrizations.spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1))"),
    ],
    "prepare": [
        ("the averages of batch norm reset", "nn.init.normal_(module.weight, 1.0, 0.02)", "module.reset_parameters()\n            nn.init.normal_(module.weight, 1.0, 0.02)"),
        ("a variance of 0.02", "module.weight, 0.0, 0.02", "module.weight, 0.0, 0.02**0.5"),
        ("0.02 squared", "module.weight, 0.0, 0.02", "module.weight, 0.0, 0.02**2"),
        ("0.2", "module.weight, 0.0, 0.02", "module.weight, 0.0, 0.2"),
        ("uniform weights", "nn.init.normal_(module.weight, 0.0, 0.02)", "nn.init.uniform_(module.weight, -0.0346, 0.0346)"),
        ("Xavier's start", "nn.init.normal_(module.weight, 0.0, 0.02)", "nn.init.xavier_normal_(module.weight)"),
        ("truncated at two standard deviations", "nn.init.normal_(module.weight, 0.0, 0.02)", "nn.init.trunc_normal_(module.weight, 0.0, 0.02, -0.04, 0.04)"),
        ("fractionally strided convolutions forgotten", "nn.Conv2d | nn.ConvTranspose2d | nn.Linear", "nn.Conv2d"),
        ("strided convolutions forgotten", "nn.Conv2d | nn.ConvTranspose2d | nn.Linear", "nn.ConvTranspose2d"),
        ("batch norm's scale around zero", "module.weight, 1.0, 0.02", "module.weight, 0.0, 0.02"),
        ("batch norm's scale left at one", "nn.init.normal_(module.weight, 1.0, 0.02)", "nn.init.ones_(module.weight)"),
        ("biases drawn", "nn.init.zeros_(module.bias)", "nn.init.normal_(module.bias, 0.0, 0.02)"),
        ("biases left as they were", 'if getattr(module, "bias", None) is not None:', "if isinstance(module, nn.BatchNorm2d):"),
        ("batch norm's shift at one", "nn.init.zeros_(module.bias)", "nn.init.constant_(module.bias, float(isinstance(module, nn.BatchNorm2d)))"),
        ("only the children that are not nested", "for module in model.modules():", "for module in list(model.children())[:1]:"),
        ("the same seed at every start", "for module in model.modules():", "torch.manual_seed(0)\n    for module in model.modules():"),
        ("a random generator of its own", "nn.init.normal_(module.weight, 0.0, 0.02)", "module.weight.data = 0.02 * torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(id(module) % 999))"),
        ("β₁ = 0.9", "betas=(0.5, 0.999)", "betas=(0.9, 0.999)"),
        ("β₁ = 0", "betas=(0.5, 0.999)", "betas=(0.0, 0.999)"),
        ("β₂ = 0.9", "betas=(0.5, 0.999)", "betas=(0.5, 0.9)"),
        ("betas swapped", "betas=(0.5, 0.999)", "betas=(0.999, 0.5)"),
        ("lr ignored", "lr=lr", "lr=2e-4"),
        ("RMSprop", "torch.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.999))", "torch.optim.RMSprop(model.parameters(), lr=lr)"),
        ("decoupled weight decay", "torch.optim.Adam(model", "torch.optim.AdamW(model"),
        ("weight decay", "betas=(0.5, 0.999)", "betas=(0.5, 0.999), weight_decay=0.01"),
        ("gradient ascent", "betas=(0.5, 0.999)", "betas=(0.5, 0.999), maximize=True"),
        ("only weights are trained", "torch.optim.Adam(model.parameters()", "torch.optim.Adam([p for p in model.parameters() if p.dim() > 1]"),
        ("the averages of batch norm reset to noise", "nn.init.normal_(module.weight, 1.0, 0.02)", "nn.init.normal_(module.weight, 1.0, 0.02)\n            module.running_mean.normal_(0.0, 0.02)"),
        ("the shape of 1-D parameters decides, so biases become scales", 'if getattr(module, "bias", None) is not None:\n            nn.init.zeros_(module.bias)', 'if getattr(module, "bias", None) is not None and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):\n            nn.init.normal_(module.bias, 1.0, 0.02)'),
        ("linear layers forgotten", "nn.Conv2d | nn.ConvTranspose2d | nn.Linear", "nn.Conv2d | nn.ConvTranspose2d"),
        ("batch norm's shift kept", 'if getattr(module, "bias", None) is not None:', 'if getattr(module, "bias", None) is not None and not isinstance(module, nn.BatchNorm2d):'),
        ("the outermost layers alone", "model.modules()", "model.children()"),
        ("the ε of another library", "betas=(0.5, 0.999)", "betas=(0.5, 0.999), eps=1e-7"),
        ("evaluation mode afterwards", "for module in model.modules():", "model.eval()\n    for module in model.modules():"),
        ("new parameters in place of the old", "nn.init.normal_(module.weight, 0.0, 0.02)", "module.weight = nn.Parameter(0.02 * torch.randn_like(module.weight))"),
        ("layers three deep forgotten", "model.modules():", "[model, *model.children(), *(m for k in model.children() for m in k.children())]:"),
        ("layers of equal shapes drawn alike", "    for module in model.modules():\n        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):\n            nn.init.normal_(module.weight, 0.0, 0.02)\n", "    seen = {}\n    for module in model.modules():\n        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):\n            drawn = seen.setdefault(module.weight.shape, 0.02 * torch.randn(module.weight.shape))\n            module.weight.data.copy_(drawn)\n"),
        ("scales drawn evenly", "nn.init.normal_(module.weight, 1.0, 0.02)", "nn.init.uniform_(module.weight, 1 - 0.0346, 1.0346)"),
    ],
    "image_features": [
        ("average-pooling", "F.adaptive_max_pool2d(h, 4)", "F.adaptive_avg_pool2d(h, 4)"),
        ("a 2×2 grid", "F.adaptive_max_pool2d(h, 4)", "F.adaptive_max_pool2d(h, 2)"),
        ("the last stage alone", "for h in (h_0, h_1)", "for h in (h_1,)"),
        ("the first stage twice", "for h in (h_0, h_1)", "for h in (h_0, h_0)"),
        ("stages in the other order", "for h in (h_0, h_1)", "for h in (h_1, h_0)"),
        ("before the activation", "h_1 = D.leaky(D.stage(1, h_0))", "h_1 = D.stage(1, h_0)"),
        ("plain ReLU", "h_0 = D.leaky(D.stage(0, x))", "h_0 = F.relu(D.stage(0, x))"),
        ("training mode", "    D.eval()\n", ""),
        ("training mode afterwards, always", "D.train(training)", "D.train()"),
        ("evaluation mode afterwards, always", "    D.train(training)\n", ""),
        ("a gradient attached", "with torch.no_grad():", "with torch.enable_grad():"),
        ("places before maps", ".flatten(1)", ".movedim(1, 3).flatten(1)"),
        ("columns before rows", ".flatten(1)", ".mT.flatten(1)"),
        ("the batch flattened too", "torch.cat(pooled, dim=1)", "torch.cat(pooled, dim=1).flatten()"),
        ("normalised by the batch", "torch.cat(pooled, dim=1)", "F.batch_norm(torch.cat(pooled, dim=1), None, None, training=len(x) > 1)"),
        ("each vector of length one", "torch.cat(pooled, dim=1)", "F.normalize(torch.cat(pooled, dim=1))"),
        ("pools of 7 pixels, right for clothes only", "F.adaptive_max_pool2d(h, 4)", "F.interpolate(F.max_pool2d(h, max(1, h.shape[2] // 4)), size=(4, 4))"),
        ("stage 1 of the pooled stage 0", "h_1 = D.leaky(D.stage(1, h_0))", "h_1 = D.leaky(D.stage(1, F.interpolate(F.adaptive_max_pool2d(h_0, 4), size=h_0.shape[2:])))"),
        ("the gradients of D cleared", "D.train(training)", "D.train(training)\n    D.zero_grad()"),
        ("no activation between the stages", "D.stage(1, h_0)", "D.stage(1, D.stage(0, x))"),
        ("gradients switched off for good", "with torch.no_grad():", "torch.set_grad_enabled(False)\n    if True:"),
        ("D frozen", "D.train(training)", "D.train(training)\n    D.requires_grad_(False)"),
    ],
    "guided": [
        ("the gradient, not guided", "signal * (a > 0) * (signal > 0)", "signal * torch.where(a > 0, 1.0, 0.2)"),
        ("the backward pass of a ReLU", "signal * (a > 0) * (signal > 0)", "signal * (a > 0)"),
        ("the deconvnet's rule", "signal * (a > 0) * (signal > 0)", "signal * (signal > 0)"),
        ("leaky on the way back", "signal * (a > 0) * (signal > 0)", "signal * torch.where(a > 0, 1.0, 0.2) * (signal > 0)"),
        ("negative signals kept", "(signal > 0)", "(signal < 0)"),
        ("the absolute signal", "signal * (a > 0) * (signal > 0)", "signal.abs() * (a > 0)"),
        ("a silent rectifier on the way forward", "return F.leaky_relu(a, 0.2)", "return F.relu(a)"),
        ("torch's slope of 0.01", "return F.leaky_relu(a, 0.2)", "return F.leaky_relu(a)"),
        ("the input's sign in the backward pass lost", "signal * (a > 0) * (signal > 0)", "signal.clamp(min=0) * a.sign()"),
        ("signals of size one", "signal * (a > 0) * (signal > 0)", "((a > 0) & (signal > 0)).to(signal.dtype)"),
        ("guided in the first stage only", "h = guided_leaky(D.stage(1, h))", "h = F.leaky_relu(D.stage(1, h), 0.2)"),
        ("guided in the last stage only", "h = guided_leaky(D.stage(0, x))", "h = F.leaky_relu(D.stage(0, x), 0.2)"),
        ("no rectifier at the top", "h = guided_leaky(D.stage(1, h))", "h = D.stage(1, h)"),
        ("the whole map", "h[:, m].flatten(1).max(dim=1).values", "h[:, m].flatten(1).sum(dim=1)"),
        ("the mean of the map", "h[:, m].flatten(1).max(dim=1).values", "h[:, m].flatten(1).mean(dim=1)"),
        ("the place in the middle", "h[:, m].flatten(1).max(dim=1).values", "h[:, m, h.shape[2] // 2, h.shape[3] // 2]"),
        ("the largest of the batch", "h[:, m].flatten(1).max(dim=1).values", "h[:, m].max()"),
        ("the largest of all maps", "h[:, m].flatten(1).max(dim=1).values", "h.flatten(1).max(dim=1).values"),
        ("the most negative place", "h[:, m].flatten(1).max(dim=1).values", "h[:, m].flatten(1).min(dim=1).values"),
        ("the signal is the activation", "strongest.sum()", "strongest.square().sum() / 2"),
        ("averaged over the batch", "strongest.sum()", "strongest.mean()"),
        ("training mode", "    D.eval()\n", ""),
        ("a map of stage 0", "h = guided_leaky(D.stage(1, h))", "h = torch.cat([h, h], 1)"),
        ("maps counted from one", "h[:, m].flatten", "h[:, m - 1].flatten"),
        ("only the positive part of the image's signal", "torch.autograd.grad(strongest.sum(), x)[0]", "torch.autograd.grad(strongest.sum(), x)[0].clamp(min=0)"),
        ("gradients left in the discriminator", "return torch.autograd.grad(strongest.sum(), x)[0]", "strongest.sum().backward()\n    return x.grad"),
        ("a gradient asked of the caller's images", "x = x.detach().clone().requires_grad_()", "x.requires_grad_()"),
        ("times the image", "torch.autograd.grad(strongest.sum(), x)[0]", "torch.autograd.grad(strongest.sum(), x)[0] * x.detach()"),
        ("each signal scaled to one", "return torch.autograd.grad(strongest.sum(), x)[0]", "g = torch.autograd.grad(strongest.sum(), x)[0]\n    return g / g.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)"),
        ("zero taken for positive", "signal * (a > 0)", "signal * (a >= 0)"),
        ("D frozen", "    D.eval()\n", "    D.eval()\n    D.requires_grad_(False)\n"),
        ("the guided activation left in D", "h = guided_leaky(D.stage(0, x))\n    h = guided_leaky(D.stage(1, h))", "D.leaky = guided_leaky\n    h = D.leaky(D.stage(0, x))\n    h = D.leaky(D.stage(1, h))"),
    ],
    "forget": [
        ("maps that speak against the object", "coef_[0] > 0", "coef_[0] < 0"),
        ("every map with a weight", "coef_[0] > 0", "coef_[0] != 0"),
        ("only large weights", "coef_[0] > 0", "coef_[0] > 0.5"),
        ("the size of a weight", "coef_[0] > 0", "coef_[0].__abs__() > 0.5"),
        ("maps more active inside than outside", "regression.coef_[0] > 0", "rows[box.flatten().numpy()].mean(0) > rows[~box.flatten().numpy()].mean(0)"),
        ("one row an image", "h.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy()", "h.mean((2, 3)).numpy()\n    box = box.flatten(1).any(1)"),
        ("no constant in the regression", "max_iter=1_000", "max_iter=1_000, fit_intercept=False"),
        ("positions for maps", "h.permute(0, 2, 3, 1).flatten(0, 2)", "h.reshape(-1, h.shape[1])"),
        ("rows and columns swapped", "h.permute(0, 2, 3, 1)", "h.permute(0, 3, 2, 1)"),
        ("inside and outside swapped", "box.flatten().cpu().numpy()", "(~box).flatten().cpu().numpy()"),
        ("indices for a mask", "torch.from_numpy(regression.coef_[0] > 0)", "torch.from_numpy(regression.coef_[0] > 0).nonzero()[:, 0]"),
        ("weights for a mask", "torch.from_numpy(regression.coef_[0] > 0)", "torch.from_numpy(regression.coef_[0])"),
        ("weights as they stand in one column each", "coef_[0] > 0", "coef_ > 0"),
        ("the best map alone", "regression.coef_[0] > 0", "regression.coef_[0] == regression.coef_[0].max()"),
        ("the better half", "torch.from_numpy(regression.coef_[0] > 0)", "torch.from_numpy(regression.coef_[0]).argsort().argsort() >= len(regression.coef_[0]) // 2"),
        ("the other maps dropped", "h[:, maps] = 0", "h[:, ~maps] = 0"),
        ("dropped before the ReLU only where positive", "h = F.relu(G.stage(0, z))\n    h[:, maps] = 0", "h = G.stage(0, z)\n    h[:, maps] *= 0.5\n    h = F.relu(h)"),
        ("the mean of a map in its place", "h[:, maps] = 0", "h[:, maps] = h[:, maps].mean((2, 3), keepdim=True)"),
        ("the mean over the batch in its place", "h[:, maps] = 0", "h[:, maps] = h[:, maps].mean(0, keepdim=True)"),
        ("images dropped in place of maps", "h[:, maps] = 0", "h[: len(maps)][maps[: len(h)]] = 0"),
        ("dropped at one place", "h[:, maps] = 0", "h[:, maps, 1, 1] = 0"),
        ("no ReLU after stage 0", "h = F.relu(G.stage(0, z))", "h = G.stage(0, z)"),
        ("no ReLU after stage 1", "F.relu(G.stage(1, h))", "G.stage(1, h)"),
        ("no tanh", "torch.tanh(G.stage(2, F.relu(G.stage(1, h))))", "G.stage(2, F.relu(G.stage(1, h)))"),
        ("the rest made larger, as in dropout", "h[:, maps] = 0", "h[:, maps] = 0\n    h = h * len(maps) / (~maps).sum().clamp(min=1)"),
        ("maps that are off change the sign", "h[:, maps] = 0", "h[:, maps] *= -1"),
        ("training mode", "h = F.relu(G.stage(0, z))", "G.train()\n    h = F.relu(G.stage(0, z))"),
        ("classes not given the same weight", 'class_weight="balanced", ', ""),
        ("a penalty a hundred times as large", "max_iter=1_000", "max_iter=1_000, C=0.01"),
        ("weights of zero as well", "coef_[0] > 0", "coef_[0] >= 0"),
        ("rows standardised", '    regression = LogisticRegression(class_weight="balanced", max_iter=1_000)', '    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-12)\n    regression = LogisticRegression(class_weight="balanced", max_iter=1_000)'),
        ("the first 600 places only", "regression.fit(rows, box.flatten().cpu().numpy())", "regression.fit(rows[:600], box.flatten()[:600].cpu().numpy())"),
    ],
    "analogy": [
        ("sums for means", "a.mean(0) - b.mean(0) + c.mean(0)", "a.sum(0) - b.sum(0) + c.sum(0)"),
        ("signs swapped", "- b.mean(0) + c.mean(0)", "+ b.mean(0) - c.mean(0)"),
        ("all signs plus", "a.mean(0) - b.mean(0) + c.mean(0)", "a.mean(0) + b.mean(0) + c.mean(0)"),
        ("one exemplar each", "a.mean(0) - b.mean(0) + c.mean(0)", "a[0] - b[0] + c[0]"),
        ("mean over the dimensions", "a.mean(0) - b.mean(0) + c.mean(0)", "(a.mean(1, keepdim=True) + 0 * a).mean(0) - b.mean(0) + c.mean(0)"),
        ("divided by three", "v = a.mean(0) - b.mean(0) + c.mean(0)", "v = (a.mean(0) - b.mean(0) + c.mean(0)) / 3"),
        ("Gaussian noise", "(2 * torch.rand(neighbours, len(v), device=v.device) - 1)", "torch.randn(neighbours, len(v), device=v.device)"),
        ("noise between 0 and s", "(2 * torch.rand(neighbours, len(v), device=v.device) - 1)", "torch.rand(neighbours, len(v), device=v.device)"),
        ("noise between −s/2 and s/2", "(2 * torch.rand(neighbours, len(v), device=v.device) - 1)", "(torch.rand(neighbours, len(v), device=v.device) - 0.5)"),
        ("one noise for all dimensions", "torch.rand(neighbours, len(v), device=v.device)", "torch.rand(neighbours, 1, device=v.device)"),
        ("one noise for all neighbours", "torch.rand(neighbours, len(v), device=v.device)", "torch.rand(1, len(v), device=v.device).expand(neighbours, -1)"),
        ("v left out", "torch.cat([v[None], v + shifts])", "v + shifts"),
        ("v last", "torch.cat([v[None], v + shifts])", "torch.cat([v + shifts, v[None]])"),
        ("s ignored", "shifts = s *", "shifts = 0.25 *"),
        ("a walk, each from the last", "v + shifts", "v + shifts.cumsum(0)"),
        ("noise without v", "torch.cat([v[None], v + shifts])", "torch.cat([v[None], shifts])"),
        ("clamped to the noise's range", "torch.cat([v[None], v + shifts])", "torch.cat([v[None], v + shifts]).clamp(-1, 1)"),
        ("scaled to length one", "v = a.mean(0) - b.mean(0) + c.mean(0)", "v = F.normalize(a.mean(0) - b.mean(0) + c.mean(0), dim=0)"),
        ("the same noise at every call", "torch.rand(neighbours, len(v), device=v.device)", "torch.rand(neighbours, len(v), generator=torch.Generator().manual_seed(0))"),
        ("a changed in place", "v = a.mean(0)", "a -= b.mean(0) * 0\n    a += 1\n    v = a.mean(0) - 1"),
        ("median for mean", "a.mean(0)", "a.median(0).values"),
        ("single precision", "v = a.mean(0) - b.mean(0) + c.mean(0)", "v = (a.mean(0) - b.mean(0) + c.mean(0)).float()"),
    ],
    "near_duplicates": [
        ("a hash below a million", "key = bits.tobytes()", "key = sum(pow(31, i, 1_000_003) for i in bits.nonzero()[0].tolist()) % 1_000_003"),
        ("a random projection in float32", "for bits in (codes > 0).cpu().numpy():\n        key = bits.tobytes()", "for key in ((codes > 0).float() * torch.randn(codes.shape[1])).sum(1).tolist():"),
        ("words of 60 bits, added up", "key = bits.tobytes()", "key = sum(int(''.join(map(str, w.astype(int))), 2) for w in (bits[i : i + 60] for i in range(0, len(bits), 60)))"),
        ("the first is removed too", "    return torch.tensor(repeated)", "    rows = [b.tobytes() for b in (codes > 0).cpu().numpy()]\n    return torch.tensor([rows.count(r) > 1 for r in rows])"),
        ("the last is kept", "for bits in (codes > 0).cpu().numpy():", "for bits in (codes > 0).flip(0).cpu().numpy():"),
        ("zeros count as on", "codes > 0", "codes >= 0"),
        ("a threshold of one half", "codes > 0", "codes > 0.5"),
        ("the mean as threshold", "codes > 0", "codes > codes.mean(0)"),
        ("codes themselves, not bits", "(codes > 0).cpu().numpy()", "codes.cpu().numpy()"),
        ("rounded codes", "(codes > 0).cpu()", "codes.round().cpu()"),
        ("which are kept", "key in seen", "key not in seen"),
        ("only neighbours in the list", "seen.add(key)", "seen = {key}"),
        ("powers of two in float32", "key = bits.tobytes()", "key = float((torch.from_numpy(bits).float() * 2.0 ** torch.arange(len(bits)).float()).sum())"),
        ("powers of two in 64 bits", "key = bits.tobytes()", "key = int((torch.from_numpy(bits).long() << (torch.arange(len(bits)) % 64)).sum())"),
        ("the first 64 bits", "key = bits.tobytes()", "key = bits[:64].tobytes()"),
        ("the number of active units", "key = bits.tobytes()", "key = int(bits.sum())"),
        ("which unit is largest", "for bits in (codes > 0).cpu().numpy():", "for bits in codes.argmax(1, keepdim=True).cpu().numpy():"),
        ("one bit may differ", "repeated.append(key in seen)", "repeated.append(any(sum(x != y for x, y in zip(key, other, strict=True)) <= 1 for other in list(seen)[:500]))"),
        ("all pairs compared", "seen, repeated = set(), []", "bits = codes > 0\n    same = (bits.float() @ bits.float().T + (~bits).float() @ (~bits).float().T) == bits.shape[1]\n    return same.tril(-1).any(1)\n    seen, repeated = set(), []"),
        ("indices for a mask", "torch.tensor(repeated)", "torch.tensor(repeated).nonzero()[:, 0]"),
        ("0 and 1 for a mask", "torch.tensor(repeated)", "torch.tensor(repeated).long()"),
        ("pairs only, a third is kept", "        seen.add(key)", "        (seen.discard if key in seen else seen.add)(key)"),
        ("transposed", "(codes > 0).cpu().numpy()", "(codes > 0).T.cpu().numpy()"),
        ("short fingerprints that collide", "key = bits.tobytes()", "key = hash(bits.tobytes()) % 1000"),
        ("numbers of the active units, run together", "key = bits.tobytes()", 'key = "".join(map(str, bits.nonzero()[0]))'),
        ("all pairs compared, a hundred images at a time", "seen, repeated = set(), []", "signs = 2.0 * (codes > 0) - 1\n    same = [((c @ signs.T == codes.shape[1]).int().argmax(1)) for c in signs.split(100)]\n    return torch.cat(same) < torch.arange(len(codes))\n    seen, repeated = set(), []"),
    ],
}  # fmt: skip

RIGHT = {
    "generator": [
        (
            "a linear layer first, stages in a list",
            """
class Generator(nn.Module):
    def __init__(self, noise, width, channels, size):
        super().__init__()
        grid = size // 4
        self.stages = nn.ModuleList([
            nn.Sequential(
                nn.Linear(noise, 2 * width * grid**2, bias=False),
                nn.Unflatten(1, (2 * width, grid, grid)),
                nn.BatchNorm2d(2 * width),
            ),
            nn.Sequential(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width)),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        ])

    def stage(self, k, h):
        return self.stages[k](h)

    def forward(self, z):
        h = F.relu(self.stage(0, z))
        h = F.relu(self.stage(1, h))
        return torch.tanh(self.stage(2, h))
""",
        ),
        (
            "zeros between the pixels, then an ordinary convolution",
            """
class Generator(nn.Module):
    def __init__(self, noise, width, channels, size):
        super().__init__()
        self.first = nn.ConvTranspose2d(noise, 2 * width, size // 4)
        self.second = nn.Conv2d(2 * width, width, 4, bias=False)
        self.third = nn.Conv2d(width, channels, 4)
        self.norms = nn.ModuleList([nn.BatchNorm2d(2 * width), nn.BatchNorm2d(width)])

    @staticmethod
    def spread(h):
        n, m, rows, columns = h.shape
        wide = h.new_zeros(n, m, 2 * rows, 2 * columns)
        wide[:, :, ::2, ::2] = h
        return F.pad(wide, (2, 1, 2, 1))

    def stage(self, k, h):
        if k == 0:
            h = self.first(h.view(*h.shape, 1, 1))
        elif k == 1:
            h = self.second(self.spread(h))
        else:
            return self.third(self.spread(h))
        return self.norms[k](h)

    def forward(self, z):
        h = torch.relu(self.stage(0, z))
        return torch.tanh(self.stage(2, torch.relu(self.stage(1, h))))
""",
        ),
    ],
    "discriminator": [
        (
            "stages in a list, a linear layer for the last",
            """
class Discriminator(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        self.stages = nn.ModuleList([
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.Sequential(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width)),
            nn.Sequential(nn.Flatten(), nn.Linear(2 * width * (size // 4) ** 2, 1)),
        ])

    def stage(self, k, h):
        h = self.stages[k](h)
        return h[:, 0] if k == 2 else h

    @staticmethod
    def leaky(a):
        return torch.maximum(a, 0.2 * a)

    def forward(self, x):
        for k in range(2):
            x = self.leaky(self.stage(k, x))
        return self.stage(2, x)
""",
        ),
        (
            "patches cut out and multiplied",
            """
class Discriminator(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        def start(inputs, *shape):
            return nn.Parameter((2 * torch.rand(shape) - 1) / inputs**0.5)

        self.w0 = start(channels * 16, width, channels * 16)
        self.b0 = start(channels * 16, width)
        self.w1 = start(width * 16, 2 * width, width * 16)
        self.norm = nn.BatchNorm2d(2 * width)
        self.w2 = start(2 * width * (size // 4) ** 2, 2 * width, size // 4, size // 4)
        self.b2 = start(2 * width * (size // 4) ** 2)

    def stage(self, k, h):
        if k == 2:
            return torch.einsum("nmij,mij->n", h, self.w2) + self.b2
        grid = h.shape[2] // 2
        cut = F.unfold(h, 4, padding=1, stride=2)
        if k == 0:
            return (self.w0 @ cut + self.b0[:, None]).unflatten(2, (grid, grid))
        return self.norm((self.w1 @ cut).unflatten(2, (grid, grid)))

    @staticmethod
    def leaky(a):
        return F.leaky_relu(a, 0.2)

    def forward(self, x):
        h = self.leaky(self.stage(0, x))
        return self.stage(2, self.leaky(self.stage(1, h)))
""",
        ),
    ],
    "prepare": [
        (
            "apply, by the names of the classes",
            """
def prepare(model, lr=2e-4):
    def start(module):
        name = type(module).__name__
        if "Conv" in name or name == "Linear":
            module.weight.data.normal_(0.0, 0.02)
            if module.bias is not None:
                module.bias.data.fill_(0)
        elif "BatchNorm" in name:
            module.weight.data.normal_(1.0, 0.02)
            module.bias.data.fill_(0)
    model.apply(start)
    return torch.optim.Adam(model.parameters(), lr, (0.5, 0.999))
""",
        ),
        (
            "parameters copied over with no gradient, groups",
            """
def prepare(model, lr=2e-4):
    with torch.no_grad():
        for module in model.modules():
            own = dict(module.named_parameters(recurse=False))
            if "weight" in own:
                centre = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
                own["weight"].copy_(centre + 0.02 * torch.randn_like(own["weight"]))
            if "bias" in own:
                own["bias"].zero_()
    groups = [{"params": [p], "lr": lr} for p in model.parameters()]
    return torch.optim.Adam(groups, betas=(0.5, 0.999))
""",
        ),
        (
            "one loop over names, fused Adam",
            """
def prepare(model, lr=2e-4):
    scales = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data.zero_()
        else:
            p.data.normal_(float(name in scales), 0.02)
    return torch.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.999), fused=True)
""",
        ),
    ],
    "image_features": [
        (
            "a loop over the stages",
            """
@torch.no_grad()
def image_features(D, x):
    was, found, h = D.training, [], x
    D.train(False)
    for k in range(2):
        h = F.leaky_relu(D.stage(k, h), 0.2)
        found.append(nn.AdaptiveMaxPool2d(4)(h).reshape(len(x), -1))
    D.train(was)
    return torch.hstack(found)
""",
        ),
        (
            "each cell cut out",
            """
def image_features(D, x):
    import copy
    D = copy.deepcopy(D).eval()
    parts = []
    with torch.inference_mode():
        h = x
        for k in (0, 1):
            h = D.leaky(D.stage(k, h))
            size = h.shape[-1]
            low = [size * i // 4 for i in range(4)]
            high = [-(-size * (i + 1) // 4) for i in range(4)]
            cells = [
                h[:, :, low[i] : high[i], low[j] : high[j]].amax((2, 3))
                for i in range(4) for j in range(4)
            ]
            parts.append(torch.stack(cells, 2).flatten(1))
    return torch.cat(parts, 1).clone()
""",
        ),
    ],
    "guided": [
        (
            "a hook on the output, a detached branch",
            """
def guided_leaky(a):
    out = torch.where(a > 0, a, 0.2 * a.detach())
    if out.requires_grad:
        out.register_hook(lambda signal: signal.clamp(min=0))
    return out

def guided_backprop(D, x, m):
    D.eval()
    x = x.clone().requires_grad_(True)
    top = guided_leaky(D.stage(1, guided_leaky(D.stage(0, x))))
    return torch.autograd.grad(top[:, m].amax((1, 2)).sum(), [x])[0]
""",
        ),
        (
            "stage by stage, each rule written out",
            """
class Rule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.on = a > 0
        return torch.max(a, a * 0.2)

    @staticmethod
    def backward(ctx, r):
        return torch.where(ctx.on & (r > 0), r, torch.zeros_like(r))

guided_leaky = Rule.apply

def guided_backprop(D, x, m):
    D.train(False)
    x = x.detach().clone().requires_grad_()
    a = D.stage(0, x)
    h = F.leaky_relu(a, 0.2).detach().requires_grad_()
    b = D.stage(1, h)
    start = torch.zeros_like(b)
    place = b[:, m].flatten(1).argmax(1)
    start[:, m].view(len(x), -1)[torch.arange(len(x)), place] = 1
    (back,) = torch.autograd.grad(b, h, start * (b > 0))
    (back,) = torch.autograd.grad(a, x, back * ((a > 0) & (back > 0)))
    return back
""",
        ),
    ],
    "forget": [
        (
            "the box first and then the rest, a diagonal matrix",
            """
def object_maps(h, box):
    inside, outside = h.permute(0, 2, 3, 1)[box], h.permute(0, 2, 3, 1)[~box]
    x = torch.cat([inside, outside]).cpu().numpy()
    y = [1] * len(inside) + [0] * len(outside)
    regression = LogisticRegression(class_weight="balanced", max_iter=1_000).fit(x, y)
    return torch.from_numpy(regression.coef_).squeeze(0).gt(0)


@torch.no_grad()
def forget(G, z, maps):
    h = torch.relu(G.stage(0, z))
    h = torch.einsum("nmij,mk->nkij", h, torch.diag((~maps).to(h.dtype)))
    return torch.tanh(G.stage(2, torch.relu(G.stage(1, h))))
""",
        ),
        (
            "einsum, a product with the mask",
            """
def object_maps(h, box):
    X = torch.einsum("nmij->nijm", h).reshape(-1, h.size(1)).double().numpy()
    fit = LogisticRegression(class_weight="balanced", max_iter=1000).fit(X, box.reshape(-1).int().numpy())
    return torch.as_tensor(fit.coef_.ravel()) > 0

def forget(G, z, maps):
    with torch.no_grad():
        kept = (~maps).float().view(1, -1, 1, 1)
        h = G.stage(0, z).relu() * kept
        return G.stage(2, G.stage(1, h).relu()).tanh()
""",
        ),
        (
            "Newton's method with a small penalty, minus infinity before the ReLU",
            """
def object_maps(h, box):
    X = h.movedim(1, -1).reshape(-1, h.shape[1]).double()
    X = torch.cat([X, torch.ones(len(X), 1).double()], 1)
    y = box.flatten().double()
    weight = torch.where(box.flatten(), 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    w, penalty = torch.zeros(X.shape[1]).double(), torch.eye(X.shape[1]).double()
    penalty[-1, -1] = 0
    for _ in range(50):
        p = torch.sigmoid(X @ w)
        slope = X.T @ (weight * (p - y)) + penalty @ w
        curvature = (X * (weight * p * (1 - p))[:, None]).T @ X + penalty
        w = w - torch.linalg.solve(curvature, slope)
    return w[:-1] > 0

def forget(G, z, maps):
    h = G.stage(0, z).masked_fill(maps[None, :, None, None], -torch.inf)
    for k in (1, 2):
        h = G.stage(k, F.relu(h))
    return torch.tanh(h).detach()
""",
        ),
    ],
    "analogy": [
        (
            "uniform_ and vstack",
            """
def analogy(a, b, c, neighbours, s=0.25):
    v = torch.mean(a, 0, keepdim=True) - torch.mean(b, 0, keepdim=True) + torch.mean(c, 0, keepdim=True)
    around = v.expand(neighbours, -1) + torch.empty(neighbours, v.shape[1]).uniform_(-s, s)
    return torch.vstack([v, around])
""",
        ),
        (
            "one row at a time",
            """
def analogy(a, b, c, neighbours, s=0.25):
    v = sum(sign * kind.sum(0) / len(kind) for sign, kind in ((1, a), (-1, b), (1, c)))
    rows = [v]
    for _ in range(neighbours):
        rows.append(v + torch.distributions.Uniform(-s, s).sample(v.shape))
    return torch.stack(rows)
""",
        ),
    ],
    "near_duplicates": [
        (
            "unique rows",
            """
def near_duplicates(codes):
    _, inverse = torch.unique(codes > 0, dim=0, return_inverse=True)
    order = torch.argsort(inverse, stable=True)
    same = torch.zeros(len(codes), dtype=torch.bool)
    same[1:] = inverse[order][1:] == inverse[order][:-1]
    result = torch.empty_like(same)
    result[order] = same
    return result
""",
        ),
        (
            "NumPy, bits packed into bytes",
            """
def near_duplicates(codes):
    import numpy as np
    packed = np.packbits(codes.numpy() > 0, axis=1)
    _, first = np.unique(packed, axis=0, return_index=True)
    mask = np.ones(len(codes), dtype=bool)
    mask[first] = False
    return torch.from_numpy(mask)
""",
        ),
        (
            "strings in a dictionary",
            """
def near_duplicates(codes):
    first, out = {}, torch.zeros(codes.size(0), dtype=torch.bool)
    for i, row in enumerate((codes > 0).int().tolist()):
        key = "".join(map(str, row))
        out[i] = first.setdefault(key, i) != i
    return out
""",
        ),
    ],
}
