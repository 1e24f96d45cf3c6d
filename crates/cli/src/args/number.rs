//! Numbers as options take them; clap adds the option and its value to what is said here.

/// Reads whole numbers from `least` to `most`.
pub(crate) fn whole<T: TryFrom<i128>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    move |text| {
        let (too_small, too_large) =
            (|| format!("it must be at least {least}"), || format!("it must be at most {most}"));
        match text.trim().parse::<i128>() {
            Ok(number) if number < least.into() => Err(too_small()),
            Ok(number) if number > most.into() => Err(too_large()),
            Ok(number) => T::try_from(number).map_err(|_| too_large()),
            Err(error) if *error.kind() == NegOverflow => Err(too_small()),
            Err(error) if *error.kind() == PosOverflow => Err(too_large()),
            Err(_) => Err("it is not a whole number".into()),
        }
    }
}

/// Reads a number of at least 0 that FP32 can hold.
pub(crate) fn fp32(text: &str) -> Result<f32, String> {
    let number = match text.trim().parse::<f64>() {
        Ok(number) if !number.is_nan() => number,
        _ => return Err("it is not a number".into()),
    };
    let rounded = number as f32;
    if number < 0.0 {
        return Err("it must be at least 0".into());
    }
    if rounded.is_infinite() {
        return Err(format!("it is beyond FP32's largest number, {:e}", f32::MAX));
    }
    if number > 0.0 && rounded == 0.0 {
        return Err(format!("it is below FP32's smallest number, {:e}, and would be 0", f32::from_bits(1)));
    }
    Ok(rounded)
}

/// The same in double precision.
pub(crate) fn within_fp32(text: &str) -> Result<f64, String> {
    fp32(text)?;
    text.trim().parse().map_err(|_| "it is not a number".into())
}

/// Reads a number from 0, or from above 0, to `most`.
pub(crate) fn within(above_0: bool, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim().parse::<f64>() {
        Ok(number) if number.is_nan() => Err("it is not a number".into()),
        Ok(number) if number <= 0.0 && above_0 => Err("it must be above 0".into()),
        Ok(number) if number < 0.0 => Err("it must be at least 0".into()),
        Ok(number) if number > most => Err(format!("it must be at most {most}")),
        Ok(number) => Ok(number),
        Err(_) => Err("it is not a number".into()),
    }
}

/// The same from 0 to below 1, in FP32 too, in which it is used.
pub(crate) fn below_1(text: &str) -> Result<f64, String> {
    let number = within_fp32(text)?;
    if number >= 1.0 {
        return Err("it must be from 0 to below 1".into());
    }
    if number as f32 >= 1.0 {
        let most = f32::from_bits(1.0f32.to_bits() - 1);
        return Err(format!("it would be 1 in FP32, in which it is used; it must be at most {most}"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_bounds() {
        let read = whole::<u16>(1, 1024);
        assert_eq!((read("1"), read(" 1024 "), read("+7")), (Ok(1), Ok(1024), Ok(7)));
        for text in ["0", "-1", "-99999999999999999999999999999999999999999999"] {
            assert_eq!(read(text), Err("it must be at least 1".into()), "{text}");
        }
        for text in ["1025", "99999999999999999999999999999999999999999999"] {
            assert_eq!(read(text), Err("it must be at most 1024".into()), "{text}");
        }
        for text in ["", "x", "1e3", "1.5", "1,000", "NaN"] {
            assert_eq!(read(text), Err("it is not a whole number".into()), "{text}");
        }
        assert_eq!(whole::<u64>(0, u64::MAX)("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn numbers_have_bounds() {
        for (text, number) in [("1e-300", 1e-300), ("86400", 86400.0), (" 1 ", 1.0)] {
            assert_eq!((within(true, 86400.0)(text), within(false, 86400.0)(text)), (Ok(number), Ok(number)), "{text}");
        }
        assert_eq!((within(false, 1.0)("0"), within(true, 1.0)("0")), (Ok(0.0), Err("it must be above 0".into())));
        for (text, words) in [
            ("86401", "at most 86400"),
            ("inf", "at most 86400"),
            ("-1", "at least 0"),
            ("x", "not a number"),
            ("NaN", "not a number"),
        ] {
            assert!(within(false, 86400.0)(text).unwrap_err().contains(words), "{text}");
        }
    }

    #[test]
    fn what_is_below_1_is_so_in_fp32() {
        assert_eq!((below_1("0"), below_1("0.9"), below_1("0.9999999")), (Ok(0.0), Ok(0.9), Ok(0.9999999)));
        for (text, words) in [
            ("0.99999999", "it would be 1 in FP32, in which it is used; it must be at most 0.99999994"),
            ("1", "from 0 to below 1"),
            ("-0.1", "at least 0"),
            ("1e-50", "below FP32's smallest number"),
            ("", "it is not a number"),
        ] {
            assert!(below_1(text).unwrap_err().contains(words), "{text}: {:?}", below_1(text));
        }
    }

    #[test]
    fn numbers_are_those_of_fp32() {
        assert_eq!(
            (fp32("0.1"), fp32("3.4028235e38"), fp32("1e-45"), fp32("-0")),
            (Ok(0.1), Ok(f32::MAX), Ok(1e-45), Ok(0.0))
        );
        assert_eq!(within_fp32("0.1"), Ok(0.1));
        let cases = [
            ("1e39", "beyond FP32's largest number, 3.4028235e38"),
            ("1e999", "beyond FP32's largest"),
            ("inf", "beyond FP32's largest"),
            ("1e-46", "below FP32's smallest number, 1e-45"),
            ("-1e-46", "at least 0"),
            ("-inf", "at least 0"),
            ("nan", "not a number"),
            ("fast", "not a number"),
        ];
        for (text, words) in cases {
            assert!(fp32(text).unwrap_err().contains(words), "{text}: {:?}", fp32(text));
            assert!(within_fp32(text).is_err(), "{text}");
        }
    }
}
