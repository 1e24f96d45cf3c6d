//! How examples of one shape become those of another, from shapes alone.

use super::change::Change;
use super::layout::{first_axis_last, last_axis_first};
use super::{Layout, Resize};
use bitbudget_report::counted;

/// Values per example; more are taken for a mistake before memory is asked for.
const LARGEST_INPUT: usize = u32::MAX as usize;

/// The changes that make examples of a shape fit an input; where there are none, the reason and what to do.
pub(super) fn plan(
    shape: &[usize],
    layout: Layout,
    input: &[usize],
    resize: Resize,
) -> std::result::Result<Vec<Change>, String> {
    if !count(input).is_some_and(|count| (1..=LARGEST_INPUT).contains(&count)) {
        return Err("that input is empty or has 2^32 values or more".into());
    }
    let (shape, layout, mut changes) = match other_rank(shape, layout, input) {
        Some((other, layout)) => (other.clone(), layout, vec![Change::Reshape(other)]),
        None => (shape.to_vec(), layout, Vec::new()),
    };
    match (&shape[..], input) {
        (&[a, b, c], &[x, y, z]) => {
            let found = image([a, b, c], layout, [x, y, z], resize);
            changes.extend(found.map_err(|problem| match layout {
                Layout::Auto => problem,
                given => match image([a, b, c], other(given), [x, y, z], resize) {
                    Ok(_) => format!("they do not fit with --layout {given}, but with --layout {}", other(given)),
                    Err(_) => problem,
                },
            })?);
        }
        _ => changes.extend(axes(&shape, layout, input)?),
    }
    Ok(changes)
}

fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

fn other(layout: Layout) -> Layout {
    match layout {
        Layout::ChannelsLast => Layout::ChannelsFirst,
        Layout::Auto | Layout::ChannelsFirst => Layout::ChannelsLast,
    }
}

/// The same values with as many axes as the input, and how these lie; nothing where they have as many, or cannot.
fn other_rank(shape: &[usize], layout: Layout, input: &[usize]) -> Option<(Vec<usize>, Layout)> {
    if shape.len() == input.len() {
        return None;
    }
    if shape.len() == 1 && count(shape) == count(input) {
        let read_as = match (layout, Layout::shown_by(input)) {
            (Layout::ChannelsFirst, Some(Layout::ChannelsLast)) => last_axis_first(input),
            (Layout::ChannelsLast, Some(Layout::ChannelsFirst)) => first_axis_last(input),
            _ => input.to_vec(),
        };
        return Some((read_as, layout));
    }
    if input.len() == 1 && count(shape) == count(input) {
        return Some((input.to_vec(), layout));
    }
    match (shape, input.len()) {
        (&[height, width], 3) if layout == Layout::ChannelsLast => Some((vec![height, width, 1], layout)),
        (&[height, width], 3) => Some((vec![1, height, width], Layout::ChannelsFirst)),
        _ if without_outer_ones(shape) == without_outer_ones(input) => Some((input.to_vec(), layout)),
        _ => {
            let mut inner = shape;
            while inner.len() > input.len() {
                inner = inner.strip_prefix(&[1]).or_else(|| inner.strip_suffix(&[1]))?;
            }
            (inner.len() == input.len()).then(|| (inner.to_vec(), layout))
        }
    }
}

fn without_outer_ones(mut shape: &[usize]) -> &[usize] {
    while let Some(inner) = shape.strip_prefix(&[1]).or_else(|| shape.strip_suffix(&[1])) {
        shape = inner;
    }
    shape
}

/// The changes of examples that are not images: none but another order of axes.
fn axes(shape: &[usize], layout: Layout, input: &[usize]) -> std::result::Result<Vec<Change>, String> {
    let is_turned = shape.len() > 1 && last_axis_first(shape) == input;
    if is_turned && (layout == Layout::ChannelsLast || layout == Layout::Auto && shape != input) {
        return Ok(vec![Change::ChannelsFirst]);
    }
    if shape == input {
        return Ok(Vec::new());
    }
    if layout != Layout::ChannelsLast && first_axis_last(shape) == input {
        return Ok(vec![Change::ChannelsLast]);
    }
    if count(shape) == count(input) {
        return Err("store examples of the input's shape; their axes are not guessed".into());
    }
    let values = |shape| count(shape).map_or("too many".to_string(), |count| count.to_string());
    let counts = format!("values per example: {} in the data, {} in the input", values(shape), values(input));
    Err(match (shape.len(), input.len()) {
        (2 | 3, rank) if rank != 3 => format!("{counts}; images are resized for inputs of three axes only"),
        _ => format!("{counts}; store examples of the input's shape"),
    })
}

