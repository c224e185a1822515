// Loop nests over buffers: their text.
// RUN: gradloom-opt %s | FileCheck %s
// RUN: gradloom-opt %s --print-generic | gradloom-opt - | FileCheck %s

// CHECK-LABEL: func.func @sum(%x: memref<4x2xf64>, %w: memref<?xf64>) -> memref<f64> {
func.func @sum(%x: memref<4x2xf64>, %w: memref<?xf64>) -> memref<f64> {
  // CHECK-NEXT: %0 = loops.alloc {type = memref<f64>} : memref<f64>
  %0 = loops.alloc {type = memref<f64>} : memref<f64>
  // CHECK-NEXT: loops.fill %0 {value = 0.0 : f64} : memref<f64>
  loops.fill %0 {value = 0.0 : f64} : memref<f64>
  // CHECK-NEXT: %1 = loops.constant {value = dense<[1.0, 2.0]> : tensor<2xf64>} : memref<2xf64>
  %1 = loops.constant {value = dense<[1.0, 2.0]> : tensor<2xf64>} : memref<2xf64>
  // CHECK-NEXT: %2 = loops.view %x {type = memref<8xf64>} : (memref<4x2xf64>) -> memref<8xf64>
  %2 = loops.view %x {type = memref<8xf64>} : (memref<4x2xf64>) -> memref<8xf64>
  // CHECK-NEXT: loops.nest %2, %0 {extents = array<i64: 8>, width = 8 : i64} : (memref<8xf64>, memref<f64>) -> () {
  loops.nest %2, %0 {extents = array<i64: 8>, width = 8} : (memref<8xf64>, memref<f64>) -> () {
    // CHECK-NEXT: %3 = loops.load %2 {map = [array<i64: 0, 1, 0>]} : (memref<8xf64>) -> f64
    %3 = loops.load %2 {map = [array<i64: 0, 1, 0>]} : (memref<8xf64>) -> f64
    // CHECK-NEXT: loops.prefetch %2 {map = [array<i64: 0, 1, 4>], write = true} : memref<8xf64>
    loops.prefetch %2 {map = [array<i64: 0, 1, 4>], write = true} : memref<8xf64>
    // CHECK-NEXT: loops.store %3, %2 {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<8xf64>) -> ()
    loops.store %3, %2 {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<8xf64>) -> ()
    // CHECK-NEXT: loops.reduce %3, %0 {combine = "add", dims = array<i64>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<f64>) -> ()
    loops.reduce %3, %0 {combine = "add", dims = array<i64>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<f64>) -> ()
    // CHECK-NEXT: loops.end
    loops.end
  // CHECK-NEXT: }
  }
  // CHECK-NEXT: %4 = loops.extern %w {attributes = {{\[\[}}"extent", 3 : i64]], callee = "nd.example", results = [memref<3xf64>]} : (memref<?xf64>) -> memref<3xf64>
  %4 = loops.extern %w {attributes = [["extent", 3]], callee = "nd.example", results = [memref<3xf64>]} : (memref<?xf64>) -> memref<3xf64>
  func.return %0 : memref<f64>
}

// CHECK-LABEL: func.func @indexed
func.func @indexed(%x: memref<5x2xf64>, %y: memref<2x3xf64>, %i: memref<8xi64>, %low: memref<i64>, %high: memref<i64>) {
  loops.nest %x, %y, %i {extents = array<i64: 8, 2>, width = 4} : (memref<5x2xf64>, memref<2x3xf64>, memref<8xi64>) -> () {
    %0 = loops.load %i {map = [array<i64: 0, 1, 0>]} : (memref<8xi64>) -> i64
    // CHECK: %1 = loops.load %x, %0 {map = [array<i64: -2, 1, 0>, array<i64: 1, 1, 0>]} : (memref<5x2xf64>, i64) -> f64
    %1 = loops.load %x, %0 {map = [array<i64: -2, 1, 0>, array<i64: 1, 1, 0>]} : (memref<5x2xf64>, i64) -> f64
    // CHECK-NEXT: loops.scatter %1, %y, %0 {combine = "add", dims = array<i64: 1, -1>, high = array<i64: 8, 2>, low = array<i64: 0, 0>} : (f64, memref<2x3xf64>, i64) -> ()
    loops.scatter %1, %y, %0 {combine = "add", dims = array<i64: 1, -1>, high = array<i64: 8, 2>, low = array<i64: 0, 0>} : (f64, memref<2x3xf64>, i64) -> ()
    loops.end
  }
  // CHECK: loops.bounds %low, %high {axis = 1 : i64, extent = 3 : i64} : memref<i64>
  loops.bounds %low, %high {axis = 1, extent = 3} : (memref<i64>, memref<i64>) -> ()
  func.return
}

