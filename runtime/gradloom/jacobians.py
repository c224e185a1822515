"""Whole derivatives: jacfwd, jacrev, jacobian and hessian.

The product with one basis vector is compiled once for a signature and called natively for each,
filling the rows or columns of the result. Inside a trace the products are inlined one by one, so
the program grows with the number of basis vectors.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradloom.derived import Derived, derive
from gradloom.signature import Argnums, Argument, Call
from gradloom.tree import unflatten
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import UnsupportedError

if TYPE_CHECKING:
    from gradloom.program import Primal, Program
    from gradloomc.ir.types import TensorType

MODES = ("auto", "fwd", "rev")


class Jacobian(Derived):
    """All derivatives of a function's results with respect to the selected arguments."""

    def __init__(self, fun: Any, argnums: Any, has_aux: bool, mode: str):
        if mode not in MODES:
            raise UnsupportedError(
                f"mode should be one of {', '.join(map(repr, MODES))}, not {mode!r}"
            )
        self.mode = mode
        super().__init__(fun, "jacobian", argnums, has_aux, mode)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self.bind(args, kwargs)
        self.check(call)
        return _Assembly(self, self.user.primal(call, self.has_aux)).compute(call)

    def make(self, primal: "Primal") -> "Program":
        return _Assembly(self, primal).make()


class _Assembly:
    """The computation of one Jacobian: which leaves, which results, and the blocks in between."""

    def __init__(self, transform: Jacobian, primal: "Primal"):
        self.transform, self.primal = transform, primal
        parameters = primal.parameters
        self.arguments: list[Argument] = parameters.find(transform.selected, primal.structure)
        self.active = parameters.active_leaves(self.arguments, primal.leaves)
        self.slots = primal.check_float_results("a Jacobian")
        self.inputs: list[TensorType] = [primal.leaves[i].type for i in self.active]  # type: ignore[misc]
        self.outputs: list[TensorType] = [primal.types[slot] for slot in self.slots]

    @property
    def forward(self) -> bool:
        """Whether to push tangents forward, not cotangents back.

        The first takes one call per input element, the second one per output element.
        """
        if self.transform.mode != "auto":
            return self.transform.mode == "fwd"
        return sum(type.size for type in self.inputs) < sum(type.size for type in self.outputs)

    def compute(self, call: Call) -> Any:
        """Return the result tree of argument trees, with aux (jacobian, aux)."""
        nested = insertion.block is not None
        blocks = self.traced_blocks(call) if nested else self.native_blocks(call)
        jacobian = unflatten(
            self.primal.result.structure, [self.argument_trees(row) for row in blocks]
        )
        if self.primal.aux is None:
            return jacobian
        from gradloom.derivatives import aux_program

        if nested:
            return jacobian, aux_program(self.primal).inline(call.leaves)
        program = self.transform.user.program(("aux",), call, True, aux_program)
        return jacobian, program(call.leaves)

    def argument_trees(self, row: Sequence[Any]) -> Any:
        """Return the blocks of one result in the structure of the selected arguments."""
        by_leaf = dict(zip(self.active, row, strict=True))
        trees = [
            unflatten(argument.structure, [by_leaf.get(i) for i in argument.leaves])
            for argument in self.arguments
        ]
        return trees[0] if self.transform.single else tuple(trees)

    def make(self) -> "Program":
        """Return the program of the product with one basis vector."""
        from gradloom.derivatives import pullback_flat_program, pushforward_flat_program

        derived = pushforward_flat_program if self.forward else pullback_flat_program
        return derived(self.primal, self.active, self.slots)

    # --- natively ---------------------------------------------------------------------------------

    def native_blocks(self, call: Call) -> list[list[Any]]:
        """Return a fresh array for each result and each active leaf."""
        transform = self.transform
        program = transform.user.program(transform.key, call, transform.has_aux, transform.make)
        arrays = program.gather(call.leaves)
        run = program.executable.run
        sources, targets = (
            (self.inputs, self.outputs) if self.forward else (self.outputs, self.inputs)
        )
        found = [
            [np.empty((source.size, *target.shape), target.element.dtype) for target in targets]
            for source in sources
        ]
        seeds = [np.zeros(source.shape, source.element.dtype) for source in sources]
        arguments = [*arrays, *seeds]
        for seed, rows in zip(seeds, found, strict=True):
            flat = seed.reshape(-1)
            for i in range(flat.size):
                flat[i] = 1
                for row, product in zip(rows, run(arguments), strict=True):
                    row[i] = product
                flat[i] = 0
        if not self.forward:
            return [
                [
                    _scalar(rows.reshape(out.shape + into.shape))
                    for rows, into in zip(found[o], self.inputs, strict=True)
                ]
                for o, out in enumerate(self.outputs)
            ]
        return [
            [
                _scalar(
                    np.ascontiguousarray(np.moveaxis(found[k][o], 0, -1)).reshape(
                        out.shape + into.shape
                    )
                )
                for k, into in enumerate(self.inputs)
            ]
            for o, out in enumerate(self.outputs)
        ]

    # --- inside a trace ---------------------------------------------------------------------------

    def traced_blocks(self, call: Call) -> list[list[Any]]:
        """Return a tracer for each result and each active leaf."""
        from gradloom.derivatives import inline_products

        sources = self.inputs if self.forward else self.outputs
        found = inline_products(self.make(), call.leaves, sources)
        if not self.forward:
            return [
                [
                    rows.reshape(out.shape + into.shape)
                    for rows, into in zip(found[o], self.inputs, strict=True)
                ]
                for o, out in enumerate(self.outputs)
            ]
        return [
            [
                np.moveaxis(found[k][o], 0, -1).reshape(out.shape + into.shape)
                for k, into in enumerate(self.inputs)
            ]
            for o, out in enumerate(self.outputs)
        ]


def _scalar(array: Any) -> Any:
    return array if array.shape else array[()]


def jacobian(
    fun: Callable[..., Any], argnums: Argnums = 0, mode: str = "auto", has_aux: bool = False
) -> Jacobian:
    """Return a function that computes all first derivatives of `fun`.

    Args:
        fun: the function; its result may be a container of float arrays.
        argnums: the position or name of the argument, or a tuple of them.
        mode: "fwd" runs the function once per input element, "rev" once per output element, "auto"
            takes the smaller number.
        has_aux: `fun` returns (result, aux); then (jacobian, aux) is returned.

    Returns:
        A function of the same arguments. Its result has the structure of `fun`'s result, each leaf
        replaced by the structure of the argument; a block has shape `result.shape +
        argument.shape`.
    """
    return derive(Jacobian, fun, argnums, has_aux, mode)


def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Jacobian:
    """Return the Jacobian by forward mode: one run per input element; see `jacobian`."""
    return derive(Jacobian, fun, argnums, has_aux, "fwd")


def jacrev(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Jacobian:
    """Return the Jacobian by reverse mode: one run per output element; see `jacobian`."""
    return derive(Jacobian, fun, argnums, has_aux, "rev")


def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Jacobian:
    """Return a function that computes all second derivatives, forward over reverse.

    For one scalar result and one array argument it returns an array of shape `argument.shape +
    argument.shape`; containers nest as for `jacfwd(jacrev(fun, argnums), argnums)`.
    """
    return jacfwd(jacrev(fun, argnums, has_aux), argnums, has_aux)