/// The sizes of an image.
#[derive(Clone, Copy, PartialEq)]
struct Image {
    channels: usize,
    size: [usize; 2],
}

impl Image {
    /// The sizes of a shape of one of the two layouts.
    fn read([a, b, c]: [usize; 3], layout: Layout) -> Image {
        match layout {
            Layout::ChannelsLast => Image { channels: c, size: [a, b] },
            Layout::Auto | Layout::ChannelsFirst => Image { channels: a, size: [b, c] },
        }
    }
}

/// Why an image does not fit.
enum Obstacle {
    Channels(String),
    Size(String),
}

/// The changes of images.
fn image(
    shape: [usize; 3],
    layout: Layout,
    input: [usize; 3],
    resize: Resize,
) -> std::result::Result<Vec<Change>, String> {
    const BOTH: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];
    let pairs = |data: &[Layout], network: &[Layout]| -> Vec<(Layout, Layout)> {
        data.iter().flat_map(|&data| network.iter().map(move |&network| (data, network))).collect()
    };
    let laid_out = |(data, network): (Layout, Layout), between: Vec<Change>| {
        let first = (data == Layout::ChannelsLast).then_some(Change::ChannelsFirst);
        let last = (network == Layout::ChannelsLast).then_some(Change::ChannelsLast);
        first.into_iter().chain(between).chain(last).collect()
    };
    let given = [layout];
    let data: &[Layout] = if layout == Layout::Auto { &BOTH } else { &given };
    // As it is: in the order of axes that it has, unless a user says which that is and the input does not show it.
    let shown = Layout::shown_by(&shape).unwrap_or(Layout::ChannelsFirst);
    // An input with few channels first takes them so; axes are not exchanged because sizes happen to agree.
    let takes = Layout::shown_by(&input);
    let exact = pairs(data, &BOTH).into_iter();
    let keeps = |data, network| layout == Layout::Auto && data == network;
    let exact = exact.filter(|&(data, network)| keeps(data, network) || takes.is_none_or(|takes| takes == network));
    let exact = exact.filter(|&(data, network)| Image::read(shape, data) == Image::read(input, network));
    let rank = |&(data, network): &(Layout, Layout)| match layout {
        Layout::Auto => (data != network, data != shown),
        _ => (false, network == Layout::ChannelsLast),
    };
    if let Some(pair) = exact.min_by_key(rank) {
        return Ok(laid_out(pair, Vec::new()));
    }
    let likely = |layout: Layout, shape: &[usize]| match (layout, Layout::shown_by(shape)) {
        (Layout::Auto, None) => BOTH.to_vec(),
        (Layout::Auto, Some(shown)) => vec![shown],
        (given, _) => vec![given],
    };
    let mut obstacles = Vec::new();
    for pair in pairs(&likely(layout, &shape), &likely(Layout::Auto, &input)) {
        match adapt(Image::read(shape, pair.0), Image::read(input, pair.1), resize) {
            Ok(changes) => return Ok(laid_out(pair, changes)),
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    // A size can be changed, so it is the likelier reading.
    obstacles.sort_by_key(|obstacle| matches!(obstacle, Obstacle::Channels(_)));
    let first = obstacles.into_iter().next();
    Err(first.map_or(String::new(), |(Obstacle::Channels(problem) | Obstacle::Size(problem))| problem))
}

fn adapt(from: Image, to: Image, resize: Resize) -> std::result::Result<Vec<Change>, Obstacle> {
    let repeated = match (from.channels, to.channels) {
        (channels, wanted) if channels == wanted => None,
        (1, 3) => Some(Change::Repeat(3)),
        (channels, wanted) => {
            let many = |count: usize| counted(count as u64, "channel", "channels");
            return Err(Obstacle::Channels(format!(
                "{} cannot become {wanted} (only 1 is repeated, to make 3); store examples with {}",
                many(channels),
                many(wanted)
            )));
        }
    };
    let mut changes = resize.changes(from.size, to.size).map_err(Obstacle::Size)?;
    changes.extend(repeated);
    Ok(changes)
}
