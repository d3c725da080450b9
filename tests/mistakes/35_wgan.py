"""Lab 35: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

ALPHA = "torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)"
PENALTY = "    excess = gradient.flatten(1).norm(dim=1) - 1\n    return (excess.relu() if one_sided else excess).square().mean()"
BETWEEN = "(alpha * real + (1 - alpha) * fake).detach().requires_grad_()"
BACKWARD = """    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    if c is not None:
        clip_weights(critic, c)
"""
G_STEP = """    weights = list(generator.parameters())
    for parameter, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        parameter.grad = gradient
    optimiser.step()
"""
ROUND = """    losses = [
        critic_step(critic, generator, optimisers[0], images, noise, weight, c)
        for images, noise in zip(real, z[:-1], strict=True)
    ]
    return torch.stack(losses).mean(), generator_step(critic, generator, optimisers[1], z[-1])"""

MISTAKES = {
    "best_critic": [
        ("the sign turned", "(q - p)", "(p - q)"),
        ("the sign of the densities, not of their sums", "(q - p).cumsum(0)", "(p - q)"),
        ("every step taken as 1", "slopes * x.diff()", "slopes"),
        ("every step as long as the first", "slopes * x.diff()", "slopes * (x[1] - x[0])"),
        (
            "the difference of the sums in place of its sign",
            "torch.sign((q - p).cumsum(0))",
            "(q - p).cumsum(0)",
        ),
        ("sums that begin one place late", "(q - p).cumsum(0))[:-1]", "(q - p).cumsum(0))[1:]"),
        ("slopes not summed to values", "(slopes * x.diff()).cumsum(0)", "slopes * x.diff()"),
        ("sums from the right", "(q - p).cumsum(0)", "(q - p).flip(0).cumsum(0).flip(0)"),
        (
            "one slope for the whole line",
            "torch.sign((q - p).cumsum(0))[:-1]",
            "torch.sign(((p - q) * x).sum()).expand(len(x) - 1)",
        ),
        ("sums of squares, as for W2", "(q - p).cumsum(0)", "(q**2 - p**2).cumsum(0)"),
        ("steeper than allowed", "torch.sign(", "1.01 * torch.sign("),
        ("softened sign", "torch.sign((q - p).cumsum(0))", "torch.tanh(1e3 * (q - p).cumsum(0))"),
        (
            "float32",
            "return torch.cat([x.new_zeros(1), (slopes * x.diff()).cumsum(0)])",
            "return torch.cat([x.new_zeros(1), (slopes * x.diff()).cumsum(0)]).float()",
        ),
        (
            "a value short",
            "torch.cat([x.new_zeros(1), (slopes * x.diff()).cumsum(0)])",
            "(slopes * x.diff()).cumsum(0)",
        ),
        (
            "argument changed",
            "    slopes = torch",
            "    q -= p\n    q += p * 1.001\n    slopes = torch",
        ),
        ("a soft sign", "torch.sign((q - p).cumsum(0))", "torch.tanh(1e4 * (q - p).cumsum(0))"),
        (
            "flat where the sums are nearly equal",
            "torch.sign((q - p).cumsum(0))",
            "torch.where((q - p).cumsum(0).abs() > 1e-3, torch.sign((q - p).cumsum(0)), 0.0)",
        ),
    ],
    "losses": [
        (
            "critic sign flipped",
            "fake_values.mean() - real_values.mean()",
            "real_values.mean() - fake_values.mean()",
        ),
        ("generator sign flipped", "return -fake_values.mean()", "return fake_values.mean()"),
        (
            "sums in place of means",
            "fake_values.mean() - real_values.mean()",
            "fake_values.sum() - real_values.sum()",
        ),
        ("sum in the generator's loss", "return -fake_values.mean()", "return -fake_values.sum()"),
        (
            "one mean over both batches",
            "fake_values.mean() - real_values.mean()",
            "torch.cat([fake_values.flatten(), -real_values.flatten()]).mean()",
        ),
        (
            "sigmoids",
            "fake_values.mean() - real_values.mean()",
            "fake_values.sigmoid().mean() - real_values.sigmoid().mean()",
        ),
        (
            "the loss of a GAN",
            "fake_values.mean() - real_values.mean()",
            "F.softplus(-real_values).mean() + F.softplus(fake_values).mean()",
        ),
        (
            "the non-saturating loss for G",
            "return -fake_values.mean()",
            "return F.softplus(-fake_values).mean()",
        ),
        (
            "the absolute value of the difference",
            "fake_values.mean() - real_values.mean()",
            "-(fake_values.mean() - real_values.mean()).abs()",
        ),
        (
            "pairs of values",
            "fake_values.mean() - real_values.mean()",
            "(fake_values - real_values).mean()",
        ),
        (
            "half of the difference",
            "fake_values.mean() - real_values.mean()",
            "(fake_values.mean() - real_values.mean()) / 2",
        ),
        (
            "fakes detached in the critic's loss",
            "fake_values.mean() - real_values.mean()",
            "fake_values.detach().mean() - real_values.mean()",
        ),
        (
            "fakes detached in the generator's loss",
            "return -fake_values.mean()",
            "return -fake_values.detach().mean()",
        ),
        (
            "hinge",
            "fake_values.mean() - real_values.mean()",
            "(1 + fake_values).relu().mean() + (1 - real_values).relu().mean()",
        ),
        (
            "a mean over the first dimension only",
            "return -fake_values.mean()",
            "return -fake_values.mean(0)",
        ),
        (
            "the generator's sum divided by the rows",
            "return -fake_values.mean()",
            "return -fake_values.sum() / len(fake_values)",
        ),
        (
            "the generator's mean over rows only",
            "return -fake_values.mean()",
            "return -fake_values.mean(0).squeeze()",
        ),
    ],
    "clip_weights": [
        (
            "biases forgotten",
            "parameter.clamp_(-c, c)",
            "parameter.clamp_(-c, c) if parameter.dim() > 1 else None",
        ),
        ("not in place", "parameter.clamp_(-c, c)", "parameter.clamp(-c, c)"),
        ("clipped from above only", "clamp_(-c, c)", "clamp_(max=c)"),
        ("clipped to [0, c]", "clamp_(-c, c)", "clamp_(0, c)"),
        (
            "the gradients clipped",
            "            parameter.clamp_(-c, c)",
            "            if parameter.grad is not None:\n                parameter.grad.clamp_(-c, c)",
        ),
        (
            "clipped by the norm",
            "parameter.clamp_(-c, c)",
            "parameter.mul_(min(1.0, c / float(parameter.norm())))",
        ),
        (
            "scaled to the largest",
            "parameter.clamp_(-c, c)",
            "parameter.mul_(c / parameter.abs().max())",
        ),
        ("c of the paper, whatever is asked", "clamp_(-c, c)", "clamp_(-0.01, 0.01)"),
        (
            "the sign kept, the size lost",
            "parameter.clamp_(-c, c)",
            "parameter.copy_(c * parameter.sign())",
        ),
        (
            "new parameters in place of the old",
            "        for parameter in critic.parameters():\n            parameter.clamp_(-c, c)",
            "        for module in critic.modules():\n            for name, value in list(module._parameters.items()):\n                if value is not None:\n                    setattr(module, name, nn.Parameter(value.clamp(-c, c)))",
        ),
        (
            "linear layers only",
            "        for parameter in critic.parameters():\n            parameter.clamp_(-c, c)",
            "        for module in critic.modules():\n            if isinstance(module, nn.Linear):\n                module.weight.clamp_(-c, c)\n                module.bias.clamp_(-c, c)",
        ),
        ("the first layer only", "critic.parameters():", "list(critic.parameters())[:2]:"),
        (
            "parameters frozen",
            "parameter.clamp_(-c, c)",
            "parameter.requires_grad_(False).clamp_(-c, c)",
        ),
        (
            "gradients forgotten",
            "parameter.clamp_(-c, c)",
            "parameter.clamp_(-c, c)\n            parameter.grad = None",
        ),
        (
            "large weights set to zero",
            "parameter.clamp_(-c, c)",
            "parameter[parameter.abs() > c] = 0",
        ),
        (
            "squashed by tanh",
            "parameter.clamp_(-c, c)",
            "parameter.copy_(c * torch.tanh(parameter / c))",
        ),
        (
            "the critic returned",
            "            parameter.clamp_(-c, c)",
            "            parameter.clamp_(-c, c)\n    return critic",
        ),
        (
            "buffers clipped, too",
            "for parameter in critic.parameters():",
            "for parameter in critic.state_dict().values():",
        ),
        (
            "the critic left in evaluation mode",
            "    with torch.no_grad():",
            "    critic.eval()\n    with torch.no_grad():",
        ),
        (
            "frozen parameters left as they are",
            "            parameter.clamp_(-c, c)",
            "            if parameter.requires_grad:\n                parameter.clamp_(-c, c)",
        ),
        (
            "only what is called weight or bias",
            "        for parameter in critic.parameters():\n            parameter.clamp_(-c, c)",
            '        for name, parameter in critic.named_parameters():\n            if name.endswith(("weight", "bias")):\n                parameter.clamp_(-c, c)',
        ),
        (
            "frozen parameters thawed",
            "parameter.clamp_(-c, c)",
            "parameter.requires_grad_(True).clamp_(-c, c)",
        ),
        (
            "the critic's own parameters and those of linear layers",
            "        for parameter in critic.parameters():\n            parameter.clamp_(-c, c)",
            "        for module in critic.modules():\n            if module is critic or isinstance(module, nn.Linear):\n                for parameter in module.parameters(recurse=False):\n                    parameter.clamp_(-c, c)",
        ),
        (
            "two levels of modules",
            "        for parameter in critic.parameters():\n            parameter.clamp_(-c, c)",
            "        for module in [critic, *critic.children(), *(m for k in critic.children() for m in k.children())]:\n            for parameter in module.parameters(recurse=False):\n                parameter.clamp_(-c, c)",
        ),
    ],
    "gradient_penalty": [
        ("α per pixel", ALPHA, "torch.rand_like(real)"),
        (
            "α per channel",
            ALPHA,
            "torch.rand(*real.shape[:2], *[1] * (real.dim() - 2), dtype=real.dtype)",
        ),
        ("α per row", ALPHA, "torch.rand(*real.shape[:-1], 1, dtype=real.dtype)"),
        ("one α for the batch", ALPHA, "torch.rand((), dtype=real.dtype)"),
        ("α normal", ALPHA, ALPHA.replace("rand", "randn", 1)),
        ("α fixed at one half", ALPHA, "0.5"),
        (
            "α evenly spaced over the batch",
            ALPHA,
            "torch.linspace(0, 1, len(real), dtype=real.dtype).view(-1, *[1] * (real.dim() - 1))",
        ),
        (
            "the same α at every call",
            "device=real.device",
            "generator=torch.Generator().manual_seed(0)",
        ),
        (
            "α of the shape of images only",
            ALPHA,
            "torch.rand(len(real), 1, 1, 1, dtype=real.dtype)",
        ),
        ("α in [−1, 1]", ALPHA, f"(2 * {ALPHA} - 1)"),
        ("α squared", ALPHA, f"{ALPHA}.square()"),
        ("α is 0 or 1", ALPHA, f"{ALPHA}.round()"),
        ("penalty on real only", "alpha * real + (1 - alpha) * fake", "real"),
        ("penalty on fake only", "alpha * real + (1 - alpha) * fake", "fake"),
        ("α for real and another for fake", "(1 - alpha) * fake", f"(1 - {ALPHA}) * fake"),
        (
            "noise round the real images, as in DRAGAN",
            "alpha * real + (1 - alpha) * fake",
            "real + alpha * real.std() * torch.randn_like(real)",
        ),
        ("weights of the mixture do not add to 1", "(1 - alpha) * fake", "alpha * fake"),
        ("fakes of other images", "(1 - alpha) * fake", "(1 - alpha) * fake.roll(1, 0)"),
        ("norm over the batch", "gradient.flatten(1).norm(dim=1)", "gradient.norm()"),
        ("norm over dimension 1 only", "gradient.flatten(1).norm(dim=1)", "gradient.norm(dim=1)"),
        (
            "norm over the last dimension only",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.norm(dim=-1)",
        ),
        (
            "norm over dimension 0",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.flatten(1).norm(dim=0)",
        ),
        ("the length not rooted", "norm(dim=1) - 1", "square().sum(1) - 1"),
        ("root of the mean square", "norm(dim=1) - 1", "square().mean(1).sqrt() - 1"),
        ("sum of absolute values", "norm(dim=1)", "norm(p=1, dim=1)"),
        ("squared after the mean", ".square().mean()", ".mean().square()"),
        ("not squared", ".square().mean()", ".abs().mean()"),
        (
            "squared before the 1 is taken off",
            PENALTY,
            "    squares = gradient.flatten(1).square().sum(1)\n    return (squares - 1).mean()",
        ),
        ("sum over the batch", ".square().mean()", ".square().sum()"),
        ("slope 0 asked for", "norm(dim=1) - 1", "norm(dim=1)"),
        ("not differentiated", ", create_graph=True", ""),
        ("the gradient detached", "gradient.flatten(1)", "gradient.detach().flatten(1)"),
        ("the way kept, but no second derivative", "create_graph=True", "retain_graph=True"),
        ("gradient of the batch's mean", "critic(between).sum()", "critic(between).mean()"),
        ("always one-sided", "(excess.relu() if one_sided else excess)", "excess.relu()"),
        ("never one-sided", "(excess.relu() if one_sided else excess)", "excess"),
        ("one-sided the wrong way", "excess.relu() if", "(-excess).relu() if"),
        ("λ of the paper inside", "return (", "return 10 * ("),
        (
            "backward in place of grad",
            "(gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)",
            "critic(between).sum().backward(create_graph=True)\n    gradient = between.grad",
        ),
        (
            "real images marked for gradients",
            "    alpha = ",
            "    real.requires_grad_()\n    alpha = ",
        ),
        (
            "float32 only",
            "(excess.relu() if one_sided else excess)",
            "(excess.relu() if one_sided else excess).float()",
        ),
        ("the critic left in evaluation mode", "    alpha = ", "    critic.eval()\n    alpha = "),
        ("the critic left in training mode", "    alpha = ", "    critic.train()\n    alpha = "),
    ],
    "critic": [
        ("batch norm left in", "nn.LayerNorm(2 * width)", "nn.BatchNorm1d(2 * width)"),
        ("batch norm in the second layer", "nn.LayerNorm(width)", "nn.BatchNorm1d(width)"),
        (
            "batch norm without running statistics",
            "nn.LayerNorm(width)",
            "nn.BatchNorm1d(width, track_running_stats=False)",
        ),
        (
            "no normalisation",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn",
            "nn.Linear(784, 2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn",
        ),
        (
            "layer norm in the first layer only",
            "nn.Linear(2 * width, width), nn.LayerNorm(width), nn",
            "nn.Linear(2 * width, width), nn",
        ),
        (
            "a sigmoid at the end",
            "nn.Linear(width, 1), nn",
            "nn.Linear(width, 1), nn.Sigmoid(), nn",
        ),
        ("a tanh at the end", "nn.Linear(width, 1), nn", "nn.Linear(width, 1), nn.Tanh(), nn"),
        ("a ReLU at the end", "nn.Linear(width, 1), nn", "nn.Linear(width, 1), nn.ReLU(), nn"),
        (
            "layer norm at the end",
            "nn.Linear(width, 1), nn",
            "nn.Linear(width, 1), nn.LayerNorm(1), nn",
        ),
        ("dropout", "nn.Linear(width, 1), nn", "nn.Dropout(0.3), nn.Linear(width, 1), nn"),
        ("values (N, 1)", "nn.Linear(width, 1), nn.Flatten(0)", "nn.Linear(width, 1)"),
        (
            "values centred over the batch",
            "return self.layers(x)",
            "h = self.layers(x)\n        return h - h.mean()",
        ),
        (
            "the loss in place of the values",
            "return self.layers(x)",
            "return self.layers(x).mean()",
        ),
        (
            "minibatch deviation appended",
            "return self.layers(x)",
            "return self.layers(x) + x.std(0).mean()",
        ),
        (
            "images scaled by the batch",
            "return self.layers(x)",
            "return self.layers(x / x.abs().max())",
        ),
        (
            "the upper half only",
            "return self.layers(x)",
            "return self.layers(torch.cat([x[:, :, :14], 0 * x[:, :, 14:]], 2))",
        ),
        (
            "the mean of all pixels only",
            "return self.layers(x)",
            "return self.layers(0 * x + x.mean((1, 2, 3), keepdim=True))",
        ),
        ("input detached", "return self.layers(x)", "return self.layers(x.detach())"),
        ("values detached", "return self.layers(x)", "return self.layers(x).detach()"),
        ("values clamped", "return self.layers(x)", "return self.layers(x).clamp(-10, 10)"),
        (
            "noise added to the images",
            "return self.layers(x)",
            "return self.layers(x + 0.1 * torch.randn_like(x))",
        ),
        (
            "tanh that saturates in place of a norm",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 1), nn.Flatten(0),",
            "nn.Linear(784, 2 * width), nn.Tanh(),\n            nn.Linear(2 * width, width), nn.Tanh(),\n            nn.Linear(width, 1), nn.Flatten(0),",
        ),
        (
            "sigmoids in place of a norm",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 1), nn.Flatten(0),",
            "nn.Linear(784, 2 * width), nn.Sigmoid(),\n            nn.Linear(2 * width, width), nn.Sigmoid(),\n            nn.Linear(width, 1), nn.Flatten(0),",
        ),
        (
            "leaky ReLU at the end",
            "nn.Linear(width, 1), ",
            "nn.Linear(width, 1), nn.LeakyReLU(0.2), ",
        ),
        (
            "the width fixed",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 1), nn.Flatten(0),",
            "nn.Linear(784, 512), nn.LayerNorm(512), nn.LeakyReLU(0.2),\n            nn.Linear(512, 256), nn.LayerNorm(256), nn.LeakyReLU(0.2),\n            nn.Linear(256, 1), nn.Flatten(0),",
        ),
        (
            "the last width fixed",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 1), nn.Flatten(0),",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, 64), nn.LayerNorm(64), nn.LeakyReLU(0.2),\n            nn.Linear(64, 1), nn.Flatten(0),",
        ),
        (
            "the two widths exchanged",
            "nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 1), nn.Flatten(0),",
            "nn.Linear(784, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),\n            nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),\n            nn.Linear(2 * width, 1), nn.Flatten(0),",
        ),
        (
            "an image alone loses its axis",
            "return self.layers(x)",
            "return self.layers(x).squeeze()",
        ),
        (
            "a sigmoid in evaluation mode",
            "return self.layers(x)",
            "return self.layers(x) if self.training else self.layers(x).sigmoid()",
        ),
    ],
    "critic_step": [
        ("detach missing", "generator(z).detach()", "generator(z)"),
        (
            "clipping before the step only",
            BACKWARD,
            "    if c is not None:\n        clip_weights(critic, c)\n    optimiser.zero_grad()\n    total.backward()\n    optimiser.step()\n",
        ),
        ("clipping forgotten", "    if c is not None:\n        clip_weights(critic, c)\n", ""),
        (
            "gradients clipped in place of weights",
            BACKWARD,
            "    optimiser.zero_grad()\n    total.backward()\n    if c is not None:\n        nn.utils.clip_grad_value_(critic.parameters(), c)\n    optimiser.step()\n",
        ),
        ("old gradients not forgotten", "    optimiser.zero_grad()\n", ""),
        (
            "gradients forgotten after backward",
            "    optimiser.zero_grad()\n    total.backward()\n",
            "    total.backward()\n    optimiser.zero_grad()\n",
        ),
        ("no step", "    optimiser.step()\n", ""),
        ("the penalty left out", "loss + weight * gradient_penalty(critic, real, fake)", "loss"),
        ("λ left out", "weight * gradient_penalty", "gradient_penalty"),
        (
            "λ of the paper, whatever is asked",
            "weight * gradient_penalty",
            "10.0 * gradient_penalty",
        ),
        ("penalty with the wrong sign", "loss + weight", "loss - weight"),
        (
            "one-sided penalty",
            "gradient_penalty(critic, real, fake)",
            "gradient_penalty(critic, real, fake, True)",
        ),
        (
            "penalty detached",
            "gradient_penalty(critic, real, fake)",
            "gradient_penalty(critic, real, fake).detach()",
        ),
        (
            "critic sign flipped",
            "critic_loss(critic(real), critic(fake))",
            "critic_loss(critic(fake), critic(real))",
        ),
        ("the loss with its penalty returned", "return loss.detach()", "return total.detach()"),
        ("the estimate returned", "return loss.detach()", "return -loss.detach()"),
        (
            "the loss after the step returned",
            "return loss.detach()",
            "return critic_loss(critic(real), critic(fake)).detach()",
        ),
        ("the loss returned with its graph", "return loss.detach()", "return loss"),
        (
            "c of the paper, whatever is asked",
            "clip_weights(critic, c)",
            "clip_weights(critic, 0.01)",
        ),
        (
            "clipping where there is no bound",
            "    if c is not None:\n        clip_weights(critic, c)",
            "    clip_weights(critic, c or 0.01)",
        ),
        (
            "the generator clipped too",
            "        clip_weights(critic, c)",
            "        clip_weights(critic, c)\n        clip_weights(generator, c)",
        ),
        (
            "clipping only without a penalty",
            "    if c is not None:",
            "    if c is not None and weight == 0:",
        ),
        (
            "a penalty only without clipping",
            "total = loss + weight * gradient_penalty(critic, real, fake)",
            "total = loss + (weight if c is None else 0.0) * gradient_penalty(critic, real, fake)",
        ),
        (
            "the critic forgets the fakes",
            "critic_loss(critic(real), critic(fake))",
            "-critic(real).mean() + critic(fake).detach().mean()",
        ),
        (
            "the generator frozen for good",
            "    fake = generator(z).detach()",
            "    generator.requires_grad_(False)\n    fake = generator(z).detach()",
        ),
        (
            "the generator's gradients set to zero",
            "    return loss.detach()",
            "    generator.zero_grad()\n    return loss.detach()",
        ),
        ("two steps", "    optimiser.step()\n", "    optimiser.step()\n    optimiser.step()\n"),
        (
            "own noise in place of the given",
            "generator(z).detach()",
            "generator(torch.randn_like(z)).detach()",
        ),
        ("clips only below 1", "if c is not None:", "if c is not None and c < 1:"),
        (
            "the penalty at the real images",
            "gradient_penalty(critic, real, fake)",
            "gradient_penalty(critic, real, real)",
        ),
        (
            "the penalty at the fakes",
            "gradient_penalty(critic, real, fake)",
            "gradient_penalty(critic, fake, fake)",
        ),
        (
            "the penalty towards other fakes",
            "gradient_penalty(critic, real, fake)",
            "gradient_penalty(critic, real, generator(torch.randn_like(z)).detach())",
        ),
        (
            "images marked for gradients",
            "    fake = generator(z).detach()",
            "    real.requires_grad_()\n    fake = generator(z).detach()",
        ),
        (
            "the critic left in evaluation mode",
            "    fake = generator(z).detach()",
            "    critic.eval()\n    fake = generator(z).detach()",
        ),
        (
            "the critic left in training mode",
            "    fake = generator(z).detach()",
            "    critic.train()\n    fake = generator(z).detach()",
        ),
        (
            "the generator left in evaluation mode",
            "    fake = generator(z).detach()",
            "    generator.eval()\n    fake = generator(z).detach()",
        ),
        (
            "the generator left in training mode",
            "    fake = generator(z).detach()",
            "    generator.train()\n    fake = generator(z).detach()",
        ),
        (
            "the generator called in evaluation mode and put back",
            "    fake = generator(z).detach()",
            "    mode = generator.training\n    generator.eval()\n    fake = generator(z).detach()\n    generator.train(mode)",
        ),
        (
            "the critic called in evaluation mode and put back",
            "    loss = critic_loss(critic(real), critic(fake))",
            "    mode = critic.training\n    critic.eval()\n    loss = critic_loss(critic(real), critic(fake))\n    critic.train(mode)",
        ),
        (
            "plain gradient descent in place of the optimiser",
            "    optimiser.step()\n",
            '    with torch.no_grad():\n        for p in critic.parameters():\n            p -= optimiser.param_groups[0]["lr"] * p.grad\n',
        ),
        (
            "zeros left where the generator held no gradient",
            "    fake = generator(z).detach()",
            "    for p in generator.parameters():\n        p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n    fake = generator(z).detach()",
        ),
        (
            "gradients clipped by their norm",
            "    optimiser.step()\n",
            "    nn.utils.clip_grad_norm_(critic.parameters(), 50.0)\n    optimiser.step()\n",
        ),
    ],
    "generator_step": [
        (
            "the critic's .grad filled",
            G_STEP,
            "    optimiser.zero_grad()\n    loss.backward()\n    optimiser.step()\n",
        ),
        (
            "the critic's .grad set to zero",
            G_STEP,
            "    optimiser.zero_grad()\n    loss.backward()\n    optimiser.step()\n    critic.zero_grad()\n",
        ),
        (
            "the critic's .grad set to zeros in place",
            G_STEP,
            "    optimiser.zero_grad()\n    loss.backward()\n    optimiser.step()\n    critic.zero_grad(set_to_none=False)\n",
        ),
        (
            "detach present",
            "critic(generator(z))",
            "critic(generator(z).detach().requires_grad_())",
        ),
        ("detached, and no gradient", G_STEP, "    generator(z).detach()\n"),
        (
            "the critic frozen for good",
            "    loss = ",
            "    critic.requires_grad_(False)\n    loss = ",
        ),
        (
            "the critic updated too",
            "    optimiser.step()\n",
            "    optimiser.step()\n    with torch.no_grad():\n        for p in critic.parameters():\n            p -= 0.1 * (p.grad if p.grad is not None else 0)\n",
        ),
        (
            "the critic clipped too",
            "    optimiser.step()\n",
            "    optimiser.step()\n    clip_weights(critic, 0.01)\n",
        ),
        ("sign flipped", "generator_loss(critic(generator(z)))", "critic(generator(z)).mean()"),
        (
            "old gradients not forgotten",
            "parameter.grad = gradient",
            "parameter.grad = gradient + (0 if parameter.grad is None else parameter.grad)",
        ),
        ("no step", "    optimiser.step()\n", ""),
        (
            "the loss of a GAN",
            "generator_loss(critic(generator(z)))",
            "F.softplus(-critic(generator(z))).mean()",
        ),
        ("the loss returned with its graph", "return loss.detach()", "return loss"),
        (
            "the loss after the step returned",
            "return loss.detach()",
            "return generator_loss(critic(generator(z))).detach()",
        ),
        ("own noise in place of the given", "generator(z)", "generator(torch.randn_like(z))"),
        (
            "sum over the batch",
            "generator_loss(critic(generator(z)))",
            "-critic(generator(z)).sum()",
        ),
        ("minus the loss returned", "return loss.detach()", "return -loss.detach()"),
        (
            "under no_grad",
            "    loss = generator_loss(critic(generator(z)))\n",
            "    with torch.no_grad():\n        loss = generator_loss(critic(generator(z)))\n    loss.requires_grad_()\n",
        ),
        (
            "only the last weights move",
            "list(generator.parameters())",
            "list(generator.parameters())[-1:]",
        ),
        (
            "only the first weights move",
            "list(generator.parameters())",
            "list(generator.parameters())[:1]",
        ),
        (
            "the critic left in evaluation mode",
            "    loss = generator_loss(critic(generator(z)))",
            "    critic.eval()\n    loss = generator_loss(critic(generator(z)))",
        ),
        (
            "the critic left in training mode",
            "    loss = generator_loss(critic(generator(z)))",
            "    critic.train()\n    loss = generator_loss(critic(generator(z)))",
        ),
        (
            "the generator left in evaluation mode",
            "    loss = generator_loss(critic(generator(z)))",
            "    generator.eval()\n    loss = generator_loss(critic(generator(z)))",
        ),
        (
            "the generator left in training mode",
            "    loss = generator_loss(critic(generator(z)))",
            "    generator.train()\n    loss = generator_loss(critic(generator(z)))",
        ),
        (
            "the critic called in evaluation mode and put back",
            "    loss = generator_loss(critic(generator(z)))",
            "    mode = critic.training\n    critic.eval()\n    loss = generator_loss(critic(generator(z)))\n    critic.train(mode)",
        ),
        (
            "the generator called in training mode and put back",
            "    loss = generator_loss(critic(generator(z)))",
            "    mode = generator.training\n    generator.train()\n    loss = generator_loss(critic(generator(z)))\n    generator.train(mode)",
        ),
        (
            "plain gradient descent in place of the optimiser",
            "    optimiser.step()\n",
            '    with torch.no_grad():\n        for p in generator.parameters():\n            p -= optimiser.param_groups[0]["lr"] * p.grad\n',
        ),
        (
            "zeros left where the critic held no gradient",
            "    loss = generator_loss",
            "    for p in critic.parameters():\n        p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n    loss = generator_loss",
        ),
        (
            "gradients clipped by their norm",
            "    optimiser.step()\n",
            "    nn.utils.clip_grad_norm_(weights, 10.0)\n    optimiser.step()\n",
        ),
    ],
    "play_round": [
        (
            "the same images at every step",
            "zip(real, z[:-1], strict=True)",
            "zip(real[:1].expand_as(real), z[:-1], strict=True)",
        ),
        (
            "the same noise at every step",
            "zip(real, z[:-1], strict=True)",
            "zip(real, z[:1].expand_as(z)[:-1], strict=True)",
        ),
        (
            "the generator's noise is the critic's last",
            "optimisers[1], z[-1])",
            "optimisers[1], z[-2])",
        ),
        (
            "the generator's noise first",
            "zip(real, z[:-1], strict=True)",
            "zip(real, z[1:], strict=True)",
        ),
        ("one critic step", "zip(real, z[:-1], strict=True)", "zip(real[:1], z[:1], strict=True)"),
        (
            "a critic step too few",
            "zip(real, z[:-1], strict=True)",
            "zip(real[:-1] if len(real) > 1 else real, z)",
        ),
        (
            "five critic steps, whatever is given",
            "zip(real, z[:-1], strict=True)",
            "[(real[k % len(real)], z[k % len(real)]) for k in range(5)]",
        ),
        (
            "a generator step after every critic step",
            ROUND,
            "    for images, noise in zip(real, z[:-1], strict=True):\n        loss = critic_step(critic, generator, optimisers[0], images, noise, weight, c)\n        last = generator_step(critic, generator, optimisers[1], z[-1])\n    return loss, last",
        ),
        (
            "the generator first",
            ROUND,
            "    last = generator_step(critic, generator, optimisers[1], z[-1])\n"
            + ROUND.replace(", generator_step(critic, generator, optimisers[1], z[-1])", ", last"),
        ),
        (
            "no generator step",
            "generator_step(critic, generator, optimisers[1], z[-1])",
            "generator_loss(critic(generator(z[-1]))).detach()",
        ),
        ("the optimisers changed about", ROUND, "    optimisers = optimisers[::-1]\n" + ROUND),
        (
            "the generator driven by the critic's optimiser",
            "optimisers[1], z[-1]",
            "optimisers[0], z[-1]",
        ),
        (
            "n_critic steps of G for one of the critic",
            ROUND,
            "    loss = critic_step(critic, generator, optimisers[0], real[0], z[0], weight, c)\n    for noise in z[1:]:\n        last = generator_step(critic, generator, optimisers[1], noise)\n    return loss, last",
        ),
        ("λ not passed on", "images, noise, weight, c)", "images, noise, 0.0, c)"),
        ("c not passed on", "images, noise, weight, c)", "images, noise, weight, None)"),
        ("the critic's last loss", "torch.stack(losses).mean()", "losses[-1]"),
        (
            "the sum of the critic's losses",
            "torch.stack(losses).mean()",
            "torch.stack(losses).sum()",
        ),
        (
            "the estimate in place of the loss",
            "torch.stack(losses).mean()",
            "-torch.stack(losses).mean()",
        ),
        (
            "all batches as one",
            ROUND,
            "    loss = critic_step(critic, generator, optimisers[0], real.flatten(0, 1), z[:-1].flatten(0, 1), weight, c)\n    return loss, generator_step(critic, generator, optimisers[1], z[-1])",
        ),
        (
            "the losses changed about",
            "return torch.stack(losses).mean(), generator_step(critic, generator, optimisers[1], z[-1])",
            "return generator_step(critic, generator, optimisers[1], z[-1]), torch.stack(losses).mean()",
        ),
        (
            "clipped only after the round",
            ROUND,
            ROUND.replace("weight, c)", "weight, None)").replace(
                "    return ", "    if c is not None:\n        clip_weights(critic, c)\n    return "
            ),
        ),
        (
            "a loss that wants a gradient",
            "torch.stack(losses).mean()",
            "torch.stack(losses).mean().requires_grad_()",
        ),
        (
            "the critic in evaluation mode in the generator's step, and put back",
            "    return torch.stack(losses).mean(), generator_step(critic, generator, optimisers[1], z[-1])",
            "    mode = critic.training\n    critic.eval()\n    last = generator_step(critic, generator, optimisers[1], z[-1])\n    critic.train(mode)\n    return torch.stack(losses).mean(), last",
        ),
    ],
}

RIGHT = {
    "best_critic": [
        (
            "a loop over the places",
            """
