//! The weights of resizing along one axis: each element of the result is a sum of weighted elements of the input.
//!
//! The formulas are those of ONNX's Resize, computed in single precision where onnxruntime does so and rounding decides which element is
//! the nearest.

/// How positions in the result belong to positions in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixel,
    /// From one place of the input to another, as fractions of its length; beyond the input there is nothing.
    Crop(f32, f32),
}

/// Which element is the nearest to a position between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Filter {
    Nearest(Rounding),
    Linear,
    /// With the coefficient `a` of cubic interpolation.
    Cubic(f64),
}

/// Resizing along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Resizing {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) scale: f32,
    pub(super) coordinates: Coordinates,
    pub(super) filter: Filter,
    pub(super) antialias: bool,
    pub(super) exclude_outside: bool,
}

impl Resizing {
    /// The position in the input of element `o` of the result.
    fn position(&self, o: usize) -> f32 {
        let (x, scale, input, output) = (o as f32, self.scale, self.input as f32, self.output as f32);
        match self.coordinates {
            Coordinates::HalfPixel => (x + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (scale * input);
                input / 2.0 * (1.0 - adjustment) + (x + 0.5) / scale - 0.5
            }
            Coordinates::PytorchHalfPixel if self.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
            Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x / scale,
            Coordinates::TfHalfPixel => (x + 0.5) / scale,
            Coordinates::Crop(start, end) if self.output == 1 => 0.5 * (start + end) * (input - 1.0),
            Coordinates::Crop(start, end) => start * (input - 1.0) + x * (end - start) * (input - 1.0) / (output - 1.0),
        }
    }

    /// Whether element `o` of the result lies beyond the input, and no part of it makes it.
    pub(super) fn is_beyond(&self, o: usize) -> bool {
        let is_crop = matches!(self.coordinates, Coordinates::Crop(..));
        is_crop && !(0.0..=self.input as f32 - 1.0).contains(&self.position(o))
    }

    /// The nearest elements, if one is taken for each of the result.
    pub(super) fn nearest(&self) -> Option<Vec<usize>> {
        let Filter::Nearest(rounding) = self.filter else { return None };
        (0..self.output).map(|o| (!self.is_beyond(o)).then(|| self.nearest_to(self.position(o), rounding))).collect()
    }

    /// The nearest element to a position.
    fn nearest_to(&self, x: f32, rounding: Rounding) -> usize {
        let at = match rounding {
            Rounding::PreferFloor => (x - 0.5).ceil(),
            Rounding::PreferCeil => (x + 0.5).floor(),
            Rounding::Floor => x.floor(),
            Rounding::Ceil => x.ceil(),
        };
        at.clamp(0.0, (self.input - 1) as f32) as usize
    }

    /// The matrix `[output, input]` of weights.
    pub(super) fn matrix(&self) -> Vec<f32> {
        let mut matrix = vec![0.0; self.output * self.input];
        for (o, row) in matrix.chunks_mut(self.input.max(1)).enumerate().filter(|(o, _)| !self.is_beyond(*o)) {
            if let Filter::Nearest(rounding) = self.filter {
                row[self.nearest_to(self.position(o), rounding)] = 1.0;
                continue;
            }
            for (at, weight) in self.taps(o) {
                row[at] += weight as f32;
            }
        }
        matrix
    }

    /// The elements that make element `o` of the result, with their weights.
    fn taps(&self, o: usize) -> Vec<(usize, f64)> {
        let position = f64::from(self.position(o));
        let base = position.floor();
        let shrunk = if self.antialias { f64::from(self.scale).min(1.0) } else { 1.0 };
        let reach = if matches!(self.filter, Filter::Cubic(_)) { 2.0 } else { 1.0 };
        let reach = (reach / shrunk).ceil();
        let last = (self.input - 1) as f64;
        let mut taps = Vec::new();
        let mut total = 0.0;
        let mut at = base - reach;
        while at <= base + reach + 1.0 {
            let weight = self.weight((at - position) * shrunk);
            let is_outside = at < 0.0 || at > last;
            if weight != 0.0 && !(self.exclude_outside && is_outside) {
                taps.push((at.clamp(0.0, last) as usize, weight));
                total += weight;
            }
            at += 1.0;
        }
        if self.antialias || self.exclude_outside {
            taps.iter_mut().for_each(|(_, weight)| *weight /= total);
        }
        taps
    }

    fn weight(&self, distance: f64) -> f64 {
        let x = distance.abs();
        match self.filter {
            Filter::Nearest(_) | Filter::Linear => (1.0 - x).max(0.0),
            Filter::Cubic(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Filter::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Filter::Cubic(_) => 0.0,
        }
    }
}
