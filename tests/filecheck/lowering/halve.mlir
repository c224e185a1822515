// Nests over pairs of the same points whose terms are symmetric are marked: each pair is visited once.
// RUN: gradloom-opt %s -p fuse,to-loops,halve-pairs | FileCheck %s

// Terms that are the same seen from both points count twice in the sum of all; those that change their sign are taken
// from the sum of the other point.
// CHECK-LABEL: func.func @pull
// CHECK: loops.nest {{.*}} {extents = array<i64: 1000, 1000>, halved = true, width = 16 : i64}
// CHECK: loops.reduce {{.*}} {combine = "add", dims = array<i64>, high = array<i64: 1000, 1000>, low = array<i64: 0, 0>, mirror = 1 : i64}
// CHECK-NEXT: loops.reduce {{.*}} {combine = "add", dims = array<i64: 0>, high = array<i64: 1000, 1000>, low = array<i64: 0, 0>, mirror = -1 : i64}
func.func @pull(%x: tensor<1000xf64>) -> (tensor<f64>, tensor<1000xf64>) {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.cosh %2 : tensor<1000x1000xf64>
  %4 = nd.sinh %2 : tensor<1000x1000xf64>
  %5 = nd.reduce_sum %3 {axes = array<i64: 0, 1>} : (tensor<1000x1000xf64>) -> tensor<f64>
  %6 = nd.reduce_sum %4 {axes = array<i64: 1>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %5, %6 : (tensor<f64>, tensor<1000xf64>) -> ()
}

// A sum over the first point is one over the second, of the negative terms here.
// CHECK-LABEL: func.func @columns
// CHECK: %[[NEGATIVE:.*]] = arith.negf %[[TERM:.*]] : f64
// CHECK-NEXT: loops.reduce %[[NEGATIVE]], {{.*}} {combine = "add", dims = array<i64: 0>, {{.*}}, mirror = -1 : i64}
func.func @columns(%x: tensor<1000xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.sinh %2 : tensor<1000x1000xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 0>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %4 : tensor<1000xf64>
}

// Sums that lie apart from each other are gathered, and brought to their places afterwards. What is read from a
// transposed copy is what was copied.
// CHECK-LABEL: func.func @apart
// CHECK: %[[COPY:.*]] = loops.alloc {type = memref<2x1000xf64>}
// CHECK: %[[RESULT:.*]] = loops.alloc {type = memref<1000x2xf64>}
// CHECK-NEXT: %[[SUMS:.*]] = loops.alloc {type = memref<2x1000xf64>}
// CHECK-NEXT: loops.fill %[[SUMS]] {value = 0.0 : f64}
// CHECK-NEXT: loops.nest {{.*}} {extents = array<i64: 1000, 1000>, halved = true, width = 16 : i64}
// CHECK: loops.reduce %{{.*}}, %[[SUMS]] {combine = "add", dims = array<i64: -1, 0>, {{.*}}, mirror = -1 : i64}
// CHECK-NEXT: loops.reduce %{{.*}}, %[[SUMS]] {combine = "add", dims = array<i64: -2, 0>, {{.*}}, mirror = -1 : i64}
// CHECK: loops.nest %[[SUMS]], %[[RESULT]] {extents = array<i64: 2, 1000>, width = 16 : i64}
// CHECK: loops.store %{{.*}}, %[[RESULT]] {dims = array<i64: 1, 0>, high = array<i64: 2, 1000>, low = array<i64: 0, 0>}
func.func @apart(%x: tensor<1000x2xf64>) -> tensor<1000x2xf64> {
  %0 = nd.reshape %x {shape = array<i64: 1000, 1, 2>} : (tensor<1000x2xf64>) -> tensor<1000x1x2xf64>
  %1 = nd.broadcast %0 {dims = array<i64: 0, 1, 2>, shape = array<i64: 1000, 1000, 2>} : (tensor<1000x1x2xf64>) -> tensor<1000x1000x2xf64>
  %2 = nd.broadcast %x {dims = array<i64: 1, 2>, shape = array<i64: 1000, 1000, 2>} : (tensor<1000x2xf64>) -> tensor<1000x1000x2xf64>
  %3 = nd.sub %1, %2 : tensor<1000x1000x2xf64>
  %4 = nd.square %3 : tensor<1000x1000x2xf64>
  %5 = nd.reduce_sum %4 {axes = array<i64: 2>} : (tensor<1000x1000x2xf64>) -> tensor<1000x1000xf64>
  %6 = nd.exp %5 : tensor<1000x1000xf64>
  %7 = nd.broadcast %6 {dims = array<i64: 0, 1>, shape = array<i64: 1000, 1000, 2>} : (tensor<1000x1000xf64>) -> tensor<1000x1000x2xf64>
  %8 = nd.mul %3, %7 : tensor<1000x1000x2xf64>
  %9 = nd.reduce_sum %8 {axes = array<i64: 1>} : (tensor<1000x1000x2xf64>) -> tensor<1000x2xf64>
  func.return %9 : tensor<1000x2xf64>
}

// Two sets of points, terms that are not symmetric, few points, light terms: all points are visited.
// CHECK-LABEL: func.func @two_sets
// CHECK-NOT: halved
// CHECK: func.return
func.func @two_sets(%x: tensor<1000xf64>, %y: tensor<1000xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %y {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.cosh %2 : tensor<1000x1000xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %4 : tensor<1000xf64>
}

// CHECK-LABEL: func.func @one_sided
// CHECK-NOT: halved
// CHECK: func.return
func.func @one_sided(%x: tensor<1000xf64>) -> tensor<f64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.exp %2 : tensor<1000x1000xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 0, 1>} : (tensor<1000x1000xf64>) -> tensor<f64>
  func.return %4 : tensor<f64>
}

