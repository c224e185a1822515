// Fused iteration spaces: their text, and what their verifier asks for.
// RUN: gradloom-opt %s --split-input --verify-diagnostics | FileCheck %s
// RUN: gradloom-opt %s --split-input --verify-diagnostics --print-generic | gradloom-opt - --split-input | FileCheck %s

// CHECK-LABEL: func.func @shift
func.func @shift(%x: tensor<8xf64>) -> (tensor<8xf64>, tensor<f64>) {
  // CHECK-NEXT: %0, %1 = kernel.nest %x {extents = array<i64: 8>, inputs = {{\[\[}}0 : i64, [array<i64: 0, 1, 0>]]], outputs = {{.*}}, results = [tensor<8xf64>, tensor<f64>]} : (tensor<8xf64>) -> (tensor<8xf64>, tensor<f64>) {
  // CHECK-NEXT: ^(%e: f64):
  %0, %1 = kernel.nest %x {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["store", array<i64: 0>, array<i64: 0>, array<i64: 8>],
               ["add", array<i64>, array<i64: 1>, array<i64: 8>]],
    results = [tensor<8xf64>, tensor<f64>]} : (tensor<8xf64>) -> (tensor<8xf64>, tensor<f64>) {
  ^(%e: f64):
    // CHECK-NEXT: %2 = kernel.index {dim = 0 : i64} : i64
    %2 = kernel.index {dim = 0} : i64
    // CHECK-NEXT: %3 = kernel.inside {dim = 0 : i64, high = 8 : i64, low = 1 : i64} : i1
    %3 = kernel.inside {dim = 0, low = 1, high = 8} : i1
    // CHECK-NEXT: kernel.extent {value = 1000 : i64} : i64
    %n = kernel.extent {value = 1000} : i64
    // CHECK-NEXT: {{.*}} = arith.select %3, %e, %e : (i1, f64, f64) -> f64
    %4 = arith.select %3, %e, %e : (i1, f64, f64) -> f64
    // CHECK-NEXT: kernel.yield {{.*}}, %e : f64
    kernel.yield %4, %e : f64
  // CHECK-NEXT: }
  }
  func.return %0, %1 : (tensor<8xf64>, tensor<f64>) -> ()
}

// -----

func.func @unequal(%x: tensor<8xf64>) {
  // expected-error@+1 {{'kernel.nest' op expects one region argument per input}}
  %0 = kernel.nest %x {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["store", array<i64: 0>, array<i64: 0>, array<i64: 8>]],
    results = [tensor<8xf64>]} : tensor<8xf64> {
    %1 = arith.constant {type = f64, value = 1.0} : f64
    kernel.yield %1 : f64
  }
  func.return
}

// -----

func.func @too_wide(%x: tensor<8xf64>) {
  // expected-error@+1 {{'kernel.nest' has an output box that leaves its extents}}
  %0 = kernel.nest %x {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>]]],
    outputs = [["store", array<i64: 0>, array<i64: 0>, array<i64: 9>]],
    results = [tensor<8xf64>]} : tensor<8xf64> {
  ^(%e: f64):
    kernel.yield %e : f64
  }
  func.return
}
// -----

// Scalars may go to fixed positions of one result.
// CHECK-LABEL: func.func @fixed
func.func @fixed(%x: tensor<8x2xf64>) -> tensor<2xf64> {
  // CHECK: outputs = {{\[\[}}"add", array<i64: -1>, array<i64: 0>, array<i64: 8>], ["add", array<i64: -2>
  // CHECK-SAME: targets = array<i64: 0, 0>
  %0 = kernel.nest %x {extents = array<i64: 8>, inputs = [[0, [array<i64: 0, 1, 0>, array<i64: -1, 0, 0>]], [0, [array<i64: 0, 1, 0>, array<i64: -1, 0, 1>]]], outputs = [["add", array<i64: -1>, array<i64: 0>, array<i64: 8>], ["add", array<i64: -2>, array<i64: 0>, array<i64: 8>]], results = [tensor<2xf64>], targets = array<i64: 0, 0>} : (tensor<8x2xf64>) -> tensor<2xf64> {
  ^(%a: f64, %b: f64):
    kernel.yield %a, %b : f64
  }
  func.return %0 : tensor<2xf64>
}
