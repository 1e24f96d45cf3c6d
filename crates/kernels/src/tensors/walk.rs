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

    /// The elements of a whole run.
    pub(crate) fn run(&self) -> usize {
        self.axes[self.axes.len() - 1].0
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

/// The way back from the elements of a tensor to those of a slice of it.
pub(crate) struct Inverse {
    axes: Vec<Sliced>,
}

/// An axis of a tensor that a slice is taken of. Element `begin + i * step` is element `i` of the slice.
struct Sliced {
    size: usize,
    begin: isize,
    step: isize,
    /// Elements of the slice.
    count: usize,
    /// How far apart they lie in the slice's own tensor.
    stride: usize,
}

impl Sliced {
    /// Which element of the slice lies at `at`.
    fn find(&self, at: usize) -> Option<usize> {
        let distance = at as isize - self.begin;
        let inside = distance % self.step == 0 && (0..self.count as isize).contains(&(distance / self.step));
        inside.then_some((distance / self.step) as usize)
    }
}

impl Inverse {
    /// The slice lies inside the tensor, and is not empty.
    pub(crate) fn new(shape: &[usize], begin: &[usize], step: &[isize], out_shape: &[usize]) -> Self {
        let mut axes: Vec<Sliced> = Vec::with_capacity(shape.len().max(1));
        let strides = contiguous(out_shape);
        for axis in (0..shape.len()).rev() {
            let (size, count) = (shape[axis], out_shape[axis]);
            // The step of a single element does not matter.
            let step = if count == 1 { 1 } else { step[axis] };
            let outer = Sliced { size, begin: begin[axis] as isize, step, count, stride: strides[axis] as usize };
            match axes.last_mut() {
                // Whole inner axes make longer elements of this one.
                Some(inner) if inner.count == inner.size && inner.step == 1 && outer.step == 1 => {
                    *inner = Sliced {
                        size: outer.size * inner.size,
                        begin: outer.begin * inner.size as isize,
                        step: 1,
                        count: outer.count * inner.count,
                        stride: inner.stride,
                    };
                }
                _ => axes.push(outer),
            }
        }
        if axes.is_empty() {
            axes.push(Sliced { size: 1, begin: 0, step: 1, count: 1, stride: 1 });
        }
        axes.reverse();
        Inverse { axes }
    }

    /// Calls `f(position, elements, (first element of the slice, step) or nothing outside it)` for the runs that make up
    /// the tensor's elements from `start` to `start + len`; positions count from `start`.
    pub(crate) fn runs(&self, start: usize, len: usize, mut f: impl FnMut(usize, usize, Option<(usize, isize)>)) {
        let Some((last, outer)) = self.axes.split_last() else { return };
        let mut position = 0;
        while position < len {
            let (mut row, column) = ((start + position) / last.size, (start + position) % last.size);
            let end = position + (last.size - column).min(len - position);
            let base = outer.iter().rev().try_fold(0, |base, axis| {
                let at = row % axis.size;
                row /= axis.size;
                Some(base + axis.find(at)? * axis.stride)
            });
            let Some(base) = base else {
                f(position, end - position, None);
                position = end;
                continue;
            };
            let first = position;
            let position_of = |at: isize| (at - column as isize).clamp(0, (end - first) as isize) as usize + first;
            let covered = (last.count as isize - 1) * last.step;
            let (low, high) = (last.begin + covered.min(0), last.begin + covered.max(0) + 1);
            let (from, to) = (position_of(low), position_of(high));
            if last.step.abs() == 1 && from < to {
                let zeros = [(first, from - first), (to, end - to)];
                zeros.into_iter().filter(|(_, count)| *count > 0).for_each(|(at, count)| f(at, count, None));
                if let Some(i) = last.find(column + from - first) {
                    f(from, to - from, Some((base + i * last.stride, last.step)));
                }
            } else {
                f(first, end - first, None);
                for at in from..to {
                    if let Some(i) = last.find(column + at - first) {
                        f(at, 1, Some((base + i * last.stride, 1)));
                    }
                }
            }
            position = end;
        }
    }
}