def best_critic(x, p, q):
    values, real_so_far, fake_so_far = [0.0], 0.0, 0.0
    for k in range(len(x) - 1):
        real_so_far += float(p[k])
        fake_so_far += float(q[k])
        step = float(x[k + 1] - x[k])
        values.append(values[-1] + (step if fake_so_far > real_so_far else -step))
    return torch.tensor(values, dtype=x.dtype)
""",
        ),
        (
            "comparison of the sums, mean taken off",
            """
def best_critic(x, p, q):
    rises = torch.where(p.cumsum(0) <= q.cumsum(0), 1.0, -1.0)[:-1] * (x[1:] - x[:-1])
    f = F.pad(torch.cumsum(rises, 0), (1, 0))
    return f - f.mean()
""",
        ),
        (
            "a linear program",
            """
def best_critic(x, p, q):
    import numpy as np
    from scipy.optimize import linprog

    step, n = x.diff().numpy(), len(x)
    rows = np.diff(np.eye(n), axis=0)
    found = linprog((q - p).numpy(), np.vstack([rows, -rows]), np.concatenate([step, step]), bounds=[(0, 0)] + [(None, None)] * (n - 1))
    f = torch.from_numpy(found.x)
    return torch.cat([f[:1], f[:1] + f.diff().clamp(-x.diff(), x.diff()).cumsum(0)])
