"""One chunk of a nest that several threads may share: what its function knows, and where it leaves its totals.

A chunk's totals (with their compensations) lie in a record of its own; `segment.py` lets the records join in the order
of the chunks. The words of the function are its arguments: `%context`, a table of the pointers `buffers`, `sizes` and
`partials`, and `%k`, the number of the chunk.
"""

from gradloomc.ir.core import Op

# Records begin at multiples of this: no vector crosses one, and no cache line belongs to two chunks.
ALIGNMENT = 128


def aligned(size: int) -> int:
    """Return a size rounded up to whole multiples of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Chunk:
    """Names of a chunk's numbers, and the layout of its record.

    Attributes:
        over_pieces: the innermost dimension is cut, in its longest piece; else the outermost one.
        low, high: where the chunk begins and ends, counted from the beginning of what is cut; but the last one ends
            where that ends.
        first, last: whether this is the first or the last chunk (i1).
        totals: op of a reduction -> offset of its total in the record; `errors`: of the compensation.
        record_bytes: bytes of the record so far.
    """

    __slots__ = ("errors", "first", "high", "last", "low", "over_pieces", "record_bytes", "totals")

    def __init__(self, over_pieces: bool, low: str, high: str, first: str, last: str):
        self.over_pieces, self.low, self.high, self.first, self.last = over_pieces, low, high, first, last
        self.totals: dict[Op, int] = {}
        self.errors: dict[Op, int] = {}
        self.record_bytes = 0

    def place(self, table: dict[Op, int], op: Op, name: str, size: int) -> str:
        """Reserve bytes of the record; return the line that gives their address a name."""
        offset = -(-self.record_bytes // size) * size
        self.record_bytes = offset + size
        table[op] = offset
        return f"  {name} = getelementptr i8, ptr %record, i64 {offset}"
