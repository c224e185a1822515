// A result is written into the memory of a donated argument if nobody reads that afterwards.
// RUN: gradloom-opt %s -p fuse,to-loops,donate | FileCheck %s

// CHECK-LABEL: func.func @update
// CHECK-SAME: donations = {{\[\[}}0 : i64, 0 : i64, ""]]
// CHECK: loops.nest {{.*}}in_place = true
func.func @update(%w: tensor<1000xf64>, %g: tensor<1000xf64>) -> tensor<1000xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.sub %w, %g : tensor<1000xf64>
  func.return %0 : tensor<1000xf64>
}

// The second of two arguments has another result's memory to itself.
// CHECK-LABEL: func.func @state
// CHECK-SAME: donations = {{\[\[}}0 : i64, 0 : i64, ""], [1 : i64, 1 : i64, ""]]
func.func @state(%w: tensor<1000xf64>, %v: tensor<1000xf64>) -> (tensor<1000xf64>, tensor<1000xf64>) attributes {donated = array<i64: 0, 1>} {
  %0 = nd.sub %w, %v : tensor<1000xf64>
  %1 = nd.mul %w, %v : tensor<1000xf64>
  func.return %0, %1 : (tensor<1000xf64>, tensor<1000xf64>) -> ()
}

// Reads that are over before the result is written do not matter: that nest does not even read the argument.
// CHECK-LABEL: func.func @total
// CHECK-SAME: donations = {{\[\[}}0 : i64, 0 : i64, ""]]
// CHECK-NOT: in_place
// CHECK: func.return
func.func @total(%w: tensor<1000xf64>) -> tensor<1000xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.reduce_sum %w {axes = array<i64: 0>} : (tensor<1000xf64>) -> tensor<f64>
  %1 = nd.broadcast %0 {dims = array<i64>, shape = array<i64: 1000>} : (tensor<f64>) -> tensor<1000xf64>
  func.return %1 : tensor<1000xf64>
}

// A neighbour would be gone when it is read.
// CHECK-LABEL: func.func @difference
// CHECK-SAME: donations = {{\[\[}}0 : i64, -1 : i64, "the kernel that writes the result reads other elements of it than the one it writes"]]
// CHECK-NOT: in_place
// CHECK: func.return
func.func @difference(%w: tensor<1000xf64>) -> tensor<1000xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.slice %w {start = array<i64: 1>, limit = array<i64: 1000>, stride = array<i64: 1>} : (tensor<1000xf64>) -> tensor<999xf64>
  %1 = nd.pad %0 {low = array<i64: 0>, high = array<i64: 1>, interior = array<i64: 0>} : (tensor<999xf64>) -> tensor<1000xf64>
  %2 = nd.sub %w, %1 : tensor<1000xf64>
  func.return %2 : tensor<1000xf64>
}

// So would the transposed element.
// CHECK-LABEL: func.func @symmetric
// CHECK-SAME: -1 : i64, "the kernel that writes the result reads other elements of it than the one it writes"
func.func @symmetric(%w: tensor<100x100xf64>) -> tensor<100x100xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.transpose %w {permutation = array<i64: 1, 0>} : (tensor<100x100xf64>) -> tensor<100x100xf64>
  %1 = nd.add %w, %0 : tensor<100x100xf64>
  func.return %1 : tensor<100x100xf64>
}

// Tiles: earlier kernels may read the rows at hand, and store them once as well.
// CHECK-LABEL: func.func @normalized
// CHECK-SAME: donations = {{\[\[}}0 : i64, 0 : i64, ""]]
// CHECK: loops.tiles
// CHECK: loops.nest {{.*}}in_place = true
// CHECK: loops.nest {{.*}}in_place = true
func.func @normalized(%x: tensor<1024x256xf64>) -> tensor<1024x256xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<1024x256xf64>) -> tensor<1024xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 1024, 256>} : (tensor<1024xf64>) -> tensor<1024x256xf64>
  %2 = nd.div %x, %1 : tensor<1024x256xf64>
  func.return %2 : tensor<1024x256xf64>
}

// CHECK-LABEL: func.func @single
// CHECK-SAME: -1 : i64, "no result has its shape and dtype"
func.func @single(%x: tensor<16xf64>) -> tensor<f64> attributes {donated = array<i64: 0>} {
  %0 = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<16xf64>) -> tensor<f64>
  func.return %0 : tensor<f64>
}

// Short axes are written out: at each point a row is read, then it is written.
// CHECK-LABEL: func.func @short_rows
// CHECK-SAME: donations = {{\[\[}}0 : i64, 0 : i64, ""]]
// CHECK: loops.nest {{.*}}extents = array<i64: 100>, in_place = true
func.func @short_rows(%w: tensor<100x5xf64>) -> tensor<100x5xf64> attributes {donated = array<i64: 0>} {
  %0 = nd.reduce_sum %w {axes = array<i64: 1>} : (tensor<100x5xf64>) -> tensor<100xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0>, shape = array<i64: 100, 5>} : (tensor<100xf64>) -> tensor<100x5xf64>
  %2 = nd.sub %w, %1 : tensor<100x5xf64>
  func.return %2 : tensor<100x5xf64>
}