""",
        ),
        (
            "linear programming",
            """
def best_critic(x, p, q):
    from scipy.optimize import linprog
    import numpy as np
    M = len(x)
    A = np.zeros((2 * (M - 1), M)); b = np.zeros(2 * (M - 1))
    for k in range(M - 1):
        A[2 * k, k + 1], A[2 * k, k] = 1, -1
        A[2 * k + 1, k + 1], A[2 * k + 1, k] = -1, 1
        b[2 * k] = b[2 * k + 1] = float(x[k + 1] - x[k])
    r = linprog(-(p - q).numpy(), A_ub=A, b_ub=b, bounds=[(0, 0)] + [(None, None)] * (M - 1))
    return torch.from_numpy(r.x)
""",
        ),
        (
            "matrices of ones",
            """
def best_critic(x, p, q):
    M = len(x)
    L = torch.tril(torch.ones(M, M, dtype=torch.float64))
    s = torch.sgn(L @ (q - p))[:-1]
    rises = torch.cat([x.new_zeros(1), s * (x[1:] - x[:-1])])
    return L @ rises
""",
        ),
    ],
    "losses": [
        (
            "sums divided by sizes",
            """
def critic_loss(real_values, fake_values):
    real_mean = real_values.sum() / real_values.numel()
    return fake_values.sum() / fake_values.numel() - real_mean

