"""The words of the tables that native code reads, by name, and the IR that loads them.

Knows neither what is done with the tables (entry.py) nor how they are filled (tables.py).
"""

from gradloom.exec.layout import ALIGNED, C_CONTIGUOUS, OWNS_DATA, WRITEABLE


class Words:
    """Names of the words of a table; `Words("a b").b` is 1."""

    def __init__(self, names: str):
        self.names = names.split()

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["names"].index(name)
        except ValueError:
            raise AttributeError(name) from None

    def pack(self, **values: int) -> list[int]:
        """Return the words of a table in order."""
        assert len(values) == len(self.names), set(values) ^ set(self.names)
        return [values[name] for name in self.names]


# Addresses of functions and objects of Python and NumPy; the same for all calls.
INTERFACES = Words(
    "IncRef DecRef NewFromDescr SetBaseObject Scalar TupleNew ListNew ListAppend DictNew DictSetItem DictGetItem "
    "DictNext GenericGetDict ErrClear RichCompareBool CallNoArgs CallOneArg GetAttr Vectorcall SaveThread "
    "RestoreThread array list dict true call_name"
)
# What one callable object does for one kind of call.
PLAN_WORDS = Words(
    "following owner count keywords_count keywords arguments_count arguments captured_count captured captured_records "
    "arity nested state generation serial tracing program results_count results building_count building depth finish "
    "donations_count donations sizes"
)
# A compiled program: shared by the plans that use it.
PROGRAM_WORDS = Words("idle new_frame kept cells steps_count steps sizes release status failure")
# What one call in progress works on: a link to the next idle one, the array that owns it, then the segments' pointers.
FRAME_WORDS = Words("following owner slots")
# The state of a user's function: a count of changes, of calls; which program ran last; what it reads (see watching).
STATE_WORDS = Words("generation hits last watched")

# Records of arguments, in the order of the call: containers are followed by their items.
ARGUMENT = Words("kind slot object other extra payload")  # `extra` words of payload: extents, keys
ARRAY, NUMBER_OBJECT, FIXED, TUPLE, LIST, DICT, INSTANCE = range(7)
# Records of what a function reads besides its arguments.
WATCHED = Words("kind place object expected extra payload")
CELL, NAME, CONTENT, LIST_CONTENT, DICT_CONTENT, ASK, END = range(7)
# Records of results that have memory of their own. `spare` lists buffers, or whole arrays that are given again; of a
# result in a donated argument's memory it is the argument's slot.
RESULT = Words("kind slot descr rank spare make extents")
IN_FRAME, OWN, POOLED, DONATED = range(4)
# Instructions that build what is returned, on a stack of objects.
BUILD = Words("kind operand other spare bytes size")
(PUSH_ARRAY, PUSH_SCALAR, PUSH_OBJECT, BUILD_TUPLE, BUILD_LIST, BUILD_DICT) = range(6)

READABLE = C_CONTIGUOUS | ALIGNED
CARRAY = C_CONTIGUOUS | ALIGNED | WRITEABLE
OWNER = CARRAY | OWNS_DATA
SPARE = 4  # so many objects of a result are given again
EQUAL = 2  # Py_EQ


def word(name: str, table: str, index: int | str, kind: str = "i64") -> str:
    """Return IR that loads word `index` of a table."""
    return f"""  %{name}.p = getelementptr i64, ptr %{table}, i64 {index}
  %{name} = load {kind}, ptr %{name}.p"""


def field(name: str, of: str, offset: int, kind: str = "i64") -> str:
    """Return IR that loads what stands at an offset in an object."""
    return f"""  %{name}.p = getelementptr i8, ptr %{of}, i64 {offset}
  %{name} = load {kind}, ptr %{name}.p"""


def use(*names: str) -> str:
    """Return IR that loads functions and objects from the table of the interfaces, under their names."""
    return "\n".join(word(name, "api", getattr(INTERFACES, name), "ptr") for name in names)
