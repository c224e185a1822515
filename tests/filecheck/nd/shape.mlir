// Ops that move elements, reduce and multiply arrays.
// RUN: gradloom-opt %s | FileCheck %s
// RUN: gradloom-opt %s --print-generic | gradloom-opt - | FileCheck %s

// CHECK-LABEL: func.func @movement
func.func @movement(%x: tensor<2x3xf64>, %s: tensor<f64>) {
  // CHECK-NEXT: nd.broadcast %s {dims = array<i64>, shape = array<i64: 2, 3>} : (tensor<f64>) -> tensor<2x3xf64>
  %0 = nd.broadcast %s {dims = array<i64>, shape = array<i64: 2, 3>} : (tensor<f64>) -> tensor<2x3xf64>
  // CHECK-NEXT: nd.reshape %x {shape = array<i64: 6>} : (tensor<2x3xf64>) -> tensor<6xf64>
  %1 = nd.reshape %x {shape = array<i64: 6>} : (tensor<2x3xf64>) -> tensor<6xf64>
  // CHECK-NEXT: nd.transpose %x {permutation = array<i64: 1, 0>} : (tensor<2x3xf64>) -> tensor<3x2xf64>
  %2 = nd.transpose %x {permutation = array<i64: 1, 0>} : (tensor<2x3xf64>) -> tensor<3x2xf64>
  // CHECK-NEXT: nd.slice %x {limit = array<i64: 2, 3>, start = array<i64: 1, 0>, stride = array<i64: 1, 2>} : (tensor<2x3xf64>) -> tensor<1x2xf64>
  %3 = nd.slice %x {limit = array<i64: 2, 3>, start = array<i64: 1, 0>, stride = array<i64: 1, 2>} : (tensor<2x3xf64>) -> tensor<1x2xf64>
  // CHECK-NEXT: nd.pad %x {high = array<i64: 1, 0>, interior = array<i64: 0, 0>, low = array<i64: 0, 2>} : (tensor<2x3xf64>) -> tensor<3x5xf64>
  %4 = nd.pad %x {high = array<i64: 1, 0>, interior = array<i64: 0, 0>, low = array<i64: 0, 2>} : (tensor<2x3xf64>) -> tensor<3x5xf64>
  // CHECK-NEXT: nd.reverse %x {axes = array<i64: 0>} : tensor<2x3xf64>
  %5 = nd.reverse %x {axes = array<i64: 0>} : tensor<2x3xf64>
  // CHECK-NEXT: nd.concatenate %x, %0 {axis = 1 : i64} : (tensor<2x3xf64>, tensor<2x3xf64>) -> tensor<2x6xf64>
  %6 = nd.concatenate %x, %0 {axis = 1 : i64} : (tensor<2x3xf64>, tensor<2x3xf64>) -> tensor<2x6xf64>
  func.return
}

