"""What the kernels on the CPU ask of the compiler beyond loops: exp and 1 / x as vectors, transposed blocks.

All is plain LLVM IR, which becomes the vectors that a processor has. Importing this module compiles nothing.

Sources:
    LLVM Language Reference, https://llvm.org/docs/LangRef.html: fast-math flags (`contract`, `nsz`), the
        instructions shufflevector, bitcast and load with their alignment, the intrinsic llvm.prefetch.
    Clang command line reference, https://clang.llvm.org/docs/ClangCommandLineReference.html:
        -mprefer-vector-width, which is the function attribute "prefer-vector-width".
    Intel Intrinsics Guide, https://www.intel.com/content/www/us/en/docs/intrinsics-guide/: what the shuffles
        become, named where they are made.
    W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980): the exponential.
    J. F. Blinn, Floating-Point Tricks, IEEE Computer Graphics and Applications 17(4), 1997: the inverse.
    Intel, BFLOAT16 Hardware Numerics Definition (2018): rounding to the nearest, ties to even.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

# Products and sums may be fused and zeros lose their sign; infinities and NaN keep their meaning.
MATHS = frozenset({"contract", "nsz"})
# Numba's own inlining, before LLVM's, makes compiling many times longer.
INLINED = {"forceinline": True, "fastmath": set(MATHS), "error_model": "numpy"}
# Rows and columns of the block that `turn_in` and `turn_out` move at once.
ROWS, COLUMNS = 16, 4

_LOG2E = np.float32(1.4426950408889634)
_LN2 = np.float32(0.6931471805599453)
# Adding 1.5·2^23 rounds a float32 to a whole number k, and leaves k + 127, an exponent's bits, lowest.
_ROUND = np.float32(12582912 + 127)
# Minimax on ±ln 2 / 2: off by 1.1e-7 at most, an exponential's own rounding being 0.6e-7.
_C2, _C3, _C4, _C5 = (np.float32(c) for c in (0.49999232, 0.16667115, 0.04189012, 0.00831252))
# With this the inverse below ends up 0.7e-7 off at most, float32's own rounding being 0.6e-7.
_INVERSE = np.int32(0x7EF3D000)


def exp(x):
    """Return e^x for x in ±87 (float32) as arithmetic that LLVM turns into vector code; NaN stays NaN.

    e^x = 2^k·e^r with k = x·log2(e) rounded and r = x - k·ln 2 (Cody and Waite); e^r is a polynomial, and
    2^k is made of k's bits.
    """
    return math.exp(x)


@overload(exp, jit_options=INLINED)
def _exp_of_its_type(x):
    if x != types.float32:
        return lambda x: math.exp(x)
    one = np.float32(1)

    def exp32(x):
        shifted = np.float32(x * _LOG2E + _ROUND)
        r = x - (shifted - _ROUND) * _LN2
        power = np.int32(shifted.view(np.int32) << np.int32(23))
        return (one + r * (one + r * (_C2 + r * (_C3 + r * (_C4 + r * _C5))))) * power.view(np.float32)

    return exp32


def reciprocal(x):
    """Return 1 / x for x from 1 to 2^118 (float32); a third of the time that dividing vectors takes.

    A first guess from the bits (Blinn), then y·(1 + e + e²) and y·(1 + e) with e = 1 - x·y, the residual.
    """
    return 1 / x


@overload(reciprocal, jit_options=INLINED)
def _reciprocal_of_its_type(x):
    if x != types.float32:
        return lambda x: 1 / x
    one = np.float32(1)

    def reciprocal32(x):
        # Taking a float's bits from a constant inverts its exponent; the mantissa is then 12% off at most.
        y = np.int32(_INVERSE - np.float32(x).view(np.int32)).view(np.float32)
        error = one - x * y
        y = y + y * (error + error * error)
        return y + y * (one - x * y)

    return reciprocal32


def widen(value):
    """Return a number from an array as the carry has it; 16 bits are a bfloat16's."""
    return value


@overload(widen, jit_options=INLINED)
def _widen_from_its_type(value):
    if value == types.uint16:
        return lambda value: np.int32(np.int32(value) << np.int32(16)).view(np.float32)
    return lambda value: value


def narrow(value, array):
    """Return a number of the carry as the array keeps it, rounded to the nearest bfloat16 for 16 bits."""
    return value.astype(array.dtype)


@overload(narrow, jit_options=INLINED)
def _narrow_to_its_type(value, array):  # noqa: ARG001
    if array.dtype != types.uint16:
        return lambda value, array: value  # noqa: ARG005

    def round16(value, array):  # noqa: ARG001
        bits = np.float32(value).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        rounded = np.uint32(bits + np.uint32(0x7FFF) + odd)
        # Rounding could carry a NaN over into a number.
        return np.uint16((rounded if value == value else np.uint32(0x7FC00000)) >> np.uint32(16))

    return round16


