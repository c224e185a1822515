// Vectors run along a long dimension where the innermost one is short, if memory can be reached so; small arrays are
// turned first.
// RUN: gradloom-opt %s -p fuse | FileCheck %s

// CHECK-LABEL: func.func @centres
// CHECK: kernel.nest {{.*}}extents = array<i64: 5, 900>
// CHECK: kernel.nest {{.*}}extents = array<i64: 5, 900>
func.func @centres(%x: tensor<900xf64>, %c: tensor<5xf64>) -> (tensor<5xf64>, tensor<900xf64>) {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 900, 5>} : (tensor<900xf64>) -> tensor<900x5xf64>
  %1 = nd.broadcast %c {dims = array<i64: 1>, shape = array<i64: 900, 5>} : (tensor<5xf64>) -> tensor<900x5xf64>
  %2 = nd.sub %0, %1 : tensor<900x5xf64>
  %3 = nd.exp %2 : tensor<900x5xf64>
  %4 = nd.tan %3 : tensor<900x5xf64>
  %5 = nd.reduce_sum %4 {axes = array<i64: 0>} : (tensor<900x5xf64>) -> tensor<5xf64>
  %6 = nd.broadcast %5 {dims = array<i64: 1>, shape = array<i64: 900, 5>} : (tensor<5xf64>) -> tensor<900x5xf64>
  %7 = nd.mul %4, %6 : tensor<900x5xf64>
  %8 = nd.exp %7 : tensor<900x5xf64>
  %9 = nd.tan %8 : tensor<900x5xf64>
  %10 = nd.reduce_max %9 {axes = array<i64: 0>} : (tensor<900x5xf64>) -> tensor<5xf64>
  %11 = nd.broadcast %10 {dims = array<i64: 1>, shape = array<i64: 900, 5>} : (tensor<5xf64>) -> tensor<900x5xf64>
  %12 = nd.sub %4, %11 : tensor<900x5xf64>
  %13 = nd.slice %12 {limit = array<i64: 900, 1>, start = array<i64: 0, 0>, stride = array<i64: 1, 1>} : (tensor<900x5xf64>) -> tensor<900x1xf64>
  %14 = nd.reshape %13 {shape = array<i64: 900>} : (tensor<900x1xf64>) -> tensor<900xf64>
  func.return %10, %14 : (tensor<5xf64>, tensor<900xf64>) -> ()
}

// What is returned is stored as its type says.
// CHECK-LABEL: func.func @returned
// CHECK: extents = array<i64: 900, 5>
func.func @returned(%x: tensor<900x5xf64>, %c: tensor<5xf64>) -> tensor<900x5xf64> {
  %0 = nd.broadcast %c {dims = array<i64: 1>, shape = array<i64: 900, 5>} : (tensor<5xf64>) -> tensor<900x5xf64>
  %1 = nd.mul %x, %0 : tensor<900x5xf64>
  func.return %1 : tensor<900x5xf64>
}

// A matrix is read along its rows, also where the sum is over them.
// CHECK-LABEL: func.func @transposed_product
// CHECK: extents = array<i64: 2000, 100>
// CHECK-SAME: ["add", array<i64: 1>
func.func @transposed_product(%x: tensor<2000x100xf64>, %r: tensor<2000xf64>) -> tensor<100xf64> {
  %0 = nd.transpose %x {permutation = array<i64: 1, 0>} : (tensor<2000x100xf64>) -> tensor<100x2000xf64>
  %1 = nd.broadcast %r {dims = array<i64: 1>, shape = array<i64: 100, 2000>} : (tensor<2000xf64>) -> tensor<100x2000xf64>
  %2 = nd.mul %0, %1 : tensor<100x2000xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 1>} : (tensor<100x2000xf64>) -> tensor<100xf64>
  func.return %3 : tensor<100xf64>
}
