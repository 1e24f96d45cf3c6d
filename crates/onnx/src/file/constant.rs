//! Values that are known at import: shapes, indices, numbers.

use bitbudget_ir::{Dim, Shape};

/// A whole number that may depend on the batch size: `batches * N + fixed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Int {
    pub(crate) batches: i64,
    pub(crate) fixed: i64,
}

impl Int {
    pub(crate) const fn fixed(fixed: i64) -> Int {
        Int { batches: 0, fixed }
    }

    pub(crate) fn of(dim: Dim) -> Int {
        let factor = i64::try_from(dim.factor()).unwrap_or(i64::MAX);
        if dim.is_batch() { Int { batches: factor, fixed: 0 } } else { Int::fixed(factor) }
    }

    pub(crate) fn as_fixed(self) -> Option<i64> {
        (self.batches == 0).then_some(self.fixed)
    }

    /// The dimension of this size, if it is a fixed positive number or a positive multiple of the batch size.
    pub(crate) fn as_dim(self) -> Option<Dim> {
        match (self.batches, self.fixed) {
            (0, fixed) if fixed > 0 => Some(Dim::fixed(usize::try_from(fixed).ok()?)),
            (batches, 0) if batches > 0 => Some(Dim::batches(usize::try_from(batches).ok()?)),
            _ => None,
        }
    }

    pub(crate) fn add(self, other: Int) -> Option<Int> {
        let fixed = self.fixed.checked_add(other.fixed)?;
        Some(Int { batches: self.batches.checked_add(other.batches)?, fixed })
    }

    pub(crate) fn sub(self, other: Int) -> Option<Int> {
        self.add(other.mul(Int::fixed(-1))?)
    }

    pub(crate) fn mul(self, other: Int) -> Option<Int> {
        let (x, by) = match (self.as_fixed(), other.as_fixed()) {
            (_, Some(by)) => (self, by),
            (Some(by), _) => (other, by),
            _ => return None,
        };
        Some(Int { batches: x.batches.checked_mul(by)?, fixed: x.fixed.checked_mul(by)? })
    }

    /// Division that truncates (ONNX Div on integers); with the batch size in it, only if it leaves no rest.
    pub(crate) fn div(self, other: Int) -> Option<Int> {
        match (self.as_fixed(), other.as_fixed()) {
            (Some(a), Some(b)) => a.checked_div(b).map(Int::fixed),
            (None, Some(b)) => {
                let whole = self.batches.checked_rem(b)? == 0 && self.fixed.checked_rem(b)? == 0;
                whole.then_some(Int { batches: self.batches.checked_div(b)?, fixed: self.fixed.checked_div(b)? })
            }
            (_, None) if self.fixed == 0 && other.fixed == 0 && self.batches.checked_rem(other.batches)? == 0 => {
                self.batches.checked_div(other.batches).map(Int::fixed)
            }
            _ => None,
        }
    }

    /// The order of two numbers, if it is the same for every batch size from 1 on.
    pub(crate) fn compare(self, other: Int) -> Option<std::cmp::Ordering> {
        // The difference of fixed numbers can be too large, as of a minus infinity that became whole.
        if let (Some(a), Some(b)) = (self.as_fixed(), other.as_fixed()) {
            return Some(a.cmp(&b));
        }
        let Int { batches, fixed } = self.sub(other)?;
        let at_one = batches.checked_add(fixed)?;
        let monotone = batches == 0 || (batches > 0 && at_one > 0) || (batches < 0 && at_one < 0);
        monotone.then(|| at_one.cmp(&0))
    }
}

impl std::fmt::Display for Int {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.batches, self.fixed) {
            (0, fixed) => write!(f, "{fixed}"),
            (1, 0) => write!(f, "N"),
            (n, 0) => write!(f, "{n}*N"),
            (n, fixed) => write!(f, "{n}*N{fixed:+}"),
        }
    }
}

/// The elements of a known tensor; truth values are whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    Ints(Vec<Int>),
    Floats(Vec<f32>),
}

/// A tensor that is known at import.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
}

impl Constant {
    pub(crate) fn ints(elements: Vec<Int>) -> Constant {
        Constant { shape: vec![elements.len()], elements: Elements::Ints(elements) }
    }

    pub(crate) fn number(number: i64) -> Constant {
        Constant { shape: Vec::new(), elements: Elements::Ints(vec![Int::fixed(number)]) }
    }

    pub(crate) fn of_shape(shape: &Shape) -> Constant {
        Constant::ints(shape.0.iter().map(|&d| Int::of(d)).collect())
    }

    pub(crate) fn len(&self) -> usize {
        match &self.elements {
            Elements::Ints(ints) => ints.len(),
            Elements::Floats(floats) => floats.len(),
        }
    }

    /// The whole numbers, if they are such.
    pub(crate) fn as_ints(&self) -> Result<&[Int], String> {
        match &self.elements {
            Elements::Ints(ints) => Ok(ints),
            Elements::Floats(_) => Err("it holds floating-point numbers where whole numbers are needed".into()),
        }
    }

    /// Whole numbers that do not depend on the batch size.
    pub(crate) fn as_fixed(&self) -> Result<Vec<i64>, String> {
        let depends = |i: &Int| format!("{i} depends on the batch size, which is not possible here");
        self.as_ints()?.iter().map(|i| i.as_fixed().ok_or_else(|| depends(i))).collect()
    }

    /// The numbers in FP32.
    pub(crate) fn as_floats(&self) -> Result<Vec<f32>, String> {
        match &self.elements {
            Elements::Floats(floats) => Ok(floats.clone()),
            Elements::Ints(_) => Ok(self.as_fixed()?.into_iter().map(|i| i as f32).collect()),
        }
    }

    /// The only element in FP32.
    pub(crate) fn as_scalar(&self) -> Result<f32, String> {
        match self.as_floats()?.as_slice() {
            [x] => Ok(*x),
            all => Err(format!("one number is needed, it holds {}", all.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Int;
    use std::cmp::Ordering;

    #[test]
    fn numbers_whose_difference_is_too_large_are_compared() {
        let [least, most] = [i64::MIN, i64::MAX].map(Int::fixed);
        assert_eq!(least.compare(Int::fixed(15)), Some(Ordering::Less));
        assert_eq!(most.compare(least), Some(Ordering::Greater));
        assert_eq!(Int { batches: 1, fixed: 0 }.compare(Int::fixed(2)), None);
    }
}
