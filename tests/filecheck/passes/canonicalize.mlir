// Laws of algebra that hold for nan, infinities and, but for a zero's sign, to the bit.
// RUN: gradloom-opt %s -p canonicalize,dce | FileCheck %s

// A factor that is infinite makes the product infinite or nan, but never 0: its guard is of no use.
// CHECK-LABEL: func.func @unguarded
// CHECK: %[[R:.*]] = nd.reciprocal %x
// CHECK-NEXT: %[[Q:.*]] = nd.mul %y, %[[R]]
// CHECK-NEXT: %[[N:.*]] = nd.neg %[[Q]]
// CHECK-NEXT: %[[P:.*]] = nd.mul %[[R]], %[[N]]
// CHECK-NEXT: func.return %[[P]]
func.func @unguarded(%x: tensor<9xf64>, %y: tensor<9xf64>) -> tensor<9xf64> {
  %0 = nd.reciprocal %x : tensor<9xf64>
  %1 = nd.mul %y, %0 : tensor<9xf64>
  %2 = nd.neg %1 : tensor<9xf64>
  %3 = nd.mul_no_nan %0, %2 : tensor<9xf64>
  func.return %3 : tensor<9xf64>
}

// Another quotient by x may be 0 where 1 / x is infinite, and so may a guarded product.
// CHECK-LABEL: func.func @guarded
// CHECK: nd.mul_no_nan
// CHECK: nd.mul_no_nan
// CHECK: nd.mul_no_nan
func.func @guarded(%x: tensor<9xf64>, %y: tensor<9xf64>) -> (tensor<9xf64>, tensor<9xf64>) {
  %0 = nd.reciprocal %x : tensor<9xf64>
  %1 = nd.div %y, %x : tensor<9xf64>
  %2 = nd.mul_no_nan %0, %1 : tensor<9xf64>
  %3 = nd.mul_no_nan %0, %y : tensor<9xf64>
  %4 = nd.mul_no_nan %0, %3 : tensor<9xf64>
  func.return %2, %4 : (tensor<9xf64>, tensor<9xf64>) -> ()
}

// Whole powers are products; their products are shared.
// CHECK-LABEL: func.func @powers
// CHECK-NOT: nd.power
// CHECK: %[[X2:.*]] = nd.square %x
// CHECK-NEXT: %[[X4:.*]] = nd.square %[[X2]]
// CHECK-NEXT: %[[X6:.*]] = nd.mul %[[X2]], %[[X4]]
// CHECK-NEXT: nd.reciprocal %[[X6]]
func.func @powers(%x: tensor<9xf64>) -> tensor<9xf64> {
  %0 = nd.constant {value = dense<-6.0> : tensor<9xf64>} : tensor<9xf64>
  %1 = nd.power %x, %0 : tensor<9xf64>
  func.return %1 : tensor<9xf64>
}

// Half a power is a root where nothing is negative: pow(-inf, -1.5) is 0, its root is nan.
// CHECK-LABEL: func.func @halves
// CHECK: nd.power %x
// CHECK: %[[ROOT:.*]] = nd.sqrt
// CHECK-NEXT: %[[R:.*]] = nd.reciprocal %[[ROOT]]
// CHECK-NEXT: %[[R2:.*]] = nd.square %[[R]]
// CHECK-NEXT: nd.mul %[[R]], %[[R2]]
func.func @halves(%x: tensor<9xf64>) -> (tensor<9xf64>, tensor<9xf64>) {
  %0 = nd.constant {value = dense<-1.5> : tensor<9xf64>} : tensor<9xf64>
  %1 = nd.constant {value = dense<0.01> : tensor<9xf64>} : tensor<9xf64>
  %2 = nd.power %x, %0 : tensor<9xf64>
  %3 = nd.square %x : tensor<9xf64>
  %4 = nd.add %3, %1 : tensor<9xf64>
  %5 = nd.power %4, %0 : tensor<9xf64>
  func.return %2, %5 : (tensor<9xf64>, tensor<9xf64>) -> ()
}
