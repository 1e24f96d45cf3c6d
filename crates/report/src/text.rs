//! Numbers as people read them.

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
/// Amounts that are compared are written in the next larger unit from this many of it on.
const LARGE: usize = 10;
/// The most digits behind the point; where these do not tell amounts apart, exact bytes do.
const DIGITS: usize = 3;

/// Bytes in the largest unit in which they are at least one.
pub fn bytes(n: f64) -> String {
    let power = if n >= 1.0 { ((n.log2() / 10.0) as usize).min(UNITS.len() - 1) } else { 0 };
    let precision = usize::from(power > 0);
    format!("{:.precision$} {}", n / 1024f64.powi(power as i32), UNITS[power])
}

/// How the text of an amount may differ from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// By as little as possible.
    Nearest,
    /// Upwards only: what is needed, so that the text is enough.
    Up,
    /// Downwards only: what is too little, so that the text is too little too.
    Down,
}

/// Bytes that are compared with each other, in one text each: different amounts have different texts.
///
/// Amounts below 10 MiB are in KiB, those below 10 KiB in B. Amounts that are close together have one unit and as many digits as it
/// takes to tell them apart, or are exact.
pub fn amounts<const N: usize>(of: [(usize, Rounding); N]) -> [String; N] {
    let mut sorted = of.map(|(n, _)| n);
    sorted.sort_unstable();
    of.map(|(n, rounding)| {
        // Those that are close to it, in steps of less than a quarter.
        let is_near = |&(a, b): &(usize, usize)| b - a <= a / 4;
        let at = sorted.partition_point(|&other| other < n);
        let below = (0..at).rev().take_while(|&i| is_near(&(sorted[i], sorted[i + 1]))).count();
        let above = (at..N - 1).take_while(|&i| is_near(&(sorted[i], sorted[i + 1]))).count();
        let (least, most) = (sorted[at - below], sorted[at + above]);
        let near: Vec<(usize, Rounding)> = of.iter().copied().filter(|(n, _)| (least..=most).contains(n)).collect();
        let power = (1..UNITS.len()).rev().find(|&power| least >= LARGE << (10 * power)).unwrap_or(0);
        let digits = |of: (usize, Rounding)| (1..=DIGITS).find(|&digits| tells_apart(of, &near, power, digits));
        let exact = power == 0 || near.iter().any(|&of| digits(of).is_none());
        let digits = digits((n, rounding)).filter(|_| !exact);
        digits.map_or_else(|| format!("{} B", grouped(n as u64)), |digits| written(n, rounding, power, digits))
    })
}

/// Whether the text of an amount differs from those of all others.
fn tells_apart(of: (usize, Rounding), amounts: &[(usize, Rounding)], power: usize, digits: usize) -> bool {
    let plain = |n: usize| written(n, Rounding::Nearest, power, digits);
    let text = |(n, rounding)| written(n, rounding, power, digits);
    let mut others = amounts.iter().copied().filter(|other| other.0 != of.0);
    others.all(|other| plain(of.0) != plain(other.0) && text(of) != text(other))
}

fn written(n: usize, rounding: Rounding, power: usize, digits: usize) -> String {
    format!("{} {}", decimal(n as f64 / 1024f64.powi(power as i32), rounding, digits), UNITS[power])
}

fn decimal(x: f64, rounding: Rounding, digits: usize) -> String {
    let scale = 10f64.powi(digits as i32);
    let x = match rounding {
        Rounding::Nearest => x,
        Rounding::Up => (x * scale).ceil() / scale,
        Rounding::Down => (x * scale).floor() / scale,
    };
    format!("{x:.digits$}")
}

/// Shares of a whole that are compared with each other, in percent: different ones have different texts, if three digits behind the
/// point can tell them apart.
pub fn percents<const N: usize>(of: [(usize, Rounding); N], whole: usize) -> [String; N] {
    let percent = |n: usize| 100.0 * n as f64 / whole.max(1) as f64;
    let tells = |digits: &usize| {
        let text = |at: usize| decimal(percent(of[at].0), of[at].1, *digits);
        let plain = |at: usize| decimal(percent(of[at].0), Rounding::Nearest, *digits);
        (0..N).all(|a| (0..a).all(|b| of[a].0 == of[b].0 || text(a) != text(b) && plain(a) != plain(b)))
    };
    let digits = (1..DIGITS).find(tells).unwrap_or(DIGITS);
    of.map(|(n, rounding)| {
        let digits = if n > 0 && percent(n) < 0.1 { DIGITS } else { digits };
        match decimal(percent(n), rounding, digits) {
            zero if n > 0 && zero.chars().all(|c| matches!(c, '0' | '.')) => "less than 0.001%".to_string(),
            text => format!("{text}%"),
        }
    })
}

/// A number with thousands separated.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 step`, `1,438 steps`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// A number of which small values matter: with four digits behind the point, or more where these hide it.
pub fn small(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_string(),
        size if size >= 1e6 => format!("{x:.4e}"),
        size if size >= 0.001 => format!("{x:.4}"),
        _ => format!("{x:.1e}"),
    }
}

