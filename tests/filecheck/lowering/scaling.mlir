// Numbers of all factors of a term meet in front of its sum.
// RUN: gradloom-opt %s -p scale-sums | FileCheck %s

// CHECK-LABEL: func.func @cancel
// CHECK-NOT: nd.constant
// CHECK: nd.reciprocal %y
// CHECK-NEXT: nd.mul_no_nan
// CHECK-NEXT: nd.mul
// CHECK-NEXT: nd.reduce_sum
// CHECK-NEXT: nd.neg
// CHECK-NEXT: func.return
func.func @cancel(%x: tensor<100x100xf64>, %y: tensor<100x100xf64>) -> tensor<100xf64> {
  %0 = nd.constant {value = dense<2.0> : tensor<100x100xf64>} : tensor<100x100xf64>
  %1 = nd.constant {value = dense<0.5> : tensor<100x100xf64>} : tensor<100x100xf64>
  %2 = nd.mul %x, %0 : tensor<100x100xf64>
  %3 = nd.div %1, %y : tensor<100x100xf64>
  %4 = nd.mul_no_nan %3, %x : tensor<100x100xf64>
  %5 = nd.mul %2, %4 : tensor<100x100xf64>
  %6 = nd.neg %5 : tensor<100x100xf64>
  %7 = nd.reduce_sum %6 {axes = array<i64: 1>} : (tensor<100x100xf64>) -> tensor<100xf64>
  func.return %7 : tensor<100xf64>
}

// A term that others need keeps its number, and so does one whose number is there against overflow; a masked one not.
// CHECK-LABEL: func.func @kept
// CHECK: %[[TWICE:.*]] = nd.mul %x
// CHECK: %[[SMALL:.*]] = nd.mul %x
// CHECK: nd.reduce_sum %[[TWICE]]
// CHECK-NEXT: nd.reduce_sum %[[SMALL]]
// CHECK-NEXT: nd.select %m, %x
// CHECK-NEXT: nd.reduce_sum
// CHECK-NEXT: nd.constant {value = dense<3.0>
// CHECK-NEXT: nd.mul
func.func @kept(%x: tensor<100x100xf64>, %m: tensor<100x100xi1>) -> (tensor<100x100xf64>, tensor<f64>, tensor<f64>, tensor<f64>) {
  %0 = nd.constant {value = dense<2.0> : tensor<100x100xf64>} : tensor<100x100xf64>
  %1 = nd.constant {value = dense<1.0e-300> : tensor<100x100xf64>} : tensor<100x100xf64>
  %2 = nd.constant {value = dense<3.0> : tensor<100x100xf64>} : tensor<100x100xf64>
  %3 = nd.constant {value = dense<0.0> : tensor<100x100xf64>} : tensor<100x100xf64>
  %4 = nd.mul %x, %0 : tensor<100x100xf64>
  %5 = nd.mul %x, %1 : tensor<100x100xf64>
  %6 = nd.mul %x, %2 : tensor<100x100xf64>
  %7 = nd.select %m, %6, %3 : (tensor<100x100xi1>, tensor<100x100xf64>, tensor<100x100xf64>) -> tensor<100x100xf64>
  %8 = nd.reduce_sum %4 {axes = array<i64: 0, 1>} : (tensor<100x100xf64>) -> tensor<f64>
  %9 = nd.reduce_sum %5 {axes = array<i64: 0, 1>} : (tensor<100x100xf64>) -> tensor<f64>
  %10 = nd.reduce_sum %7 {axes = array<i64: 0, 1>} : (tensor<100x100xf64>) -> tensor<f64>
  func.return %4, %8, %9, %10 : (tensor<100x100xf64>, tensor<f64>, tensor<f64>, tensor<f64>) -> ()
}

// Small sums are left as they are.
// CHECK-LABEL: func.func @small
// CHECK: nd.mul %x
// CHECK-NEXT: nd.reduce_sum
// CHECK-NEXT: func.return
func.func @small(%x: tensor<100xf64>) -> tensor<f64> {
  %0 = nd.constant {value = dense<2.0> : tensor<100xf64>} : tensor<100xf64>
  %1 = nd.mul %x, %0 : tensor<100xf64>
  %2 = nd.reduce_sum %1 {axes = array<i64: 0>} : (tensor<100xf64>) -> tensor<f64>
  func.return %2 : tensor<f64>
}