def generator_loss(fake_values):
    return -torch.mean(fake_values)
""",
        ),
        (
            "minus the estimate",
            """
def critic_loss(real_values, fake_values):
    estimate = torch.mean(real_values.reshape(-1), 0) - torch.mean(fake_values.reshape(-1), 0)
    return -estimate

def generator_loss(fake_values):
    return fake_values.neg().mean()
""",
        ),
        (
            "one dot product with weights",
            """
def critic_loss(real_values, fake_values):
    v = torch.cat([fake_values.flatten() / fake_values.numel(), -real_values.flatten() / real_values.numel()])
    return v.sum()


def generator_loss(fake_values):
    return -fake_values.mean()
""",
        ),
    ],
    "clip_weights": [
        (
            ".data",
            """
def clip_weights(critic, c):
    for p in critic.parameters():
        p.data.clamp_(min=-c, max=c)
""",
        ),
        (
            "copied back",
            """
@torch.no_grad()
def clip_weights(critic, c):
    for _, p in critic.named_parameters():
        p.copy_(torch.maximum(torch.minimum(p, torch.tensor(c)), torch.tensor(-c)))
""",
        ),
        (
            "clip_ and the recursion by hand",
            """
def clip_weights(critic, c):
    with torch.no_grad():
        for p in critic._parameters.values():
            if p is not None:
                torch.clip_(p, -c, c)
        for child in critic.children():
            clip_weights(child, c)
