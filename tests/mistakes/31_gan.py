"""Lab 31: mistakes that lose points, and right answers of another style that keep them.

MISTAKES: by answer, (what went wrong, a piece of the solution, what stands there instead).
RIGHT: by answer, (the style, a whole answer).
"""

D_LOSS = "F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()"
D_STEP = """    with torch.no_grad():
        fake = generator(noise)
    loss = discriminator_loss(discriminator(real), discriminator(fake))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
"""
G_STEP = """    value = LOSSES[loss](discriminator(generator(noise)))
    weights = list(generator.parameters())
    gradients = torch.autograd.grad(value, weights)  # of G's weights and no others
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimiser.step()
    return value.detach()
"""
NORMS = """    x = samples.detach().clone().requires_grad_()
    value = LOSSES[loss](discriminator(x)) * len(x)
    (gradient,) = torch.autograd.grad(value, x)
    return gradient.flatten(1).norm(dim=1)
"""
USUAL_G_STEP = """    value = LOSSES[loss](discriminator(generator(noise)))
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    return value.detach()
"""
REAL = "x[torch.randint(len(x), (batch_size,), device=x.device)]"
ROUND = """    for _ in range(k):
        real = x[torch.randint(len(x), (batch_size,), device=x.device)]
        d_loss = discriminator_step(
            generator, discriminator, discriminator_optimiser, real, noise()
        )
    g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)
    return {"discriminator": d_loss, "generator": g_loss}
"""

