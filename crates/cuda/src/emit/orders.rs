//! The order in which a tensor's elements lie.

use bitbudget_ir::Layout;

/// Its axes by how far apart their elements lie, those of one index left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    shape: Vec<usize>,
    /// The axes, the one whose elements lie side by side last.
    axes: Vec<usize>,
}

impl Order {
    pub(super) fn new(shape: &[usize], layout: Layout) -> Order {
        Order { shape: shape.to_vec(), axes: layout.axes(shape.len()) }
    }

    /// How many elements lie between neighbours along each axis.
    pub(super) fn strides(&self) -> Vec<i64> {
        let mut strides = vec![0; self.shape.len()];
        let mut stride = 1;
        for &axis in self.axes.iter().rev() {
            strides[axis] = stride;
            stride *= self.shape[axis] as i64;
        }
        strides
    }

    /// Whether elements of the same index lie in the same place in both, which have one shape.
    pub(super) fn is_same(&self, other: &Order) -> bool {
        let there =
            |order: &Order| -> Vec<usize> { order.axes.iter().copied().filter(|&axis| self.shape[axis] > 1).collect() };
        self.shape == other.shape && there(self) == there(other)
    }

    /// The sizes of `[…, channels, …]` around the channels: what lies before them, they, what lies behind.
    pub(super) fn around_channels(&self) -> [usize; 3] {
        let channels = self.shape.get(1).copied().unwrap_or(1);
        let at = self.axes.iter().position(|&axis| axis == 1).unwrap_or(self.axes.len());
        let product = |axes: &[usize]| axes.iter().map(|&axis| self.shape[axis]).product::<usize>();
        [product(&self.axes[..at]), channels, product(self.axes.get(at + 1..).unwrap_or(&[]))]
    }

    /// Whether the channels lie last, or would if there were several pixels.
    pub(super) fn has_channels_last(&self) -> bool {
        self.around_channels()[2] == 1
    }

    /// Whether elements lie as their indices say.
    pub(super) fn is_by_rows(&self) -> bool {
        self.is_same(&Order::new(&self.shape, Layout::ROWS))
    }
}
