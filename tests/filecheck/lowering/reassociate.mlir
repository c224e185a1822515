// The sum of a product's rows is the product of the summed rows; signs, turns and other terms of the sum stay.
// RUN: gradloom-opt %s -p lower-products,dce | FileCheck %s

// CHECK-LABEL: func.func @bias_before_product
// CHECK: %[[SUM:.*]] = nd.reduce_sum %g {axes = array<i64: 0>} : (tensor<90x50xf64>) -> tensor<50xf64>
// CHECK-NOT: tensor<90x40xf64>
// CHECK: nd.neg
// CHECK: func.return
func.func @bias_before_product(%g: tensor<90x50xf64>, %w: tensor<40x50xf64>) -> tensor<40xf64> {
  %0 = nd.dot %w, %g {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 1>} : (tensor<40x50xf64>, tensor<90x50xf64>) -> tensor<40x90xf64>
  %1 = nd.transpose %0 {permutation = array<i64: 1, 0>} : (tensor<40x90xf64>) -> tensor<90x40xf64>
  %2 = nd.neg %1 : tensor<90x40xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 0>} : (tensor<90x40xf64>) -> tensor<40xf64>
  func.return %3 : tensor<40xf64>
}

// A product that is returned is computed anyway.
// CHECK-LABEL: func.func @needed
// CHECK: kernel.product
func.func @needed(%g: tensor<90x50xf64>, %w: tensor<50x40xf64>) -> (tensor<90x40xf64>, tensor<40xf64>) {
  %0 = nd.dot %g, %w {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<90x50xf64>, tensor<50x40xf64>) -> tensor<90x40xf64>
  %1 = nd.reduce_sum %0 {axes = array<i64: 0>} : (tensor<90x40xf64>) -> tensor<40xf64>
  func.return %0, %1 : (tensor<90x40xf64>, tensor<40xf64>) -> ()
}
