// Nests worth several threads are marked with the chunks that they may be cut into: dimension, unit, how many.
// RUN: gradloom-opt %s -p fuse,to-loops,parallelize | FileCheck %s

// A sum over a long vector: chunks are whole blocks of 16 vectors.
// CHECK-LABEL: func.func @long
// CHECK: loops.nest {{.*}} {chunk = array<i64: 0, 256, {{[0-9]*[02468]}}>, extents = array<i64: 1000000>, width = 16 : i64}
func.func @long(%x: tensor<1000000xf64>) -> tensor<f64> {
  %0 = nd.exp %x : tensor<1000000xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 0>} : (tensor<1000000xf64>) -> tensor<f64>
  func.return %1 : tensor<f64>
}

// The same on a short vector stays as it is.
// CHECK-LABEL: func.func @short
// CHECK-NOT: chunk
// CHECK: func.return
func.func @short(%x: tensor<1000xf64>) -> tensor<f64> {
  %0 = nd.exp %x : tensor<1000xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 0>} : (tensor<1000xf64>) -> tensor<f64>
  func.return %1 : tensor<f64>
}

// Sums over the rows, which all chunks of rows would add to: rows are cut while the copies are small ...
// CHECK-LABEL: func.func @narrow
// CHECK: chunk = array<i64: 0, 1, {{[0-9]+}}>, extents = array<i64: 16384, 64>
func.func @narrow(%x: tensor<16384x64xf64>) -> tensor<64xf64> {
  %0 = nd.exp %x : tensor<16384x64xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 0>} : (tensor<16384x64xf64>) -> tensor<64xf64>
  func.return %1 : tensor<64xf64>
}

// ... and else the columns.
// CHECK-LABEL: func.func @wide
// CHECK: chunk = array<i64: 1, 256, {{[0-9]+}}>, extents = array<i64: 40, 131072>
func.func @wide(%x: tensor<40x131072xf64>) -> tensor<131072xf64> {
  %0 = nd.exp %x : tensor<40x131072xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 0>} : (tensor<40x131072xf64>) -> tensor<131072xf64>
  func.return %1 : tensor<131072xf64>
}

// Tiles of a batch that goes through matrix products are dealt out too; weights are read by all, sums added up after.
// CHECK-LABEL: func.func @network
// CHECK: loops.tiles {chunk = array<i64: 0, 256, 32>, extent = 8192 : i64, rows = {{[0-9]+}} : i64}
// CHECK: loops.gemm
func.func @network(%x: tensor<8192x64xf64>, %w: tensor<64x64xf64>) -> tensor<f64> {
  %0 = kernel.product %x, %w {terms = [[1.0, array<i64: 1>, array<i64: 0>, array<i64>, array<i64>]]} : (tensor<8192x64xf64>, tensor<64x64xf64>) -> tensor<8192x64xf64>
  %1 = nd.tanh %0 : tensor<8192x64xf64>
  %2 = nd.reduce_sum %1 {axes = array<i64: 0, 1>} : (tensor<8192x64xf64>) -> tensor<f64>
  func.return %2 : tensor<f64>
}