// CHECK-LABEL: func.func @few
// CHECK-NOT: halved
// CHECK: func.return
func.func @few(%x: tensor<40xf64>) -> tensor<40xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 40, 40>} : (tensor<40xf64>) -> tensor<40x40xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 40, 40>} : (tensor<40xf64>) -> tensor<40x40xf64>
  %2 = nd.sub %0, %1 : tensor<40x40xf64>
  %3 = nd.cosh %2 : tensor<40x40xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<40x40xf64>) -> tensor<40xf64>
  func.return %4 : tensor<40xf64>
}

// CHECK-LABEL: func.func @light
// CHECK-NOT: halved
// CHECK: func.return
func.func @light(%x: tensor<1000xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.square %2 : tensor<1000x1000xf64>
  %4 = nd.reduce_sum %3 {axes = array<i64: 1>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %4 : tensor<1000xf64>
}

// A divisor whose zeros change their sign decides between both infinities: 1 / (x - y) is no negative of 1 / (y - x), so
// that is computed too; the even factor is not.
// CHECK-LABEL: func.func @poles
// CHECK: halved = true
// CHECK: %[[DIFFERENCE:.*]] = arith.subf %[[X:.*]], %[[Y:.*]] : f64
// CHECK: %[[POLE:.*]] = arith.divf %[[ONE:.*]], %[[DIFFERENCE]] : f64
// CHECK: %[[EVEN:.*]] = math.cosh %[[DIFFERENCE]] : f64
// CHECK: %[[TERM:.*]] = arith.mulf %[[POLE]], %[[EVEN]] : f64
// CHECK-NEXT: %[[OTHER_DIFFERENCE:.*]] = arith.subf %[[Y]], %[[X]] : f64
// CHECK-NEXT: %[[OTHER_POLE:.*]] = arith.divf %[[ONE]], %[[OTHER_DIFFERENCE]] : f64
// CHECK-NEXT: %[[OTHER:.*]] = arith.mulf %[[OTHER_POLE]], %[[EVEN]] : f64
// CHECK-NEXT: loops.reduce %[[TERM]], %{{.*}}, %[[OTHER]] {combine = "add", dims = array<i64: 0>, {{.*}}, mirror = 1 : i64}
func.func @poles(%x: tensor<1000xf64>) -> tensor<1000xf64> {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.reciprocal %2 : tensor<1000x1000xf64>
  %4 = nd.cosh %2 : tensor<1000x1000xf64>
  %5 = nd.mul %3, %4 : tensor<1000x1000xf64>
  %6 = nd.reduce_sum %5 {axes = array<i64: 1>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %6 : tensor<1000xf64>
}

// A weight of one point makes terms of both points two: what is symmetric in them is computed once. A weight that has to
// be read across its rows is copied first.
// CHECK-LABEL: func.func @weights
// CHECK: %[[COPY:.*]] = loops.alloc {type = memref<2x1000xf64>}
// CHECK-NEXT: loops.nest %w, %[[COPY]] {extents = array<i64: 2, 1000>, width = 16 : i64}
// CHECK: loops.nest {{.*}} {extents = array<i64: 1000, 1000>, halved = true, width = 16 : i64}
// CHECK: %[[WEIGHT:.*]] = loops.load %w {map = [array<i64: 0, 1, 0>, array<i64: -1, 0, 1>]}
// CHECK: %[[EVEN:.*]] = math.cosh
// CHECK: %[[TERM:.*]] = arith.mulf %[[EVEN]], %[[WEIGHT]] : f64
// CHECK-NEXT: %[[OTHER_WEIGHT:.*]] = loops.load %[[COPY]] {map = [array<i64: -1, 0, 1>, array<i64: 1, 1, 0>]}
// CHECK-NEXT: %[[OTHER:.*]] = arith.mulf %[[EVEN]], %[[OTHER_WEIGHT]] : f64
// CHECK-NEXT: loops.reduce %[[TERM]], %{{.*}}, %[[OTHER]] {combine = "add", dims = array<i64>, {{.*}}, mirror = 1 : i64}
// CHECK-NEXT: loops.reduce %[[OTHER]], %{{.*}}, %[[TERM]] {combine = "add", dims = array<i64: 0>, {{.*}}, mirror = 1 : i64}
func.func @weights(%x: tensor<1000xf64>, %w: tensor<1000x2xf64>) -> (tensor<f64>, tensor<1000xf64>) {
  %0 = nd.broadcast %x {dims = array<i64: 0>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %1 = nd.broadcast %x {dims = array<i64: 1>, shape = array<i64: 1000, 1000>} : (tensor<1000xf64>) -> tensor<1000x1000xf64>
  %2 = nd.sub %0, %1 : tensor<1000x1000xf64>
  %3 = nd.cosh %2 : tensor<1000x1000xf64>
  %4 = nd.slice %w {start = array<i64: 0, 1>, limit = array<i64: 1000, 2>, stride = array<i64: 1, 1>} : (tensor<1000x2xf64>) -> tensor<1000x1xf64>
  %5 = nd.broadcast %4 {dims = array<i64: 0, 1>, shape = array<i64: 1000, 1000>} : (tensor<1000x1xf64>) -> tensor<1000x1000xf64>
  %6 = nd.mul %3, %5 : tensor<1000x1000xf64>
  %7 = nd.reduce_sum %6 {axes = array<i64: 0, 1>} : (tensor<1000x1000xf64>) -> tensor<f64>
  %8 = nd.reduce_sum %6 {axes = array<i64: 0>} : (tensor<1000x1000xf64>) -> tensor<1000xf64>
  func.return %7, %8 : (tensor<f64>, tensor<1000xf64>) -> ()
}
