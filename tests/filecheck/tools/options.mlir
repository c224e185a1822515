// What gradloom-opt prints besides the module.
// RUN: gradloom-opt %s --loc | FileCheck %s --check-prefix=LOC
// RUN: gradloom-opt %s --loc | gradloom-opt - --loc | FileCheck %s --check-prefix=LOC
// RUN: gradloom-opt %s -p cse,dce --print-after=change 2>&1 | FileCheck %s --check-prefix=CHANGE
// RUN: gradloom-opt %s -p cse,dce --print-after=dce 2>&1 | FileCheck %s --check-prefix=AFTER
// RUN: gradloom-opt %s -p cse,dce --timing 2>&1 | FileCheck %s --check-prefix=TIMING
// RUN: not gradloom-opt %s -p cse,dcee 2>&1 | FileCheck %s --check-prefix=PASS
// RUN: not gradloom-opt --none 2>&1 | FileCheck %s --check-prefix=USAGE
// RUN: not gradloom-opt 2>&1 | FileCheck %s --check-prefix=INPUT
// RUN: not gradloom-opt missing.mlir 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: gradloom-opt --list-passes | FileCheck %s --check-prefix=PASSES
// RUN: gradloom-opt --list-ops | FileCheck %s --check-prefix=OPS
// RUN: gradloom-opt --help | FileCheck %s --check-prefix=HELP

func.func @f(%x: tensor<3xf64>) -> tensor<3xf64> {
  %0 = nd.sin %x : tensor<3xf64>
  %1 = nd.sin %x : tensor<3xf64>
  func.return %0 : tensor<3xf64>
}

// LOC: %0 = nd.sin %x : tensor<3xf64> loc("{{.*}}options.mlir":16:8)
// LOC: } loc("{{.*}}options.mlir":15:1)

// CHANGE: --- before cse
// CHANGE-NEXT: +++ after cse
// CHANGE: - {{ *}}%1 = nd.sin %x
// CHANGE: // dce changed nothing

// AFTER: // after dce
// AFTER-NEXT: func.func @f

// TIMING: pass ms share ops
// TIMING-NEXT: cse {{.*}}% 4 -> 3
// TIMING-NEXT: dce {{.*}}% 3
// TIMING-NEXT: total

// PASS: pipeline:1:5: error: unknown pass 'dcee'
// PASS-NEXT: 1 | cse,dcee
// PASS-NEXT: | {{\^\^\^\^}}
// PASS-NEXT: help: did you mean dce?

// USAGE: error: unrecognized arguments: --none
// INPUT: no input file; '-' reads the standard input
// MISSING: cannot read 'missing.mlir'
// PASSES: cse Compute what is computed several times only once.
// OPS: nd.reduce_sum {axes}
// HELP: usage: gradloom-opt
