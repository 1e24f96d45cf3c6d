//! TensorBoard's event files: scalars over steps.
//!
//! An event file is a row of records, each with its length, both with a masked CRC-32C (TensorFlow,
//! `core/lib/io/record_writer.h`); a record is an `Event` message (TensorFlow, `core/util/event.proto`).

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::metrics::{Metrics, Record};

/// The first record of every event file.
const VERSION: &str = "brain.Event:2";
/// Checksums are rotated and moved by this, so that records can hold records.
const MASK: u32 = 0xa282_ead8;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    value: Option<f32>,
}

/// The records of a run as the bytes of an event file, one by one, so that a run can be watched.
///
/// Scalars of steps: `train/loss`, `train/learning_rate`, `train/loss_scale`, `train/images_per_second`, `precision/low_ratio`,
/// and `precision/promotions`, the tensors promoted so far. Of epochs, at the number of steps done: `test/loss`, and the metrics that the loss
/// has, as in `train/accuracy` and `test/mae`.
#[derive(Debug)]
pub struct Events {
    promotions: usize,
    low_ratio: f64,
}

impl Events {
    /// The events of a run that begins with so large a share of low elements.
    pub fn new(low_ratio: f64) -> Events {
        Events { promotions: 0, low_ratio }
    }

    /// A name for a new file of this process, as TensorBoard looks for them.
    pub fn file_name() -> String {
        let (now, process) = (wall_time(), std::process::id());
        format!("events.out.tfevents.{:010}.bitbudget.{process}.{}", now as u64, (now.fract() * 1e6) as u64)
    }

    /// The first bytes of a file.
    pub fn head() -> Vec<u8> {
        event(0, What::FileVersion(VERSION.to_string()))
    }

    /// The bytes of a record's scalars; none for a run's final one.
    pub fn record(&mut self, record: &Record) -> Vec<u8> {
        match record {
            Record::Step(step) => {
                self.promotions += step.promoted.iter().filter(|promotion| promotion.is_promoted()).count();
                self.low_ratio = step.promoted.last().map_or(self.low_ratio, |promotion| promotion.low_ratio);
                let scalars = [
                    ("train/loss", step.loss as f32),
                    ("train/learning_rate", step.learning_rate),
                    ("train/loss_scale", step.loss_scale),
                    ("train/images_per_second", step.images_per_second as f32),
                    ("precision/low_ratio", self.low_ratio as f32),
                    ("precision/promotions", self.promotions as f32),
                ];
                scalars_at(step.step, scalars)
            }
            Record::Epoch(epoch) => {
                let named = |split: &str, accuracy: Option<f64>, others: Metrics| -> Vec<(String, f32)> {
                    let all = Metrics { accuracy, ..others };
                    all.named().map(|(name, value)| (format!("{split}/{name}"), value as f32)).collect()
                };
                let mut scalars = named("train", epoch.train_accuracy, epoch.train_metrics);
                scalars.extend(epoch.test_loss.map(|loss| ("test/loss".to_string(), loss as f32)));
                scalars.extend(named("test", epoch.test_accuracy, epoch.test_metrics));
                scalars_at(epoch.steps, scalars)
            }
            Record::Final(_) => Vec::new(),
        }
    }
}

fn scalars_at<T: Into<String>>(step: u64, scalars: impl IntoIterator<Item = (T, f32)>) -> Vec<u8> {
    let scalar = |(tag, value): (T, f32)| Scalar { tag: tag.into(), value: Some(value) };
    event(step, What::Summary(Summary { values: scalars.into_iter().map(scalar).collect() }))
}

fn event(step: u64, what: What) -> Vec<u8> {
    framed(&Event { wall_time: wall_time(), step: step as i64, what: Some(what) }.encode_to_vec())
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A record: its length, the length's checksum, the bytes, their checksum.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length, &masked(&length).to_le_bytes()[..], bytes, &masked(bytes).to_le_bytes()].concat()
}

/// The masked CRC-32C of some bytes.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{EpochRecord, Promotion, StepRecord};

    /// The events of a file, with every length and checksum checked.
    fn read(mut rest: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(head[8..], masked(&head[..8]).to_le_bytes());
            let (body, tail) = tail.split_at(length);
            let (checksum, tail) = tail.split_at(4);
            assert_eq!(checksum, masked(body).to_le_bytes());
            events.push(Event::decode(body).unwrap());
            rest = tail;
        }
        events
    }

    /// Vectors of RFC 3720, B.4, and the mask of TensorFlow's `core/lib/hash/crc32c_test.cc`.
    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c::crc32c(&ascending), 0x46dd_794e);
        let unmasked = |masked: u32| masked.wrapping_sub(MASK).rotate_left(15);
        for text in ["", "foo", "123456789"] {
            let plain = crc32c::crc32c(text.as_bytes());
            assert_ne!(masked(text.as_bytes()), plain);
            assert_eq!(unmasked(masked(text.as_bytes())), plain);
        }
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    /// The first record of every event file, written by hand.
    #[test]
    fn records_are_framed() {
        let event = Event { wall_time: 0.0, step: 0, what: Some(What::FileVersion(VERSION.into())) };
        let record = framed(&event.encode_to_vec());
        assert_eq!(record[..8], [15, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[12..14], [0x1a, 13]);
        assert_eq!(&record[14..27], VERSION.as_bytes());
        assert_eq!(record.len(), 8 + 4 + 15 + 4);
    }

    #[test]
    fn scalars_read_back() {
        let mut run = Events::new(0.75);
        let (from, to) = ("1-4-3".to_string(), "1-6-9".to_string());
        let promotion =
            Promotion { step: 7, tensor: "conv1".into(), overflow: 0.5, from, to, peak: 10, low_ratio: 0.625 };
        let step = StepRecord {
            step: 7,
            epoch: 0,
            loss: f64::NAN,
            learning_rate: 0.25,
            loss_scale: 65536.0,
            skipped: false,
            promoted: vec![promotion],
            seconds: 0.5,
            images_per_second: 128.0,
        };
        let epoch = EpochRecord {
            epoch: 0,
            steps: 8,
            train_loss: 1.0,
            train_accuracy: Some(0.75),
            train_metrics: Metrics { mean_iou: Some(0.5), ..Metrics::default() },
            test_loss: None,
            test_accuracy: Some(0.5),
            test_metrics: Metrics::default(),
            skipped: 0,
            seconds: 1.0,
            images_per_second: 128.0,
        };
        let file =
            [Events::head(), run.record(&Record::Step(step)), run.record(&Record::Epoch(Box::new(epoch)))].concat();
        let events = read(&file);
        assert_eq!(events[0].what, Some(What::FileVersion(VERSION.into())));
        let scalars = |event: &Event| match &event.what {
            Some(What::Summary(summary)) => {
                summary.values.iter().map(|scalar| (scalar.tag.clone(), scalar.value.unwrap())).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let (step, epoch) = (scalars(&events[1]), scalars(&events[2]));
        assert_eq!((events[1].step, events[2].step, events.len()), (7, 8, 3));
        assert!(step[0].0 == "train/loss" && step[0].1.is_nan());
        assert_eq!(step[1..3], [("train/learning_rate".into(), 0.25), ("train/loss_scale".into(), 65536.0)]);
        assert_eq!(step[4..], [("precision/low_ratio".into(), 0.625), ("precision/promotions".into(), 1.0)]);
        assert_eq!(
            epoch,
            [("train/accuracy".into(), 0.75), ("train/mean_iou".into(), 0.5), ("test/accuracy".into(), 0.5)]
        );
    }
}
