// Fusion: movement becomes index maps, pads become tests on the point, and forward and backward share one nest.
// RUN: gradloom-opt %s -p fuse | FileCheck %s
// RUN: gradloom-opt %s -p adjoint,canonicalize,cse,dce,fuse | FileCheck %s --check-prefix=GRAD

// CHECK-LABEL: func.func @shifted_sum
// CHECK: kernel.nest %x
// CHECK-SAME: inputs = {{\[\[}}0 : i64, [array<i64: 0, 1, 0>]], [0 : i64, [array<i64: 0, 1, 1>]]]
// CHECK-SAME: outputs = {{\[\[}}"add"
// CHECK: arith.mulf
// CHECK-NOT: kernel.nest
// CHECK: func.return

// The gradient is defined on one element more than the sum: both share a nest of the longer box.
// GRAD-LABEL: func.func @shifted_sum_grad
// GRAD: kernel.nest %x
// GRAD-SAME: extents = array<i64: 100>
// GRAD: kernel.inside {dim = 0 : i64, high = 99 : i64, low = 0 : i64}
// GRAD: kernel.inside {dim = 0 : i64, high = 100 : i64, low = 1 : i64}
// GRAD-NOT: kernel.nest
// GRAD: func.return
func.func @shifted_sum(%x: tensor<100xf64>) -> tensor<f64> {
  %0 = nd.slice %x {start = array<i64: 1>, limit = array<i64: 100>, stride = array<i64: 1>} : (tensor<100xf64>) -> tensor<99xf64>
  %1 = nd.slice %x {start = array<i64: 0>, limit = array<i64: 99>, stride = array<i64: 1>} : (tensor<100xf64>) -> tensor<99xf64>
  %2 = nd.mul %0, %1 : tensor<99xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 0>} : (tensor<99xf64>) -> tensor<f64>
  func.return %3 : tensor<f64>
}
