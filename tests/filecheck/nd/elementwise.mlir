// Every elementwise op, through both forms and back.
// RUN: gradloom-opt %s | FileCheck %s
// RUN: gradloom-opt %s --print-generic | gradloom-opt - | FileCheck %s
// RUN: gradloom-opt %s --print-generic | FileCheck %s --check-prefix=GENERIC

// GENERIC-LABEL: "func.func"() ({
// GENERIC-NEXT: ^bb0(%x: tensor<3xf64>, %y: tensor<3xf64>, %z: tensor<3xf64>):
// GENERIC: = "nd.sin"(%x) : (tensor<3xf64>) -> tensor<3xf64>
// GENERIC: sym_name = "float"

// CHECK-LABEL: func.func @float
func.func @float(%x: tensor<3xf64>, %y: tensor<3xf64>, %z: tensor<3xf64>) {
  // CHECK-NEXT: %0 = nd.eq %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %0 = nd.eq %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %1 = nd.ne %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %1 = nd.ne %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %2 = nd.lt %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %2 = nd.lt %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %3 = nd.le %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %3 = nd.le %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %4 = nd.gt %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %4 = nd.gt %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %5 = nd.ge %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  %5 = nd.ge %x, %y : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %6 = nd.isnan %x : (tensor<3xf64>) -> tensor<3xi1>
  %6 = nd.isnan %x : (tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %7 = nd.isinf %x : (tensor<3xf64>) -> tensor<3xi1>
  %7 = nd.isinf %x : (tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %8 = nd.isfinite %x : (tensor<3xf64>) -> tensor<3xi1>
  %8 = nd.isfinite %x : (tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %9 = nd.signbit %x : (tensor<3xf64>) -> tensor<3xi1>
  %9 = nd.signbit %x : (tensor<3xf64>) -> tensor<3xi1>
  // CHECK-NEXT: %10 = nd.stop_gradient %x : tensor<3xf64>
  %10 = nd.stop_gradient %x : tensor<3xf64>
  // CHECK-NEXT: %11 = nd.add %x, %y : tensor<3xf64>
  %11 = nd.add %x, %y : tensor<3xf64>
  // CHECK-NEXT: %12 = nd.sub %x, %y : tensor<3xf64>
  %12 = nd.sub %x, %y : tensor<3xf64>
  // CHECK-NEXT: %13 = nd.neg %x : tensor<3xf64>
  %13 = nd.neg %x : tensor<3xf64>
  // CHECK-NEXT: %14 = nd.mul %x, %y : tensor<3xf64>
  %14 = nd.mul %x, %y : tensor<3xf64>
  // CHECK-NEXT: %15 = nd.square %x : tensor<3xf64>
  %15 = nd.square %x : tensor<3xf64>
  // CHECK-NEXT: %16 = nd.mul_no_nan %x, %y : tensor<3xf64>
  %16 = nd.mul_no_nan %x, %y : tensor<3xf64>
  // CHECK-NEXT: %17 = nd.div %x, %y : tensor<3xf64>
  %17 = nd.div %x, %y : tensor<3xf64>
  // CHECK-NEXT: %18 = nd.reciprocal %x : tensor<3xf64>
  %18 = nd.reciprocal %x : tensor<3xf64>
  // CHECK-NEXT: %19 = nd.abs %x : tensor<3xf64>
  %19 = nd.abs %x : tensor<3xf64>
  // CHECK-NEXT: %20 = nd.sign %x : tensor<3xf64>
  %20 = nd.sign %x : tensor<3xf64>
  // CHECK-NEXT: %21 = nd.maximum %x, %y : tensor<3xf64>
  %21 = nd.maximum %x, %y : tensor<3xf64>
  // CHECK-NEXT: %22 = nd.minimum %x, %y : tensor<3xf64>
  %22 = nd.minimum %x, %y : tensor<3xf64>
  // CHECK-NEXT: %23 = nd.fmax %x, %y : tensor<3xf64>
  %23 = nd.fmax %x, %y : tensor<3xf64>
  // CHECK-NEXT: %24 = nd.fmin %x, %y : tensor<3xf64>
  %24 = nd.fmin %x, %y : tensor<3xf64>
  // CHECK-NEXT: %25 = nd.clip %x, %y, %z : tensor<3xf64>
  %25 = nd.clip %x, %y, %z : tensor<3xf64>
  // CHECK-NEXT: %26 = nd.floor %x : tensor<3xf64>
  %26 = nd.floor %x : tensor<3xf64>
  // CHECK-NEXT: %27 = nd.ceil %x : tensor<3xf64>
  %27 = nd.ceil %x : tensor<3xf64>
  // CHECK-NEXT: %28 = nd.trunc %x : tensor<3xf64>
  %28 = nd.trunc %x : tensor<3xf64>
  // CHECK-NEXT: %29 = nd.rint %x : tensor<3xf64>
  %29 = nd.rint %x : tensor<3xf64>
  // CHECK-NEXT: %30 = nd.floor_divide %x, %y : tensor<3xf64>
  %30 = nd.floor_divide %x, %y : tensor<3xf64>
  // CHECK-NEXT: %31 = nd.remainder %x, %y : tensor<3xf64>
  %31 = nd.remainder %x, %y : tensor<3xf64>
  // CHECK-NEXT: %32 = nd.fmod %x, %y : tensor<3xf64>
  %32 = nd.fmod %x, %y : tensor<3xf64>
  // CHECK-NEXT: %33 = nd.copysign %x, %y : tensor<3xf64>
  %33 = nd.copysign %x, %y : tensor<3xf64>
  // CHECK-NEXT: %34 = nd.nextafter %x, %y : tensor<3xf64>
  %34 = nd.nextafter %x, %y : tensor<3xf64>
  // CHECK-NEXT: %35 = nd.heaviside %x, %y : tensor<3xf64>
  %35 = nd.heaviside %x, %y : tensor<3xf64>
  // CHECK-NEXT: %36 = nd.sqrt %x : tensor<3xf64>
  %36 = nd.sqrt %x : tensor<3xf64>
  // CHECK-NEXT: %37 = nd.cbrt %x : tensor<3xf64>
  %37 = nd.cbrt %x : tensor<3xf64>
  // CHECK-NEXT: %38 = nd.exp %x : tensor<3xf64>
  %38 = nd.exp %x : tensor<3xf64>
  // CHECK-NEXT: %39 = nd.exp2 %x : tensor<3xf64>
  %39 = nd.exp2 %x : tensor<3xf64>
  // CHECK-NEXT: %40 = nd.expm1 %x : tensor<3xf64>
  %40 = nd.expm1 %x : tensor<3xf64>
  // CHECK-NEXT: %41 = nd.log %x : tensor<3xf64>
  %41 = nd.log %x : tensor<3xf64>
  // CHECK-NEXT: %42 = nd.log2 %x : tensor<3xf64>
  %42 = nd.log2 %x : tensor<3xf64>
  // CHECK-NEXT: %43 = nd.log10 %x : tensor<3xf64>
  %43 = nd.log10 %x : tensor<3xf64>
  // CHECK-NEXT: %44 = nd.log1p %x : tensor<3xf64>
  %44 = nd.log1p %x : tensor<3xf64>
  // CHECK-NEXT: %45 = nd.sin %x : tensor<3xf64>
  %45 = nd.sin %x : tensor<3xf64>
  // CHECK-NEXT: %46 = nd.cos %x : tensor<3xf64>
  %46 = nd.cos %x : tensor<3xf64>
  // CHECK-NEXT: %47 = nd.tan %x : tensor<3xf64>
  %47 = nd.tan %x : tensor<3xf64>
  // CHECK-NEXT: %48 = nd.asin %x : tensor<3xf64>
  %48 = nd.asin %x : tensor<3xf64>
  // CHECK-NEXT: %49 = nd.acos %x : tensor<3xf64>
  %49 = nd.acos %x : tensor<3xf64>
  // CHECK-NEXT: %50 = nd.atan %x : tensor<3xf64>
  %50 = nd.atan %x : tensor<3xf64>
  // CHECK-NEXT: %51 = nd.sinh %x : tensor<3xf64>
  %51 = nd.sinh %x : tensor<3xf64>
  // CHECK-NEXT: %52 = nd.cosh %x : tensor<3xf64>
  %52 = nd.cosh %x : tensor<3xf64>
  // CHECK-NEXT: %53 = nd.tanh %x : tensor<3xf64>
  %53 = nd.tanh %x : tensor<3xf64>
  // CHECK-NEXT: %54 = nd.asinh %x : tensor<3xf64>
  %54 = nd.asinh %x : tensor<3xf64>
  // CHECK-NEXT: %55 = nd.acosh %x : tensor<3xf64>
  %55 = nd.acosh %x : tensor<3xf64>
  // CHECK-NEXT: %56 = nd.atanh %x : tensor<3xf64>
  %56 = nd.atanh %x : tensor<3xf64>
  // CHECK-NEXT: %57 = nd.sigmoid %x : tensor<3xf64>
  %57 = nd.sigmoid %x : tensor<3xf64>
  // CHECK-NEXT: %58 = nd.erf %x : tensor<3xf64>
  %58 = nd.erf %x : tensor<3xf64>
  // CHECK-NEXT: %59 = nd.erfc %x : tensor<3xf64>
  %59 = nd.erfc %x : tensor<3xf64>
  // CHECK-NEXT: %60 = nd.atan2 %x, %y : tensor<3xf64>
  %60 = nd.atan2 %x, %y : tensor<3xf64>
  // CHECK-NEXT: %61 = nd.hypot %x, %y : tensor<3xf64>
  %61 = nd.hypot %x, %y : tensor<3xf64>
  // CHECK-NEXT: %62 = nd.logaddexp %x, %y : tensor<3xf64>
  %62 = nd.logaddexp %x, %y : tensor<3xf64>
  // CHECK-NEXT: %63 = nd.logaddexp2 %x, %y : tensor<3xf64>
  %63 = nd.logaddexp2 %x, %y : tensor<3xf64>
  // CHECK-NEXT: %64 = nd.xlogy %x, %y : tensor<3xf64>
  %64 = nd.xlogy %x, %y : tensor<3xf64>
  // CHECK-NEXT: %65 = nd.xlog1py %x, %y : tensor<3xf64>
  %65 = nd.xlog1py %x, %y : tensor<3xf64>
  // CHECK-NEXT: %66 = nd.logit %x : tensor<3xf64>
  %66 = nd.logit %x : tensor<3xf64>
  // CHECK-NEXT: %67 = nd.power %x, %y : tensor<3xf64>
  %67 = nd.power %x, %y : tensor<3xf64>
  // CHECK-NEXT: func.return
  func.return
}

// CHECK-LABEL: func.func @integer
func.func @integer(%x: tensor<3xi64>, %y: tensor<3xi64>, %z: tensor<3xi64>) {
  // CHECK-NEXT: %0 = nd.bitwise_and %x, %y : tensor<3xi64>
  %0 = nd.bitwise_and %x, %y : tensor<3xi64>
  // CHECK-NEXT: %1 = nd.bitwise_or %x, %y : tensor<3xi64>
  %1 = nd.bitwise_or %x, %y : tensor<3xi64>
  // CHECK-NEXT: %2 = nd.bitwise_xor %x, %y : tensor<3xi64>
  %2 = nd.bitwise_xor %x, %y : tensor<3xi64>
  // CHECK-NEXT: %3 = nd.invert %x : tensor<3xi64>
  %3 = nd.invert %x : tensor<3xi64>
  // CHECK-NEXT: %4 = nd.left_shift %x, %y : tensor<3xi64>
  %4 = nd.left_shift %x, %y : tensor<3xi64>
  // CHECK-NEXT: %5 = nd.right_shift %x, %y : tensor<3xi64>
  %5 = nd.right_shift %x, %y : tensor<3xi64>
  // CHECK-NEXT: func.return
  func.return
}

// CHECK-LABEL: func.func @bool
func.func @bool(%x: tensor<3xi1>, %y: tensor<3xi1>, %z: tensor<3xi1>) {
  // CHECK-NEXT: %0 = nd.logical_and %x, %y : tensor<3xi1>
  %0 = nd.logical_and %x, %y : tensor<3xi1>
  // CHECK-NEXT: %1 = nd.logical_or %x, %y : tensor<3xi1>
  %1 = nd.logical_or %x, %y : tensor<3xi1>
  // CHECK-NEXT: %2 = nd.logical_xor %x, %y : tensor<3xi1>
  %2 = nd.logical_xor %x, %y : tensor<3xi1>
  // CHECK-NEXT: %3 = nd.logical_not %x : tensor<3xi1>
  %3 = nd.logical_not %x : tensor<3xi1>
  // CHECK-NEXT: func.return
  func.return
}

