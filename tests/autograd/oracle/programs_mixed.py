"""Whole small programs: nets, recurrences, regressions, accumulation, freezing, physics by gradients."""

from .corpus import program


def weights(m, rows, columns, phase=0.0, dtype="float64"):
    """Return a matrix of made-up weights, without a random generator."""
    values = [[((7 * r + 3 * c + phase) % 5 - 2) / 4 + 0.1 * phase for c in range(columns)] for r in range(rows)]
    return m.tensor(values, dtype=getattr(m, dtype), requires_grad=True)


def data(m, rows, columns, dtype="float64"):
    values = [[((5 * r + 2 * c) % 7 - 3) / 3 for c in range(columns)] for r in range(rows)]
    return m.tensor(values, dtype=getattr(m, dtype))


@program
def two_layer_net(m):
    """The net of the seed, small: mm, clamp, mm, squared error, updates under no_grad."""
    x, y = data(m, 6, 5, "float32"), data(m, 6, 2, "float32")
    w1, w2 = weights(m, 5, 4, dtype="float32"), weights(m, 4, 2, 1.0, dtype="float32")
    losses, loss = [], x
    for _ in range(30):
        y_pred = x.mm(w1).clamp(min=0).mm(w2)
        loss = (y_pred - y).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        with m.no_grad():
            w1 -= 1e-2 * w1.grad
            w2 -= 1e-2 * w2.grad
            w1.grad.zero_()
            w2.grad.zero_()
    return {"losses": losses, "w1": w1, "w2": w2, "shape": loss.shape}


@program
def logistic_regression(m):
    x = data(m, 8, 3)
    y = m.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0], dtype=m.float64)
    w = m.zeros(3, dtype=m.float64, requires_grad=True)
    b = m.zeros((), dtype=m.float64, requires_grad=True)
    losses = []
    for _ in range(20):
        p = m.sigmoid(x @ w + b)
        loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
        for p in (w, b):
            p.grad = None
        loss.backward()
        with m.no_grad():
            w -= 0.5 * w.grad
            b -= 0.5 * b.grad
        losses.append(loss.item())
    return {"losses": losses, "w": w, "b": b}


@program
def linear_regression_with_sgd(m):
    x = m.linspace(-1, 1, 11, dtype=m.float64)
    y = 3 * x + 0.5
    a = m.tensor(0.0, dtype=m.float64, requires_grad=True)
    b = m.tensor(0.0, dtype=m.float64, requires_grad=True)
    optimizer = m.optim.SGD([a, b], lr=0.2, momentum=0.5)
    for _ in range(25):
        optimizer.zero_grad()
        m.nn.functional.mse_loss(a * x + b, y).backward()
        optimizer.step()
    return {"a": a, "b": b}


@program
def recurrent_net(m):
    x = data(m, 5, 3)
    wx, wh = weights(m, 3, 4), weights(m, 4, 4, 2.0)
    h = m.zeros(4, dtype=m.float64)
    states = []
    for step in range(5):
        h = m.tanh(x[step] @ wx + h @ wh)
        states.append(h)
    loss = (m.stack(states) ** 2).sum()
    loss.backward()
    return {"loss": loss, "wx": wx.grad, "wh": wh.grad, "h": h}


@program
def truncated_backward_through_time(m):
    w = m.tensor(0.9, dtype=m.float64, requires_grad=True)
    h = m.tensor(1.0, dtype=m.float64)
    gradients = []
    for _ in range(3):
        h = h.detach()
        for _ in range(2):
            h = m.sin(w * h) + 0.1
        gradients.append(m.autograd.grad(h, w)[0].item())
    return {"gradients": gradients, "h": h}


@program
def gated_cell(m):
    x, w, u = data(m, 4, 3), weights(m, 3, 12), weights(m, 3, 12, 1.0)
    h = c = m.zeros(3, dtype=m.float64)
    for step in range(4):
        i, f, g, o = (x[step] @ w + h @ u).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    h.sum().backward()
    return {"h": h, "w": w.grad, "u": u.grad}


