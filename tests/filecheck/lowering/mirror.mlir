// Of two sums over pairs that are equal because the terms are symmetric, one is left.
// RUN: gradloom-opt %s -p mirror-sums | FileCheck %s

// d[j, i] = -d[i, j], the weights are even: the sum over i of -w d is that over j of w d.
// CHECK-LABEL: func.func @pull
// CHECK: nd.div
// CHECK-NEXT: %[[SUM:.*]] = nd.reduce_sum {{.*}} {axes = array<i64: 1>}
// CHECK-NOT: nd.reduce_sum
// CHECK: nd.mul %[[SUM]]
func.func @pull(%x: tensor<9x3xf64>) -> tensor<9x3xf64> {
  %0 = nd.reshape %x {shape = array<i64: 9, 1, 3>} : (tensor<9x3xf64>) -> tensor<9x1x3xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0, 1, 2>, shape = array<i64: 9, 9, 3>} : (tensor<9x1x3xf64>) -> tensor<9x9x3xf64>
  %2 = nd.broadcast %x {dims = array<i64: 1, 2>, shape = array<i64: 9, 9, 3>} : (tensor<9x3xf64>) -> tensor<9x9x3xf64>
  %3 = nd.sub %1, %2 : tensor<9x9x3xf64>
  %4 = nd.square %3 : tensor<9x9x3xf64>
  %5 = nd.reduce_sum %4 {axes = array<i64: 2>} : (tensor<9x9x3xf64>) -> tensor<9x9xf64>
  %6 = nd.broadcast %5 {dims = array<i64: 0, 1>, shape = array<i64: 9, 9, 3>} : (tensor<9x9xf64>) -> tensor<9x9x3xf64>
  %7 = nd.div %3, %6 : tensor<9x9x3xf64>
  %8 = nd.neg %7 : tensor<9x9x3xf64>
  %9 = nd.reduce_sum %8 {axes = array<i64: 0>} : (tensor<9x9x3xf64>) -> tensor<9x3xf64>
  %10 = nd.reduce_sum %7 {axes = array<i64: 1>} : (tensor<9x9x3xf64>) -> tensor<9x3xf64>
  %11 = nd.add %9, %10 : tensor<9x3xf64>
  func.return %11 : tensor<9x3xf64>
}

// A divisor whose zeros change their sign decides between both infinities: 1 / (x - y) is left alone.
// CHECK-LABEL: func.func @poles
// CHECK-COUNT-2: nd.reduce_sum
func.func @poles(%x: tensor<9xf64>) -> (tensor<9xf64>, tensor<9xf64>) {
  %0 = nd.reshape %x {shape = array<i64: 9, 1>} : (tensor<9xf64>) -> tensor<9x1xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0, 1>, shape = array<i64: 9, 9>} : (tensor<9x1xf64>) -> tensor<9x9xf64>
  %2 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 9, 9>} : (tensor<9xf64>) -> tensor<9x9xf64>
  %3 = nd.sub %1, %2 : tensor<9x9xf64>
  %4 = nd.reciprocal %3 : tensor<9x9xf64>
  %5 = nd.reduce_sum %4 {axes = array<i64: 0>} : (tensor<9x9xf64>) -> tensor<9xf64>
  %6 = nd.reduce_sum %4 {axes = array<i64: 1>} : (tensor<9x9xf64>) -> tensor<9xf64>
  func.return %5, %6 : (tensor<9xf64>, tensor<9xf64>) -> ()
}

// A mask that is its own transpose keeps the symmetry, half a matrix does not.
// CHECK-LABEL: func.func @masks
// CHECK: nd.select
// CHECK-NEXT: nd.select
// CHECK-NEXT: %[[SUM:.*]] = nd.reduce_sum {{.*}} {axes = array<i64: 1>}
// CHECK-NEXT: nd.reduce_sum {{.*}} {axes = array<i64: 0>}
// CHECK-NEXT: nd.reduce_sum {{.*}} {axes = array<i64: 1>}
// CHECK-NEXT: %[[OTHER:.*]] = nd.neg %[[SUM]]
// CHECK-NEXT: func.return %[[OTHER]], %[[SUM]]
func.func @masks(%x: tensor<2xf64>) -> (tensor<2xf64>, tensor<2xf64>, tensor<2xf64>, tensor<2xf64>) {
  %0 = nd.reshape %x {shape = array<i64: 2, 1>} : (tensor<2xf64>) -> tensor<2x1xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0, 1>, shape = array<i64: 2, 2>} : (tensor<2x1xf64>) -> tensor<2x2xf64>
  %2 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 2, 2>} : (tensor<2xf64>) -> tensor<2x2xf64>
  %3 = nd.sub %1, %2 : tensor<2x2xf64>
  %4 = nd.constant {value = dense<0.0> : tensor<2x2xf64>} : tensor<2x2xf64>
  %5 = nd.constant {value = dense<[[false, true], [true, false]]> : tensor<2x2xi1>} : tensor<2x2xi1>
  %6 = nd.constant {value = dense<[[false, true], [false, false]]> : tensor<2x2xi1>} : tensor<2x2xi1>
  %7 = nd.select %5, %3, %4 : (tensor<2x2xi1>, tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
  %8 = nd.select %6, %3, %4 : (tensor<2x2xi1>, tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
  %9 = nd.reduce_sum %7 {axes = array<i64: 0>} : (tensor<2x2xf64>) -> tensor<2xf64>
  %10 = nd.reduce_sum %7 {axes = array<i64: 1>} : (tensor<2x2xf64>) -> tensor<2xf64>
  %11 = nd.reduce_sum %8 {axes = array<i64: 0>} : (tensor<2x2xf64>) -> tensor<2xf64>
  %12 = nd.reduce_sum %8 {axes = array<i64: 1>} : (tensor<2x2xf64>) -> tensor<2xf64>
  func.return %9, %10, %11, %12 : (tensor<2xf64>, tensor<2xf64>, tensor<2xf64>, tensor<2xf64>) -> ()
}