MISTAKES = {
    "discriminator_loss": [
        (
            "labels swapped",
            D_LOSS,
            "F.softplus(real_logits).mean() + F.softplus(-fake_logits).mean()",
        ),
        ("both batches labelled real", "F.softplus(fake_logits)", "F.softplus(-fake_logits)"),
        (
            "BCE on logits",
            D_LOSS,
            "F.binary_cross_entropy(real_logits.clamp(0, 1), torch.ones_like(real_logits)) + F.binary_cross_entropy(fake_logits.clamp(0, 1), torch.zeros_like(fake_logits))",
        ),
        (
            "the sigmoid twice",
            D_LOSS,
            "F.softplus(-real_logits.sigmoid()).mean() + F.softplus(fake_logits.sigmoid()).mean()",
        ),
        (
            "BCE of a sigmoid, which stops at 100 with no gradient",
            D_LOSS,
            "F.binary_cross_entropy(real_logits.sigmoid(), torch.ones_like(real_logits)) + F.binary_cross_entropy(fake_logits.sigmoid(), torch.zeros_like(fake_logits))",
        ),
        (
            "logarithm of a rounded probability",
            D_LOSS,
            "-real_logits.sigmoid().log().mean() - (1 - fake_logits.sigmoid()).log().mean()",
        ),
        (
            "a small number inside the logarithm",
            D_LOSS,
            "-(real_logits.sigmoid() + 1e-8).log().mean() - (1 - fake_logits.sigmoid() + 1e-8).log().mean()",
        ),
        ("mean of the two means", D_LOSS, f"({D_LOSS}) / 2"),
        (
            "mean over both batches together",
            D_LOSS,
            "torch.cat([F.softplus(-real_logits).flatten(), F.softplus(fake_logits).flatten()]).mean() * 2",
        ),
        (
            "sum over the batch",
            D_LOSS,
            "F.softplus(-real_logits).sum() + F.softplus(fake_logits).sum()",
        ),
        ("the sign of the value", D_LOSS, f"-({D_LOSS})"),
        ("the real batch forgotten", "F.softplus(-real_logits).mean() + ", ""),
        ("fake logits detached", "F.softplus(fake_logits)", "F.softplus(fake_logits.detach())"),
        (
            "one-sided label smoothing",
            "F.softplus(-real_logits)",
            "F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, 0.9))",
        ),
        (
            "pairs in place of batches",
            D_LOSS,
            "(F.softplus(-real_logits) + F.softplus(fake_logits)).mean()",
        ),
        (
            "logits clamped at ±20",
            "F.softplus(fake_logits)",
            "F.softplus(fake_logits.clamp(-20, 20))",
        ),
        ("bits in place of nats", D_LOSS, f"({D_LOSS}) / math.log(2)"),
        ("least squares", D_LOSS, "((real_logits - 1) ** 2).mean() + (fake_logits**2).mean()"),
        ("hinge", D_LOSS, "F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()"),
        ("Wasserstein", D_LOSS, "fake_logits.mean() - real_logits.mean()"),
        (
            "a softplus with no slope at 0",
            D_LOSS,
            "sum((v.clamp(min=0) + torch.log1p(torch.exp(-v.abs()))).mean() for v in (-real_logits, fake_logits))",
        ),
        (
            "the logarithm of a sigmoid, in 64 bits",
            D_LOSS,
            "-(real_logits.double().sigmoid().log().mean() + (-fake_logits.double()).sigmoid().log().mean()).float()",
        ),
        (
            "a softplus that is straight from 5 on",
            D_LOSS,
            "F.softplus(-real_logits, threshold=5).mean() + F.softplus(fake_logits, threshold=5).mean()",
        ),
    ],
    "optimal_discriminator": [
        ("q in place of p above", "log_p - log_q", "log_q - log_p"),
        (
            "densities that underflow",
            "torch.sigmoid(log_p - log_q)",
            "log_p.exp() / (log_p.exp() + log_q.exp())",
        ),
        (
            "a small number below",
            "torch.sigmoid(log_p - log_q)",
            "log_p.exp() / (log_p.exp() + log_q.exp() + 1e-8)",
        ),
        (
            "logarithms taken for densities",
            "torch.sigmoid(log_p - log_q)",
            "log_p / (log_p + log_q)",
        ),
        ("the ratio p/q", "torch.sigmoid(log_p - log_q)", "(log_p - log_q).exp()"),
        ("the logit", "torch.sigmoid(log_p - log_q)", "log_p - log_q"),
        ("the logarithm of D*", "torch.sigmoid(log_p - log_q)", "F.logsigmoid(log_p - log_q)"),
        ("sigmoid of a difference of densities", "log_p - log_q", "log_p.exp() - log_q.exp()"),
        ("a hard decision", "torch.sigmoid(log_p - log_q)", "(log_p > log_q).to(log_p.dtype)"),
        ("sigmoid of log p alone", "log_p - log_q", "log_p"),
        ("softmax over the places", "torch.sigmoid(log_p - log_q)", "(log_p - log_q).softmax(-1)"),
        (
            "densities with a limit of e^±80",
            "log_p - log_q",
            "log_p.clamp(-80, 80) - log_q.clamp(-80, 80)",
        ),
        (
            "the larger subtracted over all places at once",
            "torch.sigmoid(log_p - log_q)",
            "(log_p - torch.maximum(log_p, log_q).max()).exp() / ((log_p - torch.maximum(log_p, log_q).max()).exp() + (log_q - torch.maximum(log_p, log_q).max()).exp())",
        ),
        ("always float32", "torch.sigmoid(log_p - log_q)", "torch.sigmoid(log_p - log_q).float()"),
        ("p/(p+q) with q twice", "log_p - log_q", "log_p - log_q - math.log(2)"),
        ("tanh", "torch.sigmoid(log_p - log_q)", "torch.tanh(log_p - log_q)"),
        (
            "float32 inside",
            "torch.sigmoid(log_p - log_q)",
            "torch.sigmoid((log_p - log_q).float()).to(log_p.dtype)",
        ),
        (
            "kept away from 0 and 1",
            "torch.sigmoid(log_p - log_q)",
            "torch.sigmoid(log_p - log_q).clamp(1e-8, 1 - 1e-8)",
        ),
        (
            "−1,000 in place of −∞",
            "torch.sigmoid(log_p - log_q)",
            "torch.sigmoid(log_p.clamp(min=-1_000.0) - log_q) if log_p.isinf().any() else torch.sigmoid(log_p - log_q)",
        ),
        (
            "logarithms limited to ±10,000",
            "torch.sigmoid(log_p - log_q)",
            "torch.sigmoid(log_p.clamp(-1e4, 1e4) - log_q.clamp(-1e4, 1e4))",
        ),
    ],
    "game_value": [
        ("D and 1 − D exchanged", "F.logsigmoid(logits), 0.0)", "F.logsigmoid(-logits), 0.0)"),
        ("log D for fake points too", "F.logsigmoid(-logits)", "F.logsigmoid(logits)"),
        ("a sum without dx", "torch.trapezoid(real + fake, x)", "(real + fake).sum()"),
        ("a mean over places", "torch.trapezoid(real + fake, x)", "(real + fake).mean()"),
        (
            "even spacing taken for granted",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real + fake, dx=float(x[1] - x[0]))",
        ),
        (
            "rectangles from the left",
            "torch.trapezoid(real + fake, x)",
            "((real + fake)[:-1] * x.diff()).sum()",
        ),
        ("no half", "torch.trapezoid(real + fake, x)", "2 * torch.trapezoid(real + fake, x)"),
        (
            "the loss of D, with its sign",
            "torch.trapezoid(real + fake, x)",
            "-torch.trapezoid(real + fake, x)",
        ),
        (
            "the term of the fake points forgotten",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real, x)",
        ),
        ("fake points weighed by p", "log_q.exp() * ", "log_p.exp() * "),
        ("not weighed at all", "log_p.exp() * ", ""),
        ("weighed by logarithms", "log_p.exp() * ", "log_p * "),
        (
            "0 · ∞ not looked after",
            "torch.where(log_p > -math.inf, log_p.exp() * F.logsigmoid(logits), 0.0)",
            "log_p.exp() * F.logsigmoid(logits)",
        ),
        (
            "logarithm of a rounded probability",
            "F.logsigmoid(-logits)",
            "(1 - logits.sigmoid()).log()",
        ),
        (
            "logarithm of a probability, clamped",
            "F.logsigmoid(-logits)",
            "(1 - logits.sigmoid()).clamp(min=1e-12).log()",
        ),
        (
            "NaN and infinity to zero",
            "F.logsigmoid(-logits)",
            "(1 - logits.sigmoid()).log().nan_to_num(0, 0, 0)",
        ),
        ("logits taken for probabilities", "F.logsigmoid(logits)", "logits.clamp(1e-6, 1).log()"),
        ("the sigmoid twice", "F.logsigmoid(logits)", "F.logsigmoid(logits.sigmoid())"),
        (
            "its own D*, whatever is passed in",
            "    real = ",
            "    logits = log_p - log_q\n    real = ",
        ),
        (
            "densities normalised again",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real / torch.trapezoid(log_p.exp(), x) + fake / torch.trapezoid(log_q.exp(), x), x)",
        ),
        (
            "bits in place of nats",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real + fake, x) / math.log(2)",
        ),
        (
            "nothing counted where one of the densities is zero",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(torch.where((log_p > -math.inf) & (log_q > -math.inf), real + fake, 0.0), x)",
        ),
        (
            "NaN and infinity of the whole to zero",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid((log_p.exp() * F.logsigmoid(logits) + log_q.exp() * F.logsigmoid(-logits)).nan_to_num(), x)",
        ),
        (
            "nothing counted where a logit is infinite",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(torch.where(logits.isfinite(), real + fake, 0.0), x)",
        ),
        (
            "places of no density dropped, and bridged",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real[log_p.isfinite()], x[log_p.isfinite()]) + torch.trapezoid(fake[log_q.isfinite()], x[log_q.isfinite()])",
        ),
        (
            "logits clamped at ±1000",
            "    real = ",
            "    logits = logits.clamp(-1000, 1000)\n    real = ",
        ),
        ("log D clamped at −100", "F.logsigmoid(logits)", "F.logsigmoid(logits).clamp(min=-100)"),
        (
            "float32 inside",
            "    real = ",
            "    log_p, log_q, logits = log_p.float(), log_q.float(), logits.float()\n    real = ",
        ),
        (
            "float32 at the end",
            "torch.trapezoid(real + fake, x)",
            "torch.trapezoid(real + fake, x).float()",
        ),
    ],
    "generator_losses": [
        (
            "minimax for non-saturating",
            "return F.softplus(-fake_logits).mean()",
            "return -F.softplus(fake_logits).mean()",
        ),
        (
            "non-saturating for minimax",
            "return -F.softplus(fake_logits).mean()",
            "return F.softplus(-fake_logits).mean()",
        ),
        ("the sign of minimax turned", "-F.softplus(fake_logits)", "F.softplus(fake_logits)"),
        (
            "the sign of the other turned",
            "return F.softplus(-fake_logits)",
            "return -F.softplus(-fake_logits)",
        ),
        ("labels swapped in the second", "F.softplus(-fake_logits)", "F.softplus(fake_logits)"),
        ("the sigmoid twice", "F.softplus(-fake_logits)", "F.softplus(-fake_logits.sigmoid())"),
        (
            "logarithm of a rounded probability",
            "F.softplus(-fake_logits)",
            "-fake_logits.sigmoid().log()",
        ),
        (
            "logarithm of 1 − D, rounded",
            "-F.softplus(fake_logits)",
            "(1 - fake_logits.sigmoid()).log()",
        ),
        (
            "a small number in the logarithm",
            "-F.softplus(fake_logits)",
            "(1 - fake_logits.sigmoid() + 1e-6).log()",
        ),
        (
            "BCE of a sigmoid",
            "F.softplus(-fake_logits).mean()",
            "F.binary_cross_entropy(fake_logits.sigmoid(), torch.ones_like(fake_logits))",
        ),
        ("sum over the batch", "F.softplus(-fake_logits).mean()", "F.softplus(-fake_logits).sum()"),
        (
            "sum over the batch, minimax",
            "F.softplus(fake_logits).mean()",
            "F.softplus(fake_logits).sum()",
        ),
        ("logits detached", "F.softplus(-fake_logits)", "F.softplus(-fake_logits.detach())"),
        ("half of it", "F.softplus(fake_logits).mean()", "F.softplus(fake_logits).mean() / 2"),
        ("the logit itself", "F.softplus(-fake_logits).mean()", "-fake_logits.mean()"),
        ("no mean", "F.softplus(-fake_logits).mean()", "F.softplus(-fake_logits)"),
        (
            "log of the mean",
            "F.softplus(-fake_logits).mean()",
            "-fake_logits.sigmoid().mean().log()",
        ),
        ("clamped logits", "-F.softplus(fake_logits)", "-F.softplus(fake_logits.clamp(-30, 30))"),
        (
            "the logarithm of a sigmoid, in 64 bits",
            "return F.softplus(-fake_logits).mean()",
            "return -fake_logits.double().sigmoid().log().mean().float()",
        ),
    ],
    "gradient_norms": [
        ("the mean's 1/M left in", " * len(x)", ""),
        ("the loss fixed", "LOSSES[loss]", 'LOSSES["non-saturating"]'),
        (
            "backward, which adds to D's gradients",
            "(gradient,) = torch.autograd.grad(value, x)",
            "value.backward()\n    gradient = x.grad",
        ),
        (
            "backward, and D's gradients cleared",
            "(gradient,) = torch.autograd.grad(value, x)",
            "value.backward()\n    gradient = x.grad\n    discriminator.zero_grad()",
        ),
        (
            "length over the whole batch",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.norm().expand(len(x))",
        ),
        (
            "lengths over the batch",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.flatten(1).norm(dim=0)",
        ),
        ("sum of sizes in place of a length", "norm(dim=1)", "abs().sum(1)"),
        ("mean size", "norm(dim=1)", "abs().mean(1)"),
        ("squared", "norm(dim=1)", "square().sum(1)"),
        ("largest entry", "norm(dim=1)", "abs().amax(1)"),
        ("mean square", "norm(dim=1)", "square().mean(1).sqrt()"),
        (
            "last axis only",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.norm(dim=-1).flatten(1).sum(1) if gradient.dim() > 2 else gradient.norm(dim=-1)",
        ),
        (
            "gradient in the logit",
            NORMS,
            "    logits = discriminator(samples).detach().requires_grad_()\n    (g,) = torch.autograd.grad(LOSSES[loss](logits) * len(samples), logits)\n    return g.abs().flatten()\n",
        ),
        (
            "gradient of the logit",
            "LOSSES[loss](discriminator(x)) * len(x)",
            "discriminator(x).sum()",
        ),
        (
            "gradient of D",
            "LOSSES[loss](discriminator(x)) * len(x)",
            "discriminator(x).sigmoid().sum()",
        ),
        (
            "samples left marked",
            "samples.detach().clone().requires_grad_()",
            "samples.requires_grad_()",
        ),
        (
            "D left frozen",
            "    (gradient,)",
            "    discriminator.requires_grad_(False)\n    (gradient,)",
        ),
        (
            "log D for both",
            "LOSSES[loss](discriminator(x)) * len(x)",
            "F.logsigmoid(discriminator(x)).sum()",
        ),
        (
            "loss names exchanged",
            "LOSSES[loss]",
            'LOSSES["minimax" if loss == "non-saturating" else "non-saturating"]',
        ),
        (
            "a graph left behind",
            "torch.autograd.grad(value, x)",
            "torch.autograd.grad(value, x, create_graph=True)",
        ),
        (
            "any other name taken for non-saturating",
            "LOSSES[loss]",
            "LOSSES.get(loss, nonsaturating_loss)",
        ),
        (
            "a ValueError for another name",
            "    x = samples",
            "    if loss not in LOSSES:\n        raise ValueError(loss)\n    x = samples",
        ),
        (
            "D left in evaluation mode",
            "    (gradient,)",
            "    discriminator.eval()\n    (gradient,)",
        ),
        (
            "logarithm of a rounded probability",
            "LOSSES[loss](discriminator(x)) * len(x)",
            "((1 - discriminator(x).sigmoid()).log().sum() if LOSSES[loss] is minimax_loss else discriminator(x).sigmoid().log().sum())",
        ),
        (
            "a small number in the logarithm",
            "LOSSES[loss](discriminator(x)) * len(x)",
            "((1 - discriminator(x).sigmoid() + 1e-8).log().sum() if LOSSES[loss] is minimax_loss else (discriminator(x).sigmoid() + 1e-8).log().sum())",
        ),
        ("lengths limited to 1", "norm(dim=1)", "norm(dim=1).clamp(max=1)"),
        (
            "D called in evaluation mode and put back",
            NORMS,
            "    mode = discriminator.training\n    discriminator.eval()\n    x = samples.detach().clone().requires_grad_()\n    value = LOSSES[loss](discriminator(x)) * len(x)\n    discriminator.train(mode)\n    (gradient,) = torch.autograd.grad(value, x)\n    return gradient.flatten(1).norm(dim=1)\n",
        ),
        (
            "zeros left where D held no gradient",
            "    x = samples",
            "    for p in discriminator.parameters():\n        p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n    x = samples",
        ),
        (
            "the mean over channels",
            "gradient.flatten(1).norm(dim=1)",
            "gradient.flatten(2).norm(dim=2).mean(1) if gradient.dim() == 4 else gradient.flatten(1).norm(dim=1)",
        ),
    ],
    "discriminator_step": [
        (
            "no detach",
            "    with torch.no_grad():\n        fake = generator(noise)",
            "    fake = generator(noise)",
        ),
        (
            "no detach, G's gradients cleared after",
            "    with torch.no_grad():\n        fake = generator(noise)",
            "    generator.zero_grad()\n    fake = generator(noise)",
        ),
        ("gradients of before not cleared", "    optimiser.zero_grad()\n", ""),
        (
            "gradients cleared after backward",
            "    optimiser.zero_grad()\n    loss.backward()\n",
            "    loss.backward()\n    optimiser.zero_grad()\n",
        ),
        ("no step", "    optimiser.step()\n", ""),
        ("two steps", "    optimiser.step()\n", "    optimiser.step()\n    optimiser.step()\n"),
        ("uphill", "    loss.backward()\n", "    (-loss).backward()\n"),
        (
            "real and fake exchanged",
            "discriminator_loss(discriminator(real), discriminator(fake))",
            "discriminator_loss(discriminator(fake), discriminator(real))",
        ),
        ("both moved to be real", "discriminator(fake))\n", "-discriminator(fake))\n"),
        ("D detached on fake samples", "discriminator(fake))\n", "discriminator(fake).detach())\n"),
        (
            "only the fake batch",
            "discriminator_loss(discriminator(real), discriminator(fake))",
            "F.softplus(discriminator(fake)).mean()",
        ),
        (
            "real and fake one after the other, a step each",
            D_STEP,
            "    with torch.no_grad():\n        fake = generator(noise)\n    total = 0\n    for part in (lambda: F.softplus(-discriminator(real)).mean(), lambda: F.softplus(discriminator(fake)).mean()):\n        optimiser.zero_grad()\n        loss = part()\n        loss.backward()\n        optimiser.step()\n        total = total + loss.detach()\n    return total\n",
        ),
        (
            "G updated as well",
            D_STEP,
            "    loss = discriminator_loss(discriminator(real), discriminator(generator(noise)))\n    optimiser.zero_grad()\n    loss.backward()\n    optimiser.step()\n    with torch.no_grad():\n        for w in generator.parameters():\n            w -= 0.01 * w.grad\n            w.grad = None\n    return loss.detach()\n",
        ),
        (
            "gradients of G zeroed",
            "    optimiser.zero_grad()\n",
            "    optimiser.zero_grad()\n    generator.zero_grad()\n",
        ),
        (
            "G left frozen",
            "    with torch.no_grad():\n        fake = generator(noise)",
            "    generator.requires_grad_(False)\n    fake = generator(noise)",
        ),
        (
            "G left in evaluation mode",
            "    with torch.no_grad():",
            "    generator.eval()\n    with torch.no_grad():",
        ),
        (
            "both put into training mode",
            "    with torch.no_grad():",
            "    generator.train()\n    discriminator.train()\n    with torch.no_grad():",
        ),
        (
            "D in evaluation mode",
            "    optimiser.zero_grad()",
            "    discriminator.eval()\n    optimiser.zero_grad()",
        ),
        (
            "the loss after the step",
            "    return loss.detach()",
            "    return discriminator_loss(discriminator(real), discriminator(fake)).detach()",
        ),
        ("a loss that keeps its graph", "return loss.detach()", "return loss"),
        ("noise of its own", "generator(noise)", "generator(torch.randn_like(noise))"),
        ("as many fake as real ones", "generator(noise)", "generator(noise[: len(real)])"),
        ("half of the loss", "    loss.backward()", "    (loss / 2).backward()"),
        (
            "gradient clipped",
            "    optimiser.step()",
            "    nn.utils.clip_grad_norm_(discriminator.parameters(), 0.1)\n    optimiser.step()",
        ),
        (
            "weights clipped",
            "    optimiser.step()\n",
            "    optimiser.step()\n    for w in discriminator.parameters():\n        w.data.clamp_(-0.3, 0.3)\n",
        ),
        (
            "logarithm of a rounded probability",
            "discriminator_loss(discriminator(real), discriminator(fake))",
            "-discriminator(real).sigmoid().log().mean() - (1 - discriminator(fake).sigmoid()).log().mean()",
        ),
        (
            "G called in evaluation mode",
            "fake = generator(noise)",
            "mode = generator.training\n        fake = generator.eval()(noise)\n        generator.train(mode)",
        ),
        (
            "G called in training mode",
            "fake = generator(noise)",
            "mode = generator.training\n        fake = generator.train()(noise)\n        generator.train(mode)",
        ),
        (
            "D called in evaluation mode",
            "    loss = discriminator_loss(discriminator(real), discriminator(fake))",
            "    mode = discriminator.training\n    discriminator.eval()\n    loss = discriminator_loss(discriminator(real), discriminator(fake))\n    discriminator.train(mode)",
        ),
        (
            "D called in training mode",
            "    loss = discriminator_loss(discriminator(real), discriminator(fake))",
            "    mode = discriminator.training\n    discriminator.train()\n    loss = discriminator_loss(discriminator(real), discriminator(fake))\n    discriminator.train(mode)",
        ),
        (
            "gradient clipped to length 1",
            "    optimiser.step()",
            "    nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)\n    optimiser.step()",
        ),
        (
            "gradient clipped at ±0.5",
            "    optimiser.step()",
            "    nn.utils.clip_grad_value_(discriminator.parameters(), 0.5)\n    optimiser.step()",
        ),
        (
            "plain gradient descent in place of the optimiser",
            D_STEP,
            '    with torch.no_grad():\n        fake = generator(noise)\n    loss = discriminator_loss(discriminator(real), discriminator(fake))\n    weights = list(discriminator.parameters())\n    with torch.no_grad():\n        for p, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):\n            p -= optimiser.param_groups[0]["lr"] * g\n    return loss.detach()\n',
        ),
        (
            "zeros left where G held no gradient",
            "    with torch.no_grad():\n        fake",
            "    for p in generator.parameters():\n        p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n    with torch.no_grad():\n        fake",
        ),
        (
            "gradients clipped by their norm",
            "    loss.backward()\n",
            "    loss.backward()\n    nn.utils.clip_grad_norm_(discriminator.parameters(), 5.0)\n",
        ),
    ],
    "generator_step": [
        ("the usual backward, which leaves gradients in D", G_STEP, USUAL_G_STEP),
        (
            "the usual backward, D's gradients cleared after",
            G_STEP,
            USUAL_G_STEP.replace("    return", "    discriminator.zero_grad()\n    return"),
        ),
        (
            "detach",
            "discriminator(generator(noise))",
            "discriminator(generator(noise).detach().requires_grad_())",
        ),
        (
            "detach, silently",
            G_STEP,
            USUAL_G_STEP.replace("generator(noise))", "generator(noise).detach())"),
        ),
        (
            "D updated as well",
            G_STEP,
            USUAL_G_STEP.replace(
                "    return",
                "    with torch.no_grad():\n        for w in discriminator.parameters():\n            w -= 0.01 * w.grad\n            w.grad = None\n    return",
            ),
        ),
        ("the loss fixed", "LOSSES[loss]", 'LOSSES["non-saturating"]'),
        ("the loss fixed to minimax", "LOSSES[loss]", 'LOSSES["minimax"]'),
        (
            "losses exchanged",
            "LOSSES[loss]",
            'LOSSES["minimax" if loss == "non-saturating" else "non-saturating"]',
        ),
        (
            "gradients of before added",
            "weight.grad = gradient",
            "weight.grad = gradient if weight.grad is None else weight.grad + gradient",
        ),
        ("uphill", "weight.grad = gradient", "weight.grad = -gradient"),
        ("no step", "    optimiser.step()\n", ""),
        ("two steps", "    optimiser.step()\n", "    optimiser.step()\n    optimiser.step()\n"),
        ("D left frozen", G_STEP, "    discriminator.requires_grad_(False)\n" + USUAL_G_STEP),
        (
            "D frozen by no_grad",
            "discriminator(generator(noise))",
            "(lambda y: discriminator(y.detach()) + 0 * y.sum())(generator(noise))",
        ),
        ("noise of its own", "generator(noise)", "generator(torch.randn_like(noise))"),
        (
            "the loss after the step",
            "return value.detach()",
            "return LOSSES[loss](discriminator(generator(noise))).detach()",
        ),
        ("a loss that keeps its graph", "return value.detach()", "return value"),
        ("D left in evaluation mode", "    value =", "    discriminator.eval()\n    value ="),
        (
            "G left in evaluation mode",
            "    optimiser.step()\n",
            "    optimiser.step()\n    generator.eval()\n",
        ),
        (
            "both put into training mode",
            "    value =",
            "    generator.train()\n    discriminator.train()\n    value =",
        ),
        (
            "D's loss on fake ones",
            "LOSSES[loss](discriminator(generator(noise)))",
            "F.softplus(discriminator(generator(noise))).mean()",
        ),
        (
            "the first weight alone",
            "strict=True):\n        weight.grad = gradient",
            "strict=True):\n        weight.grad = gradient if gradient.dim() > 1 else 0 * gradient",
        ),
        (
            "the mean over the batch lost",
            "weight.grad = gradient",
            "weight.grad = gradient * len(noise)",
        ),
        (
            "D's gradients zeroed",
            "    optimiser.step()\n",
            "    optimiser.step()\n    discriminator.zero_grad()\n",
        ),
        (
            "D called in evaluation mode",
            "    value = LOSSES[loss](discriminator(generator(noise)))",
            "    mode = discriminator.training\n    discriminator.eval()\n    value = LOSSES[loss](discriminator(generator(noise)))\n    discriminator.train(mode)",
        ),
        (
            "D called in training mode",
            "    value = LOSSES[loss](discriminator(generator(noise)))",
            "    mode = discriminator.training\n    discriminator.train()\n    value = LOSSES[loss](discriminator(generator(noise)))\n    discriminator.train(mode)",
        ),
        (
            "G called in evaluation mode",
            "    value = LOSSES[loss](discriminator(generator(noise)))",
            "    mode = generator.training\n    generator.eval()\n    value = LOSSES[loss](discriminator(generator(noise)))\n    generator.train(mode)",
        ),
        (
            "G called in training mode",
            "    value = LOSSES[loss](discriminator(generator(noise)))",
            "    mode = generator.training\n    generator.train()\n    value = LOSSES[loss](discriminator(generator(noise)))\n    generator.train(mode)",
        ),
        (
            "gradient clipped to length 1",
            "    optimiser.step()",
            "    nn.utils.clip_grad_norm_(generator.parameters(), 1.0)\n    optimiser.step()",
        ),
        ("noise flattened", "generator(noise)", "generator(noise.flatten(1))"),
        (
            "plain gradient descent in place of the optimiser",
            G_STEP,
            '    value = LOSSES[loss](discriminator(generator(noise)))\n    weights = list(generator.parameters())\n    with torch.no_grad():\n        for p, g in zip(weights, torch.autograd.grad(value, weights), strict=True):\n            p -= optimiser.param_groups[0]["lr"] * g\n    return value.detach()\n',
        ),
        (
            "zeros left where D held no gradient",
            "    value = LOSSES",
            "    for p in discriminator.parameters():\n        p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n    value = LOSSES",
        ),
        (
            ".grad filled only where there is one",
            "        weight.grad = gradient\n",
            "        weight.grad = weight.grad if weight.grad is None else gradient\n",
        ),
    ],
    "play_round": [
        ("k left out", "range(k)", "range(1)"),
        ("one move too many", "range(k)", "range(k + 1)"),
        ("one move too few", "range(k)", "range(max(k - 1, 1))"),
        (
            "G moves in the loop",
            "    g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)\n    return",
            "        g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)\n    return",
        ),
        (
            "k moves of G, one of D",
            ROUND,
            ROUND.replace("    for _ in range(k):\n", "")
            .replace("        real", "    real")
            .replace("        d_loss", "    d_loss")
            .replace("    g_loss =", "    for _ in range(k):\n        g_loss ="),
        ),
        (
            "G first",
            ROUND,
            "    g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)\n"
            + ROUND.replace(
                "    g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)\n",
                "",
            ),
        ),
        (
            "one real batch for the round",
            ROUND,
            ROUND.replace(f"        real = {REAL}\n", "").replace(
                "    for _", f"    real = {REAL}\n    for _"
            ),
        ),
        (
            "one noise for the round",
            ROUND,
            "    fixed = noise()\n" + ROUND.replace("noise()", "fixed"),
        ),
        (
            "G judged on D's last noise",
            ROUND,
            ROUND.replace("        real =", "        z = noise()\n        real =")
            .replace("noise()\n        )", "z\n        )")
            .replace("noise(), loss", "z, loss"),
        ),
        ("always the first rows", REAL, "x[:batch_size]"),
        (
            "rows in the order of the data",
            ROUND,
            "    order = torch.arange(k * batch_size) + int(torch.randint(len(x), ()))\n"
            + ROUND.replace(REAL, "x[order[_ * batch_size : (_ + 1) * batch_size] % len(x)]"),
        ),
        (
            "the first batches of the data, in every round",
            ROUND,
            ROUND.replace("range(k)", "range(k)").replace(
                REAL, "x[torch.arange(_ * batch_size, (_ + 1) * batch_size) % len(x)]"
            ),
        ),
        ("the last row never", "torch.randint(len(x),", "torch.randint(len(x) - 1,"),
        ("rows of one half only", "torch.randint(len(x),", "torch.randint((len(x) + 1) // 2,"),
        (
            "uniform noise",
            "torch.randn(batch_size, noise_size",
            "torch.rand(batch_size, noise_size",
        ),
        (
            "uniform noise around 0",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "3.46 * (torch.rand(batch_size, noise_size, device=x.device) - 0.5)",
        ),
        (
            "one noise for all rows",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "torch.randn(1, noise_size, device=x.device).expand(batch_size, -1)",
        ),
        (
            "one number of noise for all of a row",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "torch.randn(batch_size, 1, device=x.device).expand(-1, noise_size)",
        ),
        (
            "a seed in the round",
            "    for _ in range(k):",
            "    torch.manual_seed(0)\n    for _ in range(k):",
        ),
        (
            "optimisers exchanged",
            ROUND,
            ROUND.replace("discriminator_optimiser", "O")
            .replace("generator_optimiser", "discriminator_optimiser")
            .replace("O,", "generator_optimiser,"),
        ),
        ("the loss fixed", "noise(), loss)", 'noise(), "non-saturating")'),
        ("the loss fixed to minimax", "noise(), loss)", 'noise(), "minimax")'),
        (
            "losses exchanged in the result",
            '{"discriminator": d_loss, "generator": g_loss}',
            '{"discriminator": g_loss, "generator": d_loss}',
        ),
        (
            "D's losses added up",
            ROUND,
            ROUND.replace("        d_loss = disc", "        d_loss = (d_loss if _ else 0) + disc"),
        ),
        ("half a batch of each", ROUND, "    batch_size = (batch_size + 1) // 2\n" + ROUND),
        (
            "the first batch of noise for every D",
            ROUND,
            "    z = noise()\n" + ROUND.replace("noise()\n        )", "z\n        )"),
        ),
        (
            "the same row all over a batch",
            REAL,
            "x[torch.randint(len(x), (1,)).expand(batch_size)]",
        ),
        (
            "noise shrunk",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "torch.randn(batch_size, noise_size, device=x.device) * 0.5",
        ),
        (
            "uniform noise for G's move alone",
            "generator_optimiser, noise(), loss)",
            "generator_optimiser, torch.rand(batch_size, noise_size, device=x.device), loss)",
        ),
        (
            "noise of a generator of its own",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "torch.randn(batch_size, noise_size, generator=torch.Generator().manual_seed(torch.seed()))",
        ),
        (
            "rows by Python's random",
            "x[torch.randint(len(x), (batch_size,), device=x.device)]",
            "x[__import__('random').sample(range(len(x)), batch_size)]",
        ),
        (
            "noise by NumPy",
            "torch.randn(batch_size, noise_size, device=x.device)",
            "torch.from_numpy(__import__('numpy').random.randn(batch_size, noise_size)).float()",
        ),
        (
            "both players put into training mode",
            "    def noise() -> Tensor:",
            "    generator.train()\n    discriminator.train()\n    def noise() -> Tensor:",
        ),
        (
            "both players left in evaluation mode",
            "    return {",
            "    generator.eval()\n    discriminator.eval()\n    return {",
        ),
    ],
}

