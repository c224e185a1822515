// While a tile is computed on, its heaviest nest asks for the memory that comes next.
// RUN: gradloom-opt %s -p fuse,to-loops,ask-ahead | FileCheck %s

// The exponentials are the heavy part of a softmax: meanwhile the next tile's rows come, and this tile's lines of the
// result, which the last nest writes to.
// CHECK-LABEL: func.func @softmax
// CHECK: %[[OUT:.*]] = loops.alloc {type = memref<4096x1000xf32>}
// CHECK: loops.tiles {extent = 4096 : i64, rows = 32 : i64}
// CHECK: loops.nest %x
// CHECK-NOT: loops.prefetch
// CHECK: math.exp
// CHECK: loops.prefetch %x {map = [array<i64: 0, 1, 32>, array<i64: 1, 1, 0>], write = false}
// CHECK: loops.prefetch %[[OUT]] {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>], write = true}
// CHECK-NOT: loops.prefetch
// CHECK: loops.store {{.*}}, %[[OUT]]
func.func @softmax(%x: tensor<4096x1000xf32>) -> tensor<4096x1000xf32> {
  %0 = nd.reduce_max %x {axes = array<i64: 1>} : (tensor<4096x1000xf32>) -> tensor<4096xf32>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 4096, 1000>} : (tensor<4096xf32>) -> tensor<4096x1000xf32>
  %2 = nd.sub %x, %1 : tensor<4096x1000xf32>
  %3 = nd.exp %2 : tensor<4096x1000xf32>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<4096x1000xf32>) -> tensor<4096xf32>
  %5 = nd.broadcast %4 {dims = array<i64: 0>, shape = array<i64: 4096, 1000>} : (tensor<4096xf32>) -> tensor<4096x1000xf32>
  %6 = nd.mul %2, %5 : tensor<4096x1000xf32>
  func.return %6 : tensor<4096x1000xf32>
}

// What the caches hold from call to call is not asked for.
// CHECK-LABEL: func.func @small
// CHECK: loops.tiles
// CHECK-NOT: loops.prefetch
// CHECK: func.return
func.func @small(%x: tensor<512x256xf32>) -> tensor<512x256xf32> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<512x256xf32>) -> tensor<512xf32>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 512, 256>} : (tensor<512xf32>) -> tensor<512x256xf32>
  %2 = nd.div %x, %1 : tensor<512x256xf32>
  func.return %2 : tensor<512x256xf32>
}
