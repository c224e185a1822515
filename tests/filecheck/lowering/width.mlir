// Vectors are one register, of two in long nests, of the widest type that is computed for each element.
// RUN: gradloom-opt %s -p fuse,to-loops | FileCheck %s

// The extent that a mean is divided by is a number of 64 bits, but of the loop around: the elements have 32 bits.
// CHECK-LABEL: func.func @centred
// CHECK: loops.nest {{.*}} {extents = array<i64: 8192, 768>, width = 32 : i64}
// CHECK: loops.nest {{.*}} {extents = array<i64: 8192, 768>, width = 32 : i64}
// CHECK: kernel.extent
func.func @centred(%x: tensor<8192x768xf32>) -> tensor<8192x768xf32> {
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<8192x768xf32>) -> tensor<8192xf32>
  %1 = nd.extent {type = f32, value = 768 : i64} : tensor<f32>
  %2 = nd.broadcast %1 {dims = array<i64>, shape = array<i64: 8192>} : (tensor<f32>) -> tensor<8192xf32>
  %3 = nd.div %0, %2 : tensor<8192xf32>
  %4 = nd.broadcast %3 {dims = array<i64: 0>, shape = array<i64: 8192, 768>} : (tensor<8192xf32>) -> tensor<8192x768xf32>
  %5 = nd.sub %x, %4 : tensor<8192x768xf32>
  func.return %5 : tensor<8192x768xf32>
}

// Positions along the vectors are computed in vectors of 64 bits.
// CHECK-LABEL: func.func @counted
// CHECK: loops.nest {{.*}} {extents = array<i64: 65536>, width = 16 : i64}
func.func @counted(%x: tensor<65536xf32>) -> tensor<65536xf32> {
  %0 = nd.iota {axis = 0 : i64, shape = array<i64: 65536>, type = i64} : tensor<65536xi64>
  %1 = nd.convert %0 {type = f32} : (tensor<65536xi64>) -> tensor<65536xf32>
  %2 = nd.mul %x, %1 : tensor<65536xf32>
  func.return %2 : tensor<65536xf32>
}
