"""Reads a pickle without running it.

Python's own unpickler calls whatever a pickle names, and where that is restricted a few bytes still make it take
gigabytes (the index of a memo entry) or crash (the hash of a deeply nested tuple). Here a pickle is a list of opcodes
that `pickletools` takes apart, and what they build is plain: dicts, lists, tuples, numbers and strings. Calls are
handed to the caller, who knows the few that matter.
"""

import dataclasses
import pickletools

# Opcodes whose argument is the value itself.
LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
GETS = {"GET", "BINGET", "LONG_BINGET"}
WITHOUT_EFFECT = {"PROTO", "FRAME"}
KEY_TYPES = (str, bytes, int, float, type(None))


@dataclasses.dataclass(frozen=True)
class Global:
    """A class or function that the pickle names; nothing is imported."""

    name: str


@dataclasses.dataclass(frozen=True)
class Unknown:
    """What the pickle would have made by calling `name`, and which nobody needs: it holds nothing and does nothing.

    Attributes:
        fields: names of the attributes that the object would have got, by which a module is known from other objects.
    """

    name: str
    fields: tuple = dataclasses.field(default=(), compare=False)


class Pending:
    """What a call gives that gets its values in a second step, as numpy's arrays do."""

    def build(self, state):
        """Takes the values. Raises ValueError where they make no sense."""


def read(stream, call, persistent=None):
    """The object of the pickle that begins at the stream's position; the stream is then just behind it.

    Dict entries whose key is no string or number are left out.

    Args:
        stream: has `read` and `readline` that never take more memory than there are bytes, as `io.BytesIO` and `mmap`.
        call: call(name, arguments) -> what a call of the global `name` ("torch._utils._rebuild_tensor_v2") gives.
        persistent: persistent(id) -> what stands for the object that is stored outside of the pickle; by default there
            are none.

    Raises:
        ValueError: it is no pickle, or a damaged one.
    """
    machine = _Machine(call, persistent or _nothing_outside)
    position = 0
    try:
        for opcode, argument, position in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged at byte {position} ({type(error).__name__}: {error})") from error
    raise ValueError("the pickle has no end")


class _Machine:
    """The stack and the memo of a pickle in the reading; what each opcode does is said in `pickletools`."""

    def __init__(self, call, persistent):
        self.stack = []
        self._below_marks = []
        self._memo = {}
        self._call = call
        self._persistent = persistent

    def step(self, name, argument):
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in TUPLES:
            items = [self.stack.pop() for _ in range(TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name in PUTS:
            self._memo[argument] = self.stack[-1]
        elif name in GETS:
            self.stack.append(self._memo[argument])
        elif name not in WITHOUT_EFFECT:
            method = getattr(self, f"_op_{name.lower()}", None)
            if method is None:
                raise ValueError(f"the pickle has the opcode {name}, which no checkpoint needs")
            method(argument)

    def _op_memoize(self, _):
        self._memo[len(self._memo)] = self.stack[-1]

    def _op_mark(self, _):
        self._below_marks.append(self.stack)
        self.stack = []

    def _since_mark(self):
        items, self.stack = self.stack, self._below_marks.pop()
        return items

    def _op_pop(self, _):
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _op_pop_mark(self, _):
        self._since_mark()

    def _op_dup(self, _):
        self.stack.append(self.stack[-1])

    def _op_tuple(self, _):
        items = self._since_mark()
        self.stack.append(tuple(items))

    def _op_list(self, _):
        items = self._since_mark()
        self.stack.append(items)

    def _op_dict(self, _):
        items = self._since_mark()
        self.stack.append({})
        self._set_items(items)

    def _op_append(self, _):
        self._append([self.stack.pop()])

    def _op_appends(self, _):
        self._append(self._since_mark())

    def _append(self, items):
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _op_setitem(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _op_setitems(self, _):
        self._set_items(self._since_mark())

    def _set_items(self, items):
        if isinstance(self.stack[-1], dict):
            pairs = zip(items[::2], items[1::2])
            self.stack[-1].update((key, value) for key, value in pairs if isinstance(key, KEY_TYPES))

    def _op_empty_set(self, _):
        self.stack.append(Unknown("set"))

    def _op_frozenset(self, _):
        self._since_mark()
        self.stack.append(Unknown("frozenset"))

    def _op_additems(self, _):
        self._since_mark()

    def _op_global(self, argument):
        self.stack.append(Global(".".join(argument.split(" "))))

    def _op_stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(f"{module}.{name}"))

    def _op_persid(self, argument):
        self.stack.append(self._persistent(argument))

    def _op_binpersid(self, _):
        self.stack.append(self._persistent(self.stack.pop()))

    def _op_reduce(self, _):
        arguments, function = self.stack.pop(), self.stack.pop()
        known = isinstance(function, Global) and isinstance(arguments, tuple)
        self.stack.append(self._call(function.name, arguments) if known else Unknown(_name(function)))

    def _op_build(self, _):
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Pending):
            target.build(state)
        elif isinstance(target, Unknown) and isinstance(state, dict):
            self.stack[-1] = Unknown(target.name, tuple(map(str, state)))
        # All else are attributes that nobody needs, such as the layer versions that a state_dict carries.

    _op_newobj = _op_reduce

    def _op_newobj_ex(self, _):
        self.stack.pop()
        self._op_newobj(_)

    def _op_obj(self, _):
        items = self._since_mark()
        self.stack.append(Unknown(_name(items[0])))

    def _op_inst(self, argument):
        self._since_mark()
        self.stack.append(Unknown(".".join(argument.split(" "))))


def _nothing_outside(identifier):
    raise ValueError("the pickle names something outside of it")


def _name(value):
    return value.name if isinstance(value, (Global, Unknown)) else type(value).__name__
