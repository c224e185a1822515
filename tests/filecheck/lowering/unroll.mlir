// Reductions over short axes are written out where they are used; those that keep a short axis become parts of a nest
// over the long ones. Arrays that the nest would read across are turned first.
// RUN: gradloom-opt %s -p fuse | FileCheck %s

// CHECK-LABEL: func.func @distances
// CHECK: %[[TURNED:.*]] = kernel.nest %x {extents = array<i64: 2, 100>
// CHECK: %[[PULLS:.*]] = kernel.nest %[[TURNED]], %x {extents = array<i64: 100, 100>
// CHECK-SAME: targets = array<i64: 0, 0>
// CHECK: arith.subf
// CHECK: arith.subf
// CHECK: math.exp
// CHECK-NOT: math.exp
// CHECK: kernel.yield %{{.*}}, %{{.*}} : f64
// CHECK: func.return %[[PULLS]]
func.func @distances(%x: tensor<100x2xf64>) -> tensor<100x2xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0, 2>, shape = array<i64: 100, 100, 2>} : (tensor<100x2xf64>) -> tensor<100x100x2xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1, 2>, shape = array<i64: 100, 100, 2>} : (tensor<100x2xf64>) -> tensor<100x100x2xf64>
  %2 = nd.sub %0, %1 : tensor<100x100x2xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 2>} : (tensor<100x100x2xf64>) -> tensor<100x100xf64>
  %4 = nd.exp %3 : tensor<100x100xf64>
  %5 = nd.broadcast %4 {dims = array<i64: 0, 1>, shape = array<i64: 100, 100, 2>} : (tensor<100x100xf64>) -> tensor<100x100x2xf64>
  %6 = nd.mul %5, %2 : tensor<100x100x2xf64>
  %7 = nd.reduce_sum %6 {axes = array<i64: 1>} : (tensor<100x100x2xf64>) -> tensor<100x2xf64>
  func.return %7 : tensor<100x2xf64>
}

// Rows of a triangle share the sum of what its zeros multiply, which is added up first: 0 * nan is nan in any order.
// CHECK-LABEL: func.func @triangle
// CHECK: kernel.nest
// CHECK: %[[ZERO:.*]] = arith.constant {type = f64, value = 0.0 : f64} : f64
// CHECK: %[[LAST:.*]] = arith.mulf %[[ZERO]], %{{.*}} : f64
// CHECK: %[[MIDDLE:.*]] = arith.mulf %[[ZERO]], %{{.*}} : f64
// CHECK-NOT: arith.mulf %[[ZERO]]
// CHECK: arith.addf %[[LAST]], %{{.*}} : f64
// CHECK: arith.addf %[[LAST]], %[[MIDDLE]] : f64
// CHECK: kernel.yield
func.func @triangle(%l: tensor<3x3x80xf64>, %x: tensor<3x90xf64>) -> tensor<80x90xf64> {
  %mask = nd.constant {value = dense<"0x010000010100010101"> : tensor<3x3xi1>} : tensor<3x3xi1>
  %0 = nd.constant {value = dense<0.0> : tensor<3x3x80xf64>} : tensor<3x3x80xf64>
  %1 = nd.broadcast %mask {dims = array<i64: 0, 1>, shape = array<i64: 3, 3, 80>} : (tensor<3x3xi1>) -> tensor<3x3x80xi1>
  %2 = nd.select %1, %l, %0 : (tensor<3x3x80xi1>, tensor<3x3x80xf64>, tensor<3x3x80xf64>) -> tensor<3x3x80xf64>
  %3 = nd.broadcast %2 {dims = array<i64: 0, 1, 2>, shape = array<i64: 3, 3, 80, 90>} : (tensor<3x3x80xf64>) -> tensor<3x3x80x90xf64>
  %4 = nd.broadcast %x {dims = array<i64: 1, 3>, shape = array<i64: 3, 3, 80, 90>} : (tensor<3x90xf64>) -> tensor<3x3x80x90xf64>
  %5 = nd.mul %3, %4 : tensor<3x3x80x90xf64>
  %6 = nd.reduce_sum %5 {axes = array<i64: 1>} : (tensor<3x3x80x90xf64>) -> tensor<3x80x90xf64>
  %7 = nd.mul %6, %6 : tensor<3x80x90xf64>
  %8 = nd.reduce_sum %7 {axes = array<i64: 0>} : (tensor<3x80x90xf64>) -> tensor<80x90xf64>
  func.return %8 : tensor<80x90xf64>
}
