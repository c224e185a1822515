// Ops whose operands or results differ in type, and constants.
// RUN: gradloom-opt %s | FileCheck %s
// RUN: gradloom-opt %s --print-generic | gradloom-opt - | FileCheck %s

// CHECK-LABEL: func.func @select
func.func @select(%c: tensor<2xi1>, %x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: %0 = nd.select %c, %x, %x : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %0 = nd.select %c, %x, %x : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %0 : tensor<2xf32>
}

// CHECK-LABEL: func.func @convert
func.func @convert(%x: tensor<f32>) -> (tensor<f64>, tensor<i1>) {
  // CHECK-NEXT: %wide = nd.convert %x {type = f64} : (tensor<f32>) -> tensor<f64>
  %wide = nd.convert %x {type = f64} : (tensor<f32>) -> tensor<f64>
  // CHECK-NEXT: %0 = nd.convert %wide {type = i1} : (tensor<f64>) -> tensor<i1>
  %0 = nd.convert %wide {type = i1} : (tensor<f64>) -> tensor<i1>
  func.return %wide, %0 : (tensor<f64>, tensor<i1>) -> ()
}

// CHECK-LABEL: func.func @constants() {
func.func @constants() {
  // CHECK-NEXT: {value = dense<0.1> : tensor<f64>} : tensor<f64>
  %0 = nd.constant {value = dense<0.1> : tensor<f64>} : tensor<f64>
  // CHECK-NEXT: {value = dense<{{\[\[}}1, 2], [-3, 4]]> : tensor<2x2xi32>} : tensor<2x2xi32>
  %1 = nd.constant {value = dense<[[1, 2], [-3, 4]]> : tensor<2x2xi32>} : tensor<2x2xi32>
  // CHECK-NEXT: {value = dense<true> : tensor<9xi1>} : tensor<9xi1>
  %2 = nd.constant {value = dense<true> : tensor<9xi1>} : tensor<9xi1>
  // CHECK-NEXT: {value = dense<[0x7FC00000, 0xFF800000, -0.0]> : tensor<3xf32>} : tensor<3xf32>
  %3 = nd.constant {value = dense<[0x7FC00000, 0xFF800000, -0.0]> : tensor<3xf32>} : tensor<3xf32>
  // CHECK-NEXT: {value = dense<> : tensor<0x4xf64>} : tensor<0x4xf64>
  %4 = nd.constant {value = dense<> : tensor<0x4xf64>} : tensor<0x4xf64>
  // From 64 elements on, bytes.
  // CHECK-NEXT: {value = dense<"0x000102030405{{([0-9A-F]{2})+}}3F"> : tensor<64xui8>} : tensor<64xui8>
  %5 = nd.constant {value = dense<[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
    18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
    42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63]>
    : tensor<64xui8>} : tensor<64xui8>
  // CHECK-NEXT: nd.extent {type = f32, value = 1000 : i64} : tensor<f32>
  %extent = nd.extent {value = 1000, type = f32} : tensor<f32>
  // CHECK-NEXT: nd.iota {axis = 1 : i64, shape = array<i64: 2, 3>, type = i64} : tensor<2x3xi64>
  %6 = nd.iota {shape = array<i64: 2, 3>, axis = 1, type = i64} : tensor<2x3xi64>
  func.return
}
