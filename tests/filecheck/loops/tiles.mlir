// What a tile's nests share, on the level of loops.
// RUN: gradloom-opt %s -p share-in-tiles | FileCheck %s

// A buffer that is written in between is other memory: its exponentials are others, too.
// CHECK-LABEL: func.func @written_between
// CHECK: math.exp
// CHECK: math.exp
func.func @written_between(%x: memref<1024x256xf64>, %y: memref<1024x256xf64>, %z: memref<1024x256xf64>) {
  loops.tiles {extent = 1024, rows = 32} : () -> () {
    loops.nest %x, %y, %z {extents = array<i64: 1024, 256>, width = 16} : (memref<1024x256xf64>, memref<1024x256xf64>, memref<1024x256xf64>) -> () {
      %0 = loops.load %y {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<1024x256xf64>) -> f64
      %1 = math.exp %0 : f64
      loops.store %1, %z {dims = array<i64: 0, 1>, high = array<i64: 1024, 256>, low = array<i64: 0, 0>} : (f64, memref<1024x256xf64>) -> ()
      loops.end
    }
    loops.nest %x, %y {extents = array<i64: 1024, 256>, width = 16} : (memref<1024x256xf64>, memref<1024x256xf64>) -> () {
      %2 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<1024x256xf64>) -> f64
      loops.store %2, %y {dims = array<i64: 0, 1>, high = array<i64: 1024, 256>, low = array<i64: 0, 0>} : (f64, memref<1024x256xf64>) -> ()
      loops.end
    }
    loops.nest %y, %x {extents = array<i64: 1024, 256>, width = 16} : (memref<1024x256xf64>, memref<1024x256xf64>) -> () {
      %3 = loops.load %y {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<1024x256xf64>) -> f64
      %4 = math.exp %3 : f64
      loops.store %4, %x {dims = array<i64: 0, 1>, high = array<i64: 1024, 256>, low = array<i64: 0, 0>} : (f64, memref<1024x256xf64>) -> ()
      loops.end
    }
    loops.end
  }
  func.return
}

// What nothing reads is not stored.
// CHECK-LABEL: func.func @unread
// CHECK-NOT: loops.scratch
// CHECK-NOT: math.exp
// CHECK: loops.store
// CHECK-NOT: loops.store
// CHECK: func.return
func.func @unread(%x: memref<1024x256xf64>, %y: memref<1024x256xf64>) {
  %s = loops.scratch {rows = 32, type = memref<1024x256xf64>} : memref<1024x256xf64>
  loops.tiles {extent = 1024, rows = 32} : () -> () {
    loops.nest %x, %y, %s {extents = array<i64: 1024, 256>, width = 16} : (memref<1024x256xf64>, memref<1024x256xf64>, memref<1024x256xf64>) -> () {
      %0 = loops.load %x {map = [array<i64: 0, 1, 0>, array<i64: 1, 1, 0>]} : (memref<1024x256xf64>) -> f64
      %1 = math.exp %0 : f64
      loops.store %1, %s {dims = array<i64: 0, 1>, high = array<i64: 1024, 256>, low = array<i64: 0, 0>} : (f64, memref<1024x256xf64>) -> ()
      loops.store %0, %y {dims = array<i64: 0, 1>, high = array<i64: 1024, 256>, low = array<i64: 0, 0>} : (f64, memref<1024x256xf64>) -> ()
      loops.end
    }
    loops.end
  }
  func.return
}
