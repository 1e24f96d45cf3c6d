//! How the axes of an example lie.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// Where an image has its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Wherever shapes say so.
    #[default]
    Auto,
    /// Channels, height, width.
    ChannelsFirst,
    /// Height, width, channels.
    ChannelsLast,
}

impl Layout {
    const ALL: [Layout; 3] = [Layout::Auto, Layout::ChannelsFirst, Layout::ChannelsLast];

    fn name(self) -> &'static str {
        match self {
            Layout::Auto => "auto",
            Layout::ChannelsFirst => "channels-first",
            Layout::ChannelsLast => "channels-last",
        }
    }

    /// The layout that the shape of an image shows: one axis of the outer two has 1, 3 or 4 elements, the other has not.
    pub(super) fn shown_by(shape: &[usize]) -> Option<Layout> {
        let &[first, _, last] = shape else { return None };
        let channels = |size: usize| matches!(size, 1 | 3 | 4);
        match (channels(first), channels(last)) {
            (true, false) => Some(Layout::ChannelsFirst),
            (false, true) => Some(Layout::ChannelsLast),
            _ => None,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Layout::ALL.into_iter().find(|layout| layout.name() == text).ok_or_else(|| {
            let message = format!("unknown layout `{text}`: write auto, channels-first or channels-last");
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

/// The same axes with the last one first.
pub(super) fn last_axis_first(shape: &[usize]) -> Vec<usize> {
    let axes = shape.len().saturating_sub(1);
    [&shape[axes..], &shape[..axes]].concat()
}

/// The same axes with the first one last.
pub(super) fn first_axis_last(shape: &[usize]) -> Vec<usize> {
    let (first, rest) = shape.split_at(1.min(shape.len()));
    [rest, first].concat()
}

/// Writes a matrix of `rows` rows by columns.
pub(crate) fn transpose<T: Copy>(matrix: &[T], rows: usize, transposed: &mut [T]) {
    let columns = matrix.len() / rows.max(1);
    for (row, values) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            transposed[column * rows + row] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for layout in Layout::ALL {
            assert_eq!(layout.to_string().parse(), Ok(layout));
        }
        let error = "nhwc".parse::<Layout>().unwrap_err();
        assert!(error.to_string().contains("write auto, channels-first or channels-last"), "{error}");
    }

    #[test]
    fn a_few_channels_show_the_layout() {
        use Layout::{ChannelsFirst, ChannelsLast};
        for (shape, shown) in [
            (vec![3, 32, 32], Some(ChannelsFirst)),
            (vec![32, 32, 3], Some(ChannelsLast)),
            (vec![28, 28, 1], Some(ChannelsLast)),
            (vec![64, 8, 8], None),
            (vec![3, 8, 3], None),
            (vec![28, 1], None),
            (vec![3, 8, 8, 8], None),
        ] {
            assert_eq!(Layout::shown_by(&shape), shown, "{shape:?}");
        }
    }

    #[test]
    fn matrices_are_transposed() {
        let mut transposed = [0; 6];
        transpose(&[1, 2, 3, 4, 5, 6], 2, &mut transposed);
        assert_eq!(transposed, [1, 4, 2, 5, 3, 6]);
        assert_eq!((last_axis_first(&[5, 6, 3]), first_axis_last(&[3, 5, 6])), (vec![3, 5, 6], vec![5, 6, 3]));
    }
}
