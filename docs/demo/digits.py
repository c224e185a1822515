"""Train a classifier of handwritten digits with a gradloom gradient, and show what it costs.

Owns the whole demo: the data, a plain NumPy network and its loss, Adam in NumPy, the training loop,
the comparison with a gradient written by hand, and the picture. Of gradloom it uses only the public
`compile_grad`. Start reading at `loss`, then at `train`.

Run it with `make demo`, or `python docs/demo/digits.py --help`.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import gradloom

Params = dict[str, np.ndarray]
ValueAndGrad = Callable[[Params, np.ndarray, np.ndarray], tuple[Any, Params]]

DATA = Path(__file__).with_name("digits.npz")
PICTURE = Path("build/demo/digits.png")
CLASSES = 10
WIDTHS = (64, 128, 64, CLASSES)
WEIGHT_DECAY = 1e-4
BATCH = 64


# ---- the program that is differentiated: NumPy, and nothing but NumPy ----------------------------


def logits(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the unnormalised log-probabilities, (n, 10), of images `x`, (n, 64)."""
    h = np.tanh(x @ params["w1"] + params["b1"])
    h = np.tanh(h @ params["w2"] + params["b2"])
    return h @ params["w3"] + params["b3"]


def loss(params: Params, x: np.ndarray, y: np.ndarray) -> Any:
    """Return the mean cross-entropy of images `x` (n, 64) and one-hot labels `y` (n, 10).

    A quadratic penalty on the weights, not on the biases, is added.
    """
    z = logits(params, x)
    z = z - np.max(z, axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    penalty = sum(np.sum(params[name] ** 2) for name in ("w1", "w2", "w3"))
    return -np.mean(np.sum(y * log_p, axis=1)) + WEIGHT_DECAY * penalty


def value_and_grad_by_hand(
    params: Params, x: np.ndarray, y: np.ndarray
) -> tuple[np.floating, Params]:
    """Return `loss` and its gradient as an expert writes them in NumPy.

    Backpropagation through the softmax, for rows of `y` that sum to 1: d loss / d logits =
    (softmax - y) / n; and tanh' = 1 - tanh².
    """
    w1, w2, w3 = params["w1"], params["w2"], params["w3"]
    h1 = np.tanh(x @ w1 + params["b1"])
    h2 = np.tanh(h1 @ w2 + params["b2"])
    z = h2 @ w3 + params["b3"]
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    value = np.sum(y * (np.log(total) - z)) / len(x)
    value += WEIGHT_DECAY * (np.sum(w1 * w1) + np.sum(w2 * w2) + np.sum(w3 * w3))

    d3 = (p / total - y) / len(x)
    d2 = (d3 @ w3.T) * (1 - h2 * h2)
    d1 = (d2 @ w2.T) * (1 - h1 * h1)
    gradient = {
        "w1": x.T @ d1 + 2 * WEIGHT_DECAY * w1,
        "b1": d1.sum(axis=0),
        "w2": h1.T @ d2 + 2 * WEIGHT_DECAY * w2,
        "b2": d2.sum(axis=0),
        "w3": h2.T @ d3 + 2 * WEIGHT_DECAY * w3,
        "b3": d3.sum(axis=0),
    }
    return value, gradient


# ---- data, parameters, optimizer -----------------------------------------------------------------


class Split(NamedTuple):
    """Images as rows of 64 numbers in [0, 1], and their labels, apart for training and testing."""

    train_x: np.ndarray
    train_labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray


def load_digits(path: Path = DATA) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 (1797, 8, 8) with values 0..16, and the labels, uint8 (1797,)."""
    with np.load(path) as data:
        return data["images"], data["labels"]


def split(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Split:
    """Return a random split: four fifths to train on, one fifth to test with."""
    order = rng.permutation(len(images))
    x = images.reshape(len(images), -1) / 16.0
    cut = len(images) * 4 // 5
    train, test = order[:cut], order[cut:]
    return Split(x[train], labels[train], x[test], labels[test])


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return float64 (n, 10): row i is 1 at `labels[i]` and 0 elsewhere."""
    return np.eye(CLASSES)[labels]


def initial_params(rng: np.random.Generator) -> Params:
    """Return float64 parameters: Glorot-scaled normal weights `w1..w3`, zero biases `b1..b3`.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010, section 4.2.1.
    """
    params = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(WIDTHS), start=1):
        scale = np.sqrt(2 / (fan_in + fan_out))
        params[f"w{layer}"] = scale * rng.standard_normal((fan_in, fan_out))
        params[f"b{layer}"] = np.zeros(fan_out)
    return params


