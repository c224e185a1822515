// Kernels that walk the same rows of a large array take turns on tiles of rows; a total over all rows comes after them.
// RUN: gradloom-opt %s -p fuse,to-loops | FileCheck %s

// CHECK-LABEL: func.func @row_sums_then_quotient
// CHECK: %[[SUMS:.*]] = loops.alloc {type = memref<1024xf64>}
// CHECK: %[[OUT:.*]] = loops.alloc {type = memref<1024x256xf64>}
// CHECK: loops.tiles {extent = 1024 : i64, rows = 32 : i64}
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

// What only the kernels of a tile see exists for one tile at a time: here the sines, which two walks need.
// CHECK-LABEL: func.func @sines_over_their_sum
// CHECK: %[[SINES:.*]] = loops.scratch {rows = {{[0-9]+}} : i64, type = memref<1024x256xf64>}
// CHECK: loops.tiles
// CHECK: loops.store %{{.*}}, %[[SINES]]
// CHECK: loops.load %[[SINES]]
func.func @sines_over_their_sum(%x: tensor<1024x256xf64>) -> tensor<1024x256xf64> {
  %0 = nd.sin %x : tensor<1024x256xf64>
  %1 = nd.exp %0 : tensor<1024x256xf64>
  %2 = nd.tan %1 : tensor<1024x256xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 1>} : (tensor<1024x256xf64>) -> tensor<1024xf64>
  %4 = nd.broadcast %3 {dims = array<i64: 0>, shape = array<i64: 1024, 256>} : (tensor<1024xf64>) -> tensor<1024x256xf64>
  %5 = nd.div %2, %4 : tensor<1024x256xf64>
  func.return %5 : tensor<1024x256xf64>
}
