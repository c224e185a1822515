// Products with one use that is an addition become fused multiply-adds; others keep their rounding.
// RUN: gradloom-opt %s -p fuse-multiply-add | FileCheck %s

// CHECK-LABEL: func.func @fused
// CHECK: %0 = loops.load
// CHECK-NEXT: %1 = arith.constant
// CHECK-NEXT: %2 = math.fma %0, %1, %1 : f64
// CHECK-NEXT: %3 = arith.negf %2 : f64
// CHECK-NEXT: %4 = math.fma %0, %2, %3 : f64
// CHECK-NEXT: %5 = arith.negf %4 : f64
// CHECK-NEXT: %6 = math.fma %5, %4, %0 : f64
// CHECK-NEXT: %7 = arith.mulf %6, %0 : f64
// CHECK-NEXT: %8 = arith.addf %7, %6 : f64
// CHECK-NEXT: %9 = arith.subf %8, %7 : f64
// CHECK-NEXT: loops.store %9
func.func @fused(%x: memref<8xf64>) {
  loops.nest %x {extents = array<i64: 8>, width = 8} : (memref<8xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>]} : (memref<8xf64>) -> f64
    %1 = arith.constant {type = f64, value = 3.0} : f64
    %2 = arith.mulf %0, %1 : f64
    %3 = arith.addf %2, %1 : f64
    %4 = arith.mulf %0, %3 : f64
    %5 = arith.subf %4, %3 : f64
    %6 = arith.mulf %5, %5 : f64
    %7 = arith.subf %0, %6 : f64
    %8 = arith.mulf %7, %0 : f64
    %9 = arith.addf %8, %7 : f64
    %10 = arith.subf %9, %8 : f64
    loops.store %10, %x {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<8xf64>) -> ()
    loops.end
  }
  func.return
}

// Of two products the first is fused; signs are moved; f16 and integers have no fused instruction.
// CHECK-LABEL: func.func @signs
// CHECK: %2 = arith.mulf %0, %1 : f32
// CHECK-NEXT: %3 = math.fma %0, %1, %2 : f32
// CHECK-NEXT: %4 = arith.negf %0 : f32
// CHECK-NEXT: %5 = math.fma %4, %1, %3 : f32
// CHECK-NEXT: %6 = math.fma %1, %5, %0 : f32
// CHECK-NEXT: loops.store %6
func.func @signs(%x: memref<8xf32>, %y: memref<8xf32>) {
  loops.nest %x, %y {extents = array<i64: 8>, width = 8} : (memref<8xf32>, memref<8xf32>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>]} : (memref<8xf32>) -> f32
    %1 = loops.load %y {map = [array<i64: 0, 1, 0>]} : (memref<8xf32>) -> f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.mulf %0, %1 : f32
    %4 = arith.addf %2, %3 : f32
    %5 = arith.mulf %0, %1 : f32
    %6 = arith.negf %5 : f32
    %7 = arith.addf %4, %6 : f32
    %8 = arith.mulf %1, %7 : f32
    %9 = arith.negf %8 : f32
    %10 = arith.subf %0, %9 : f32
    loops.store %10, %x {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f32, memref<8xf32>) -> ()
    loops.end
  }
  func.return
}

// CHECK-LABEL: func.func @halves
// CHECK-NOT: math.fma
// CHECK: func.return
func.func @halves(%x: memref<8xf16>) {
  loops.nest %x {extents = array<i64: 8>, width = 8} : (memref<8xf16>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>]} : (memref<8xf16>) -> f16
    %1 = arith.mulf %0, %0 : f16
    %2 = arith.addf %1, %0 : f16
    loops.store %2, %x {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f16, memref<8xf16>) -> ()
    loops.end
  }
  func.return
}

// A sum of products starts from the number that is added to it; one that is used elsewhere does not.
// CHECK-LABEL: func.func @started
// CHECK: %1 = arith.constant {type = f64, value = 0.5
// CHECK-NEXT: %2 = math.fma %0, %0, %1 : f64
// CHECK-NEXT: %3 = math.fma %0, %0, %2 : f64
// CHECK-NOT: arith.addf
// CHECK: %[[PRODUCT:.*]] = arith.mulf %3, %3 : f64
// CHECK-NEXT: %[[SUM:.*]] = math.fma %3, %0, %[[PRODUCT]] : f64
// CHECK-NEXT: arith.addf %[[SUM]]
// CHECK-NEXT: arith.mulf
func.func @started(%x: memref<8xf64>) {
  loops.nest %x {extents = array<i64: 8>, width = 8} : (memref<8xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>]} : (memref<8xf64>) -> f64
    %1 = arith.mulf %0, %0 : f64
    %2 = arith.mulf %0, %0 : f64
    %3 = arith.addf %1, %2 : f64
    %4 = arith.constant {type = f64, value = 0.5} : f64
    %5 = arith.addf %4, %3 : f64
    %6 = arith.mulf %5, %5 : f64
    %7 = arith.mulf %5, %0 : f64
    %8 = arith.addf %7, %6 : f64
    %9 = arith.addf %8, %4 : f64
    %10 = arith.mulf %9, %8 : f64
    loops.store %10, %x {dims = array<i64: 0>, high = array<i64: 8>, low = array<i64: 0>} : (f64, memref<8xf64>) -> ()
    loops.end
  }
  func.return
}
