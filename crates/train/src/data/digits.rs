//! The embedded digits: 1,797 real 8x8 images (UCI, E. Alpaydin and C. Kaynak, CC BY 4.0; see `data/README.md`).

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Dataset, Images, Layout, Network, Normalization, Split};
use crate::{Error, Result};

const FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");
const PIXELS: usize = 64;
/// Every fifth image is a test image.
const TEST_EVERY: usize = 5;

pub(super) fn load() -> Result<Dataset> {
    let path = Path::new("the embedded digits.csv.gz");
    let mut text = String::new();
    GzDecoder::new(FILE).read_to_string(&mut text).map_err(|error| Error::corrupt(path, error))?;
    let mut splits = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for (index, line) in text.lines().enumerate() {
        let values: std::result::Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        let values = values.map_err(|error| Error::corrupt(path, format!("line {}: {error}", index + 1)))?;
        let Some((&label, pixels)) = values.split_last().filter(|(_, pixels)| pixels.len() == PIXELS) else {
            return Err(Error::corrupt(path, format!("line {} does not have 65 numbers", index + 1)));
        };
        let (images, labels) = &mut splits[usize::from(index % TEST_EVERY == TEST_EVERY - 1)];
        images.extend_from_slice(pixels);
        labels.push(u32::from(label));
    }
    let normalization = Normalization::of_bytes(&splits[0].0, 1, PIXELS, 16.0);
    let [train, test] = splits.map(|(images, labels)| Split { images: Images::U8(images), labels });
    Ok(Dataset {
        name: "digits".into(),
        train,
        test: Some(test),
        classes: 10,
        shape: vec![1, 8, 8],
        elements: "uint8".into(),
        layout: Layout::ChannelsFirst,
        channels_last: false,
        network: Network::default(),
        normalization,
        notes: vec!["Every fifth of the 1,797 images is a test image.".into()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_complete() {
        let digits = load().unwrap();
        digits.check().unwrap();
        let test = digits.test.unwrap();
        assert_eq!((digits.train.len(), test.len()), (1438, 359));
        let mut histogram = [0; 10];
        for &label in digits.train.labels.iter().chain(&test.labels) {
            histogram[label as usize] += 1;
        }
        // The counts that UCI states for its test set.
        assert_eq!(histogram, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        // The first five images show 0 to 4, so the fifth is the first test image.
        assert_eq!((&digits.train.labels[..4], test.labels[0]), (&[0, 1, 2, 3][..], 4));
        let Images::U8(bytes) = digits.train.images else { panic!("digits are bytes") };
        assert_eq!(bytes[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(bytes.iter().max(), Some(&16));
    }
}