RIGHT = {
    "discriminator_loss": [
        (
            "BCE with logits and labels",
            """
def discriminator_loss(real_logits, fake_logits):
    bce = F.binary_cross_entropy_with_logits
    real = bce(real_logits, torch.ones_like(real_logits))
    return real + bce(fake_logits, torch.zeros_like(fake_logits))
""",
        ),
        (
            "log-sigmoid",
            """
def discriminator_loss(real_logits, fake_logits):
    return -(F.logsigmoid(real_logits).mean() + F.logsigmoid(-fake_logits).mean())
""",
        ),
        (
            "cross-entropy of two classes",
            """
def discriminator_loss(real_logits, fake_logits):
    def term(logits, label):
        two = torch.stack([torch.zeros_like(logits.flatten()), logits.flatten()], 1)
        return F.cross_entropy(two, torch.full((len(two),), label, device=two.device))
    return term(real_logits, 1) + term(fake_logits, 0)
""",
        ),
        (
            "torch.distributions, flat",
            """
def discriminator_loss(real_logits, fake_logits):
    total = 0.0
    for logits, label in ((real_logits, 1.0), (fake_logits, 0.0)):
        total = total - torch.logaddexp(torch.zeros_like(logits), (1 - 2 * label) * logits).mul(-1).mean()
    return total
""",
        ),
        (
            "labels and weights of a joined batch",
            """
def discriminator_loss(real_logits, fake_logits):
    r, f = real_logits.flatten(), fake_logits.flatten()
    t = torch.cat([torch.ones_like(r), torch.zeros_like(f)])
    w = torch.cat([torch.full_like(r, 1 / len(r)), torch.full_like(f, 1 / len(f))])
    return F.binary_cross_entropy_with_logits(torch.cat([r, f]), t, weight=w, reduction='sum')
""",
        ),
    ],
    "optimal_discriminator": [
        (
            "1 / (1 + q/p)",
            """
def optimal_discriminator(log_p, log_q):
    return 1 / (1 + torch.exp(log_q - log_p))
""",
        ),
        (
            "logarithm of the sum first",
            """
def optimal_discriminator(log_p, log_q):
    return torch.exp(log_p - torch.logaddexp(log_p, log_q))
""",
        ),
        (
            "softmax over the two",
            """
def optimal_discriminator(log_p, log_q):
    return torch.stack([log_p, log_q]).softmax(dim=0)[0]
""",
        ),
        (
            "tanh",
            """
def optimal_discriminator(log_p, log_q):
    return 0.5 * (1 + torch.tanh((log_p - log_q) / 2))
""",
        ),
        (
            "exponentials below the larger one",
            """
def optimal_discriminator(log_p, log_q):
    m = torch.maximum(log_p, log_q)
    a, b = (log_p - m).exp(), (log_q - m).exp()
    return a / (a + b)
""",
        ),
    ],
    "game_value": [
        (
            "softplus, sum over intervals",
            """
def game_value(x, log_p, log_q, logits):
    zero = torch.zeros_like(x)
    real = torch.where(torch.isinf(log_p), zero, -torch.exp(log_p) * F.softplus(-logits))
    fake = torch.where(torch.isinf(log_q), zero, -torch.exp(log_q) * F.softplus(logits))
    f = real + fake
    return torch.sum((f[:-1] + f[1:]) / 2 * (x[1:] - x[:-1]))
""",
        ),
        (
            "two integrals, masks",
            """
def game_value(x, log_p, log_q, logits):
    def average(log_density, log_answer):
        f = log_density.exp() * log_answer
        f[log_density.exp() == 0] = 0
        return torch.trapz(f, x)
    return average(log_p, F.logsigmoid(logits)) + average(log_q, F.logsigmoid(-logits))
""",
        ),
        (
            "NumPy",
            """
def game_value(x, log_p, log_q, logits):
    import numpy as np
    x, log_p, log_q, l = (t.detach().cpu().numpy() for t in (x, log_p, log_q, logits))
    p, q = np.exp(log_p), np.exp(log_q)
    real = np.where(p > 0, -p * np.logaddexp(0, np.where(p > 0, -l, 0)), 0)
    fake = np.where(q > 0, -q * np.logaddexp(0, np.where(q > 0, l, 0)), 0)
    return torch.tensor(np.trapezoid(real + fake, x))
""",
        ),
        (
            "places by index",
            """
def game_value(x, log_p, log_q, logits):
    f = torch.zeros_like(x)
    k, m = log_p.isfinite(), log_q.isfinite()
    f[k] += log_p[k].exp() * F.logsigmoid(logits[k])
    f[m] -= log_q[m].exp() * F.softplus(logits[m])
    return torch.trapezoid(f, x)
""",
        ),
        (
            "weights of the places",
            """
def game_value(x, log_p, log_q, logits):
    p, q = log_p.exp(), log_q.exp()
    real = torch.where(p > 0, p * F.logsigmoid(logits), 0.0)
    fake = torch.where(q > 0, q * F.logsigmoid(-logits), 0.0)
    f = real + fake
    w = torch.zeros_like(x)
    w[1:] += x.diff() / 2
    w[:-1] += x.diff() / 2
    return w @ f
""",
        ),
        (
            "infinite logits put aside first",
            """
def game_value(x, log_p, log_q, logits):
    a = log_p.exp() * F.logsigmoid(torch.where(log_p.isneginf(), 0.0, logits))
    b = log_q.exp() * F.logsigmoid(-torch.where(log_q.isneginf(), 0.0, logits))
    return torch.trapezoid(a + b, x)
""",
        ),
    ],
    "generator_losses": [
        (
            "BCE with logits",
            """
def minimax_loss(fake_logits):
    return -F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))

def nonsaturating_loss(fake_logits):
    return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
""",
        ),
        (
            "log-sigmoid",
            """
def minimax_loss(fake_logits):
    return torch.mean(F.logsigmoid(-fake_logits))

def nonsaturating_loss(fake_logits):
    return -torch.mean(F.logsigmoid(fake_logits))
""",
        ),
        (
            "one from the other",
            """
def minimax_loss(fake_logits):
    return -F.softplus(fake_logits).mean()


def nonsaturating_loss(fake_logits):
    return -minimax_loss(-fake_logits)
""",
        ),
        (
            "log-softmax of two classes",
            """
def minimax_loss(fake_logits):
    l = torch.stack([fake_logits, torch.zeros_like(fake_logits)])
    return torch.log_softmax(l, 0)[1].mean()


def nonsaturating_loss(fake_logits):
    l = torch.stack([fake_logits, torch.zeros_like(fake_logits)])
    return -torch.log_softmax(l, 0)[0].mean()
""",
        ),
    ],
    "gradient_norms": [
        (
            "torch.func, sample by sample",
            """
def gradient_norms(discriminator, samples, loss):
    def own(x):
        return LOSSES[loss](discriminator(x[None]))
    rows = [torch.func.grad(own)(x.detach()) for x in samples]
    return torch.stack([row.norm() for row in rows]).detach()
""",
        ),
        (
            "sum of terms, square root of squares",
            """
def gradient_norms(discriminator, samples, loss):
    if loss not in LOSSES:
        raise KeyError(loss)
    x = samples.detach().clone()
    x.requires_grad = True
    logits = discriminator(x)
    terms = -F.softplus(logits) if loss == "minimax" else F.softplus(-logits)
    g = torch.autograd.grad(terms.sum(), x)[0]
    return g.reshape(len(x), -1).pow(2).sum(1).sqrt()
""",
        ),
        (
            "backward with D frozen and thawed",
            """
def gradient_norms(discriminator, samples, loss):
    flags = [w.requires_grad for w in discriminator.parameters()]
    discriminator.requires_grad_(False)
    x = samples.clone().requires_grad_(True)
    LOSSES[loss](discriminator(x)).backward()
    for w, flag in zip(discriminator.parameters(), flags):
        w.requires_grad_(flag)
    return (x.grad * len(x)).flatten(1).norm(dim=1)
""",
        ),
        (
            "vmap",
            """
def gradient_norms(discriminator, samples, loss):
    f = LOSSES[loss]
    weights = {n: p.detach() for n, p in discriminator.named_parameters()}
    one = lambda s: f(torch.func.functional_call(discriminator, weights, (s[None],)))
    g = torch.func.vmap(torch.func.grad(one), randomness='different')(samples)
    return g.flatten(1).norm(dim=1)
""",
        ),
        (
            "a copy of D",
            """
def gradient_norms(discriminator, samples, loss):
    f = LOSSES[loss]
    D = copy.deepcopy(discriminator)
    x = samples.detach().clone().requires_grad_()
    (len(x) * f(D(x))).backward()
    return x.grad.flatten(1).norm(dim=1)
""",
        ),
        (
            "by hand through the logit",
            """
def gradient_norms(discriminator, samples, loss):
    LOSSES[loss]
    x = samples.detach().clone().requires_grad_()
    l = discriminator(x)
    (g,) = torch.autograd.grad(l.sum(), x)
    D = l.detach().sigmoid()[:, 0]
    return (D if loss == 'minimax' else 1 - D) * g.flatten(1).norm(dim=1)
""",
        ),
    ],
    "discriminator_step": [
        (
            "detach, gradients cleared first",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    optimiser.zero_grad(set_to_none=True)
    fake = generator(noise).detach()
    bce = F.binary_cross_entropy_with_logits
    on_real, on_fake = discriminator(real), discriminator(fake)
    loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
    loss.backward()
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "autograd.grad of D's weights",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    loss = discriminator_loss(discriminator(real), discriminator(generator(noise)))
    weights = list(discriminator.parameters())
    for w, g in zip(weights, torch.autograd.grad(loss, weights)):
        w.grad = g
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "one batch of both, two backwards",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    with torch.no_grad():
        fake = generator(noise)
    logits = discriminator(torch.cat([real, fake]))
    optimiser.zero_grad()
    loss_real = F.softplus(-logits[: len(real)]).mean()
    loss_fake = F.softplus(logits[len(real) :]).mean()
    loss_real.backward(retain_graph=True)
    loss_fake.backward()
    optimiser.step()
    return (loss_real + loss_fake).detach()
""",
        ),
        (
            "torch.func",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    fake = generator(noise).detach()
    named = {n: w.detach() for n, w in discriminator.named_parameters()}
    def objective(weights):
        call = lambda x: torch.func.functional_call(discriminator, weights, (x,))
        return discriminator_loss(call(real), call(fake))
    gradients, loss = torch.func.grad_and_value(objective)(named)
    for n, w in discriminator.named_parameters():
        w.grad = gradients[n].detach()
    optimiser.step()
    return loss.detach()
""",
        ),
        (
            "G frozen and thawed",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    generator.requires_grad_(False)
    loss = discriminator_loss(discriminator(real), discriminator(generator(noise)))
    generator.requires_grad_(True)
    discriminator.zero_grad()
    loss.backward()
    optimiser.step()
    return torch.tensor(loss.item())
""",
        ),
        (
            "a closure",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    fake = generator(noise).detach()
    def closure():
        optimiser.zero_grad()
        loss = discriminator_loss(discriminator(real), discriminator(fake))
        loss.backward()
        return loss
    return optimiser.step(closure).detach()
""",
        ),
        (
            "G's gradients put back",
            """
def discriminator_step(generator, discriminator, optimiser, real, noise):
    held = [None if p.grad is None else p.grad.clone() for p in generator.parameters()]
    loss = discriminator_loss(discriminator(real), discriminator(generator(noise)))
    discriminator.zero_grad()
    loss.backward()
    for p, h in zip(generator.parameters(), held):
        p.grad = h
    optimiser.step()
    return loss.detach()
""",
        ),
    ],
    "generator_step": [
        (
            "D frozen and thawed",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    for w in discriminator.parameters():
        w.requires_grad_(False)
    value = LOSSES[loss](discriminator(generator(noise)))
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    for w in discriminator.parameters():
        w.requires_grad_(True)
    return value.detach()
""",
        ),
        (
            "backward, D's gradients put back",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    saved = [None if w.grad is None else w.grad.clone() for w in discriminator.parameters()]
    value = LOSSES[loss](discriminator(generator(noise)))
    generator.zero_grad()
    value.backward()
    for w, g in zip(discriminator.parameters(), saved):
        w.grad = g
    optimiser.step()
    return value.detach()
""",
        ),
        (
            "backward into chosen inputs",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    value = LOSSES[loss](discriminator(generator(noise)))
    optimiser.zero_grad()
    value.backward(inputs=list(generator.parameters()))
    optimiser.step()
    return value.detach()
""",
        ),
        (
            "torch.func",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    named = {n: w.detach() for n, w in generator.named_parameters()}
    def objective(weights):
        return LOSSES[loss](discriminator(torch.func.functional_call(generator, weights, (noise,))))
    gradients, value = torch.func.grad_and_value(objective)(named)
    for n, w in generator.named_parameters():
        w.grad = gradients[n].detach()
    optimiser.step()
    return value.detach()
""",
        ),
        (
            "the gradient at the samples handed back to G",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    fake = generator(noise)
    leaf = fake.detach().requires_grad_()
    value = LOSSES[loss](discriminator(leaf))
    (at_fake,) = torch.autograd.grad(value, leaf)
    optimiser.zero_grad()
    fake.backward(at_fake)
    optimiser.step()
    return value.detach()
""",
        ),
        (
            "functional call of D",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    frozen = {n: p.detach() for n, p in discriminator.named_parameters()}
    optimiser.zero_grad()
    value = LOSSES[loss](torch.func.functional_call(discriminator, frozen, (generator(noise),)))
    value.backward()
    optimiser.step()
    return value.detach()
""",
        ),
        (
            "D's gradients set aside",
            """
def generator_step(generator, discriminator, optimiser, noise, loss):
    held = [p.grad for p in discriminator.parameters()]
    for p in discriminator.parameters():
        p.grad = None
    value = LOSSES[loss](discriminator(generator(noise)))
    optimiser.zero_grad()
    value.backward()
    for p, h in zip(discriminator.parameters(), held):
        p.grad = h
    optimiser.step()
    return value.detach()
""",
        ),
    ],
    "play_round": [
        (
            "without replacement within a batch",
            """
def play_round(generator, discriminator, generator_optimiser, discriminator_optimiser, x, *, k, batch_size, noise_size, loss):
    for move in range(k):
        rows = torch.randperm(len(x), device=x.device)[:batch_size]
        z = torch.randn(batch_size, noise_size, device=x.device)
        d_loss = discriminator_step(generator, discriminator, discriminator_optimiser, x[rows], z)
    z = torch.randn(batch_size, noise_size, device=x.device)
    g_loss = generator_step(generator, discriminator, generator_optimiser, z, loss)
    return dict(generator=g_loss, discriminator=d_loss)
""",
        ),
        (
            "all randomness drawn first, a while loop",
            """
def play_round(generator, discriminator, generator_optimiser, discriminator_optimiser, x, *, k, batch_size, noise_size, loss):
    noise = torch.randn(k + 1, batch_size, noise_size).to(x.device)
    rows = torch.randint(0, len(x), (k, batch_size)).to(x.device)
    move = 0
    while move < k:
        last = discriminator_step(generator, discriminator, discriminator_optimiser, x[rows[move]], noise[move])
        move += 1
    return {
        "discriminator": last,
        "generator": generator_step(generator, discriminator, generator_optimiser, noise[k], loss),
    }
""",
        ),
        (
            "a data loader, the moves written out",
            """
def play_round(generator, discriminator, generator_optimiser, discriminator_optimiser, x, *, k, batch_size, noise_size, loss):
    def batches():
        while True:
            yield from torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size, shuffle=True, drop_last=True)
    for _, (real,) in zip(range(k), batches()):
        fake = generator(torch.randn(batch_size, noise_size)).detach()
        d_loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
        discriminator_optimiser.zero_grad()
        d_loss.backward()
        discriminator_optimiser.step()
    logits = discriminator(generator(torch.normal(0.0, 1.0, (batch_size, noise_size))))
    g_loss = -F.softplus(logits).mean() if loss == "minimax" else F.softplus(-logits).mean()
    generator_optimiser.zero_grad()
    g_loss.backward(inputs=list(generator.parameters()))
    generator_optimiser.step()
    return {"discriminator": d_loss.detach(), "generator": g_loss.detach()}
""",
        ),
        (
            "multinomial rows",
            """
def play_round(generator, discriminator, generator_optimiser, discriminator_optimiser, x, *, k, batch_size, noise_size, loss):
    for _ in range(k):
        real = x[torch.multinomial(torch.ones(len(x)), batch_size)]
        noise = torch.randn(batch_size, noise_size, device=x.device)
        d = discriminator_step(generator, discriminator, discriminator_optimiser, real, noise)
    noise = torch.randn(batch_size, noise_size, device=x.device)
    g = generator_step(generator, discriminator, generator_optimiser, noise, loss)
    return {"discriminator": d, "generator": g}
""",
        ),
        (
            "a random sampler",
            """
def play_round(generator, discriminator, generator_optimiser, discriminator_optimiser, x, *, k, batch_size, noise_size, loss):
    from torch.utils.data import RandomSampler
    for _ in range(k):
        real = x[list(RandomSampler(x, num_samples=batch_size))]
        d = discriminator_step(generator, discriminator, discriminator_optimiser, real, torch.randn(batch_size, noise_size))
    g = generator_step(generator, discriminator, generator_optimiser, torch.randn(batch_size, noise_size), loss)
    return {'discriminator': d, 'generator': g}
""",
        ),
    ],
}
