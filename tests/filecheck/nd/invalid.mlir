// Programs that break a rule of an nd op: the message, and where it points.
// RUN: gradloom-opt %s --split-input --verify-diagnostics

func.func @shapes(%x: tensor<3xf64>, %y: tensor<4xf64>) {
  // expected-error@+1 {{'nd.add' op: expected operands of one shape, got [3] and [4]}}
  %0 = nd.add %x, %y : (tensor<3xf64>, tensor<4xf64>) -> tensor<3xf64>
  func.return
}

// -----

func.func @dtypes(%x: tensor<3xf64>, %y: tensor<3xf32>) {
  // expected-error@+1 {{'nd.mul' expects operands of one dtype, got f64 and f32}}
  %0 = nd.mul %x, %y : (tensor<3xf64>, tensor<3xf32>) -> tensor<3xf64>
  func.return
}

// -----

func.func @kinds(%x: tensor<3xi64>) {
  // expected-error@+1 {{'nd.sin' does not take i64 operands}}
  %0 = nd.sin %x : tensor<3xi64>
  func.return
}

// -----

func.func @result(%x: tensor<3xf64>) {
  // expected-error@+1 {{'nd.lt' op expects to give tensor<3xi1>, got tensor<3xf64>}}
  %0 = nd.lt %x, %x : tensor<3xf64>
  func.return
}

// -----

func.func @contracted(%x: tensor<2x4xf64>, %y: tensor<5xf64>) {
  // expected-error@+1 {{'nd.dot' op expects contracted sizes to match, got 4 and 5}}
  %0 = nd.dot %x, %y {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>, y_contract = array<i64: 0>} : (tensor<2x4xf64>, tensor<5xf64>) -> tensor<2xf64>
  func.return
}

// -----

func.func @axes(%x: tensor<2xf64>) {
  // expected-error@+1 {{cannot reduce axes [1] of an array of 1 dimensions}}
  %0 = nd.reduce_sum %x {axes = array<i64: 1>} : (tensor<2xf64>) -> tensor<f64>
  func.return
}

// -----

func.func @no_attribute(%x: tensor<2xf64>) {
  // expected-error@+1 {{'nd.reduce_sum' op does not fit its record: missing a required}}
  %0 = nd.reduce_sum %x : (tensor<2xf64>) -> tensor<f64>
  func.return
}

// -----

func.func @scalar(%x: f64) {
  // expected-error@+1 {{'nd.sin' op cannot take f64}}
  %0 = nd.sin %x : f64
  func.return
}

// -----

func.func @reshape(%x: tensor<6xf64>) {
  // expected-error@+1 {{cannot reshape array of size 6 (shape [6]) into shape [4]}}
  %0 = nd.reshape %x {shape = array<i64: 4>} : (tensor<6xf64>) -> tensor<4xf64>
  func.return
}

// -----

func.func @unknown(%x: tensor<f64>) {
  // expected-error@+1 {{unknown op 'nd.sinn'}}
  %0 = nd.sinn %x : tensor<f64>
  func.return
}

// -----

func.func @order(%x: tensor<f64>) {
  // expected-error@+1 {{use of value '%a' before its definition}}
  %0 = nd.sin %a : tensor<f64>
  // expected-note@+1 {{it is defined only here}}
  %a = nd.sin %x : tensor<f64>
  func.return
}

// -----

// expected-error@+1 {{'func.func' op expects to end in a func.return of its result types}}
func.func @returned(%x: tensor<f64>) -> tensor<f32> {
  func.return %x : tensor<f64>
}

// -----

func.func @sound(%x: tensor<f64>) -> tensor<f64> {
  func.return %x : tensor<f64>
}

// -----

func.func @two_axes_one_index(%x: tensor<2x3xf64>, %i: tensor<5xi64>) {
  // expected-error@+1 {{'nd.gather' needs an index array for each of the axes [0, 1] of an array of rank 2}}
  %0 = nd.gather %x, %i {axes = array<i64: 0, 1>} : (tensor<2x3xf64>, tensor<5xi64>) -> tensor<5xf64>
  func.return
}

// -----

func.func @float_index(%x: tensor<2xf64>, %i: tensor<5xf64>) {
  // expected-error@+1 {{'nd.gather' expects integer indices, got f64}}
  %0 = nd.gather %x, %i {axes = array<i64: 0>} : (tensor<2xf64>, tensor<5xf64>) -> tensor<5xf64>
  func.return
}

// -----

func.func @shapes_of_indices(%x: tensor<2x2xf64>, %i: tensor<5xi64>, %j: tensor<4xi64>) {
  // expected-error@+1 {{'nd.gather' expects index arrays of one shape}}
  %0 = nd.gather %x, %i, %j {axes = array<i64: 0, 1>} : (tensor<2x2xf64>, tensor<5xi64>, tensor<4xi64>) -> tensor<5xf64>
  func.return
}

// -----

func.func @placed(%x: tensor<4xf64>, %i: tensor<5xi64>) {
  // expected-error@+1 {{'nd.scatter_add' cannot place [4] by indices [5]}}
  %0 = nd.scatter_add %x, %i {axes = array<i64: 0>, shape = array<i64: 3>} : (tensor<4xf64>, tensor<5xi64>) -> tensor<3xf64>
  func.return
}
