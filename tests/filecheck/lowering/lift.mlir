// Sums that are linear in an exponential add up (w' a) (s b) in place of w (a b): neither factor is subnormal then.
// RUN: gradloom-opt %s -p lift-weights | FileCheck %s

// CHECK-LABEL: func.func @sums
// CHECK: %[[W:.*]] = math.exp
// CHECK: %[[LIFTED:.*]] = math.lift %[[W]] : f64
// CHECK: %[[SCALE:.*]] = math.lift_scale %[[W]] : f64
// CHECK-NOT: math.lift
// CHECK: %[[A:.*]] = arith.mulf %[[LIFTED]], %{{.*}} : f64
// CHECK: %[[B:.*]] = arith.mulf %[[SCALE]], %{{.*}} : f64
// CHECK: %[[TERM:.*]] = arith.mulf %[[A]], %[[B]] : f64
// CHECK: loops.reduce %[[TERM]]
// The sum of the weights themselves:
// CHECK: %[[MASS:.*]] = arith.mulf %[[LIFTED]], %[[SCALE]] : f64
// CHECK: loops.reduce %[[MASS]]
func.func @sums(%x: memref<64x64xf64>, %y: memref<3x64xf64>, %sums: memref<64x9xf64>, %mass: memref<64xf64>) {
  loops.nest %x, %y, %sums, %mass {extents = array<i64: 64, 64>, width = 8 : i64} : (memref<64x64xf64>, memref<3x64xf64>, memref<64x9xf64>, memref<64xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<64x64xf64>) -> f64
    %1 = math.exp %0 : f64
    %y0 = loops.load %y {map = [array<i64: -1, 0, 0>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %y1 = loops.load %y {map = [array<i64: -1, 0, 1>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %y2 = loops.load %y {map = [array<i64: -1, 0, 2>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %a0 = arith.mulf %1, %y0 : f64
    %t00 = arith.mulf %a0, %y0 : f64
    loops.reduce %t00, %sums {combine = "add", dims = array<i64: 0, -1>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t01 = arith.mulf %a0, %y1 : f64
    loops.reduce %t01, %sums {combine = "add", dims = array<i64: 0, -2>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t02 = arith.mulf %a0, %y2 : f64
    loops.reduce %t02, %sums {combine = "add", dims = array<i64: 0, -3>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %a1 = arith.mulf %1, %y1 : f64
    %t10 = arith.mulf %a1, %y0 : f64
    loops.reduce %t10, %sums {combine = "add", dims = array<i64: 0, -4>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t11 = arith.mulf %a1, %y1 : f64
    loops.reduce %t11, %sums {combine = "add", dims = array<i64: 0, -5>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t12 = arith.mulf %a1, %y2 : f64
    loops.reduce %t12, %sums {combine = "add", dims = array<i64: 0, -6>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %a2 = arith.mulf %1, %y2 : f64
    %t20 = arith.mulf %a2, %y0 : f64
    loops.reduce %t20, %sums {combine = "add", dims = array<i64: 0, -7>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t21 = arith.mulf %a2, %y1 : f64
    loops.reduce %t21, %sums {combine = "add", dims = array<i64: 0, -8>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t22 = arith.mulf %a2, %y2 : f64
    loops.reduce %t22, %sums {combine = "add", dims = array<i64: 0, -9>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    loops.reduce %1, %mass {combine = "add", dims = array<i64: 0>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64xf64>) -> ()
    loops.end
  }
  func.return
}

// Nothing says that a logarithm is small.
// CHECK-LABEL: func.func @of_logarithms
// CHECK-NOT: math.lift
// CHECK: func.return
func.func @of_logarithms(%x: memref<64x64xf64>, %y: memref<3x64xf64>, %sums: memref<64x9xf64>, %mass: memref<64xf64>) {
  loops.nest %x, %y, %sums, %mass {extents = array<i64: 64, 64>, width = 8 : i64} : (memref<64x64xf64>, memref<3x64xf64>, memref<64x9xf64>, memref<64xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<64x64xf64>) -> f64
    %1 = math.log %0 : f64
    %y0 = loops.load %y {map = [array<i64: -1, 0, 0>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %y1 = loops.load %y {map = [array<i64: -1, 0, 1>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %y2 = loops.load %y {map = [array<i64: -1, 0, 2>, array<i64: 1, 1, 0>]} : (memref<3x64xf64>) -> f64
    %a0 = arith.mulf %1, %y0 : f64
    %t00 = arith.mulf %a0, %y0 : f64
    loops.reduce %t00, %sums {combine = "add", dims = array<i64: 0, -1>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t01 = arith.mulf %a0, %y1 : f64
    loops.reduce %t01, %sums {combine = "add", dims = array<i64: 0, -2>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t02 = arith.mulf %a0, %y2 : f64
    loops.reduce %t02, %sums {combine = "add", dims = array<i64: 0, -3>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %a1 = arith.mulf %1, %y1 : f64
    %t10 = arith.mulf %a1, %y0 : f64
    loops.reduce %t10, %sums {combine = "add", dims = array<i64: 0, -4>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t11 = arith.mulf %a1, %y1 : f64
    loops.reduce %t11, %sums {combine = "add", dims = array<i64: 0, -5>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t12 = arith.mulf %a1, %y2 : f64
    loops.reduce %t12, %sums {combine = "add", dims = array<i64: 0, -6>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %a2 = arith.mulf %1, %y2 : f64
    %t20 = arith.mulf %a2, %y0 : f64
    loops.reduce %t20, %sums {combine = "add", dims = array<i64: 0, -7>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t21 = arith.mulf %a2, %y1 : f64
    loops.reduce %t21, %sums {combine = "add", dims = array<i64: 0, -8>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t22 = arith.mulf %a2, %y2 : f64
    loops.reduce %t22, %sums {combine = "add", dims = array<i64: 0, -9>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    loops.reduce %1, %mass {combine = "add", dims = array<i64: 0>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64xf64>) -> ()
    loops.end
  }
  func.return
}

// Here each sum would need a multiplication more.
// CHECK-LABEL: func.func @with_factors_of_their_own
// CHECK-NOT: math.lift
// CHECK: func.return
func.func @with_factors_of_their_own(%x: memref<64x64xf64>, %y: memref<9x64xf64>, %sums: memref<64x9xf64>, %mass: memref<64xf64>) {
  loops.nest %x, %y, %sums, %mass {extents = array<i64: 64, 64>, width = 8 : i64} : (memref<64x64xf64>, memref<9x64xf64>, memref<64x9xf64>, memref<64xf64>) -> () {
    %0 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<64x64xf64>) -> f64
    %1 = math.exp %0 : f64
    %y0 = loops.load %y {map = [array<i64: -1, 0, 0>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y1 = loops.load %y {map = [array<i64: -1, 0, 1>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y2 = loops.load %y {map = [array<i64: -1, 0, 2>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y3 = loops.load %y {map = [array<i64: -1, 0, 3>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y4 = loops.load %y {map = [array<i64: -1, 0, 4>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y5 = loops.load %y {map = [array<i64: -1, 0, 5>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y6 = loops.load %y {map = [array<i64: -1, 0, 6>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y7 = loops.load %y {map = [array<i64: -1, 0, 7>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %y8 = loops.load %y {map = [array<i64: -1, 0, 8>, array<i64: 1, 1, 0>]} : (memref<9x64xf64>) -> f64
    %a0 = arith.mulf %1, %y0 : f64
    %t00 = arith.mulf %a0, %y0 : f64
    loops.reduce %t00, %sums {combine = "add", dims = array<i64: 0, -1>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t01 = arith.mulf %a0, %y1 : f64
    loops.reduce %t01, %sums {combine = "add", dims = array<i64: 0, -2>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t02 = arith.mulf %a0, %y2 : f64
    loops.reduce %t02, %sums {combine = "add", dims = array<i64: 0, -3>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t03 = arith.mulf %a0, %y3 : f64
    loops.reduce %t03, %sums {combine = "add", dims = array<i64: 0, -4>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t04 = arith.mulf %a0, %y4 : f64
    loops.reduce %t04, %sums {combine = "add", dims = array<i64: 0, -5>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t05 = arith.mulf %a0, %y5 : f64
    loops.reduce %t05, %sums {combine = "add", dims = array<i64: 0, -6>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t06 = arith.mulf %a0, %y6 : f64
    loops.reduce %t06, %sums {combine = "add", dims = array<i64: 0, -7>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t07 = arith.mulf %a0, %y7 : f64
    loops.reduce %t07, %sums {combine = "add", dims = array<i64: 0, -8>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    %t08 = arith.mulf %a0, %y8 : f64
    loops.reduce %t08, %sums {combine = "add", dims = array<i64: 0, -9>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64x9xf64>) -> ()
    loops.reduce %1, %mass {combine = "add", dims = array<i64: 0>, high = array<i64: 64, 64>, low = array<i64: 0, 0>} : (f64, memref<64xf64>) -> ()
    loops.end
  }
  func.return
}
