//! Numbers as people read them.

/// Bytes in the largest unit in which they are at least one.
pub fn bytes(n: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = if n >= 1.0 { ((n.log2() / 10.0) as usize).min(units.len() - 1) } else { 0 };
    let precision = usize::from(power > 0);
    format!("{:.precision$} {}", n / 1024f64.powi(power as i32), units[power])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_readable() {
        assert_eq!([0.0, 512.0, 1024.0, 1.5 * 1048576.0].map(bytes), ["0 B", "512 B", "1.0 KiB", "1.5 MiB"]);
    }
}
