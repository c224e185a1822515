"""`autograd.Function`: forward, backward, what the context keeps, what is wrong in a backward."""

from .corpus import error, name_of, program, value_of


def cube_of(m):
    class Cube(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return grad_output * 3 * x**2

    return Cube


@program
def cube(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = cube_of(m).apply(x)
    y.sum().backward()
    return {"y": y, "gradient": x.grad, "repr": repr(y), "name": y.grad_fn.name()}


@program
def of_a_plain_tensor(m):
    y = cube_of(m).apply(m.tensor([1.0, 2.0]))
    return {"y": y}


@program
def under_no_grad(m):
    with m.no_grad():
        y = cube_of(m).apply(m.tensor([1.0, 2.0], requires_grad=True))
    return {"y": y}


@program
def inside_a_graph(m):
    x = m.tensor([0.5, -2.0], dtype=m.float64, requires_grad=True)
    y = (cube_of(m).apply(x.sin()) * x).sum()
    y.backward()
    return {"y": y, "gradient": x.grad, "parents": [name_of(parent) for parent, _ in y.grad_fn.next_functions]}


@program
def forward_runs_without_recording(m):
    seen = []

    class Peek(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append([m.is_grad_enabled(), (x * 2).requires_grad])
            return x * 2

        @staticmethod
        def backward(ctx, grad_output):
            seen.append([m.is_grad_enabled(), grad_output.requires_grad])
            return grad_output * 2

    x = m.tensor([1.0], requires_grad=True)
    Peek.apply(x).sum().backward()
    return {"seen": seen, "gradient": x.grad}


@program
def two_inputs_and_a_number(m):
    class Scale(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, factor):
            ctx.save_for_backward(x, y)
            ctx.factor = factor
            return x * y * factor

        @staticmethod
        def backward(ctx, grad_output):
            x, y = ctx.saved_tensors
            return grad_output * y * ctx.factor, grad_output * x * ctx.factor, None

    x, y = m.tensor([1.0, 2.0], requires_grad=True), m.tensor([3.0, 4.0], requires_grad=True)
    result = Scale.apply(x, y, 10)
    result.sum().backward()
    return {"result": result, "x": x.grad, "y": y.grad}


@program
def needs_input_grad(m):
    seen = []

    class Product(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, number):
            seen.append(list(ctx.needs_input_grad))
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, grad_output):
            seen.append(list(ctx.needs_input_grad))
            x, y = ctx.saved_tensors
            return (
                grad_output * y if ctx.needs_input_grad[0] else None,
                grad_output * x if ctx.needs_input_grad[1] else None,
                None,
            )

    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0])
    Product.apply(x, y, 3).sum().backward()
    return {"seen": seen, "x": x.grad, "y": y.grad}


