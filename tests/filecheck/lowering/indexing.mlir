// Gathers are loads inside nests, scatters are reductions into elements that integers name; indices that may be out of
// bounds are reduced to their least and largest one, in the nest that uses them.
// RUN: gradloom-opt %s -p fuse | FileCheck %s
// RUN: gradloom-opt %s -p fuse,to-loops | FileCheck %s --check-prefix=LOOPS

// CHECK-LABEL: func.func @edges
// CHECK: %[[R:.*]], {{.*}} = kernel.nest
// CHECK-SAME: extents = array<i64: 100>
// CHECK-SAME: "add"
// CHECK-SAME: "scatter_add", array<i64: -1, -2>
// CHECK-SAME: "scatter_add", array<i64: -1, -2>
// CHECK-SAME: "minimum"
// CHECK-SAME: "maximum"
// CHECK-NOT: kernel.nest
// CHECK-COUNT-2: kernel.gather
// CHECK: kernel.place
// CHECK: kernel.bounds
// CHECK: func.return
// LOOPS-LABEL: func.func @edges
// LOOPS: loops.load %x, %{{.*}} {map = [array<i64: -2, 1, 0>, array<i64: -1, 0, 1>]}
// LOOPS: loops.scatter
// LOOPS-SAME: dims = array<i64: -1, -2>
// LOOPS: loops.bounds
// LOOPS-SAME: extent = 50
func.func @edges(%x: tensor<50x2xf64>, %i: tensor<100xi64>) -> (tensor<f64>, tensor<50x2xf64>) {
  %0 = nd.gather %x, %i {axes = array<i64: 0>} : (tensor<50x2xf64>, tensor<100xi64>) -> tensor<100x2xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 1>} : (tensor<100x2xf64>) -> tensor<100xf64>
  %2 = nd.sin %1 : tensor<100xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 0>} : (tensor<100xf64>) -> tensor<f64>
  %4 = nd.cos %1 : tensor<100xf64>
  %5 = nd.broadcast %4 {dims = array<i64: 0>, shape = array<i64: 100, 2>} : (tensor<100xf64>) -> tensor<100x2xf64>
  %6 = nd.scatter_add %5, %i {axes = array<i64: 0>, shape = array<i64: 50, 2>} : (tensor<100x2xf64>, tensor<100xi64>) -> tensor<50x2xf64>
  func.return %3, %6 : (tensor<f64>, tensor<50x2xf64>) -> ()
}

// Sums of scatters go into one array.
// CHECK-LABEL: func.func @joined
// CHECK: kernel.nest
// CHECK-SAME: targets = array<i64: 0, 0, 1, 2, 3, 4>
// CHECK-NOT: kernel.nest
// CHECK: func.return
func.func @joined(%u: tensor<9xf64>, %i: tensor<9xi64>, %j: tensor<9xi64>) -> tensor<5xf64> {
  %0 = nd.scatter_add %u, %i {axes = array<i64: 0>, shape = array<i64: 5>} : (tensor<9xf64>, tensor<9xi64>) -> tensor<5xf64>
  %1 = nd.scatter_add %u, %j {axes = array<i64: 0>, shape = array<i64: 5>} : (tensor<9xf64>, tensor<9xi64>) -> tensor<5xf64>
  %2 = nd.add %0, %1 : tensor<5xf64>
  func.return %2 : tensor<5xf64>
}

// A constant index, and one that is clipped, need no check; the array is read through the slice and the transpose.
// CHECK-LABEL: func.func @known
// CHECK-NOT: minimum
// CHECK-NOT: arith
// CHECK: kernel.gather
// CHECK-SAME: map = [array<i64: 1, 1, 0>, array<i64: -2, 2, 1>]
// CHECK-NOT: kernel.bounds
// CHECK: func.return
func.func @known(%x: tensor<3x9xf64>) -> tensor<4x3xf64> {
  %0 = nd.slice %x {limit = array<i64: 3, 9>, start = array<i64: 0, 1>, stride = array<i64: 1, 2>} : (tensor<3x9xf64>) -> tensor<3x4xf64>
  %1 = nd.transpose %0 {permutation = array<i64: 1, 0>} : (tensor<3x4xf64>) -> tensor<4x3xf64>
  %2 = nd.constant {value = dense<[3, 0, 2, 2]> : tensor<4xi64>} : tensor<4xi64>
  %3 = nd.gather %1, %2 {axes = array<i64: 0>} : (tensor<4x3xf64>, tensor<4xi64>) -> tensor<4x3xf64>
  func.return %3 : tensor<4x3xf64>
}
