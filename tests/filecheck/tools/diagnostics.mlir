// The checker of expected diagnostics: what is missing and what is too much.
// RUN: not gradloom-opt %s --split-input --verify-diagnostics 2>&1 | FileCheck %s

// CHECK: diagnostics.mlir:8:3: error: expected error was not produced: unknown op
// CHECK-NEXT: 8 | {{.*}}
// CHECK-NEXT: | {{ +\^+}}
func.func @fine() {
  // expected-error@+1 {{unknown op}}
  func.return
}

// -----

// CHECK: diagnostics.mlir:18:15: error: unexpected error: use of undefined value '%y'
// CHECK-NEXT: 18 | %0 = nd.sin %y
func.func @undefined(%x: tensor<f64>) {
  // The message is another one.
  %0 = nd.sin %y : tensor<f64>
  // CHECK: error: expected error was not produced: unknown op
  // expected-error@-2 {{unknown op}}
  func.return
}

// -----

func.func @as_expected(%x: tensor<f64>) {
  // CHECK-NOT: {{^[^ ].*}}error:
  // expected-error@below {{use of undefined value '%y'}}
  %0 = nd.sin %y : tensor<f64>
  func.return
}