@intrinsic
def prefetch(_typing, array, offset):  # noqa: ARG001
    """Ask for the cache line of the array's element `offset`, counted through all; past its end is safe.

    llvm.prefetch for reading (0) data (1) with locality 2: `_mm_prefetch(place, _MM_HINT_T1)`.
    """

    def generate(context, builder, signature, arguments):
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(_place(context, builder, signature.args[0], *arguments), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(ask, [place, word(0), word(2), word(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


@intrinsic
def wide_vectors(_typing):
    """Let the loops of the function that calls this use vectors as wide as the processor has.

    LLVM halves them by default on processors that once clocked down for AVX-512.
    """

    def generate(context, builder, _signature, _arguments):
        # llvmlite refuses attributes with a value, which it does not know; LLVM accepts them.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def turn_in(_typing, source, start, stride, target, target_start, target_stride):  # noqa: ARG001
    """Copy 16 rows of 4 columns, `stride` elements apart, into 4 rows of 16: target is source transposed.

    Arrays are contiguous, places are elements counted through all dimensions; nothing is checked.
    """

    def generate(context, builder, signature, arguments):
        source, start, stride, target, target_start, target_stride = arguments
        kind, target_kind = signature.args[0], signature.args[3]
        rows = [
            _load(context, builder, kind, source, _step(builder, start, stride, n), COLUMNS)
            for n in range(ROWS)
        ]
        # Lane q of vector r is row 4q + r, so that lanes need turning only within themselves.
        lanes = [_widen(builder, _join(builder, rows[r::4])) for r in range(4)]
        for n, line in enumerate(_turn_lanes(builder, lanes)):
            place = _step(builder, target_start, target_stride, n)
            _store(context, builder, target_kind, target, place, line)
        return context.get_dummy_value()

    return types.none(source, types.intp, types.intp, target, types.intp, types.intp), generate


@intrinsic
def turn_out(_typing, source, start, stride, target, target_start, target_stride):  # noqa: ARG001
    """Copy 4 rows of 16 columns into 16 rows of 4: the inverse of `turn_in`."""

    def generate(context, builder, signature, arguments):
        source, start, stride, target, target_start, target_stride = arguments
        kind, target_kind = signature.args[0], signature.args[3]
        lines = [
            _load(context, builder, kind, source, _step(builder, start, stride, n), ROWS)
            for n in range(COLUMNS)
        ]
        narrow = _narrow if target_kind.dtype == types.uint16 else lambda _builder, vector: vector
        for r, lane in enumerate(narrow(builder, turned) for turned in _turn_lanes(builder, lines)):
            for q in range(4):
                row = builder.shuffle_vector(lane, lane, _constant(range(4 * q, 4 * q + 4)))
                place = _step(builder, target_start, target_stride, 4 * q + r)
                _store(context, builder, target_kind, target, place, row)
        return context.get_dummy_value()

    return types.none(source, types.intp, types.intp, target, types.intp, types.intp), generate


def _place(context, builder, kind, array, offset):
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def _step(builder, start, stride, n):
    return builder.add(start, builder.mul(stride, ir.Constant(stride.type, n)))


def _load(context, builder, kind, array, offset, count):
    """Return `count` elements of an array of floats from `offset` on."""
    element = context.get_data_type(kind.dtype)
    place = _place(context, builder, kind, array, offset)
    vector = builder.load(builder.bitcast(place, ir.VectorType(element, count).as_pointer()))
    vector.align = kind.dtype.bitwidth // 8
    return vector


def _store(context, builder, kind, array, offset, vector):
    place = _place(context, builder, kind, array, offset)
    stored = builder.store(vector, builder.bitcast(place, vector.type.as_pointer()))
    stored.align = kind.dtype.bitwidth // 8


def _widen(builder, vector):
    """Return a vector of bfloat16's bits as float32, any other as it is."""
    if vector.type.element != ir.IntType(16):
        return vector
    words = builder.zext(vector, ir.VectorType(ir.IntType(32), vector.type.count))
    return builder.bitcast(builder.shl(words, _splat(words, 16)), _floats(vector))


def _narrow(builder, vector):
    """Return a vector of float32 as the bits of the nearest bfloat16."""
    bits = builder.bitcast(vector, ir.VectorType(ir.IntType(32), vector.type.count))
    odd = builder.and_(builder.lshr(bits, _splat(bits, 16)), _splat(bits, 1))
    rounded = builder.add(builder.add(bits, _splat(bits, 0x7FFF)), odd)
    number = builder.fcmp_ordered("==", vector, vector)
    kept = builder.lshr(builder.select(number, rounded, _splat(bits, 0x7FC00000)), _splat(bits, 16))
    return builder.trunc(kept, ir.VectorType(ir.IntType(16), vector.type.count))


def _splat(vector, number):
    return ir.Constant(vector.type, [number] * vector.type.count)


def _floats(vector):
    return ir.VectorType(ir.FloatType(), vector.type.count)


def _join(builder, vectors):
    """Return vectors one after another as one."""
    while len(vectors) > 1:
        whole = _constant(range(2 * vectors[0].type.count))
        vectors = [
            builder.shuffle_vector(a, b, whole) for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


def _turn_lanes(builder, vectors):
    """Transpose the 4×4 that each quarter of four vectors of 16 holds.

    The shuffles are `_mm512_unpacklo_ps`, `_mm512_unpackhi_ps` for the pairs, and `_mm512_unpacklo_pd`,
    `_mm512_unpackhi_pd` on them: what `_MM_TRANSPOSE4_PS` does, within each quarter.
    """

    def mix(a, b, order):
        lanes = range(0, 16, 4)
        return builder.shuffle_vector(
            a, b, _constant(lane + n % 4 + n // 4 * 16 for lane in lanes for n in order)
        )

    a, b, c, d = vectors
    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
    first, second = (0, 1, 4, 5), (2, 3, 6, 7)
    pairs = [(mix(a, b, half), mix(c, d, half)) for half in (low, high)]
    return [mix(*pair, half) for pair in pairs for half in (first, second)]


def _constant(numbers):
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)
