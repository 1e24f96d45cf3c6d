//! Dense row-major arrays for the reference interpreter.

use num_traits::{FromPrimitive, ToPrimitive};

/// The number types that the reference interpreter computes in.
pub trait Float: num_traits::Float + FromPrimitive + ToPrimitive + std::iter::Sum + std::fmt::Debug + 'static {
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// The number in FP64.
    fn f64(self) -> f64;
    /// The error function.
    fn erf(self) -> Self;
}

impl Float for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn f64(self) -> f64 {
        f64::from(self)
    }
    fn erf(self) -> f32 {
        libm::erff(self)
    }
}

impl Float for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn f64(self) -> f64 {
        self
    }
    fn erf(self) -> f64 {
        libm::erf(self)
    }
}

/// A dense row-major array; labels and indices are stored as whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<F> {
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements, the last dimension running fastest.
    pub data: Vec<F>,
}

impl<F: Float> Array<F> {
    /// An array from its elements; `data` must hold as many as `shape` says.
    pub fn new(shape: &[usize], data: Vec<F>) -> Array<F> {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Array { shape: shape.to_vec(), data }
    }

    /// An array of one value.
    pub fn filled(shape: &[usize], value: F) -> Array<F> {
        Array { shape: shape.to_vec(), data: vec![value; shape.iter().product()] }
    }

    /// An array of zeros.
    pub fn zeros(shape: &[usize]) -> Array<F> {
        Array::filled(shape, F::zero())
    }

    /// An array whose elements are a function of their indices.
    pub fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> F) -> Array<F> {
        let mut out = Array::zeros(shape);
        let mut index = vec![0; shape.len()];
        for value in &mut out.data {
            *value = f(&index);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        out
    }

    /// The position of an index in `data`.
    pub fn offset(&self, index: &[usize]) -> usize {
        index.iter().zip(&self.shape).fold(0, |offset, (&i, &d)| offset * d + i)
    }

    /// The element at an index.
    pub fn at(&self, index: &[usize]) -> F {
        self.data[self.offset(index)]
    }

    /// The element at `index` of a larger shape, this array being broadcast to it as ONNX says.
    pub fn broadcast_at(&self, index: &[usize]) -> F {
        let skip = index.len() - self.shape.len();
        let offset = index[skip..].iter().zip(&self.shape).fold(0, |o, (&i, &d)| o * d + if d == 1 { 0 } else { i });
        self.data[offset]
    }

    /// The single element of an array of one.
    pub fn scalar(&self) -> F {
        self.data[0]
    }

    /// Each element through a function.
    pub fn map(&self, f: impl Fn(F) -> F) -> Array<F> {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    /// Elements of two arrays of one shape through a function.
    pub fn zip(&self, other: &Array<F>, f: impl Fn(F, F) -> F) -> Array<F> {
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Array { shape: self.shape.clone(), data }
    }
}