""",
        ),
        (
            "through the state",
            """
def clip_weights(critic, c):
    names = {n for n, _ in critic.named_parameters()}
    new = {n: v.clamp(-c, c) for n, v in critic.state_dict().items() if n in names}
    critic.load_state_dict(new, strict=False)
""",
        ),
        (
            "module by module",
            """
def clip_weights(critic, c):
    @torch.no_grad()
    def one(m):
        for p in m.parameters(recurse=False):
            p.clamp_(-c, c)
    critic.apply(one)
""",
        ),
    ],
    "gradient_penalty": [
        (
            "torch.func",
            """
def gradient_penalty(critic, real, fake, one_sided=False):
    alpha = torch.rand(real.shape[0], dtype=real.dtype)
    between = torch.func.vmap(lambda a, r, f: a * r + (1 - a) * f)(alpha, real, fake)
    slopes = torch.func.vmap(torch.func.grad(lambda x: critic(x[None]).sum()))(between)
    excess = torch.linalg.vector_norm(slopes.reshape(len(real), -1), dim=1) - 1
    if one_sided:
        excess = torch.clamp(excess, min=0)
    return torch.mean(excess**2)
""",
        ),
        (
            "lerp, grad_outputs, a root with a small number in it",
            """
def gradient_penalty(critic, real, fake, one_sided=False):
    weight = torch.empty(real.size(0), dtype=real.dtype).uniform_()
    weight = weight.reshape([-1] + [1] * (real.ndim - 1)).expand_as(real)
    x = torch.lerp(real.detach(), fake.detach(), weight)
    x.requires_grad_(True)
    values = critic(x)
    gradient = torch.autograd.grad(
        outputs=values, inputs=x, grad_outputs=torch.ones_like(values),
        create_graph=True, retain_graph=True, only_inputs=True,
    )[0]
    length = torch.sqrt((gradient.view(len(real), -1) ** 2).sum(dim=1) + 1e-12)
    punished = torch.where(length > 1, length - 1, torch.zeros_like(length)) if one_sided else length - 1
    return (punished**2).mean()