@program
def classifier_with_cross_entropy(m):
    x, target = data(m, 7, 4), m.tensor([0, 1, 2, 0, 1, 2, 1])
    w1, w2 = weights(m, 4, 6), weights(m, 6, 3, 1.0)
    optimizer = m.optim.Adam([w1, w2], lr=0.05)
    losses = []
    for _ in range(10):
        loss = m.nn.functional.cross_entropy(m.relu(x @ w1) @ w2, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    accuracy = ((m.relu(x @ w1) @ w2).argmax(1) == target).float().mean()
    return {"losses": losses, "w2": w2, "accuracy": accuracy}


@program
def micro_batches(m):
    """Gradients accumulated over parts are those of the whole."""
    x, y, w = data(m, 8, 3), data(m, 8, 1), weights(m, 3, 1)
    ((x @ w - y) ** 2).mean().backward()
    whole = w.grad.clone()
    w.grad = None
    for part, target in zip(x.split(2), y.split(2), strict=True):
        (((part @ w - target) ** 2).mean() / 4).backward()
    return {"whole": whole, "parts": w.grad}


@program
def frozen_layers(m):
    x, w1, w2 = data(m, 3, 4), weights(m, 4, 4), weights(m, 4, 1, 1.0)
    w1.requires_grad_(False)
    optimizer = m.optim.SGD([w for w in (w1, w2) if w.requires_grad], lr=0.1)
    (x @ w1).relu().mm(w2).sum().backward()
    optimizer.step()
    frozen = w1.grad
    w1.requires_grad_()
    (x @ w1).relu().mm(w2).sum().backward()
    return {"frozen": frozen, "w2": w2, "thawed": w1.grad}


@program
def siamese(m):
    """One set of weights on two inputs."""
    w = weights(m, 3, 2)
    left, right = data(m, 4, 3), data(m, 4, 3).flip(0)
    distance = ((left @ w).tanh() - (right @ w).tanh()).pow(2).sum(1)
    distance.mean().backward()
    return {"distance": distance, "w": w.grad}


@program
def stop_gradient_target(m):
    w, x = weights(m, 3, 3), data(m, 2, 3)
    online = x @ w
    target = (online * 0.9 + 1).detach()
    ((online - target) ** 2).sum().backward()
    return {"w": w.grad}


@program
def attention(m):
    q, k, v = weights(m, 4, 3), weights(m, 5, 3, 1.0), weights(m, 5, 2, 2.0)
    scores = q @ k.transpose(0, 1) / 3**0.5
    mask = m.tril(m.ones(4, 5, dtype=m.bool))
    out = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
    (out**2).sum().backward()
    return {"out": out, "q": q.grad, "k": k.grad, "v": v.grad}


@program
def batch_of_heads(m):
    x = data(m, 6, 8).view(2, 3, 8)
    w = weights(m, 8, 8)
    heads = (x @ w).view(2, 3, 2, 4).transpose(1, 2)
    out = (heads @ heads.transpose(-2, -1)).softmax(-1) @ heads
    out.transpose(1, 2).reshape(2, 3, 8).mean().backward()
    return {"w": w.grad}


@program
def normalized_layer(m):
    x, scale = weights(m, 3, 4), m.ones(4, dtype=m.float64, requires_grad=True)
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    y = (x - mean) / (var + 1e-5).sqrt() * scale
    (y**3).sum().backward()
    return {"y": y, "x": x.grad, "scale": scale.grad}


@program
def pendulum(m):
    """Differentiate a simulation by its initial state and its length."""
    angle = m.tensor(0.5, dtype=m.float64, requires_grad=True)
    length = m.tensor(1.5, dtype=m.float64, requires_grad=True)
    q, v = angle, m.tensor(0.0, dtype=m.float64)
    for _ in range(40):
        v = v - 0.05 * 9.81 / length * q.sin()
        q = q + 0.05 * v
    q.backward()
    return {"q": q, "angle": angle.grad, "length": length.grad}


@program
def heat_equation_by_slices(m):
    u0 = m.linspace(0, 1, 9, dtype=m.float64).requires_grad_()
    u = u0
    for _ in range(6):
        u = m.cat([u[:1], u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2]), u[-1:]])
    (u**2).sum().backward()
    return {"u": u, "gradient": u0.grad}


@program
def data_dependent_control_flow(m):
    x = m.tensor(3.0, requires_grad=True)
    y = x
    steps = 0
    while y.norm() < 100:
        y = y * 2 if steps % 2 == 0 else y + x
        steps += 1
    y.backward()
    return {"y": y, "steps": steps, "gradient": x.grad}


@program
def branches_per_element(m):
    x = m.tensor([-1.0, 0.5, 2.0], dtype=m.float64, requires_grad=True)
    total = m.tensor(0.0, dtype=m.float64)
    for value in x:
        total = total + (value**2 if value > 0 else -value)
    total.backward()
    return {"total": total, "gradient": x.grad}


