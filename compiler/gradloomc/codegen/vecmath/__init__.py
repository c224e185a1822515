"""Vector math: elementary functions as branch-free LLVM IR, for every width of f32 and f64."""
from gradloomc.codegen.vecmath.exp import emit_exp, emit_exp2, emit_expm1, emit_sigmoid
from gradloomc.codegen.vecmath.log import emit_log, emit_log1p, emit_log2, emit_log10, emit_logaddexp
from gradloomc.codegen.vecmath.trig import emit_cos, emit_sin, emit_tan
FUNCTIONS = {"exp": emit_exp, "exp2": emit_exp2, "expm1": emit_expm1, "sigmoid": emit_sigmoid, "log": emit_log, "log1p": emit_log1p, "log2": emit_log2, "log10": emit_log10, "logaddexp": emit_logaddexp, "sin": emit_sin, "cos": emit_cos, "tan": emit_tan}