""",
        ),
        (
            "image by image",
            """
def gradient_penalty(critic, real, fake, one_sided=False):
    total = real.new_zeros(())
    for r, f in zip(real, fake, strict=True):
        x = (f + torch.rand((), dtype=real.dtype) * (r - f))[None].detach().requires_grad_()
        slope = torch.autograd.grad(critic(x)[0], x, create_graph=True)[0].norm()
        total = total + (max(slope - 1, 0 * slope) if one_sided else slope - 1) ** 2
    return total / len(real)
""",
        ),
        (
            "einsum, where",
            """
def gradient_penalty(critic, real, fake, one_sided=False):
    u = torch.empty(len(real), dtype=real.dtype).uniform_()
    x = torch.einsum('n,n...->n...', u, real) + torch.einsum('n,n...->n...', 1 - u, fake)
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    g = g.flatten(1)
    n = torch.einsum('nd,nd->n', g, g).add(1e-12).sqrt()
    return torch.where((n > 1) | (not one_sided), (n - 1).square(), 0.0).mean()
""",
        ),
        (
            "mean squared error to 1",
            """
def gradient_penalty(critic, real, fake, one_sided=False):
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    x = (alpha * fake + (1 - alpha) * real).detach().requires_grad_()
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    n = torch.linalg.vector_norm(grad, dim=tuple(range(1, grad.dim())))
    target = torch.ones_like(n)
    if one_sided:
        n = n.clamp(min=1)
    return F.mse_loss(n, target)
