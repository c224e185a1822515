// Elements that integers of a point name: their text, and what their verifier asks for.
// RUN: gradloom-opt %s --split-input --verify-diagnostics | FileCheck %s
// RUN: gradloom-opt %s --split-input --verify-diagnostics --print-generic | gradloom-opt - --split-input | FileCheck %s

// CHECK-LABEL: func.func @move
func.func @move(%i: tensor<8xi64>, %x: tensor<5x2xf64>) -> tensor<5x2xf64> {
  // CHECK-NEXT: kernel.nest %i, %x
  // CHECK-SAME: outputs = {{\[\[}}"scatter_add", array<i64: -1, 1>, array<i64: 0, 0>, array<i64: 8, 2>]]
  %0 = kernel.nest %i, %x {extents = array<i64: 8, 2>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["scatter_add", array<i64: -1, 1>, array<i64: 0, 0>, array<i64: 8, 2>]],
    results = [tensor<5x2xf64>]} : (tensor<8xi64>, tensor<5x2xf64>) -> tensor<5x2xf64> {
  ^(%at: i64):
    // CHECK: %1 = kernel.gather %at {map = [array<i64: -2, 1, 0>, array<i64: 1, 1, 0>], operand = 1 : i64, type = f64} : (i64) -> f64
    %1 = kernel.gather %at {map = [array<i64: -2, 1, 0>, array<i64: 1, 1, 0>], operand = 1, type = f64} : (i64) -> f64
    // CHECK-NEXT: %2 = kernel.place %1, %at : (f64, i64) -> f64
    %2 = kernel.place %1, %at : (f64, i64) -> f64
    // CHECK-NEXT: kernel.yield %2 : f64
    kernel.yield %2 : f64
  }
  func.return %0 : tensor<5x2xf64>
}

// -----

// CHECK-LABEL: func.func @check
func.func @check(%low: tensor<i64>, %high: tensor<i64>) {
  // CHECK-NEXT: kernel.bounds %low, %high {axis = 0 : i64, extent = 5 : i64} : tensor<i64>
  kernel.bounds %low, %high {axis = 0, extent = 5} : (tensor<i64>, tensor<i64>) -> ()
  func.return
}

// -----

func.func @nowhere(%x: tensor<8xf64>) {
  // expected-error@+1 {{'kernel.nest' op cannot 'scatter_add' what it yields}}
  %0 = kernel.nest %x {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["scatter_add", array<i64: -1>, array<i64: 0>, array<i64: 8>]],
    results = [tensor<5xf64>]} : (tensor<8xf64>) -> tensor<5xf64> {
  ^(%e: f64):
    kernel.yield %e : f64
  }
  func.return
}

// -----

func.func @no_such_operand(%i: tensor<8xi64>) {
  // expected-error@+1 {{'kernel.gather' op picks from an operand that its nest does not have}}
  %0 = kernel.nest %i {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["store", array<i64: 0>, array<i64: 0>, array<i64: 8>]],
    results = [tensor<8xf64>]} : (tensor<8xi64>) -> tensor<8xf64> {
  ^(%at: i64):
    %1 = kernel.gather %at {map = [array<i64: -2, 1, 0>], operand = 1, type = f64} : (i64) -> f64
    kernel.yield %1 : f64
  }
  func.return
}
