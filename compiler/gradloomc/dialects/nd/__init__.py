"""The `nd` dialect: whole arrays with value semantics. Every op is one record, which is also its constructor.

Broadcasts and conversions are explicit ops. Differentiation happens on this level and only here.
"""

from gradloomc.dialects.nd.arithmetic import (
    abs_ as abs_,
)
from gradloomc.dialects.nd.arithmetic import (
    add as add,
)
from gradloomc.dialects.nd.arithmetic import (
    bitwise_and as bitwise_and,
)
from gradloomc.dialects.nd.arithmetic import (
    bitwise_or as bitwise_or,
)
from gradloomc.dialects.nd.arithmetic import (
    bitwise_xor as bitwise_xor,
)
from gradloomc.dialects.nd.arithmetic import (
    ceil as ceil,
)
from gradloomc.dialects.nd.arithmetic import (
    clip as clip,
)
from gradloomc.dialects.nd.arithmetic import (
    copysign as copysign,
)
from gradloomc.dialects.nd.arithmetic import (
    div as div,
)
from gradloomc.dialects.nd.arithmetic import (
    floor as floor,
)
from gradloomc.dialects.nd.arithmetic import (
    floor_divide as floor_divide,
)
from gradloomc.dialects.nd.arithmetic import (
    fmax as fmax,
)
from gradloomc.dialects.nd.arithmetic import (
    fmin as fmin,
)
from gradloomc.dialects.nd.arithmetic import (
    fmod as fmod,
)
from gradloomc.dialects.nd.arithmetic import (
    heaviside as heaviside,
)
from gradloomc.dialects.nd.arithmetic import (
    invert as invert,
)
from gradloomc.dialects.nd.arithmetic import (
    left_shift as left_shift,
)
from gradloomc.dialects.nd.arithmetic import (
    maximum as maximum,
)
from gradloomc.dialects.nd.arithmetic import (
    minimum as minimum,
)
from gradloomc.dialects.nd.arithmetic import (
    mul as mul,
)
from gradloomc.dialects.nd.arithmetic import (
    mul_no_nan as mul_no_nan,
)
from gradloomc.dialects.nd.arithmetic import (
    neg as neg,
)
from gradloomc.dialects.nd.arithmetic import (
    nextafter as nextafter,
)
from gradloomc.dialects.nd.arithmetic import (
    reciprocal as reciprocal,
)
from gradloomc.dialects.nd.arithmetic import (
    remainder as remainder,
)
from gradloomc.dialects.nd.arithmetic import (
    right_shift as right_shift,
)
from gradloomc.dialects.nd.arithmetic import (
    rint as rint,
)
from gradloomc.dialects.nd.arithmetic import (
    sign as sign,
)
from gradloomc.dialects.nd.arithmetic import (
    square as square,
)
from gradloomc.dialects.nd.arithmetic import (
    sub as sub,
)
from gradloomc.dialects.nd.arithmetic import (
    trunc as trunc,
)
from gradloomc.dialects.nd.families import (
    constant as constant,
)
from gradloomc.dialects.nd.families import (
    constant_of as constant_of,
)
from gradloomc.dialects.nd.families import (
    extent as extent,
)
from gradloomc.dialects.nd.families import (
    ones_like as ones_like,
)
from gradloomc.dialects.nd.families import (
    splat as splat,
)
from gradloomc.dialects.nd.families import (
    splat_extent as splat_extent,
)
from gradloomc.dialects.nd.families import (
    splat_of as splat_of,
)
from gradloomc.dialects.nd.families import (
    zeros_like as zeros_like,
)
from gradloomc.dialects.nd.functions import (
    arccos as arccos,
)
from gradloomc.dialects.nd.functions import (
    arccosh as arccosh,
)
from gradloomc.dialects.nd.functions import (
    arcsin as arcsin,
)
from gradloomc.dialects.nd.functions import (
    arcsinh as arcsinh,
)
from gradloomc.dialects.nd.functions import (
    arctan as arctan,
)
from gradloomc.dialects.nd.functions import (
    arctan2 as arctan2,
)
from gradloomc.dialects.nd.functions import (
    arctanh as arctanh,
)
from gradloomc.dialects.nd.functions import (
    cbrt as cbrt,
)
from gradloomc.dialects.nd.functions import (
    cos as cos,
)
from gradloomc.dialects.nd.functions import (
    cosh as cosh,
)
from gradloomc.dialects.nd.functions import (
    erf as erf,
)
from gradloomc.dialects.nd.functions import (
    erfc as erfc,
)
from gradloomc.dialects.nd.functions import (
    exp as exp,
)
from gradloomc.dialects.nd.functions import (
    exp2 as exp2,
)
from gradloomc.dialects.nd.functions import (
    expm1 as expm1,
)
from gradloomc.dialects.nd.functions import (
    hypot as hypot,
)
from gradloomc.dialects.nd.functions import (
    log as log,
)
from gradloomc.dialects.nd.functions import (
    log1p as log1p,
)
from gradloomc.dialects.nd.functions import (
    log2 as log2,
)
from gradloomc.dialects.nd.functions import (
    log10 as log10,
)
from gradloomc.dialects.nd.functions import (
    logaddexp as logaddexp,
)
from gradloomc.dialects.nd.functions import (
    logaddexp2 as logaddexp2,
)
from gradloomc.dialects.nd.functions import (
    logit as logit,
)
from gradloomc.dialects.nd.functions import (
    power as power,
)
from gradloomc.dialects.nd.functions import (
    sigmoid as sigmoid,
)
from gradloomc.dialects.nd.functions import (
    sin as sin,
)
from gradloomc.dialects.nd.functions import (
    sinh as sinh,
)
from gradloomc.dialects.nd.functions import (
    sqrt as sqrt,
)
from gradloomc.dialects.nd.functions import (
    tan as tan,
)
from gradloomc.dialects.nd.functions import (
    tanh as tanh,
)
from gradloomc.dialects.nd.functions import (
    xlog1py as xlog1py,
)
from gradloomc.dialects.nd.functions import (
    xlogy as xlogy,
)
from gradloomc.dialects.nd.indexing import (
    gather as gather,
)
from gradloomc.dialects.nd.indexing import (
    last_writer as last_writer,
)
from gradloomc.dialects.nd.indexing import (
    other_axes as other_axes,
)
from gradloomc.dialects.nd.indexing import (
    scatter_add as scatter_add,
)
from gradloomc.dialects.nd.linalg import (
    solve as solve,
)
from gradloomc.dialects.nd.logic import (
    convert as convert,
)
from gradloomc.dialects.nd.logic import (
    eq as eq,
)
from gradloomc.dialects.nd.logic import (
    ge as ge,
)
from gradloomc.dialects.nd.logic import (
    gt as gt,
)
from gradloomc.dialects.nd.logic import (
    isfinite as isfinite,
)
from gradloomc.dialects.nd.logic import (
    isinf as isinf,
)
from gradloomc.dialects.nd.logic import (
    isnan as isnan,
)
from gradloomc.dialects.nd.logic import (
    le as le,
)
from gradloomc.dialects.nd.logic import (
    logical_and as logical_and,
)
from gradloomc.dialects.nd.logic import (
    logical_not as logical_not,
)
from gradloomc.dialects.nd.logic import (
    logical_or as logical_or,
)
from gradloomc.dialects.nd.logic import (
    logical_xor as logical_xor,
)
from gradloomc.dialects.nd.logic import (
    lt as lt,
)
from gradloomc.dialects.nd.logic import (
    ne as ne,
)
from gradloomc.dialects.nd.logic import (
    select as select,
)
from gradloomc.dialects.nd.logic import (
    signbit as signbit,
)
from gradloomc.dialects.nd.logic import (
    stop_gradient as stop_gradient,
)
from gradloomc.dialects.nd.movement import (
    broadcast as broadcast,
)
from gradloomc.dialects.nd.movement import (
    broadcast_to as broadcast_to,
)
from gradloomc.dialects.nd.movement import (
    concatenate as concatenate,
)
from gradloomc.dialects.nd.movement import (
    pad as pad,
)
from gradloomc.dialects.nd.movement import (
    reshape as reshape,
)
from gradloomc.dialects.nd.movement import (
    reverse as reverse,
)
from gradloomc.dialects.nd.movement import (
    slice_ as slice_,
)
from gradloomc.dialects.nd.movement import (
    transpose as transpose,
)
from gradloomc.dialects.nd.product import (
    dot as dot,
)
from gradloomc.dialects.nd.reduction import (
    argmax as argmax,
)
from gradloomc.dialects.nd.reduction import (
    argmin as argmin,
)
from gradloomc.dialects.nd.reduction import (
    cumsum as cumsum,
)
from gradloomc.dialects.nd.reduction import (
    iota as iota,
)
from gradloomc.dialects.nd.reduction import (
    kept_axes as kept_axes,
)
from gradloomc.dialects.nd.reduction import (
    reduce_all as reduce_all,
)
from gradloomc.dialects.nd.reduction import (
    reduce_any as reduce_any,
)
from gradloomc.dialects.nd.reduction import (
    reduce_max as reduce_max,
)
from gradloomc.dialects.nd.reduction import (
    reduce_min as reduce_min,
)
from gradloomc.dialects.nd.reduction import (
    reduce_prod as reduce_prod,
)
from gradloomc.dialects.nd.reduction import (
    reduce_sum as reduce_sum,
)
from gradloomc.dialects.nd.reduction import (
    spread as spread,
)