// CHECK-LABEL: func.func @reductions
func.func @reductions(%x: tensor<2x3xf64>, %c: tensor<2x3xi1>) {
  // CHECK-NEXT: nd.reduce_sum %x {axes = array<i64: 0, 1>} : (tensor<2x3xf64>) -> tensor<f64>
  %0 = nd.reduce_sum %x {axes = array<i64: 0, 1>} : (tensor<2x3xf64>) -> tensor<f64>
  // CHECK-NEXT: nd.reduce_prod %x {axes = array<i64: 1>} : (tensor<2x3xf64>) -> tensor<2xf64>
  %1 = nd.reduce_prod %x {axes = array<i64: 1>} : (tensor<2x3xf64>) -> tensor<2xf64>
  // CHECK-NEXT: nd.reduce_max %x {axes = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>
  %2 = nd.reduce_max %x {axes = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>
  // CHECK-NEXT: nd.reduce_min %x {axes = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>
  %3 = nd.reduce_min %x {axes = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>
  // CHECK-NEXT: nd.reduce_any %c {axes = array<i64: 0>} : (tensor<2x3xi1>) -> tensor<3xi1>
  %4 = nd.reduce_any %c {axes = array<i64: 0>} : (tensor<2x3xi1>) -> tensor<3xi1>
  // CHECK-NEXT: nd.reduce_all %c {axes = array<i64: 1>} : (tensor<2x3xi1>) -> tensor<2xi1>
  %5 = nd.reduce_all %c {axes = array<i64: 1>} : (tensor<2x3xi1>) -> tensor<2xi1>
  // CHECK-NEXT: nd.argmax %x {axis = 0 : i64} : (tensor<2x3xf64>) -> tensor<3xi64>
  %6 = nd.argmax %x {axis = 0 : i64} : (tensor<2x3xf64>) -> tensor<3xi64>
  // CHECK-NEXT: nd.argmin %x {axis = 1 : i64} : (tensor<2x3xf64>) -> tensor<2xi64>
  %7 = nd.argmin %x {axis = 1 : i64} : (tensor<2x3xf64>) -> tensor<2xi64>
  // CHECK-NEXT: nd.cumsum %x {axis = 1 : i64} : tensor<2x3xf64>
  %8 = nd.cumsum %x {axis = 1 : i64} : tensor<2x3xf64>
  func.return
}

// CHECK-LABEL: func.func @products
func.func @products(%x: tensor<2x3xf64>, %y: tensor<3x4xf64>, %i: tensor<5xi64>) {
  // CHECK-NEXT: nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<2x3xf64>, tensor<3x4xf64>) -> tensor<2x4xf64>
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<2x3xf64>, tensor<3x4xf64>) -> tensor<2x4xf64>
  func.return
}

// CHECK-LABEL: func.func @indexing
func.func @indexing(%x: tensor<2x3xf64>, %i: tensor<5xi64>, %j: tensor<5xi32>) {
  // CHECK-NEXT: nd.gather %x, %i {axes = array<i64: 0>} : (tensor<2x3xf64>, tensor<5xi64>) -> tensor<5x3xf64>
  %0 = nd.gather %x, %i {axes = array<i64: 0>} : (tensor<2x3xf64>, tensor<5xi64>) -> tensor<5x3xf64>
  // CHECK-NEXT: nd.gather %x, %j, %i {axes = array<i64: 1, 0>} : (tensor<2x3xf64>, tensor<5xi32>, tensor<5xi64>) -> tensor<5xf64>
  %1 = nd.gather %x, %j, %i {axes = array<i64: 1, 0>} : (tensor<2x3xf64>, tensor<5xi32>, tensor<5xi64>) -> tensor<5xf64>
  // CHECK-NEXT: nd.scatter_add %0, %i {axes = array<i64: 1>, shape = array<i64: 3, 2>} : (tensor<5x3xf64>, tensor<5xi64>) -> tensor<3x2xf64>
  %2 = nd.scatter_add %0, %i {axes = array<i64: 1>, shape = array<i64: 3, 2>} : (tensor<5x3xf64>, tensor<5xi64>) -> tensor<3x2xf64>
  // CHECK-NEXT: nd.last_writer %i, %j {shape = array<i64: 4, 2>} : (tensor<5xi64>, tensor<5xi32>) -> tensor<4x2xi64>
  %3 = nd.last_writer %i, %j {shape = array<i64: 4, 2>} : (tensor<5xi64>, tensor<5xi32>) -> tensor<4x2xi64>
  func.return
}

// CHECK-LABEL: func.func @solve
func.func @solve(%a: tensor<4x3x3xf64>, %b: tensor<4x3x2xf64>) {
  // CHECK-NEXT: nd.solve %a, %b : (tensor<4x3x3xf64>, tensor<4x3x2xf64>) -> tensor<4x3x2xf64>
  %0 = nd.solve %a, %b : (tensor<4x3x3xf64>, tensor<4x3x2xf64>) -> tensor<4x3x2xf64>
  func.return
}
