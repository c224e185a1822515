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