@program
def polynomial_fit(m):
    x = m.linspace(-3, 3, 50, dtype=m.float64)
    y = m.sin(x)
    a, b, c, d = (m.tensor(value, dtype=m.float64, requires_grad=True) for value in (0.1, 0.2, -0.1, 0.05))
    losses = []
    for _ in range(15):
        loss = (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()
        loss.backward()
        losses.append(loss.item())
        with m.no_grad():
            for p in (a, b, c, d):
                p -= 1e-5 * p.grad
                p.grad = None
    return {"losses": losses, "parameters": [a, b, c, d]}


@program
def mixture_likelihood(m):
    x = m.tensor([-1.0, 0.2, 3.0, 2.5], dtype=m.float64)
    means = m.tensor([0.0, 2.0], dtype=m.float64, requires_grad=True)
    scales = m.tensor([0.1, -0.2], dtype=m.float64, requires_grad=True)
    logits = m.tensor([0.3, -0.3], dtype=m.float64, requires_grad=True)
    z = (x[:, None] - means) / scales.exp()
    joint = logits.log_softmax(0) - 0.5 * z**2 - scales
    loss = -joint.logsumexp(1).mean()
    loss.backward()
    return {"loss": loss, "means": means.grad, "scales": scales.grad, "logits": logits.grad}


@program
def matrix_factorisation(m):
    target = data(m, 4, 5)
    mask = target > -0.5
    u, v = weights(m, 4, 2), weights(m, 5, 2, 1.0)
    optimizer = m.optim.RMSprop([u, v], lr=0.02)
    losses = []
    for _ in range(8):
        loss = m.where(mask, (u @ v.t() - target) ** 2, m.zeros_like(target)).sum() + 0.01 * (u.norm() + v.norm())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "u": u}


@program
def bag_of_words(m):
    table = weights(m, 6, 3)
    tokens = m.tensor([[0, 2, 2], [5, 1, 0]])
    out = table[tokens].mean(1).tanh()
    (out * m.tensor([1.0, -2.0, 3.0])).sum().backward()
    return {"out": out, "table": table.grad}


@program
def convolution_as_unfolded_product(m):
    x, kernel = weights(m, 4, 4), weights(m, 2, 2, 1.0)
    patches = m.stack([x[i : i + 3, j : j + 3] for i in range(2) for j in range(2)], dim=-1)
    out = (patches @ kernel.reshape(-1)).relu()
    out.sum().backward()
    return {"out": out, "x": x.grad, "kernel": kernel.grad}


@program
def clipping_the_norm(m):
    a, b = weights(m, 2, 2), weights(m, 3, 1, 1.0)
    (10 * (a**2).sum() + 5 * (b**2).sum()).backward()
    total = m.nn.utils.clip_grad_norm_([a, b], 1.0)
    return {"total": total, "a": a.grad, "b": b.grad}


@program
def same_graph_with_changing_data(m):
    """A loop whose values change but whose graph does not: every iteration must see its own values."""
    w = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    observed = []
    for step in range(6):
        scale = m.tensor([float(step), step * 0.5], dtype=m.float64)
        (gradient,) = m.autograd.grad((w * scale + step).exp().sum(), w)
        observed.append(gradient)
    return {"gradients": observed}


@program
def same_graph_with_changing_shapes(m):
    w = m.tensor(0.5, dtype=m.float64, requires_grad=True)
    observed = []
    for size in (1, 4, 2, 7, 4):
        x = m.linspace(0, 1, size, dtype=m.float64)
        (gradient,) = m.autograd.grad((w * x).sin().sum(), w)
        observed.append(gradient)
    return {"gradients": observed}


@program
def same_graph_with_changing_constants(m):
    x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    return {"gradients": [m.autograd.grad((x**power * power).sum(), x)[0] for power in (2, 3, 0.5, 2, 1, -1)]}


@program
def evaluation_between_steps(m):
    """Looking at values between recorded operators changes nothing."""
    x = m.tensor([0.5, 1.5], dtype=m.float64, requires_grad=True)
    y = x * 2
    first = y.tolist()
    z = y.sin()
    shown = repr(z)
    total = (z * y).sum()
    number = total.item()
    total.backward()
    return {"first": first, "shown": shown, "number": number, "gradient": x.grad}
