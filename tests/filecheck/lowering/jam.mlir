// Light nests whose rows share what they read or add to run on several rows at once.
// RUN: gradloom-opt %s -p fuse,to-loops,jam-rows | FileCheck %s

// A matrix-vector product, in vectors of two registers: every row reads the vector.
// CHECK-LABEL: func.func @product
// CHECK: loops.nest {{.*}} {extents = array<i64: 1000, 100>, jam = 4 : i64, width = 16 : i64}
func.func @product(%x: tensor<1000x100xf64>, %w: tensor<100xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %w {dims = array<i64: 1>, shape = array<i64: 1000, 100>} : (tensor<100xf64>) -> tensor<1000x100xf64>
  %1 = nd.mul %x, %0 : tensor<1000x100xf64>
  %2 = nd.reduce_sum %1 {axes = array<i64: 1>} : (tensor<1000x100xf64>) -> tensor<1000xf64>
  func.return %2 : tensor<1000xf64>
}

// Its transpose: every row is added to the same result.
// CHECK-LABEL: func.func @transposed
// CHECK: loops.nest {{.*}} {extents = array<i64: 1000, 100>, jam = 4 : i64, width = 16 : i64}
func.func @transposed(%x: tensor<1000x100xf64>, %r: tensor<1000xf64>) -> tensor<100xf64> {
  %0 = nd.broadcast %r {dims = array<i64: 0>, shape = array<i64: 1000, 100>} : (tensor<1000xf64>) -> tensor<1000x100xf64>
  %1 = nd.mul %x, %0 : tensor<1000x100xf64>
  %2 = nd.reduce_sum %1 {axes = array<i64: 0>} : (tensor<1000x100xf64>) -> tensor<100xf64>
  func.return %2 : tensor<100xf64>
}

// Rows that share nothing, and heavier ones, run one by one.
// CHECK-LABEL: func.func @row_sums
// CHECK-NOT: jam
// CHECK: func.return
func.func @row_sums(%x: tensor<1000x100xf64>) -> tensor<1000xf64> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<1000x100xf64>) -> tensor<1000xf64>
  func.return %0 : tensor<1000xf64>
}

// CHECK-LABEL: func.func @exponentials
// CHECK-NOT: jam
// CHECK: func.return
func.func @exponentials(%x: tensor<1000x100xf64>, %w: tensor<100xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %w {dims = array<i64: 1>, shape = array<i64: 1000, 100>} : (tensor<100xf64>) -> tensor<1000x100xf64>
  %1 = nd.exp %x : tensor<1000x100xf64>
  %2 = nd.mul %1, %0 : tensor<1000x100xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 1>} : (tensor<1000x100xf64>) -> tensor<1000xf64>
  func.return %3 : tensor<1000xf64>
}
