"""A reader for pickles that are not trusted: it makes numbers, text, containers and descriptions.

A pickle is a program for a machine with a stack (the standard library's ``pickletools`` lists its
opcodes). Python's own machine imports and calls whatever the program names. This machine imports
and calls nothing: a name is only compared with the lists below. Tensors become descriptions of
where their numbers are, a few classes that programs leave in checkpoints become empty stand-ins,
and every other name refuses the file. Each step counts, so that a short program cannot work long.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

STEP_LIMIT = 2_000_000  # a tensor takes about 35; an optimizer has up to three for each weight
RANK_LIMIT = 8
_LARGEST = 2**62


class NotHarmless(ValueError):
    """The pickle is damaged, or more than weights; the text says why, after "FILE is a pickle"."""


class Stream(Protocol):
    """What a pickle is read from."""

    def read(self, count: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in the file that one or more tensors look at."""

    key: str
    dtype: str  # safetensors' code; "" for bytes without a type
    count: int  # of elements
    start: int = 0  # the first element that is meant; not 0 only in old files


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a pickle describes it: a view of a storage. Offset and strides are elements."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Inert:
    """What stands for an object or class of another program. It has its name and nothing else."""

    name: str


_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128", "UntypedStorage": "",
}  # fmt: skip
_DTYPES = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16",
    "half": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16", "short": "I16",
    "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "complex64": "C64", "complex128": "C128",
}  # fmt: skip
_STORAGE_NAMES = {
    f"{module}.{name}": code
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, code in _STORAGES.items()
}
_DTYPE_NAMES = {f"torch.{name}": code for name, code in _DTYPES.items()}

# What training programs leave in checkpoints beside the weights: settings, counters, callbacks.
_INERT = frozenset(
    {
        "_codecs.encode",  # bytes, as Python 3 writes them for Python 2
        "argparse.Namespace",
        "collections.Counter", "collections.deque",
        "datetime.date", "datetime.datetime", "datetime.timedelta", "datetime.timezone",
        "easydict.EasyDict", "addict.addict.Dict", "types.SimpleNamespace", "typing.Any",
        "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
        "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
        "builtins.bool", "builtins.bytearray", "builtins.bytes", "builtins.complex",
        "builtins.float", "builtins.int", "builtins.long", "builtins.object", "builtins.slice",
        "builtins.str",
        "numpy.dtype", "numpy.ndarray",
        "numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
        "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.strided",
        "torch.serialization._get_layout", "torch.torch_version.TorchVersion",
        "diffusers.configuration_utils.FrozenDict",
    }
    | _STORAGE_NAMES.keys() | _DTYPE_NAMES.keys()
)  # fmt: skip
_INERT_PACKAGES = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "torchmetrics.",
    "torch.nn.", "torch.optim.",  # losses and optimizers among the settings of a training
)  # fmt: skip


class _Machine:
    """The stack, the marks on it and the memo of a pickle that is being read."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.steps = 0

    def run(self, stream: Stream) -> Any:
        name = ""
        while name != "STOP":
            self.count(1)
            code = stream.read(1)
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise NotHarmless(
                    f"with the instruction {code!a}, which torch never writes"
                    if code
                    else "that is cut: it does not end"
                )
            name = opcode.name
            argument = opcode.arg.reader(stream) if opcode.arg else None  # type: ignore[arg-type]
            _ACTS[name](self, argument)
        if len(self.stack) != 1 or self.marks:
            raise NotHarmless("that is damaged: it ends in the middle of an object")
        return self.stack.pop()

    def count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > STEP_LIMIT:
            raise NotHarmless(f"of more than {STEP_LIMIT:,} instructions")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise NotHarmless("that is damaged: it takes what is not there")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise NotHarmless("that is damaged: it takes what is not there")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self) -> Any:
        self.push(value := self.pop())
        return value


def unpickled(stream: Stream) -> tuple[Any, dict[str, Storage]]:
    """Return what a pickle describes, and all storages by key; ``stream`` is then right behind it.

    What is described consists of None, bool, int, float, str, bytes, dict, list and tuple (sets are
    lists), `StoredTensor` and `Inert`. Containers may contain themselves. Raises `NotHarmless`.
    """
    machine = _Machine()
    try:
        return machine.run(stream), machine.storages
    except NotHarmless:
        raise
    except (ValueError, OverflowError) as error:  # from the reader of the instructions
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotHarmless(f"that is damaged: {reason[:100]!a}") from None


# ----------------------------------------------------------------------------- names and calls


def _named(machine: _Machine, argument: Any) -> None:
    """GLOBAL: the name of a class or function."""
    module, _, name = argument.partition(" ")
    machine.push(_known(f"{module}.{name}"))


def _instance(machine: _Machine, argument: Any) -> None:
    """INST: a call of a class, in protocol 0."""
    _named(machine, argument)
    raise NotHarmless("with the instruction INST, which torch never writes")


def _stack_named(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise NotHarmless("that is damaged: a name is no text")
    machine.push(_known(f"{module}.{name}"))


def _known(name: str) -> Inert:
    name = name.replace("__builtin__.", "builtins.", 1).replace("copy_reg.", "copyreg.", 1)
    if name not in _MAKERS and name not in _INERT and not name.startswith(_INERT_PACKAGES):
        raise NotHarmless(f"that names {shown(name)}, which no file of weights needs")
    return Inert(name)


def shown(name: str) -> str:
    """Return a name for messages: printable ASCII, short."""
    text = ascii(name[:100])
    return text if len(name) <= 100 else f"{text[:-1]}...'"


def _call(machine: _Machine, _: Any) -> None:
    """REDUCE and NEWOBJ: a call of a named function or class."""
    arguments, called = machine.pop(), machine.pop()
    machine.push(_made(machine, called, arguments))


def _call_with_names(machine: _Machine, _: Any) -> None:
    machine.pop()  # arguments by name; no class that is known takes any
    _call(machine, None)


def _made(machine: _Machine, called: Any, arguments: Any) -> Any:
    if not isinstance(called, Inert) or not isinstance(arguments, tuple):
        raise NotHarmless("that is damaged: it calls what is no function")
    make = _MAKERS.get(called.name)
    return Inert(called.name) if make is None else make(machine, *_padded(arguments))


def _padded(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Eight arguments, which is more than any maker reads."""
    return (*arguments[:8], *(None,) * (8 - len(arguments)))


