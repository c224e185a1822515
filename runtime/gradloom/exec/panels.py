"""Large products in panels (`gradloomc.codegen.panel_gemm`), compiled when code that has some is first loaded.

They stand in front of OpenBLAS, than which they were found to be quicker; other libraries take all products themselves.
It knows of a library only how it is called.
"""

from collections.abc import Callable
from functools import partial

from gradloomc.codegen.gemm import LARGE_SYMBOLS, SYMBOLS, Convention
from gradloomc.codegen.native import compile_module, host
from gradloomc.codegen.panel_gemm import gemm_symbol, has_panels, panel_gemm_text, panels_symbol
from gradloomc.ir.types import ScalarType

__all__ = ["for_large_products"]


def for_large_products(convention: Convention) -> dict[str, Callable[[], int]]:
    """Return what takes large products in front of a library: by symbol, a function that returns its address.

    There is nothing on a machine for which panels are not made.
    """
    if not has_panels(host().function_attributes, convention):
        return {}
    found: dict[str, Callable[[], int]] = {}
    for element in SYMBOLS:
        found[LARGE_SYMBOLS[element]] = partial(_address, element, convention, gemm_symbol(element))
        found[panels_symbol(element)] = partial(_address, element, convention, panels_symbol(element))
    return found


def _address(element: ScalarType, convention: Convention, symbol: str) -> int:
    text = panel_gemm_text(element, convention, host().function_attributes)
    return compile_module(text, [gemm_symbol(element), panels_symbol(element)]).addresses[symbol]