/// A number with up to four digits that count, without zeros at its end; in scientific notation where it is very large or small.
pub fn number(x: f64) -> String {
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_string();
    let size = x.abs();
    if x == 0.0 || !x.is_finite() || size.fract() == 0.0 && size < 1e7 {
        return x.to_string();
    }
    if (1e-3..1e5).contains(&size) {
        let digits = (3 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{x:.digits$}");
        return if digits > 0 { trimmed(&text) } else { text };
    }
    let text = format!("{x:.3e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => text,
    }
}

/// A share in percent with one digit behind the point, where one that is hidden by it is said to be below 0.1%.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0005 { "below 0.1%".to_string() } else { format!("{:.1}%", 100.0 * share) }
}

#[cfg(test)]
mod tests {
    use super::Rounding::{Down, Nearest, Up};
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn counts_have_their_noun() {
        let steps = [0, 1, 2, 1438].map(|n| counted(n, "step", "steps"));
        assert_eq!(steps, ["0 steps", "1 step", "2 steps", "1,438 steps"]);
    }

    #[test]
    fn bytes_are_readable() {
        assert_eq!([0.0, 512.0, 1024.0, 1.5 * 1048576.0].map(bytes), ["0 B", "512 B", "1.0 KiB", "1.5 MiB"]);
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.00004, 0.01234, 12.0].map(small), ["0", "4.0e-5", "0.0123", "12.0000"]);
        assert_eq!([1e37, 1234567.0, f64::NAN].map(small), ["1.0000e37", "1.2346e6", "NaN"]);
        assert_eq!([0.0, 0.05, 57.25, 65536.0, 12345.6].map(number), ["0", "0.05", "57.25", "65536", "12346"]);
        let large = [9_999.96, 1e37, 0.00005, 3.4e38, 6.103515625e-5];
        assert_eq!(large.map(number), ["10000", "1e37", "5e-5", "3.4e38", "6.104e-5"]);
        assert_eq!([0.0, 0.0004, 0.0005, 0.5, 1.0].map(percent), ["0.0%", "below 0.1%", "0.1%", "50.0%", "100.0%"]);
    }

    #[test]
    fn amounts_that_differ_have_texts_that_differ() {
        let all = |budget, needed, proved| amounts([(budget, Nearest), (needed, Up), (proved, Down)]);
        assert_eq!(all(30 * MIB, 162 * MIB, 150 * MIB), ["30.0 MiB", "162.0 MiB", "150.0 MiB"]);
        // Below 10 MiB in KiB, below 10 KiB in B.
        assert_eq!(all(943_718, 966_000, 943_719), ["943,718 B", "966,000 B", "943,719 B"]);
        assert_eq!(all(943_718, 966_000, 950_000), ["921.6 KiB", "943.4 KiB", "927.7 KiB"]);
        assert_eq!(all(1, 10_239, 1025), ["1 B", "10,239 B", "1,025 B"]);
        assert_eq!(all(1, 162 * MIB, 5 * MIB), ["1 B", "162.0 MiB", "5120.0 KiB"]);
        // What is close together has one unit.
        assert_eq!(all(10 * MIB - 2048, 10 * MIB + 2048, 1), ["10238.0 KiB", "10242.0 KiB", "1 B"]);
        // As many digits as it takes.
        assert_eq!(all(100 * MIB, 100 * MIB + 20_000, 99 * MIB), ["100.00 MiB", "100.02 MiB", "99.0 MiB"]);
        // Equal amounts may differ by how they are rounded.
        assert_eq!(all(1 << 20, 2 * MIB + 1, 2 * MIB + 1), ["1024.0 KiB", "2048.1 KiB", "2048.0 KiB"]);
    }

    #[test]
    fn what_is_needed_is_enough_and_what_is_too_little_is_too_little() {
        for n in (1..2_000_000_000).step_by(7_654_321) {
            for (budget, bound) in [(n - 1, n - 1), (n / 2, n), (n - n / 100, n)] {
                let texts = amounts([(budget, Nearest), (n, Up), (bound, Down)]);
                let read = |text: &String| {
                    let (number, unit) = text.split_once(' ').unwrap();
                    let power = UNITS.iter().position(|other| *other == unit).unwrap();
                    number.replace(',', "").parse::<f64>().unwrap() * 1024f64.powi(power as i32)
                };
                assert!(read(&texts[1]) >= n as f64 && read(&texts[2]) <= bound as f64, "{n}: {texts:?}");
                assert!(budget == n || texts[0] != texts[1], "{n}: {texts:?}");
            }
        }
    }

    #[test]
    fn percents_tell_apart_too() {
        let of = |budget, needed| percents([(budget, Nearest), (needed, Up)], 1_000_000);
        assert_eq!(of(50_000, 341_200), ["5.0%", "34.2%"]);
        assert_eq!(of(341_100, 341_200), ["34.11%", "34.12%"]);
        assert_eq!(of(341_100, 341_101), ["34.110%", "34.111%"]);
        assert_eq!(of(1, 341_101), ["less than 0.001%", "34.2%"]);
    }
}