def _state(machine: _Machine, _: Any) -> None:
    """BUILD: the attributes of an object. Only those of a ParameterDict hold weights."""
    state, made = machine.pop(), machine.top()
    if isinstance(made, dict):
        inside = state.get("_parameters") if isinstance(state, dict) else None
        if isinstance(inside, dict):
            machine.count(len(inside))
            made.update(inside)
    elif not isinstance(made, (Inert, StoredTensor, list)):
        raise NotHarmless("that is damaged: it gives attributes to what has none")


def _persistent(machine: _Machine, _: Any) -> None:
    """BINPERSID: a storage, by the key of its numbers in the file."""
    match machine.pop():
        case ("storage", Inert(kind), str(key), _, int(count), *view) if kind in _STORAGE_NAMES:
            start = 0
            match view:
                case [] | [None]:
                    pass
                case [(_, int(start), int(length))] if 0 <= start <= start + length <= count:
                    pass
                case _:
                    raise NotHarmless("that is damaged: a view of a storage leaves it")
            if not 0 <= count <= _LARGEST:
                raise NotHarmless(f"that is damaged: a storage of {count} numbers")
            storage = Storage(key, _STORAGE_NAMES[kind], count, start)
            machine.storages[key] = storage
            machine.push(storage)
        case ("module", Inert() as kind, *_):  # a class, with its source, in old files
            machine.push(kind)
        case _:
            raise NotHarmless("with a persistent id that is no storage of torch")


# ------------------------------------------------------------------------------- what is made


def _tensor(
    machine: _Machine, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any
) -> StoredTensor:
    """``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)``."""
    notes = more[2]
    if isinstance(notes, dict) and any(notes.get(flag) is True for flag in ("conj", "neg")):
        raise NotHarmless("with a tensor that is stored negated or conjugated")
    if not isinstance(storage, Storage):
        raise NotHarmless("with a tensor that has no storage")
    return _viewed(storage, storage.dtype or "U8", offset, shape, strides)


def _typed_tensor(
    machine: _Machine, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any
) -> StoredTensor:
    """``_rebuild_tensor_v3``, which has the type after the hooks: for types without a storage."""
    dtype = _DTYPE_NAMES.get(more[2].name) if isinstance(more[2], Inert) else None
    if not isinstance(storage, Storage) or storage.dtype or dtype is None:
        raise NotHarmless("with a tensor that has no type or storage")
    return _viewed(storage, dtype, offset, shape, strides)


def _viewed(storage: Storage, dtype: str, offset: Any, shape: Any, strides: Any) -> StoredTensor:
    numbers = [offset]
    for dimensions in (shape, strides):
        if not isinstance(dimensions, tuple) or len(dimensions) > RANK_LIMIT:
            raise NotHarmless("with a tensor of an impossible shape")
        numbers += dimensions
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in numbers) or len(shape) != len(
        strides
    ):
        raise NotHarmless("with a tensor of an impossible shape")
    return StoredTensor(storage, dtype, shape, strides, storage.start + offset)


