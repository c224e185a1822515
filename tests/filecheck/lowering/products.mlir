// Matrix products become calls of the BLAS on arrays as they lie in memory, or nests.
// RUN: gradloom-opt %s -p lower-products,dce | FileCheck %s
// RUN: gradloom-opt %s -p lower-products,fuse,to-loops | FileCheck %s --check-prefix=LOOPS

// A transposed operand is read where it is; what scales the product is its factor.
// CHECK-LABEL: func.func @transposed
// CHECK-NEXT: %[[P:.*]] = kernel.product %x, %y {terms = {{\[\[}}0.5 : f64, array<i64: 0>, array<i64: 1>, array<i64>, array<i64>]]}
// CHECK-NEXT: func.return %[[P]]
// LOOPS-LABEL: func.func @transposed
// LOOPS-NEXT: %[[C:.*]] = loops.alloc {type = memref<3x5xf64>}
// LOOPS-NEXT: loops.gemm %x, %y, %[[C]] {alpha = 0.5 : f64, batch = array<i64>, beta = 0.0 : f64, leading = array<i64: 3, 4, 5>, shape = array<i64: 3, 5, 4>, transposed = array<i1: true, true>}
// LOOPS-NEXT: func.return %[[C]]
func.func @transposed(%x: tensor<4x3xf64>, %y: tensor<5x4xf64>) -> tensor<3x5xf64> {
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 0>, y_batch = array<i64>, y_contract = array<i64: 1>} : (tensor<4x3xf64>, tensor<5x4xf64>) -> tensor<3x5xf64>
  %1 = nd.constant {value = dense<0.5> : tensor<3x5xf64>} : tensor<3x5xf64>
  %2 = nd.mul %0, %1 : tensor<3x5xf64>
  func.return %2 : tensor<3x5xf64>
}

// A difference of two products is computed in one buffer.
// CHECK-LABEL: func.func @difference
// CHECK-NEXT: kernel.product %x, %y, %y, %x {terms = {{\[\[}}1.0 : f64, {{.*}}], [-1.0 : f64, {{.*}}]]}
// CHECK-NEXT: func.return
// LOOPS-LABEL: func.func @difference
// LOOPS: loops.gemm %x, %y, %[[C:.*]] {alpha = 1.0 : f64, batch = array<i64>, beta = 0.0 : f64
// LOOPS-NEXT: loops.gemm %y, %x, %[[C]] {alpha = -1.0 : f64, batch = array<i64>, beta = 1.0 : f64
// LOOPS-NEXT: func.return %[[C]]
func.func @difference(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : tensor<4x4xf32>
  %1 = nd.dot %y, %x {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : tensor<4x4xf32>
  %2 = nd.sub %0, %1 : tensor<4x4xf32>
  func.return %2 : tensor<4x4xf32>
}

// Attention's batch axes 0 and 2 need no copy: the BLAS steps over the heads between.
// CHECK-LABEL: func.func @heads
// CHECK-NEXT: kernel.product %q, %k
// CHECK-NEXT: func.return
// LOOPS-LABEL: func.func @heads
// LOOPS: loops.gemm %q, %k, %{{.*}} {alpha = 1.0 : f64, batch = [array<i64: 2, 120, 84, 210>, array<i64: 3, 4, 4, 70>], beta = 0.0 : f64, leading = array<i64: 12, 12, 7>, shape = array<i64: 10, 7, 4>, transposed = array<i1: false, true>}
func.func @heads(%q: tensor<2x10x3x4xf64>, %k: tensor<2x7x3x4xf64>) -> tensor<2x3x10x7xf64> {
  %0 = nd.dot %q, %k {x_batch = array<i64: 0, 2>, x_contract = array<i64: 3>, y_batch = array<i64: 0, 2>, y_contract = array<i64: 3>} : (tensor<2x10x3x4xf64>, tensor<2x7x3x4xf64>) -> tensor<2x3x10x7xf64>
  func.return %0 : tensor<2x3x10x7xf64>
}

// Rows on both sides of the contracted axis: no BLAS reads that, so a copy is made in the nest's way.
// CHECK-LABEL: func.func @rows_apart
// CHECK-NEXT: %[[T:.*]] = nd.transpose %x {permutation = array<i64: 0, 2, 1>}
// CHECK-NEXT: kernel.product %[[T]], %y
func.func @rows_apart(%x: tensor<2x3x4xf64>, %y: tensor<3x5xf64>) -> tensor<2x4x5xf64> {
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<2x3x4xf64>, tensor<3x5xf64>) -> tensor<2x4x5xf64>
  func.return %0 : tensor<2x4x5xf64>
}