@program
def several_outputs(m):
    class Both(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin(), x.cos()

        @staticmethod
        def backward(ctx, grad_sin, grad_cos):
            (x,) = ctx.saved_tensors
            return grad_sin * x.cos() - grad_cos * x.sin()

    x = m.tensor([0.5, 1.0], dtype=m.float64, requires_grad=True)
    sine, cosine = Both.apply(x)
    (sine * 2 + cosine * 3).sum().backward()
    both = x.grad.clone()
    x.grad = None
    Both.apply(x)[1].sum().backward()
    return {"sine": sine, "cosine": cosine, "both": both, "one": x.grad, "numbers": [sine.output_nr, cosine.output_nr]}


@program
def gradients_of_unused_outputs(m):
    seen = []

    def make(materialize):
        class Two(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.set_materialize_grads(materialize)
                return x * 1, x * 2

            @staticmethod
            def backward(ctx, first, second):
                seen.append([first, second])
                return second * 2

        return Two

    for materialize in (True, False):
        x = m.tensor([1.0, 2.0], requires_grad=True)
        make(materialize).apply(x)[1].sum().backward()
    return {"seen": seen}


@program
def mark_non_differentiable(m):
    class Top(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            index = x.argmax()
            ctx.save_for_backward(x, index)
            ctx.mark_non_differentiable(index)
            return x.max(), index

        @staticmethod
        def backward(ctx, grad_value, grad_index):
            x, index = ctx.saved_tensors
            gradient = m.zeros_like(x)
            gradient[index] = grad_value
            return gradient

    x = m.tensor([1.0, 5.0, 3.0], requires_grad=True)
    value, index = Top.apply(x)
    value.backward()
    return {"value": value, "index": index, "gradient": x.grad}


@program
def once_differentiable(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @m.autograd.function.once_differentiable
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output

    x = m.tensor([1.0, 2.0], requires_grad=True)
    (constant,) = m.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
    (first,) = m.autograd.grad((Square.apply(x) ** 2).sum(), x, create_graph=True)
    return {
        "first": value_of(first),
        "error": error(lambda: m.autograd.grad(first.sum(), x)),
        "without_tracked_cotangent": error(lambda: m.autograd.grad(constant.sum(), x)),
    }


@program
def differentiable_twice(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (first,) = m.autograd.grad(cube_of(m).apply(x).sum(), x, create_graph=True)
    (second,) = m.autograd.grad(first.sum(), x)
    return {"first": value_of(first), "second": second}


@program
def straight_through(m):
    class Round(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output

    x = m.tensor([0.4, 1.6], requires_grad=True)
    (Round.apply(x) * m.tensor([2.0, 3.0])).sum().backward()
    return {"gradient": x.grad}


@program
def clipped_gradient(m):
    class Clip(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, bound):
            ctx.bound = bound
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output.clamp(-ctx.bound, ctx.bound), None

    x = m.tensor([1.0, 100.0], requires_grad=True)
    (Clip.apply(x, 5.0) ** 2).sum().backward()
    return {"gradient": x.grad}


@program
def setup_context(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(x, factor):
            return x * x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, factor = inputs
            ctx.save_for_backward(x)
            ctx.factor = factor

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return grad_output * 2 * x * ctx.factor, None

    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = Square.apply(x, 5.0)
    y.sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def saves_the_output(m):
    class Exp(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            result = x.exp()
            ctx.save_for_backward(result)
            return result

        @staticmethod
        def backward(ctx, grad_output):
            (result,) = ctx.saved_tensors
            return grad_output * result

    x = m.tensor([0.0, 1.0], dtype=m.float64, requires_grad=True)
    Exp.apply(x).sum().backward()
    y = Exp.apply(x)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return {"gradient": x.grad}


@program
def saved_tensors_are_freed(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = cube_of(m).apply(x)
    y.sum().backward()
    return {"error": error(lambda: y.sum().backward())}


@program
def saved_tensor_changed(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    inner = x * 2
    y = cube_of(m).apply(inner)
    inner += 1
    return {"error": error(lambda: y.sum().backward())}


def with_backward(m, class_name, backward):
    """Return a Function that doubles, with the given backward."""
    return type(
        class_name,
        (m.autograd.Function,),
        {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)},
    )


@program
def wrong_backwards(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)

    def attempt(class_name, backward):
        return error(lambda: with_backward(m, class_name, backward).apply(x).sum().backward())

    return {
        "one_too_many": attempt("G", lambda ctx, g: (g, g)),
        "wrong_shape": attempt("H", lambda ctx, g: m.ones(3)),
        "not_a_tensor": attempt("N", lambda ctx, g: 1.0),
        "raises": attempt("E", lambda ctx, g: [][0]),
    }


@program
def allowed_backwards(m):
    def gradient(backward):
        x = m.tensor([3.0], requires_grad=True)
        with_backward(m, "F", backward).apply(x).sum().backward()
        return x.grad

    return {
        "extra_none": gradient(lambda ctx, g: (g * 6, None)),
        "none": gradient(lambda ctx, g: None),
        "broadcast": gradient(lambda ctx, g: m.tensor([[6.0], [1.0]])),
        "other_dtype": gradient(lambda ctx, g: g.double() * 2),
    }


@program
def without_backward(m):
    class Half(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x / 2

    x = m.tensor([1.0], requires_grad=True)
    y = Half.apply(x)
    return {"y": y, "error": error(lambda: y.sum().backward())}


@program
def called_instead_of_applied(m):
    Cube = cube_of(m)
    return {"error": error(lambda: Cube()(m.tensor(1.0)))}


@program
def returning_an_input(m):
    class Identity(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output * 5

    x = m.tensor([1.0], requires_grad=True)
    y = Identity.apply(x)
    y.sum().backward()
    return {"y": y, "same": y is x, "gradient": x.grad}


@program
def mark_dirty(m):
    class Increment(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output

    leaf = m.tensor([1.0], requires_grad=True)
    x = leaf * 2
    y = Increment.apply(x)
    (y * 3).sum().backward()
    return {"y": y, "same": y is x, "gradient": leaf.grad, "leaf": error(lambda: Increment.apply(leaf))}


@program
def gradient_check_of_a_function(m):
    x = m.tensor([1.0, -2.0], dtype=m.float64, requires_grad=True)

    class Wrong(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output * 3

    return {
        "right": m.autograd.gradcheck(cube_of(m).apply, (x,)),
        "second": m.autograd.gradgradcheck(cube_of(m).apply, (x,)),
        "wrong": m.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False),
    }