""",
        ),
    ],
    "critic": [
        (
            "convolutions, group norm with one group",
            """
class Critic(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 4, 2, 1), nn.Conv2d(8, width, 4, 2, 1)
        self.na, self.nb = nn.GroupNorm(1, 8), nn.GroupNorm(1, width)
        self.out = nn.Linear(width * 49, 1)

    def forward(self, x):
        x = F.leaky_relu(self.na(self.a(x)), 0.2)
        x = F.leaky_relu(self.nb(self.b(x)), 0.2)
        return self.out(x.flatten(1)).squeeze(1)
""",
        ),
        (
            "layer norm by hand, after the activation",
            """
class Critic(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.first, self.second = nn.Linear(784, width, bias=False), nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    @staticmethod
    def norm(h):
        centred = h - h.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()

    def forward(self, x):
        h = self.norm(F.silu(self.first(x.reshape(len(x), -1))))
        h = self.norm(F.silu(self.second(h)))
        return self.last(h)[:, 0]
""",
        ),
        (
            "convolutions, layer norm over maps, a deeper head",
            """
class Critic(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.body = nn.ModuleList([nn.Conv2d(1, 16, 5, 2, 2), nn.Conv2d(16, 16, 3, 2, 1)])
        self.norms = nn.ModuleList([nn.LayerNorm([16, 14, 14]), nn.LayerNorm([16, 7, 7])])
        self.head = nn.Sequential(nn.Linear(784, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, x):
        for layer, norm in zip(self.body, self.norms):
            x = F.gelu(norm(layer(x)))
        return self.head(x.flatten(1)).view(-1)
""",
        ),
        (
            "layer norm by hand",
            """
class Critic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b, self.o = nn.Linear(784, 2 * width), nn.Linear(2 * width, width), nn.Linear(width, 1)
        self.g = nn.ParameterList([nn.Parameter(torch.ones(2 * width)), nn.Parameter(torch.ones(width))])
        self.s = nn.ParameterList([nn.Parameter(torch.zeros(2 * width)), nn.Parameter(torch.zeros(width))])

    def forward(self, x):
        h = x.flatten(1)
        for lin, g, s in zip((self.a, self.b), self.g, self.s):
            h = lin(h)
            h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
            h = F.leaky_relu(g * h + s, 0.2)
        return self.o(h)[:, 0]
""",
        ),
        (
            "small first weights",
            """
class Critic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2), nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Flatten(0))
        for m in self.layers:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0.0, 0.02)

    def forward(self, x):
        return self.layers(x)
