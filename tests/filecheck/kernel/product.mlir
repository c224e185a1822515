// Sums of matrix products: their text, and what their type rule asks for.
// RUN: gradloom-opt %s --split-input --verify-diagnostics | FileCheck %s
// RUN: gradloom-opt %s --split-input --verify-diagnostics --print-generic | gradloom-opt - --split-input | FileCheck %s

// CHECK-LABEL: func.func @sum_of_two
func.func @sum_of_two(%x: tensor<4x3xf64>, %y: tensor<4x5xf64>) -> tensor<3x5xf64> {
  // CHECK-NEXT: %0 = kernel.product %x, %y, %x, %y {terms = {{\[\[}}2.0 : f64, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>], [-1.0 : f64, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>]]} : (tensor<4x3xf64>, tensor<4x5xf64>, tensor<4x3xf64>, tensor<4x5xf64>) -> tensor<3x5xf64>
  %0 = kernel.product %x, %y, %x, %y {terms = [[2.0, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>],
    [-1.0, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>]]} : (tensor<4x3xf64>, tensor<4x5xf64>, tensor<4x3xf64>, tensor<4x5xf64>) -> tensor<3x5xf64>
  func.return %0 : tensor<3x5xf64>
}

// -----

func.func @two_shapes(%x: tensor<4x3xf64>, %y: tensor<4x5xf64>) {
  // expected-error@+1 {{'kernel.product' op expects terms of one shape and dtype}}
  %0 = kernel.product %x, %y, %y, %x {terms = [[1.0, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>],
    [1.0, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>]]} : (tensor<4x3xf64>, tensor<4x5xf64>, tensor<4x5xf64>, tensor<4x3xf64>) -> tensor<3x5xf64>
  func.return
}

// -----

func.func @no_partner(%x: tensor<4x3xf64>) {
  // expected-error@+1 {{'kernel.product' has 1 operands for 1 terms}}
  %0 = kernel.product %x {terms = [[1.0, array<i64: 0>, array<i64: 0>, array<i64>, array<i64>]]} : (tensor<4x3xf64>) -> tensor<3x3xf64>
  func.return
}
