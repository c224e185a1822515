// Kernels that walk the same rows of a large array take turns on tiles of rows; a total over all rows comes after them.
// RUN: gradloom-opt %s -p fuse,to-loops | FileCheck %s

// CHECK-LABEL: func.func @row_sums_then_quotient
// CHECK: %[[SUMS:.*]] = loops.alloc {type = memref<1024xf64>}
// CHECK: %[[OUT:.*]] = loops.alloc {type = memref<1024x256xf64>}
// CHECK: loops.tiles {extent = 1024 : i64, rows = 64 : i64}
// CHECK: loops.nest %x, %[[SUMS]] {extents = array<i64: 1024, 256>
// CHECK: loops.nest %x, %[[SUMS]], %[[OUT]] {extents = array<i64: 1024, 256>
// CHECK: func.return %[[OUT]]
func.func @row_sums_then_quotient(%x: tensor<1024x256xf64>) -> tensor<1024x256xf64> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<1024x256xf64>) -> tensor<1024xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 1024, 256>} : (tensor<1024xf64>) -> tensor<1024x256xf64>
  %2 = nd.div %x, %1 : tensor<1024x256xf64>
  func.return %2 : tensor<1024x256xf64>
}

// A reduction over the rows themselves is complete only after them: what needs it starts a walk of its own.
// CHECK-LABEL: func.func @centred
// CHECK-NOT: loops.tiles
// CHECK: func.return
func.func @centred(%x: tensor<1024x256xf64>) -> tensor<1024x256xf64> {
  %0 = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<1024x256xf64>) -> tensor<256xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 1>, shape = array<i64: 1024, 256>} : (tensor<256xf64>) -> tensor<1024x256xf64>
  %2 = nd.sub %x, %1 : tensor<1024x256xf64>
  func.return %2 : tensor<1024x256xf64>
}
