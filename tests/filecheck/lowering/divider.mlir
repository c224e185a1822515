// Divisions and roots become multiplications where the divider is what a nest waits for.
// RUN: gradloom-opt %s -p fuse,to-loops,relieve-divider | FileCheck %s
// RUN: gradloom-opt %s -p fuse,to-loops,relieve-divider{avx512=true} | FileCheck %s --check-prefix=AVX512

// One reciprocal square root serves both quotients; the root itself is not needed.
// CHECK-LABEL: func.func @over_root
// CHECK: %[[R:.*]] = math.rsqrt %[[X:.*]] : f64
// CHECK: arith.mulf %{{.*}}, %[[R]] : f64
// CHECK: arith.mulf %{{.*}}, %[[R]] : f64
// CHECK-NOT: math.sqrt
// CHECK-NOT: arith.divf
// CHECK: func.return
func.func @over_root(%x: tensor<100xf64>, %m: tensor<100xf64>) -> (tensor<100xf64>, tensor<100xf64>) {
  %0 = nd.sqrt %x : tensor<100xf64>
  %1 = nd.div %m, %0 : tensor<100xf64>
  %2 = nd.constant {value = dense<0.5> : tensor<100xf64>} : tensor<100xf64>
  %3 = nd.div %2, %0 : tensor<100xf64>
  func.return %1, %3 : (tensor<100xf64>, tensor<100xf64>) -> ()
}

// A root that is a result too comes from the reciprocal square root, where that is estimated.
// CHECK-LABEL: func.func @root_and_inverse
// CHECK: math.sqrt
// CHECK: arith.divf
// AVX512-LABEL: func.func @root_and_inverse
// AVX512: %[[R:.*]] = math.rsqrt %[[X:.*]] : f64
// AVX512: math.root %[[X]], %[[R]] : f64
// AVX512-NOT: math.sqrt
// AVX512: loops.store %[[R]]
func.func @root_and_inverse(%x: tensor<100xf64>) -> (tensor<100xf64>, tensor<100xf64>) {
  %0 = nd.sqrt %x : tensor<100xf64>
  %1 = nd.constant {value = dense<1.0> : tensor<100xf64>} : tensor<100xf64>
  %2 = nd.div %1, %0 : tensor<100xf64>
  func.return %0, %2 : (tensor<100xf64>, tensor<100xf64>) -> ()
}

// A denominator that two divisions share is inverted once; it is scaled, because it might be subnormal.
// CHECK-LABEL: func.func @shared
// CHECK: %[[S:.*]] = math.subnormal_scale %[[Y:.*]] : f64
// CHECK: %[[T:.*]] = arith.mulf %[[Y]], %[[S]] : f64
// CHECK: %[[R:.*]] = math.reciprocal %[[T]] : f64
// CHECK: %[[A:.*]] = arith.mulf %{{.*}}, %[[S]] : f64
// CHECK: math.quotient %[[A]], %[[T]], %[[R]] : f64
// CHECK: math.quotient
// CHECK-NOT: arith.divf
// CHECK: func.return
func.func @shared(%x: tensor<100xf64>, %y: tensor<100xf64>, %z: tensor<100xf64>) -> (tensor<100xf64>, tensor<100xf64>) {
  %0 = nd.div %x, %y : tensor<100xf64>
  %1 = nd.div %z, %y : tensor<100xf64>
  func.return %0, %1 : (tensor<100xf64>, tensor<100xf64>) -> ()
}

// The denominator of a row is inverted once a row, in the loop around; a sum with a moderate number is not subnormal.
// CHECK-LABEL: func.func @rows
// CHECK: %[[Y:.*]] = arith.addf
// CHECK-NOT: math.subnormal_scale
// CHECK: %[[R:.*]] = math.reciprocal %[[Y]] : f64
// CHECK: math.quotient %{{.*}}, %[[Y]], %[[R]] : f64
func.func @rows(%x: tensor<50x100xf64>, %y: tensor<50xf64>) -> tensor<50x100xf64> {
  %0 = nd.constant {value = dense<1.0> : tensor<50xf64>} : tensor<50xf64>
  %1 = nd.add %y, %0 : tensor<50xf64>
  %2 = nd.broadcast %1 {dims = array<i64: 0>, shape = array<i64: 50, 100>} : (tensor<50xf64>) -> tensor<50x100xf64>
  %3 = nd.div %x, %2 : tensor<50x100xf64>
  func.return %3 : tensor<50x100xf64>
}

// One division alone is best left to the divider, but where the processor estimates reciprocals.
// CHECK-LABEL: func.func @single
// CHECK: arith.divf
// CHECK-NOT: math.reciprocal
// CHECK: func.return
// AVX512-LABEL: func.func @single
// AVX512-NOT: arith.divf
// AVX512: math.reciprocal
// AVX512: func.return
func.func @single(%x: tensor<100xf64>, %y: tensor<100xf64>) -> tensor<100xf64> {
  %0 = nd.div %x, %y : tensor<100xf64>
  func.return %0 : tensor<100xf64>
}

// A nest with enough other work hides its divisions.
// AVX512-LABEL: func.func @hidden
// AVX512-COUNT-2: arith.divf
// AVX512: func.return
func.func @hidden(%x: tensor<100xf64>, %y: tensor<100xf64>) -> (tensor<100xf64>, tensor<100xf64>) {
  %0 = nd.exp %x : tensor<100xf64>
  %1 = nd.sin %0 : tensor<100xf64>
  %2 = nd.cos %x : tensor<100xf64>
  %3 = nd.exp %2 : tensor<100xf64>
  %4 = nd.div %1, %y : tensor<100xf64>
  %5 = nd.div %3, %y : tensor<100xf64>
  func.return %4, %5 : (tensor<100xf64>, tensor<100xf64>) -> ()
}
