// What several nests of a tile compute for the same points is kept for the tile, if it is worth a trip to the cache.
// RUN: gradloom-opt %s -p fuse,to-loops,share-in-tiles | FileCheck %s

// The exponentials of a softmax: the sum and the quotient need them.
// CHECK-LABEL: func.func @softmax
// CHECK: loops.scratch {rows = [[ROWS:[0-9]+]] : i64, type = memref<1024x1000xf32>}
// CHECK: loops.tiles {extent = 1024 : i64, rows = [[ROWS]] : i64}
// CHECK: %[[POWER:.*]] = math.exp
// CHECK: loops.store %[[POWER]], %[[SCRATCH:[0-9]+]]
// CHECK: loops.nest
// CHECK: %[[READ:.*]] = loops.load %[[SCRATCH]] {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]}
// CHECK-NOT: math.exp
// CHECK: arith.divf %[[READ]]
func.func @softmax(%x: tensor<1024x1000xf32>) -> tensor<1024x1000xf32> {
  %0 = nd.exp %x : tensor<1024x1000xf32>
  %1 = nd.reduce_sum %0 {axes = array<i64: 1>} : (tensor<1024x1000xf32>) -> tensor<1024xf32>
  %2 = nd.broadcast %1 {dims = array<i64: 0>, shape = array<i64: 1024, 1000>} : (tensor<1024xf32>) -> tensor<1024x1000xf32>
  %3 = nd.div %0, %2 : tensor<1024x1000xf32>
  func.return %3 : tensor<1024x1000xf32>
}

// A difference is computed again.
// CHECK-LABEL: func.func @centred
// CHECK-NOT: loops.scratch
// CHECK: func.return
func.func @centred(%x: tensor<1024x1000xf32>, %c: tensor<1000xf32>) -> tensor<1024x1000xf32> {
  %0 = nd.broadcast %c {dims = array<i64: 1>, shape = array<i64: 1024, 1000>} : (tensor<1000xf32>) -> tensor<1024x1000xf32>
  %1 = nd.sub %x, %0 : tensor<1024x1000xf32>
  %2 = nd.reduce_sum %1 {axes = array<i64: 1>} : (tensor<1024x1000xf32>) -> tensor<1024xf32>
  %3 = nd.broadcast %2 {dims = array<i64: 0>, shape = array<i64: 1024, 1000>} : (tensor<1024xf32>) -> tensor<1024x1000xf32>
  %4 = nd.div %1, %3 : tensor<1024x1000xf32>
  func.return %4 : tensor<1024x1000xf32>
}