// CHECK-LABEL: func.func @tiled
func.func @tiled(%x: memref<128x4xf64>, %y: memref<128xf64>) {
  // CHECK-NEXT: %0 = loops.scratch {rows = 64 : i64, type = memref<128x4xf64>} : memref<128x4xf64>
  %0 = loops.scratch {rows = 64, type = memref<128x4xf64>} : memref<128x4xf64>
  // CHECK-NEXT: loops.tiles {extent = 128 : i64, rows = 64 : i64} : () -> () {
  loops.tiles {extent = 128, rows = 64} : () -> () {
    // CHECK-NEXT: loops.nest %x, %y
    loops.nest %x, %y {extents = array<i64: 128, 4>, width = 8} : (memref<128x4xf64>, memref<128xf64>) -> () {
      %1 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<128x4xf64>) -> f64
      loops.reduce %1, %y {combine = "add", dims = array<i64: 0>, high = array<i64: 128, 4>, low = array<i64: 0, 0>} : (f64, memref<128xf64>) -> ()
      loops.end
    }
    loops.end
  }
  func.return
}

// CHECK-LABEL: func.func @ring
func.func @ring(%x: memref<8x4xf64>, %y: memref<7x4xf64>) {
  // CHECK-NEXT: %0 = loops.scratch {ring = true, rows = 2 : i64, type = memref<8x4xf64>} : memref<8x4xf64>
  %0 = loops.scratch {ring = true, rows = 2, type = memref<8x4xf64>} : memref<8x4xf64>
  // CHECK-NEXT: loops.nest %x, %0, %y
  loops.nest %x, %0, %y {extents = array<i64: 8, 4>, width = 4} : (memref<8x4xf64>, memref<8x4xf64>, memref<7x4xf64>) -> () {
    %1 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<8x4xf64>) -> f64
    loops.store %1, %0 {dims = array<i64: 0, 1>, high = array<i64: 8, 4>, low = array<i64: 0, 0>} : (f64, memref<8x4xf64>) -> ()
    // CHECK: loops.load %0 {map = [array<i64: 0, 1, -1>, array<i64: 1, 1, 0>]} : (memref<8x4xf64>) -> f64
    %2 = loops.load %0 {map = [array<i64: 0, 1, -1>, array<i64: 1, 1, 0>]} : (memref<8x4xf64>) -> f64
    loops.store %2, %y {dims = array<i64: 0, 1>, high = array<i64: 8, 4>, low = array<i64: 1, 0>} : (f64, memref<7x4xf64>) -> ()
    loops.end
  }
  func.return
}

// CHECK-LABEL: func.func @products
func.func @products(%a: memref<2x4x3xf64>, %b: memref<2x4x5xf64>, %c: memref<2x3x5xf64>) {
  // CHECK-NEXT: loops.gemm %a, %b, %c {alpha = 1.0 : f64, batch = [array<i64: 2, 12, 20, 15>], beta = 0.0 : f64, leading = array<i64: 3, 5, 5>, shape = array<i64: 3, 5, 4>, transposed = array<i1: true, false>} : (memref<2x4x3xf64>, memref<2x4x5xf64>, memref<2x3x5xf64>) -> ()
  loops.gemm %a, %b, %c {alpha = 1.0, batch = [array<i64: 2, 12, 20, 15>], beta = 0.0, leading = array<i64: 3, 5, 5>, shape = array<i64: 3, 5, 4>, transposed = array<i1: true, false>} : (memref<2x4x3xf64>, memref<2x4x5xf64>, memref<2x3x5xf64>) -> ()
  func.return
}
