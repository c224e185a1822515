// What a nest computes at several places around its point it computes once, and keeps for some rows.
// RUN: gradloom-opt %s -p fuse,to-loops,reuse-shifted | FileCheck %s

// exp(x) * x is needed in the row before and after: the nest stores it at its row and adds up one row behind.
// CHECK-LABEL: func.func @rows
// CHECK: %[[RING:.*]] = loops.scratch {ring = true, rows = 4 : i64, type = memref<128x256xf64>}
// CHECK: loops.nest {{.*}} {extents = array<i64: 128, 256>
// CHECK: math.exp
// CHECK: %[[HERE:.*]] = arith.mulf
// CHECK: loops.store %[[HERE]], %[[RING]] {dims = array<i64: 0, 1>, high = array<i64: 128, 256>, low = array<i64: 0, 0>}
// CHECK: %[[BEFORE:.*]] = loops.load %[[RING]] {map = [array<i64: 0, 1, -2>, array<i64: 1, 1, 0>]}
// CHECK-NOT: math.exp
// CHECK: %[[SUM:.*]] = arith.addf %[[HERE]], %[[BEFORE]]
// CHECK: loops.store %[[SUM]], {{.*}} {dims = array<i64: 0, 1>, high = array<i64: 128, 256>, low = array<i64: 2, 0>}
func.func @rows(%x: tensor<128x256xf64>) -> tensor<126x256xf64> {
  %0 = nd.exp %x : tensor<128x256xf64>
  %1 = nd.mul %0, %x : tensor<128x256xf64>
  %2 = nd.slice %1 {limit = array<i64: 128, 256>, start = array<i64: 2, 0>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<126x256xf64>
  %3 = nd.slice %1 {limit = array<i64: 126, 256>, start = array<i64: 0, 0>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<126x256xf64>
  %4 = nd.add %2, %3 : tensor<126x256xf64>
  func.return %4 : tensor<126x256xf64>
}

// A neighbour in the same row has not been computed yet, so what reads it lags one row behind.
// CHECK-LABEL: func.func @columns
// CHECK: loops.scratch {ring = true, rows = 2 : i64, type = memref<128x256xf64>}
// CHECK: loops.load {{.*}} {map = [array<i64: 0, 1, -1>, array<i64: 1, 1, {{.*}}>]} : (memref<128x256xf64>)
// CHECK: func.return
func.func @columns(%x: tensor<128x256xf64>) -> tensor<128x254xf64> {
  %0 = nd.exp %x : tensor<128x256xf64>
  %1 = nd.mul %0, %x : tensor<128x256xf64>
  %2 = nd.slice %1 {limit = array<i64: 128, 256>, start = array<i64: 0, 2>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<128x254xf64>
  %3 = nd.slice %1 {limit = array<i64: 128, 254>, start = array<i64: 0, 0>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<128x254xf64>
  %4 = nd.add %2, %3 : tensor<128x254xf64>
  func.return %4 : tensor<128x254xf64>
}

// A difference is cheaper to compute again.
// CHECK-LABEL: func.func @light
// CHECK-NOT: ring
// CHECK: func.return
func.func @light(%x: tensor<128x256xf64>, %y: tensor<128x256xf64>) -> tensor<126x256xf64> {
  %1 = nd.sub %x, %y : tensor<128x256xf64>
  %2 = nd.slice %1 {limit = array<i64: 128, 256>, start = array<i64: 2, 0>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<126x256xf64>
  %3 = nd.slice %1 {limit = array<i64: 126, 256>, start = array<i64: 0, 0>, stride = array<i64: 1, 1>} : (tensor<128x256xf64>) -> tensor<126x256xf64>
  %4 = nd.add %2, %3 : tensor<126x256xf64>
  func.return %4 : tensor<126x256xf64>
}
