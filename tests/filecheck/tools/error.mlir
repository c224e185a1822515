// An error of the verifier comes with the function around it.
// RUN: not gradloom-opt %s 2>&1 | FileCheck %s

func.func @f(%x: tensor<3xf64>, %y: tensor<4xf64>) {
  %0 = nd.sin %x : tensor<3xf64>
  %1 = nd.add %0, %y : (tensor<3xf64>, tensor<4xf64>) -> tensor<3xf64>
  func.return
}

// CHECK: error.mlir:6:8: error: 'nd.add' op: expected operands of one shape, got [3] and [4]
// CHECK-NEXT: 6 | %1 = nd.add %0, %y
// CHECK-NEXT: | {{\^+}}
// CHECK-NEXT: func.func @f
// CHECK-NEXT: %0 = nd.sin %x
// CHECK-NEXT: %1 = nd.add %0, %y
// CHECK-NEXT: {{\^\^\^}} 'nd.add' op: expected operands of one shape
// CHECK-NEXT: func.return
// CHECK-NEXT: }
