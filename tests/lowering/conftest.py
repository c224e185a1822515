"""Plans for long arrays on short ones, so that small programs test them."""

import pytest

from gradloomc.codegen import nest
from gradloomc.codegen.native import host
from gradloomc.lowering import loops, products, tile


@pytest.fixture
def small_plans(monkeypatch: pytest.MonkeyPatch, own_rules: None) -> None:
    """Plan as for long arrays: 128-bit vectors two at a time, short blocks of sums, tiles of a few rows."""
    monkeypatch.setattr(host(), "vector_bits", 128)
    monkeypatch.setattr(loops, "LONG_NEST", 64)
    monkeypatch.setattr(nest, "BLOCK_VECTORS", 2)
    monkeypatch.setattr(nest, "PEELED_POINTS", 64)
    monkeypatch.setattr(nest, "PEELED_VECTORS", 2)
    monkeypatch.setattr(tile, "LEAST_ROWS", 8)
    monkeypatch.setattr(tile, "MEMORY_BYTES", 64)
    monkeypatch.setattr(tile, "TILE_BYTES", 256)
    monkeypatch.setattr(tile, "PRODUCT_ROWS", (8,))
    monkeypatch.setattr(tile, "CACHE_BYTES", 64)
    monkeypatch.setattr(tile, "CACHE_SPEED", 1000)
    monkeypatch.setattr(products, "TINY_EXTENT", 0)
