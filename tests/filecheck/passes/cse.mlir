// RUN: gradloom-opt %s -p cse --verify-each | FileCheck %s

// Equal expressions are computed once, whatever stands between them.
// CHECK-LABEL: func.func @gelu
func.func @gelu(%x: tensor<8xf64>, %g: tensor<8xf64>) -> (tensor<8xf64>, tensor<8xf64>) {
  // CHECK: [[SQUARE:%.+]] = nd.mul %x, %x
  // CHECK-NEXT: [[EXP:%.+]] = nd.exp [[SQUARE]]
  // CHECK-NEXT: [[Y:%.+]] = nd.mul %x, [[EXP]]
  // CHECK-NEXT: [[G:%.+]] = nd.mul %g, [[EXP]]
  // CHECK-NEXT: func.return [[Y]], [[G]]
  %0 = nd.mul %x, %x : tensor<8xf64>
  %1 = nd.exp %0 : tensor<8xf64>
  %2 = nd.mul %x, %1 : tensor<8xf64>
  %3 = nd.mul %x, %x : tensor<8xf64>
  %4 = nd.exp %3 : tensor<8xf64>
  %5 = nd.mul %g, %4 : tensor<8xf64>
  func.return %2, %5 : tensor<8xf64>
}

// The order of the operands does not matter where it does not matter.
// CHECK-LABEL: func.func @commutative
func.func @commutative(%x: tensor<8xf64>, %y: tensor<8xf64>) -> tensor<8xf64> {
  // CHECK-NEXT: [[SUM:%.+]] = nd.add %x, %y
  // CHECK-NEXT: [[LEFT:%.+]] = nd.sub [[SUM]], %x
  // CHECK-NEXT: [[RIGHT:%.+]] = nd.sub %x, [[SUM]]
  // CHECK-NEXT: nd.mul [[LEFT]], [[RIGHT]]
  %0 = nd.add %x, %y : tensor<8xf64>
  %1 = nd.add %y, %x : tensor<8xf64>
  %2 = nd.sub %0, %x : tensor<8xf64>
  %3 = nd.sub %x, %1 : tensor<8xf64>
  %4 = nd.mul %2, %3 : tensor<8xf64>
  func.return %4 : tensor<8xf64>
}

// Constants are equal by their bits: 0.0 and -0.0 are two, two nans are one.
// CHECK-LABEL: func.func @constants
func.func @constants() -> (tensor<f64>, tensor<f64>, tensor<f64>, tensor<f64>) {
  // CHECK-COUNT-3: nd.constant
  // CHECK-NEXT: func.return %0, %1, %2, %2
  %0 = nd.constant {value = dense<0.0> : tensor<f64>} : tensor<f64>
  %1 = nd.constant {value = dense<-0.0> : tensor<f64>} : tensor<f64>
  %2 = nd.constant {value = dense<0x7FF8000000000000> : tensor<f64>} : tensor<f64>
  %3 = nd.constant {value = dense<0x7FF8000000000000> : tensor<f64>} : tensor<f64>
  func.return %0, %1, %2, %3 : tensor<f64>
}

// Attributes tell ops apart.
// CHECK-LABEL: func.func @attributes
func.func @attributes(%x: tensor<2x2xf64>) -> (tensor<2xf64>, tensor<2xf64>) {
  // CHECK-COUNT-2: nd.reduce_sum
  %0 = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<2x2xf64>) -> tensor<2xf64>
  %1 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<2x2xf64>) -> tensor<2xf64>
  func.return %0, %1 : tensor<2xf64>
}
