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
