//! Sizes as people write them, and as we write them for people.

use std::sync::OnceLock;

use bytesize::ByteSize;

/// The units that mean one thing only.
const UNITS: [&str; 10] = [
    "B", "kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", "PiB",
];

/// Set when sizes are to be printed in bytes.
static PRINTS_BYTES: OnceLock<()> = OnceLock::new();

/// Reads a number of bytes: `10GiB`, `500MB`, `1.5 TiB`, `4096`.
///
/// `10G` is refused: to some it means 10 GB, to others 10 GiB, and the two are 7 % apart.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_len = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_len);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err("expected a size such as 10GiB, 500MB or 4096 (bytes)".into());
    }
    if !unit.is_empty() && !UNITS.iter().any(|known| known.eq_ignore_ascii_case(unit)) {
        return Err(unit_error(number, unit));
    }
    if unit.is_empty() && number.contains('.') {
        return Err(format!("{number} bytes are no whole number of bytes"));
    }
    let size: ByteSize = format!("{number}{unit}").parse().map_err(|_: String| {
        format!("{number} is not a number; expected a size such as 10GiB or 500MB")
    })?;
    // ByteSize saturates; no file is that long either.
    if size.as_u64() > i64::MAX.unsigned_abs() {
        return Err(format!("{text} is longer than any file can be"));
    }
    Ok(size.as_u64())
}

fn unit_error(number: &str, unit: &str) -> String {
    let prefix = unit.trim_end_matches(['i', 'I']).to_ascii_uppercase();
    if ["K", "M", "G", "T", "P"].contains(&prefix.as_str()) {
        let decimal = if prefix == "K" { "k" } else { &prefix };
        format!(
            "{number}{unit} is ambiguous: write {number}{prefix}iB (powers of 1024) \
             or {number}{decimal}B (powers of 1000)"
        )
    } else {
        format!(
            "{unit:?} is not a unit of size; use one of {}",
            UNITS.join(", ")
        )
    }
}

/// A number of bytes for people: in powers of 1024, or to the byte. [`parse`] reads both.
pub(crate) fn format(len: u64) -> String {
    match PRINTS_BYTES.get() {
        Some(()) => format!("{len} B"),
        None => ByteSize(len).display().iec().to_string(),
    }
}

/// From now on sizes are printed to the byte.
pub(crate) fn print_bytes() {
    // Once is as good as twice.
    let _ = PRINTS_BYTES.set(());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a panic is how a test fails")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("10GiB", 10 << 30),
            ("16MiB", 16 << 20),
            ("16mib", 16 << 20),
            ("500MB", 500_000_000),
            ("1 TB", 1_000_000_000_000),
            ("1.5GiB", 3 << 29),
            ("64kB", 64_000),
            ("64KiB", 64 << 10),
            ("12B", 12),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
            ("9007199254740993B", 9_007_199_254_740_993),
        ];
        for (text, len) in good {
            assert_eq!(parse(text), Ok(len), "{text}");
        }
    }

    #[test]
    fn a_letter_alone_is_ambiguous_and_the_message_says_what_to_write() {
        for (text, iec, si) in [
            ("10G", "10GiB", "10GB"),
            ("16m", "16MiB", "16MB"),
            ("4K", "4KiB", "4kB"),
            ("1.5Ti", "1.5TiB", "1.5TB"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(iec) && error.contains(si), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "GiB",
            "-1GiB",
            "1.2.3GiB",
            ".",
            "10 apples",
            "10GiBx",
            "1e9",
            "0.5",
            "99999PiB",
            "9223372036854775808",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_text_has_an_answer(text in ".{0,20}") {
            let _ = parse(&text);
        }

        #[test]
        fn whole_units_are_exact(count in 0..8_000_000_u64) {
            prop_assert_eq!(parse(&format!("{count}MiB")), Ok(count << 20));
            prop_assert_eq!(parse(&format!("{count} GB")), Ok(count * 1_000_000_000));
        }
    }
}
