// A nest whose two dimensions are two of the same: its text, and what it must not be.
// RUN: gradloom-opt %s --split-input --verify-diagnostics | FileCheck %s
// RUN: gradloom-opt %s --split-input --verify-diagnostics --print-generic | gradloom-opt - --split-input | FileCheck %s

// CHECK-LABEL: func.func @pairs
func.func @pairs(%x: memref<9xf64>, %y: memref<9xf64>, %z: memref<f64>) {
  // CHECK: loops.nest %x, %y, %z {extents = array<i64: 9, 9>, halved = true, width = 4 : i64}
  loops.nest %x, %y, %z {extents = array<i64: 9, 9>, halved = true, width = 4} : (memref<9xf64>, memref<9xf64>, memref<f64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>]} : (memref<9xf64>) -> f64
    %1 = loops.load %x {map = [array<i64: 1, 1, 0>]} : (memref<9xf64>) -> f64
    %2 = arith.subf %0, %1 : f64
    %3 = arith.mulf %2, %2 : f64
    // CHECK: loops.reduce %2, %y {combine = "add", dims = array<i64: 0>, high = array<i64: 9, 9>, low = array<i64: 0, 0>, mirror = -1 : i64} : (f64, memref<9xf64>) -> ()
    loops.reduce %2, %y {combine = "add", dims = array<i64: 0>, high = array<i64: 9, 9>, low = array<i64: 0, 0>, mirror = -1} : (f64, memref<9xf64>) -> ()
    // CHECK-NEXT: loops.reduce %3, %z {combine = "add", dims = array<i64>, high = array<i64: 9, 9>, low = array<i64: 0, 0>, mirror = 1 : i64} : (f64, memref<f64>) -> ()
    loops.reduce %3, %z {combine = "add", dims = array<i64>, high = array<i64: 9, 9>, low = array<i64: 0, 0>, mirror = 1} : (f64, memref<f64>) -> ()
    loops.end
  }
  func.return
}

// -----

func.func @rectangle(%x: memref<9xf64>, %y: memref<8xf64>) {
  // expected-error@+1 {{a halved 'loops.nest' op has two dimensions of one extent}}
  loops.nest %x, %y {extents = array<i64: 8, 9>, halved = true, width = 4} : (memref<9xf64>, memref<8xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 1, 1, 0>]} : (memref<9xf64>) -> f64
    loops.reduce %0, %y {combine = "add", dims = array<i64: 0>, high = array<i64: 8, 9>, low = array<i64: 0, 0>, mirror = 1} : (f64, memref<8xf64>) -> ()
    loops.end
  }
  func.return
}

// -----

func.func @without_a_sign(%x: memref<9xf64>, %y: memref<9xf64>) {
  // expected-error@+1 {{a 'loops.nest' op is halved if all that it does is mirrored reductions}}
  loops.nest %x, %y {extents = array<i64: 9, 9>, halved = true, width = 4} : (memref<9xf64>, memref<9xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 1, 1, 0>]} : (memref<9xf64>) -> f64
    loops.reduce %0, %y {combine = "add", dims = array<i64: 0>, high = array<i64: 9, 9>, low = array<i64: 0, 0>} : (f64, memref<9xf64>) -> ()
    loops.end
  }
  func.return
}

// -----

func.func @across(%x: memref<9xf64>, %y: memref<9x2xf64>) {
  // expected-error@+1 {{a mirrored 'loops.reduce' op adds up numbers, or along its last axis}}
  loops.nest %x, %y {extents = array<i64: 9, 9>, halved = true, width = 4} : (memref<9xf64>, memref<9x2xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 1, 1, 0>]} : (memref<9xf64>) -> f64
    loops.reduce %0, %y {combine = "add", dims = array<i64: 0, -1>, high = array<i64: 9, 9>, low = array<i64: 0, 0>, mirror = 1} : (f64, memref<9x2xf64>) -> ()
    loops.end
  }
  func.return
}
