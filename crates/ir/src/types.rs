//! Element types, dimensions, shapes.

use std::fmt;
use std::str::FromStr;

/// One dimension: a fixed number, or a multiple of the batch size, which stays symbolic until lowering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    factor: usize,
    batch: bool,
}

impl Dim {
    /// The batch size itself, written `N`.
    pub const BATCH: Dim = Dim { factor: 1, batch: true };

    /// A dimension of `size` elements.
    pub const fn fixed(size: usize) -> Dim {
        Dim { factor: size, batch: false }
    }

    /// `factor` times the batch size, written `4*N`.
    pub const fn batches(factor: usize) -> Dim {
        Dim { factor, batch: true }
    }

    /// Whether the batch size is a factor.
    pub const fn is_batch(self) -> bool {
        self.batch
    }

    /// The number beside the batch size, or the whole dimension if it is fixed.
    pub const fn factor(self) -> usize {
        self.factor
    }

    /// The size, if it does not depend on the batch.
    pub const fn as_fixed(self) -> Option<usize> {
        if self.batch { None } else { Some(self.factor) }
    }

    /// The size at a batch of `batch` examples.
    pub const fn at(self, batch: usize) -> usize {
        if self.batch { self.factor.saturating_mul(batch) } else { self.factor }
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Dim::fixed(size)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.batch, self.factor) {
            (true, 1) => write!(f, "N"),
            (true, factor) => write!(f, "{factor}*N"),
            (false, size) => write!(f, "{size}"),
        }
    }
}

impl FromStr for Dim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().map_err(|_| format!("`{text}` is not a dimension (3, N or 4*N)"));
        match text.strip_suffix('N') {
            Some("") => Ok(Dim::BATCH),
            Some(rest) => Ok(Dim::batches(number(rest.strip_suffix('*').unwrap_or("?"))?)),
            None => Ok(Dim::fixed(number(text)?)),
        }
    }
}

/// The dimensions of a tensor, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape of fixed dimensions.
    pub fn fixed(dims: &[usize]) -> Shape {
        Shape(dims.iter().map(|&d| Dim::fixed(d)).collect())
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// All dimensions at a batch of `batch` examples.
    pub fn at(&self, batch: usize) -> Vec<usize> {
        self.0.iter().map(|d| d.at(batch)).collect()
    }

    /// The number of elements at a batch of `batch` examples.
    pub fn elements(&self, batch: usize) -> usize {
        self.0.iter().fold(1usize, |n, d| n.saturating_mul(d.at(batch)))
    }

    /// The product of the dimensions' factors and how often the batch size is a factor.
    pub fn symbolic_elements(&self) -> (usize, usize) {
        let factors = self.0.iter().fold(1usize, |n, d| n.saturating_mul(d.factor));
        (factors, self.0.iter().filter(|d| d.batch).count())
    }

    /// The dimension at `axis`, if there is one.
    pub fn get(&self, axis: usize) -> Option<Dim> {
        self.0.get(axis).copied()
    }
}

impl<const R: usize> From<[Dim; R]> for Shape {
    fn from(dims: [Dim; R]) -> Self {
        Shape(dims.to_vec())
    }
}

impl From<Vec<Dim>> for Shape {
    fn from(dims: Vec<Dim>) -> Self {
        Shape(dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, dim) in self.0.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { "," })?;
        }
        write!(f, "]")
    }
}

/// The type of an element as the graph sees it; the bits that store an `F32` tensor are an assignment's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// A floating-point number, computed in FP32.
    F32,
    /// A whole number of at most 2^24 in magnitude, so that FP32 holds it exactly: an index, a class, a token.
    I32,
    /// True or false.
    Bool,
    /// The position of a maximum within its pooling window, at most 255.
    Index8,
}

impl DType {
    /// Every type.
    pub const ALL: [DType; 4] = [DType::F32, DType::I32, DType::Bool, DType::Index8];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::Bool => "bool",
            DType::Index8 => "index8",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: Shape,
}

impl TensorType {
    /// A floating-point tensor.
    pub fn f32(shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: DType::F32, shape: shape.into() }
    }

    /// A tensor of whole numbers.
    pub fn i32(shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: DType::I32, shape: shape.into() }
    }

    /// A tensor of truth values.
    pub fn bool(shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: DType::Bool, shape: shape.into() }
    }

    /// The same elements in another shape.
    #[must_use]
    pub fn with_shape(&self, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: self.dtype, shape: shape.into() }
    }

    /// A floating-point scalar.
    pub fn scalar() -> TensorType {
        TensorType::f32([])
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
