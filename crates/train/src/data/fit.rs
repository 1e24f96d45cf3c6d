//! Fitting data to a network's input.

use std::collections::BTreeSet;
use std::fmt;

use super::arrange::plan;
use super::change::{Change, apply};
use super::dataset::outputs;
use super::{Dataset, Layout, Network, Resize};
use crate::{Error, ErrorKind, Result};
use bitbudget_report::counted;

/// The options of fitting examples to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fitting {
    /// How the axes of examples lie, where the data do not say.
    pub layout: Layout,
    /// How images of another size are adapted.
    pub resize: Resize,
    /// The label of examples that are left out, or of rows that do not count.
    pub ignored: Option<i32>,
}

/// As on a command line, after the data; nothing for the defaults.
impl fmt::Display for Fitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layout != Layout::default() {
            write!(f, " --layout {}", self.layout)?;
        }
        if self.resize != Resize::default() {
            write!(f, " --resize {}", self.resize)?;
        }
        if let Some(label) = self.ignored {
            write!(f, " --ignore-label={label}")?;
        }
        Ok(())
    }
}

/// Makes the examples fit a network's input, and checks their classes against its outputs.
///
/// Changes are made in this order, each with a note in [`Dataset::notes`]:
/// - examples with as many values as the input, where one of the two shapes is flat, are reshaped; outer axes of one element come
///   and go; an image [h, w] has a single channel;
/// - examples with channels last become channels-first, and [`Dataset::channels_last`] says whether the input takes them so;
///   where the data do not say how they lie, it is as fits without further changes, else as a shape of one, three or four channels
///   shows;
/// - images of another size are padded or resized as [`Resize`] allows, by bilinear interpolation between pixel centres (edges
///   repeat, nothing is averaged when shrinking, bytes are rounded to the nearest byte);
/// - a single channel is repeated where the input takes three.
///
/// Fewer classes than outputs are only noted.
///
/// # Errors
/// `Mismatch`, naming every obstacle, where the shapes cannot be reconciled or the data has more classes than outputs; `Invalid`
/// for a layout that the data do not have.
pub fn fit(mut dataset: Dataset, network: &Network, fitting: Fitting) -> Result<Dataset> {
    dataset.check()?;
    let layout = match (dataset.layout, fitting.layout) {
        (known, Layout::Auto) => known,
        (Layout::Auto, given) => given,
        (known, given) if known == given => known,
        (known, given) => {
            let message = format!(
                "{}: --layout {given} contradicts the images of this data, which are {known}; leave it out: they are laid out as \
                 the network's input takes them",
                dataset.name
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    };
    let mut problems = Vec::new();
    let classes = network.classes;
    let splits = std::iter::once(&dataset.train).chain(&dataset.test);
    let distinct = splits.flat_map(|split| &split.labels).collect::<BTreeSet<_>>().len();
    if dataset.classes > classes {
        let found = match distinct == dataset.classes {
            true => counted(distinct as u64, "class", "classes"),
            false => format!("labels up to {}", dataset.classes - 1),
        };
        problems.push(format!(
            "the data has {found} but the network only {}: use a network with at least {}",
            outputs(classes),
            outputs(dataset.classes)
        ));
    }
    let changes = plan(&dataset.shape, layout, &network.shape, fitting.resize).unwrap_or_else(|problem| {
        problems.push(format!(
            "examples have shape {:?} ({}), but the network's input `{}` takes {:?}: {problem}",
            dataset.shape, dataset.elements, network.input, network.shape
        ));
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(Error::new(ErrorKind::Mismatch, format!("{}: {}", dataset.name, problems.join("; "))));
    }
    if dataset.classes < classes {
        dataset.notes.push(format!(
            "The data has {}, the network {}: the other outputs have no examples.",
            counted(distinct as u64, "class", "classes"),
            outputs(classes)
        ));
    }
    let stays_last = [Change::ChannelsFirst, Change::ChannelsLast].iter().all(|change| changes.contains(change));
    if stays_last {
        dataset.notes.push(format!("Images {:?} are taken to have their channels last.", dataset.shape));
    }
    for change in &changes {
        let note = apply(&mut dataset, change);
        if !stays_last || !matches!(change, Change::ChannelsFirst | Change::ChannelsLast) {
            dataset.notes.extend(note);
        }
    }
    dataset.network = network.clone();
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::super::{Images, Normalization, Split};
    use super::*;

    fn dataset(shape: &[usize], images: Images) -> Dataset {
        let count = images.len() / shape.iter().product::<usize>();
        Dataset {
            name: "made".into(),
            train: Split { images, labels: vec![1; count] },
            test: None,
            classes: 2,
            shape: shape.to_vec(),
            elements: "uint8".into(),
            layout: Layout::Auto,
            channels_last: false,
            network: Network::default(),
            normalization: Normalization { divisor: 1.0, mean: vec![0.5], std: vec![2.0] },
            notes: Vec::new(),
        }
    }

    fn network(shape: &[usize], classes: usize) -> Network {
        Network { input: "image".into(), shape: shape.to_vec(), labels: "labels".into(), classes }
    }

    fn fitted(shape: &[usize], images: Images, input: &[usize], resize: Resize) -> Dataset {
        let fitting = Fitting { resize, ..Fitting::default() };
        fit(dataset(shape, images), &network(input, 2), fitting).unwrap()
    }

    #[test]
    fn padding_is_centred() {
        let padded = fitted(&[1, 4, 4], Images::U8((1..=32).collect()), &[1, 5, 4], Resize::Auto);
        let Images::U8(values) = &padded.train.images else { panic!("bytes") };
        assert_eq!(values[..20], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 0]);
        assert_eq!(values[20], 17);
        let wide = fitted(&[1, 1, 8], Images::F32(vec![1.0; 8]), &[1, 1, 10], Resize::Auto);
        assert_eq!(wide.train.images, Images::F32(vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]));
        assert!(wide.notes[0].contains("padded with zeros from 1x8 to 1x10"), "{:?}", wide.notes);
    }

    #[test]
    fn resizing_interpolates_between_pixel_centres() {
        // New centres lie at a quarter and three quarters of each old pixel; beyond the outer old centres the edge repeats.
        let larger = fitted(&[1, 1, 2], Images::F32(vec![0.0, 4.0]), &[1, 1, 4], Resize::Stretch);
        assert_eq!(larger.train.images, Images::F32(vec![0.0, 1.0, 3.0, 4.0]));
        let bytes = fitted(&[1, 2, 1], Images::U8(vec![0, 255]), &[1, 4, 1], Resize::Stretch);
        assert_eq!(bytes.train.images, Images::U8(vec![0, 64, 191, 255]));
        let smaller = fitted(&[1, 1, 4], Images::F32(vec![0.0, 1.0, 3.0, 4.0]), &[1, 1, 2], Resize::Stretch);
        assert_eq!(smaller.train.images, Images::F32(vec![0.5, 3.5]));
        assert!(smaller.notes[0].contains("resized from 1x4 to 1x2"), "{:?}", smaller.notes);
        let inside = fitted(&[1, 1, 2], Images::U8(vec![4, 8]), &[1, 2, 2], Resize::Fit);
        assert_eq!(inside.train.images, Images::U8(vec![4, 8, 0, 0]));
    }

    #[test]
    fn a_plane_stays_a_plane_when_resized() {
        // Interpolation reproduces a x + b y + c wherever it does not run into an edge.
        let plane = |y: f32, x: f32| 2.0 * y - 3.0 * x + 1.0;
        let values = (0..64).map(|i| plane((i / 8) as f32 + 0.5, (i % 8) as f32 + 0.5)).collect();
        let resized = fitted(&[1, 8, 8], Images::F32(values), &[1, 24, 32], Resize::Stretch);
        let Images::F32(values) = &resized.train.images else { panic!("numbers") };
        for y in 2..22 {
            for x in 2..30 {
                let expected = plane((y as f32 + 0.5) / 3.0, (x as f32 + 0.5) / 4.0);
                assert!((values[y * 32 + x] - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_channel_and_its_normalisation_repeat() {
        let mut data = dataset(&[1, 1, 2], Images::U8(vec![1, 2, 3, 4]));
        data.test = Some(Split { images: Images::U8(vec![5, 6]), labels: vec![0] });
        let fitted = fit(data, &network(&[3, 1, 2], 2), Fitting::default()).unwrap();
        fitted.check().unwrap();
        assert_eq!(fitted.train.images, Images::U8(vec![1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]));
        assert_eq!(fitted.test.unwrap().images, Images::U8(vec![5, 6, 5, 6, 5, 6]));
        assert_eq!((fitted.normalization.mean, fitted.normalization.std), (vec![0.5; 3], vec![2.0; 3]));
    }

    #[test]
    fn every_pixel_survives_padding_and_flat_reshapes() {
        let count = || Images::U8((0..12).collect());
        let flat = fitted(&[12], count(), &[3, 2, 2], Resize::Auto);
        assert_eq!((&flat.shape, &flat.train.images), (&vec![3, 2, 2], &count()));
        assert_eq!(fitted(&[3, 2, 2], count(), &[12], Resize::Auto).train.images, count());
        let grey = fitted(&[2, 2], Images::U8(vec![1, 2, 3, 4]), &[3, 2, 2], Resize::Auto);
        assert_eq!(grey.train.images, Images::U8(vec![1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]));
        assert_eq!(grey.notes.len(), 2);
    }

    /// The result for one example that counts 0, 1, ...: its values channels-first, and whether they go channels-last.
    fn arranged(shape: &[usize], layout: Layout, input: &[usize]) -> Result<(Vec<u8>, bool)> {
        let images = Images::U8((0..shape.iter().product::<usize>() as u8).collect());
        let fitting = Fitting { layout, ..Fitting::default() };
        let fitted = fit(dataset(shape, images), &network(input, 2), fitting)?;
        let Images::U8(values) = fitted.train.images else { panic!("bytes") };
        Ok((values, fitted.channels_last))
    }

    #[test]
    fn examples_lie_as_the_network_takes_them() {
        use Layout::{Auto, ChannelsFirst, ChannelsLast};
        let as_is: Vec<u8> = (0..12).collect();
        let rows = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11];
        for (shape, layout, input, values, channels_last) in [
            (vec![3, 2, 2], Auto, vec![3, 2, 2], as_is.clone(), false),
            (vec![2, 2, 3], Auto, vec![2, 2, 3], rows.to_vec(), true),
            (vec![2, 2, 3], Auto, vec![3, 2, 2], rows.to_vec(), false),
            (vec![3, 2, 2], Auto, vec![2, 2, 3], as_is.clone(), true),
            (vec![2, 6], Auto, vec![6, 2], vec![0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11], false),
            (vec![2, 6], ChannelsFirst, vec![6, 2], as_is.clone(), true),
            (vec![12], ChannelsLast, vec![3, 2, 2], rows.to_vec(), false),
            (vec![12], ChannelsFirst, vec![2, 2, 3], as_is.clone(), true),
            (vec![12], Auto, vec![3, 2, 2], as_is.clone(), false),
            (vec![1, 2, 2, 3], Auto, vec![3, 2, 2], rows.to_vec(), false),
            (vec![3, 4], Auto, vec![3, 4, 1], as_is.clone(), true),
            (vec![1, 3, 4], Auto, vec![3, 4], as_is.clone(), false),
            (vec![3, 4, 1], Auto, vec![1, 3, 4], as_is.clone(), false),
            (vec![3, 4], Auto, vec![1, 1, 3, 4], as_is.clone(), false),
            (vec![2, 2, 1, 3], Auto, vec![3, 2, 2, 1], rows.to_vec(), false),
            // Where every axis has as many elements the user decides.
            (vec![2, 2, 2], Auto, vec![2, 2, 2], (0..8).collect(), false),
            (vec![2, 2, 2], ChannelsLast, vec![2, 2, 2], vec![0, 2, 4, 6, 1, 3, 5, 7], false),
        ] {
            let found = arranged(&shape, layout, &input).unwrap();
            assert_eq!(found, (values, channels_last), "{shape:?} {layout} {input:?}");
        }
        let mut known = dataset(&[3, 2, 2], Images::U8(as_is));
        known.layout = ChannelsFirst;
        let error = fit(known, &network(&[3, 2, 2], 2), Fitting { layout: ChannelsLast, ..Fitting::default() });
        assert!(error.unwrap_err().to_string().contains("--layout channels-last contradicts"));
    }

    #[test]
    fn grey_images_fit_networks_that_take_colours_last() {
        let resized = fitted(&[1, 2, 2], Images::U8(vec![9; 4]), &[4, 4, 3], Resize::Auto);
        assert_eq!((resized.shape, resized.channels_last), (vec![3, 4, 4], true));
        assert!(resized.notes.last().unwrap().contains("[4, 4, 3]"), "{:?}", resized.notes);
        let last = fitted(&[8, 8, 1], Images::U8(vec![9; 64]), &[3, 16, 16], Resize::Auto);
        assert_eq!((last.shape, last.channels_last), (vec![3, 16, 16], false));
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let auto = Fitting::default();
        let stretch = Fitting { resize: Resize::Stretch, ..auto };
        let layout = |layout| Fitting { layout, ..auto };
        for (shape, input, classes, fitting, expected) in [
            (vec![3, 2, 2], vec![1, 2, 2], 2, auto, "3 channels cannot become 1 (only 1 is repeated, to make 3)"),
            (vec![1, 8, 8], vec![2, 8, 8], 2, auto, "1 channel cannot become 2"),
            (vec![1, 28, 28], vec![28, 28, 28], 2, stretch, "1 channel cannot become 28"),
            (vec![32, 32, 3], vec![32, 8, 8], 2, stretch, "3 channels cannot become 32"),
            (vec![1, 28, 28], vec![1, 28, 14], 2, auto, "--resize stretch to distort them, or --resize fit"),
            (vec![8, 6, 3], vec![3, 16, 16], 2, auto, "images of 8x6 become 16x16 only with another aspect ratio"),
            (vec![4, 4, 3], vec![3, 4, 4], 2, layout(Layout::ChannelsFirst), "but with --layout channels-last"),
            (vec![3, 4, 4], vec![3, 8, 8], 2, layout(Layout::ChannelsLast), "but with --layout channels-first"),
            // The input shows that it takes channels first.
            (vec![3, 8, 8], vec![3, 8, 8], 2, layout(Layout::ChannelsLast), "but with --layout channels-first"),
            (vec![3, 4, 6], vec![3, 6, 4], 2, auto, "only with another aspect ratio"),
            (vec![4, 6], vec![3, 8], 2, auto, "their axes are not guessed"),
            (vec![8, 3, 8], vec![3, 8, 8], 2, auto, "8 channels cannot become 3"),
            (vec![8, 3, 8], vec![3, 8, 8], 2, layout(Layout::ChannelsFirst), "8 channels cannot become 3"),
            (
                vec![10],
                vec![11],
                2,
                auto,
                "examples have shape [10] (uint8), but the network's input `image` takes [11]",
            ),
            (vec![10], vec![1, 3, 4], 2, auto, "values per example: 10 in the data, 12 in the input"),
            (vec![1, 8, 8], vec![16, 16], 2, auto, "inputs of three axes only"),
            (vec![1, 2, 2], vec![1, 0, 2], 2, auto, "is empty or"),
            (vec![1, 2, 2], vec![1, usize::MAX, 2], 2, auto, "is empty or"),
            (vec![1, 2, 2], vec![1, 1 << 20, 1 << 20], 2, auto, "is empty or"),
            (vec![1, 2, 2], vec![1, 2, 2], 1, auto, "at least 2 outputs"),
        ] {
            let count = shape.iter().product::<usize>();
            let data = dataset(&shape, Images::U8(vec![0; count]));
            let error = fit(data, &network(&input, classes), fitting).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Mismatch);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let mut data = dataset(&[4], Images::U8(vec![0; 4]));
        data.train.labels[0] = 2;
        let error = fit(data, &network(&[4], 3), auto).unwrap_err();
        assert!(error.to_string().contains("label 2 (example 0) is too large for 2 classes"));
        let fewer = fit(dataset(&[4], Images::U8(vec![0; 4])), &network(&[4], 5), auto).unwrap();
        assert!(fewer.notes[0].contains("1 class, the network 5 outputs"));
    }

    #[test]
    fn options_are_shown_unless_they_are_the_defaults() {
        assert_eq!(Fitting::default().to_string(), "");
        let fitting = Fitting { layout: Layout::ChannelsLast, resize: Resize::Fit, ignored: Some(-1) };
        assert_eq!(fitting.to_string(), " --layout channels-last --resize fit --ignore-label=-1");
    }
}