def _parameter(machine: _Machine, tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise NotHarmless("that is damaged: a parameter is no tensor")
    return tensor


def _of_subclass(machine: _Machine, make: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """``_rebuild_from_type_v2(function, type, arguments, state)``: a tensor with attributes."""
    if kind not in (Inert("torch.Tensor"), Inert("torch.nn.parameter.Parameter")):
        raise NotHarmless("with a tensor of an unknown class")
    if not isinstance(make, Inert) or not make.name.startswith("torch._utils._rebuild_"):
        raise NotHarmless("that is damaged: it calls what is no function")
    return _made(machine, make, arguments)


def _dict(machine: _Machine, pairs: Any, *_: Any) -> dict[Any, Any]:
    """A dict, an OrderedDict (Python 2 gives it a list of pairs), a ParameterDict."""
    made: dict[Any, Any] = {}
    if isinstance(pairs, dict):
        machine.count(len(pairs))
        made.update(pairs)
    elif isinstance(pairs, (list, tuple)):
        machine.count(len(pairs))
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise NotHarmless("that is damaged: a dict of what are no pairs")
            made[_key(pair[0])] = pair[1]
    elif pairs is not None:
        raise NotHarmless("that is damaged: a dict of what are no pairs")
    return made


def _default_dict(machine: _Machine, factory: Any, pairs: Any, *_: Any) -> dict[Any, Any]:
    return _dict(machine, pairs)


def _list(machine: _Machine, items: Any, *_: Any) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        if items is not None:
            raise NotHarmless("that is damaged: a list of what is none")
        return []
    machine.count(len(items))
    return list(items)


def _size(machine: _Machine, items: Any, *_: Any) -> tuple[Any, ...]:
    return tuple(_list(machine, items))


def _object(machine: _Machine, kind: Any, *_: Any) -> Any:
    """``copyreg._reconstructor(class, base, state)``: an object without attributes."""
    return _made(machine, kind, ())


_MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch.Size": _size,
    "torch.nn.modules.container.ParameterDict": _dict,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
    "builtins.dict": _dict,
    "builtins.list": _list,
    "builtins.set": _list,
    "builtins.frozenset": _list,
    "builtins.tuple": _size,
    "copyreg._reconstructor": _object,
}


# --------------------------------------------------------------------------------- containers


def _key(value: Any) -> Any:
    """Return a key of a dict. Large numbers and nested tuples could make looking it up slow."""
    if type(value) is tuple and len(value) <= RANK_LIMIT:
        for each in value:
            if type(each) is tuple:
                raise NotHarmless("with a dict whose keys are nested")
            _key(each)
        return value
    small = type(value) is int and abs(value) < 2**60
    if small or value is None or isinstance(value, (str, bool, float, bytes, Inert)):
        return value
    raise NotHarmless(f"with a dict whose keys are no names ({type(value).__name__})")


def _append(machine: _Machine, items: list[Any]) -> None:
    into = machine.top()
    if isinstance(into, list):
        into.extend(items)
    elif not isinstance(into, Inert):
        raise NotHarmless("that is damaged: it appends to what is no list")


def _set(machine: _Machine, items: list[Any]) -> None:
    into = machine.top()
    if isinstance(into, dict) and len(items) % 2 == 0:
        into.update({_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)})
    elif not isinstance(into, Inert):
        raise NotHarmless("that is damaged: it sets items of what is no dict")


def _set_one(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set(machine, [key, value])


def _new_dict(machine: _Machine, _: Any) -> None:
    items = machine.pop_to_mark()
    machine.push({})
    _set(machine, items)


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def act(machine: _Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(items)))

    return act


def _remember(machine: _Machine, number: Any) -> None:
    machine.memo[len(machine.memo) if number is None else number] = machine.top()


def _recall(machine: _Machine, number: Any) -> None:
    if number not in machine.memo:
        raise NotHarmless("that is damaged: it recalls what it never kept")
    machine.push(machine.memo[number])


def _drop(machine: _Machine, _: Any) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.pop()


def _drop_to_mark(machine: _Machine, _: Any) -> None:
    machine.pop_to_mark()


def _value(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _nothing(machine: _Machine, _: Any) -> None:
    pass


# The instructions of protocols 2 to 5 as torch writes them. OBJ, EXT1 to 4, PERSID, numbers in text
# and buffers outside of the pickle are not among them; INST is only there to say what it names.
_ACTS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "STOP": _nothing,
    "NONE": _value,
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(
        (
            "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
            "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
            "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        ),
        _value,
    ),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "FROZENSET": lambda machine, _: machine.push(machine.pop_to_mark()),
    "DICT": _new_dict,
    "APPEND": lambda machine, _: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.pop_to_mark()),
    "SETITEM": _set_one,
    "SETITEMS": lambda machine, _: _set(machine, machine.pop_to_mark()),
    "POP": _drop,
    "POP_MARK": _drop_to_mark,
    "DUP": lambda machine, _: machine.push(machine.top()),
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "GLOBAL": _named,
    "STACK_GLOBAL": _stack_named,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_names,
    "BUILD": _state,
    "BINPERSID": _persistent,
    "INST": _instance,
}  # fmt: skip
_OPCODES = {op.code.encode("latin-1"): op for op in pickletools.opcodes if op.name in _ACTS}