// A product with one column is a nest, one of integers stays a library call.
// CHECK-LABEL: func.func @column
// CHECK-NOT: kernel.product
// CHECK: nd.reduce_sum
// CHECK: nd.dot {{.*}} tensor<4x4xi32>
func.func @column(%x: tensor<6x4xf64>, %y: tensor<4x1xf64>, %i: tensor<4x4xi32>) -> (tensor<6x1xf64>, tensor<4x4xi32>) {
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<6x4xf64>, tensor<4x1xf64>) -> tensor<6x1xf64>
  %1 = nd.dot %i, %i {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : tensor<4x4xi32>
  func.return %0, %1 : (tensor<6x1xf64>, tensor<4x4xi32>) -> ()
}

// A batch goes through two layers a few rows at a time; what the layers pass on exists for a tile only, and a gradient of
// weights adds up over the tiles.
// LOOPS-LABEL: func.func @layers
// LOOPS: %[[H:.*]] = loops.scratch {rows = 160 : i64, type = memref<8192x64xf64>}
// LOOPS: loops.fill %[[G:.*]] {value = 0.0 : f64}
// LOOPS: loops.tiles {extent = 8192 : i64, rows = 160 : i64}
// LOOPS-NEXT: loops.gemm %x, %w, %[[H]] {{.*}} beta = 0.0 : f64, {{.*}} rows = array<i64: 0, 1, 64, 0, 64>, shape = array<i64: 8192, 64, 64>
// LOOPS: loops.gemm %x, %{{.*}}, %[[G]] {{.*}} beta = 1.0 : f64, {{.*}} rows = array<i64: 2, 1, 64, 64, 0>, shape = array<i64: 64, 64, 8192>
// LOOPS: loops.end
// LOOPS: func.return %[[G]]
func.func @layers(%x: tensor<8192x64xf64>, %w: tensor<64x64xf64>) -> tensor<64x64xf64> {
  %0 = nd.dot %x, %w {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<8192x64xf64>, tensor<64x64xf64>) -> tensor<8192x64xf64>
  %1 = nd.tanh %0 : tensor<8192x64xf64>
  %2 = nd.dot %x, %1 {x_batch = array<i64>, x_contract = array<i64: 0>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<8192x64xf64>, tensor<8192x64xf64>) -> tensor<64x64xf64>
  func.return %2 : tensor<64x64xf64>
}

// Tiny matrices: one loop along the batch, in which all elements of the product are computed. A single product with as
// many multiply-adds is a call.
// CHECK-LABEL: func.func @tiny
// CHECK-NOT: kernel.product
// LOOPS-LABEL: func.func @tiny
// LOOPS: loops.nest {{.*}} {extents = array<i64: 1000>, width = 8 : i64}
// LOOPS-COUNT-8: loops.load
// LOOPS-COUNT-4: loops.store
// LOOPS-NOT: loops.store
func.func @tiny(%x: tensor<1000x2x2xf64>, %y: tensor<1000x2x2xf64>) -> tensor<1000x2x2xf64> {
  %0 = nd.dot %x, %y {x_batch = array<i64: 0>, x_contract = array<i64: 2>, y_batch = array<i64: 0>, y_contract = array<i64: 1>} : (tensor<1000x2x2xf64>, tensor<1000x2x2xf64>) -> tensor<1000x2x2xf64>
  func.return %0 : tensor<1000x2x2xf64>
}

// CHECK-LABEL: func.func @one_call
// CHECK: kernel.product
func.func @one_call(%x: tensor<1000x5xf64>, %y: tensor<5x5xf64>) -> tensor<1000x5xf64> {
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<1000x5xf64>, tensor<5x5xf64>) -> tensor<1000x5xf64>
  func.return %0 : tensor<1000x5xf64>
}