""",
        ),
        (
            "norm after the activation",
            """
class Critic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 2 * width), nn.LeakyReLU(0.2), nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.LeakyReLU(0.2), nn.LayerNorm(width), nn.Linear(width, 1), nn.Flatten(0))

    def forward(self, x):
        return self.layers(x)
""",
        ),
    ],
    "critic_step": [
        (
            "autograd.grad, fakes under no_grad",
            """
def critic_step(critic, generator, optimiser, real, z, weight, c):
    with torch.no_grad():
        fake = generator(z)
    loss = critic_loss(critic(real), critic(fake))
    total = loss if weight == 0 else loss + weight * gradient_penalty(critic, real, fake)
    weights = list(critic.parameters())
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    for p, g in zip(weights, gradients):
        p.grad = torch.zeros_like(p) if g is None else g
    optimiser.step()
    if c is not None:
        clip_weights(critic, c)
    return loss.detach().clone()
""",
        ),
        (
            "one pass for both batches, backward twice",
            """
def critic_step(critic, generator, optimiser, real, z, weight, c):
    critic.zero_grad(set_to_none=True)
    fake = generator(z).detach().clone()
    on_real, on_fake = critic(torch.cat([real, fake])).split([len(real), len(fake)])
    loss = on_fake.mean() - on_real.mean()
    loss.backward()
    if weight:
        (weight * gradient_penalty(critic, real, fake, one_sided=False)).backward()
    optimiser.step()
    with torch.no_grad():
        for p in critic.parameters():
            if c is not None:
                p.clamp_(-c, c)
    return torch.tensor(float(loss.detach()))
""",
        ),
        (
            "a closure",
            """
def critic_step(critic, generator, optimiser, real, z, weight, c):
    fake = generator(z).detach()
    kept = {}
    def closure():
        optimiser.zero_grad()
        kept['loss'] = critic_loss(critic(real), critic(fake))
        total = kept['loss'] + weight * gradient_penalty(critic, real, fake)
        total.backward()
        return total
    optimiser.step(closure)
    if c is not None:
        clip_weights(critic, c)
    return kept['loss'].detach()
""",
        ),
        (
            "three backwards",
            """
def critic_step(critic, generator, optimiser, real, z, weight, c):
    fake = generator(z).detach()
    optimiser.zero_grad()
    a, b = critic(fake).mean(), critic(real).mean()
    a.backward()
    (-b).backward()
    (weight * gradient_penalty(critic, real, fake)).backward()
    optimiser.step()
    if c is not None:
        for p in critic.parameters():
            p.data.clamp_(-c, c)
    return (a - b).detach()
""",
        ),
    ],
    "generator_step": [
        (
            "the critic told to need no gradient",
            """
def generator_step(critic, generator, optimiser, z):
    critic.requires_grad_(False)
    optimiser.zero_grad()
    loss = generator_loss(critic(generator(z)))
    loss.backward()
    optimiser.step()
    critic.requires_grad_(True)
    return loss.detach()
""",
        ),
        (
            "backward with inputs",
            """
def generator_step(critic, generator, optimiser, z):
    generator.zero_grad()
    loss = generator_loss(critic(generator(z)))
    loss.backward(inputs=list(generator.parameters()))
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "gradients of the critic kept and put back",
            """
def generator_step(critic, generator, optimiser, z):
    kept = [None if p.grad is None else p.grad.clone() for p in critic.parameters()]
    optimiser.zero_grad()
    loss = -critic(generator(z)).mean()
    loss.backward()
    for p, g in zip(critic.parameters(), kept):
        p.grad = g
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "the critic frozen only while the graph is built",
            """
def generator_step(critic, generator, optimiser, z):
    critic.requires_grad_(False)
    loss = generator_loss(critic(generator(z)))
    critic.requires_grad_(True)
    optimiser.zero_grad()
    loss.backward()
    critic.requires_grad_(True)
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "functional call of the critic",
            """
def generator_step(critic, generator, optimiser, z):
    frozen = {n: p.detach() for n, p in critic.named_parameters()}
    optimiser.zero_grad()
    loss = -torch.func.functional_call(critic, frozen, (generator(z),)).mean()
    loss.backward()
    optimiser.step()
    return loss.detach()
""",
        ),
    ],
    "play_round": [
        (
            "a loop over numbers",
            """
def play_round(critic, generator, optimisers, real, z, weight, c):
    of_critic, of_generator = optimisers
    n_critic, total = real.shape[0], 0.0
    for k in range(n_critic):
        total = total + critic_step(critic, generator, of_critic, real[k], z[k], weight, c)
    last = generator_step(critic, generator, of_generator, z[n_critic])
    return total / n_critic, last
""",
        ),
        (
            "unbound tensors",
            """
def play_round(critic, generator, optimisers, real, z, weight, c):
    *noises, last = z.unbind(0)
    seen = torch.zeros(len(real))
    for k, (batch, noise) in enumerate(zip(real.unbind(0), noises)):
        seen[k] = critic_step(critic, generator, optimisers[0], batch, noise, weight=weight, c=c)
    return seen.mean(), generator_step(critic, generator, optimisers[1], last)
""",
        ),
        (
            "floats, averaged",
            """
def play_round(critic, generator, optimisers, real, z, weight, c):
    a, b = optimisers
    ls = [critic_step(critic=critic, generator=generator, optimiser=a, real=x, z=e, weight=weight, c=c).item() for x, e in zip(real.unbind(), z.unbind())]
    return torch.tensor(ls).mean(), generator_step(critic, generator, b, z[len(real)])
""",
        ),
    ],
}
