//! Walks over multi-dimensional, strided operands in runs along the last axis.

/// The axes of an output, each with its size and the step that each of `K` operands makes along it. Axes that an
/// operand's steps do not tell apart are merged, so that runs are as long as they can be.
pub(crate) struct Walk<const K: usize> {
    axes: Vec<(usize, [isize; K])>,
    base: [isize; K],
}

/// Steps of a contiguous row-major operand.
pub(crate) fn contiguous(shape: &[usize]) -> Vec<isize> {
    let mut steps = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis].max(1) as isize;
    }
    steps
}

/// Steps of a contiguous operand that is broadcast to `y_shape` (right-aligned, as in NumPy and ONNX), or nothing where
/// it cannot be.
pub(crate) fn broadcast(shape: &[usize], y_shape: &[usize]) -> Option<Vec<isize>> {
    let missing = y_shape.len().checked_sub(shape.len())?;
    let mut steps = vec![0; missing];
    for ((&size, &y_size), step) in shape.iter().zip(&y_shape[missing..]).zip(contiguous(shape)) {
        if size != y_size && size != 1 {
            return None;
        }
        steps.push(if size == 1 { 0 } else { step });
    }
    Some(steps)
}

impl<const K: usize> Walk<K> {
    /// `shape` is the output's, and `steps[k]` holds operand k's step for each of its axes.
    pub(crate) fn new(shape: &[usize], steps: [&[isize]; K], base: [isize; K]) -> Self {
        let mut axes: Vec<(usize, [isize; K])> = Vec::with_capacity(shape.len().max(1));
        for (axis, &size) in shape.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let step: [isize; K] = std::array::from_fn(|k| steps[k][axis]);
            match axes.last_mut() {
                Some((outer, outer_step)) if (0..K).all(|k| outer_step[k] == step[k] * size as isize) => {
                    (*outer, *outer_step) = (*outer * size, step);
                }
                _ => axes.push((size, step)),
            }
        }
        if axes.is_empty() {
            axes.push((1, [1; K]));
        }
        Walk { axes, base }
    }

    /// The operands' steps inside a run.
    pub(crate) fn inner(&self) -> [isize; K] {
        self.axes[self.axes.len() - 1].1
    }

    /// Calls `f(position, operand offsets, elements)` for the runs that make up the output's elements from `start` to
    /// `start + len`; positions count from `start`.
    #[inline(always)]
    pub(crate) fn runs(&self, start: usize, len: usize, mut f: impl FnMut(usize, [usize; K], usize)) {
        let (last, outer) = (self.axes.len() - 1, &self.axes[..self.axes.len() - 1]);
        let (size, step) = self.axes[last];
        let mut index = vec![0; last];
        let mut offset = self.base;
        let mut row = start / size.max(1);
        for axis in (0..last).rev() {
            index[axis] = row % outer[axis].0;
            row /= outer[axis].0;
            (0..K).for_each(|k| offset[k] += index[axis] as isize * outer[axis].1[k]);
        }
        let (mut position, mut column) = (0, start % size.max(1));
        while position < len {
            let count = (size - column).min(len - position);
            f(position, std::array::from_fn(|k| (offset[k] + column as isize * step[k]) as usize), count);
            position += count;
            column = 0;
            for axis in (0..last).rev() {
                let (size, step) = outer[axis];
                index[axis] += 1;
                (0..K).for_each(|k| offset[k] += step[k]);
                if index[axis] < size {
                    break;
                }
                (0..K).for_each(|k| offset[k] -= step[k] * size as isize);
                index[axis] = 0;
            }
        }
    }
}
