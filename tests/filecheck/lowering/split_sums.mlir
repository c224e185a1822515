// A sum that waits for another one only by its factors is found in the pass before.
// RUN: gradloom-opt %s -p split-sums | FileCheck %s

// CHECK-LABEL: func.func @normalized
// CHECK: nd.reduce_sum %x
// CHECK-NEXT: nd.div {{.*}} : tensor<9xf64>
// CHECK-NEXT: nd.reduce_sum %y
// CHECK-NEXT: nd.neg
// CHECK-NEXT: nd.add
// CHECK-NEXT: func.return
func.func @normalized(%x: tensor<9x5xf64>, %y: tensor<9x5xf64>) -> tensor<9xf64> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<9x5xf64>) -> tensor<9xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 9, 5>} : (tensor<9xf64>) -> tensor<9x5xf64>
  %2 = nd.div %x, %1 : tensor<9x5xf64>
  %3 = nd.sub %2, %y : tensor<9x5xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<9x5xf64>) -> tensor<9xf64>
  func.return %4 : tensor<9xf64>
}

// Here it is no factor.
// CHECK-LABEL: func.func @exponentials
// CHECK: nd.reduce_sum
// CHECK: nd.exp
// CHECK-NEXT: nd.reduce_sum
func.func @exponentials(%x: tensor<9x5xf64>) -> tensor<9xf64> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<9x5xf64>) -> tensor<9xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 9, 5>} : (tensor<9xf64>) -> tensor<9x5xf64>
  %2 = nd.mul %x, %1 : tensor<9x5xf64>
  %3 = nd.exp %2 : tensor<9x5xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<9x5xf64>) -> tensor<9xf64>
  func.return %4 : tensor<9xf64>
}

// What is added up anyway is not added up a second time with a factor.
// CHECK-LABEL: func.func @beside
// CHECK: %[[SUM:.*]] = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<90x50xf64>) -> tensor<50xf64>
// CHECK-NOT: nd.reduce_sum
// CHECK: nd.mul %{{.*}}, %[[SUM]] : tensor<50xf64>
// CHECK: func.return %{{.*}}, %[[SUM]]
func.func @beside(%x: tensor<90x50xf64>, %f: tensor<50xf64>) -> (tensor<50xf64>, tensor<50xf64>) {
  %0 = nd.broadcast %f {dims = array<i64: 1>, shape = array<i64: 90, 50>} : (tensor<50xf64>) -> tensor<90x50xf64>
  %1 = nd.mul %0, %x : tensor<90x50xf64>
  %2 = nd.reduce_sum %1 {axes = array<i64: 0>} : (tensor<90x50xf64>) -> tensor<50xf64>
  %3 = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<90x50xf64>) -> tensor<50xf64>
  func.return %2, %3 : (tensor<50xf64>, tensor<50xf64>) -> ()
}