@dataclass
class Adam:
    """Update parameters in place by Adam (Kingma and Ba, 2015, algorithm 1)."""

    rate: float = 2e-3
    decay1: float = 0.9
    decay2: float = 0.999
    epsilon: float = 1e-8
    steps: int = 0
    first: Params = field(default_factory=dict)
    second: Params = field(default_factory=dict)

    def update(self, params: Params, gradient: Params) -> None:
        """Take one step down `gradient`, which has the keys and shapes of `params`."""
        self.steps += 1
        rate = self.rate * np.sqrt(1 - self.decay2**self.steps) / (1 - self.decay1**self.steps)
        for name, g in gradient.items():
            m = self.first.setdefault(name, np.zeros_like(g))
            v = self.second.setdefault(name, np.zeros_like(g))
            m += (1 - self.decay1) * (g - m)
            v += (1 - self.decay2) * (g * g - v)
            params[name] -= rate * m / (np.sqrt(v) + self.epsilon)


# ---- training ------------------------------------------------------------------------------------


class Epoch(NamedTuple):
    """What one pass over the training images left: mean loss, and the accuracy on unseen images."""

    train_loss: float
    test_loss: float
    test_accuracy: float


def accuracy(params: Params, x: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose largest logit is that of their label."""
    return float(np.mean(np.argmax(logits(params, x), axis=1) == labels))


def train(
    value_and_grad: ValueAndGrad,
    params: Params,
    data: Split,
    epochs: int,
    rng: np.random.Generator,
) -> Iterator[Epoch]:
    """Train `params` in place on shuffled batches of 64, yielding after every epoch."""
    optimizer = Adam()
    train_y, test_y = one_hot(data.train_labels), one_hot(data.test_labels)
    for _ in range(epochs):
        order = rng.permutation(len(data.train_x))
        losses = []
        for start in range(0, len(order) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            value, gradient = value_and_grad(params, data.train_x[batch], train_y[batch])
            optimizer.update(params, gradient)
            losses.append(float(value))
        yield Epoch(
            train_loss=float(np.mean(losses)),
            test_loss=float(loss(params, data.test_x, test_y)),
            test_accuracy=accuracy(params, data.test_x, data.test_labels),
        )


def train_with_progress(
    console: Console,
    value_and_grad: ValueAndGrad,
    params: Params,
    data: Split,
    epochs: int,
    rng: np.random.Generator,
) -> list[Epoch]:
    """Run `train` under a progress bar and return the history of all epochs."""
    history = []
    columns = (
        TextColumn("[bold]Training"),
        BarColumn(bar_width=None),
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("training", total=epochs, status="")
        for epoch in train(value_and_grad, params, data, epochs, rng):
            history.append(epoch)
            status = f"loss {epoch.train_loss:.4f}  test accuracy {epoch.test_accuracy:.1%}"
            progress.update(task, advance=1, status=status)
    return history


# ---- comparison with the gradient by hand --------------------------------------------------------


class Comparison(NamedTuple):
    """The same value and gradient, by hand and by gradloom, on `rows` images."""

    rows: int
    hand_seconds: float
    gradloom_seconds: float
    largest_difference: float
    largest_entry: float


def compare(
    value_and_grad: ValueAndGrad, params: Params, x: np.ndarray, y: np.ndarray, repeats: int
) -> Comparison:
    """Time both gradients in turns, so that both meet the same noise, and compare all entries."""
    contenders = (value_and_grad_by_hand, value_and_grad)
    (_, by_hand), (_, by_gradloom) = (contender(params, x, y) for contender in contenders)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for contender, record in zip(contenders, seconds, strict=True):
            start = time.perf_counter()
            contender(params, x, y)
            record.append(time.perf_counter() - start)
    return Comparison(
        rows=len(x),
        hand_seconds=median(seconds[0]),
        gradloom_seconds=median(seconds[1]),
        largest_difference=max(
            float(np.max(np.abs(by_gradloom[name] - by_hand[name]))) for name in params
        ),
        largest_entry=max(float(np.max(np.abs(by_hand[name]))) for name in params),
    )


def microseconds(seconds: float) -> str:
    """Return `seconds` as text in µs, with three or more digits."""
    return f"{1e6 * seconds:,.0f} µs" if seconds >= 1e-4 else f"{1e6 * seconds:.1f} µs"


def table_of_comparisons(comparisons: list[Comparison]) -> Table:
    """Return the table of `comparisons`, a row for each."""
    table = Table(title="One value and gradient of the loss", title_justify="left")
    table.add_column("images")
    headings = ("NumPy by hand", "gradloom", "speed-up", "largest difference", "largest entry")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in comparisons:
        table.add_row(
            f"{row.rows:,}",
            microseconds(row.hand_seconds),
            microseconds(row.gradloom_seconds),
            f"{row.hand_seconds / row.gradloom_seconds:.2f}x",
            f"{row.largest_difference:.1e}",
            f"{row.largest_entry:.1e}",
        )
    return table


def table_of_compilation(stats: Any) -> Table:
    """Return the table of what gradloom compiled for one batch, from `compile_grad(...).stats`."""
    table = Table(title=f"What was compiled, for {BATCH} images", title_justify="left")
    for heading in ("kernels", "bytes moved", "ideal", "ratio", "compile time"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{stats.kernels}",
        f"{stats.bytes_moved:,}",
        f"{stats.bytes_ideal:,}",
        f"{stats.bytes_moved / stats.bytes_ideal:.2f}",
        f"{1e3 * stats.compile_seconds:.0f} ms",
    )
    return table


# ---- the picture ---------------------------------------------------------------------------------

BLUE, ORANGE, GREEN, RED, GRAY = "#2a6f97", "#e07a2f", "#3a7d44", "#b3261e", "#5f6368"
ROWS_OF_RIGHT, MOST_ROWS_OF_WRONG = 4, 2


def draw_curve(axes: Axes, series: dict[str, tuple[list[float], str]], title: str) -> None:
    """Draw lines over epochs, each labelled at its end instead of in a legend."""
    for name, (values, colour) in series.items():
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, linewidth=1.8)
        axes.annotate(
            name,
            (epochs[-1], values[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9,
        )
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def gallery(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the indices of the images to show, int (rows, 10), with -1 where a cell stays empty.

    Four rows of images that were read rightly, a column for each class; below them the errors, in
    two rows at most.
    """
    wrong = np.flatnonzero(predicted != labels)[: MOST_ROWS_OF_WRONG * CLASSES]
    cells = np.full((ROWS_OF_RIGHT + -(-len(wrong) // CLASSES), CLASSES), -1)
    cells[ROWS_OF_RIGHT:].flat[: len(wrong)] = wrong
    for label in range(CLASSES):
        right = np.flatnonzero((predicted == label) & (labels == label))[:ROWS_OF_RIGHT]
        cells[: len(right), label] = right
    return cells


def draw_gallery(
    figure: SubFigure, images: np.ndarray, labels: np.ndarray, read: np.ndarray
) -> None:
    """Draw images (n, 8, 8), each under what the network reads in it, errors in red."""
    cells = gallery(read, labels)
    grid = figure.subplots(*cells.shape, squeeze=False)
    for axes, index in zip(grid.flat, cells.flat, strict=True):
        axes.set_axis_off()
        if index < 0:
            continue
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=images.max())
        if read[index] == labels[index]:
            axes.set_title(f"{read[index]}", fontsize=10, color=GRAY, pad=3)
        else:
            text = f"{read[index]}, is {labels[index]}"
            axes.set_title(text, fontsize=10, color=RED, pad=3)
    errors, shown = int(np.sum(read != labels)), MOST_ROWS_OF_WRONG * CLASSES
    which = f"all {errors} errors" if errors <= shown else f"{shown} of {errors} errors"
    title = f"Unseen images and what the network reads; in red, {which} among {len(labels)}"
    figure.suptitle(title, fontsize=11)


def draw_picture(path: Path, history: list[Epoch], params: Params, data: Split) -> None:
    """Save the learning curves and a gallery of test images with their predictions as a PNG."""
    figure = Figure(figsize=(13, 6.4), dpi=150, layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.35), wspace=0.03).flat
    losses, accuracies = left.subplots(2, 1, squeeze=False, sharex=True).flat
    train_loss = [epoch.train_loss for epoch in history]
    test_loss = [epoch.test_loss for epoch in history]
    draw_curve(losses, {"train": (train_loss, BLUE), "test": (test_loss, ORANGE)}, "Loss")
    losses.set_yscale("log")
    percent = [100 * epoch.test_accuracy for epoch in history]
    draw_curve(accuracies, {f"{percent[-1]:.1f} %": (percent, GREEN)}, "Test accuracy in percent")
    accuracies.set_xlabel("epoch")
    read = np.argmax(logits(params, data.test_x), axis=1)
    draw_gallery(right, data.test_x.reshape(-1, 8, 8), data.test_labels, read)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


# ---- the run -------------------------------------------------------------------------------------


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Train a digit classifier with gradloom.")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches")
    parser.add_argument("--repeats", type=int, default=300, help="timed calls in the comparison")
    parser.add_argument("--output", type=Path, default=PICTURE, help="where the picture goes")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> float:
    """Run the demo with the given command line and return the final test accuracy."""
    options = parse_arguments(arguments)
    console = Console()
    rng = np.random.default_rng(options.seed)
    data = split(*load_digits(), rng)
    params = initial_params(rng)
    count = sum(array.size for array in params.values())
    console.print(
        f"Handwritten digits: {len(data.train_x):,} images to train on, {len(data.test_x)} to test "
        f"with; network {'-'.join(map(str, WIDTHS))}, {count:,} parameters, float64",
        highlight=False,
    )

    compiled = gradloom.compile_grad(loss)
    start = time.perf_counter()
    history = train_with_progress(
        console, compiled.value_and_grad, params, data, options.epochs, rng
    )
    seconds = time.perf_counter() - start
    # The statistics are those of the last compiled signature: read them while that is one batch.
    compilation = table_of_compilation(compiled.stats)
    final = history[-1].test_accuracy
    console.print(
        f"[bold]Test accuracy {final:.2%}[/] after {options.epochs} epochs in {seconds:.1f} s, "
        "compilation included\n",
        highlight=False,
    )

    train_y = one_hot(data.train_labels)
    comparisons = [
        compare(compiled.value_and_grad, params, data.train_x[:rows], train_y[:rows], repeats)
        for rows, repeats in ((BATCH, options.repeats), (len(train_y), options.repeats // 5 + 1))
    ]
    console.print(table_of_comparisons(comparisons))
    console.print(compilation)
    draw_picture(options.output, history, params, data)
    console.print(f"Picture: {options.output}", highlight=False)
    return final


if __name__ == "__main__":
    main()
