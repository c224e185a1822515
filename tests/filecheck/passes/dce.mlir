// RUN: gradloom-opt %s -p dce --verify-each | FileCheck %s

// What does not reach the result goes, at once.
// CHECK-LABEL: func.func @chain
func.func @chain(%x: tensor<f64>) -> tensor<f64> {
  // CHECK-NEXT: [[COS:%.+]] = nd.cos %x
  // CHECK-NEXT: func.return [[COS]]
  %0 = nd.sin %x : tensor<f64>
  %1 = nd.exp %0 : tensor<f64>
  %2 = nd.add %1, %0 : tensor<f64>
  %3 = nd.cos %x : tensor<f64>
  func.return %3 : tensor<f64>
}

// A function that computes nothing keeps its signature.
// CHECK-LABEL: func.func @nothing(%x: tensor<f64>) {
// CHECK-NEXT: func.return
// CHECK-NEXT: }
func.func @nothing(%x: tensor<f64>) {
  %0 = nd.sin %x : tensor<f64>
  func.return
}
