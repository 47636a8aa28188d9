//! Points in time as people type them, and as we print them.
//!
//! What has no offset is local time, in the zone of `TZ` or `/etc/localtime`. The engine's own
//! time is microseconds UTC; see [`Timestamp`].

use std::sync::OnceLock;

use camring::base::time::{Timestamp, US_PER_S};
use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Span, Zoned};

/// What the messages show.
const FORMS: &str = "write a time as 2026-11-20T14:00:00+01:00, 2026-11-20 14:00, today 14:00, \
                     yesterday 14:00, -5min, -2h30m, now, @1795000000.5 (seconds since 1970), \
                     or 1795000000500 (milliseconds since 1970)";

/// Set when times are to be printed in UTC.
static PRINTS_UTC: OnceLock<()> = OnceLock::new();

/// Reads a point in time, seen from here and now.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, &Zoned::now())
}

/// Reads how long something lasts: `30s`, `5min`, `1h30m`. Not less than a microsecond.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is no duration; write one as 30s, 5min or 1h30m"))?;
    std::time::Duration::try_from(duration)
        .ok()
        .filter(|duration| duration.as_micros() > 0)
        .ok_or_else(|| format!("{text} is not longer than nothing"))
}

/// How long something lasts, for people: `3.2 s`, `5m 12s`, `2d 3h`.
pub(crate) fn format_span(us: i64) -> String {
    const MINUTE_US: i64 = 60 * US_PER_S;
    const DAY_US: i64 = 24 * 60 * MINUTE_US;
    if (0..MINUTE_US).contains(&us) {
        let tenths = (us + US_PER_S / 20) / (US_PER_S / 10);
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    if us >= DAY_US {
        return format!("{}d {}h", us / DAY_US, us % DAY_US / (60 * MINUTE_US));
    }
    let sign = if us < 0 { "-" } else { "" };
    format!(
        "{sign}{:#}",
        SignedDuration::from_secs((us / US_PER_S).abs())
    )
}

/// RFC 3339 in local time, or in UTC, with its offset, to the microsecond, so that it can be given back as an
/// argument. Years that RFC 3339 has no form for come as [`Timestamp`] displays them, which
/// [`parse`] reads too.
pub(crate) fn format(time: Timestamp) -> String {
    let zone = match PRINTS_UTC.get() {
        Some(()) => TimeZone::UTC,
        None => TimeZone::system(),
    };
    format_in(time, &zone)
}

/// From now on times are printed in UTC. What is read without an offset stays local time.
pub(crate) fn print_utc() {
    // Once is as good as twice.
    let _ = PRINTS_UTC.set(());
}

fn format_in(time: Timestamp, zone: &TimeZone) -> String {
    let Ok(point) = jiff::Timestamp::from_microsecond(time.0) else {
        return time.to_string();
    };
    // RFC 3339 has no seconds of offset, which zones had before they were zones.
    let local = zone.to_offset(point);
    let offset = if local.seconds() % 60 == 0 {
        local
    } else {
        Offset::UTC
    };
    if offset.to_datetime(point).year() < 0 {
        return time.to_string();
    }
    let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(6));
    printer.timestamp_with_offset_to_string(&point, offset)
}

fn parse_at(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("there is no time; {FORMS}"));
    }
    if text == "now" {
        return Ok(Timestamp(now.timestamp().as_microsecond()));
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return parse_seconds(seconds).ok_or_else(|| no_time(text));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_milliseconds(text);
    }
    if text.starts_with('-') || text.ends_with("ago") {
        return parse_relative(text, now);
    }
    if let Some(local) = parse_day(text, now) {
        return to_timestamp(local?, now.time_zone());
    }
    if let Ok(point) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(point.as_microsecond()));
    }
    let local: DateTime = text.parse().map_err(|_| no_time(text))?;
    to_timestamp(local, now.time_zone())
}

fn no_time(text: &str) -> String {
    format!("{text:?} is no point in time; {FORMS}")
}

/// Seconds since 1970 with a fraction of up to six digits, as [`Timestamp`] displays them.
fn parse_seconds(text: &str) -> Option<Timestamp> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 6 {
        return None;
    }
    let us: i128 = format!("{fraction:0<6}").parse().ok()?;
    let total_us = whole.parse::<i64>().ok().map(i128::from)? * i128::from(US_PER_S) + us;
    i64::try_from(sign * total_us).ok().map(Timestamp)
}

/// Milliseconds since 1970: 13 digits, which is 2001 to 2286.
fn parse_milliseconds(text: &str) -> Result<Timestamp, String> {
    let value = text.parse::<i64>().ok().filter(|_| text.len() == 13);
    match value.and_then(|ms| ms.checked_mul(1_000)) {
        Some(us) => Ok(Timestamp(us)),
        None => Err(format!(
            "{text:?} could be many things: milliseconds since 1970 have 13 digits, and seconds \
             an @ before them; {FORMS}"
        )),
    }
}

/// `-5min`, `-1d2h`, `5 min ago`.
fn parse_relative(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let span: Span = text.parse().map_err(|_| no_time(text))?;
    if span.is_positive() {
        return Err(no_time(text));
    }
    let then = now
        .checked_add(span)
        .map_err(|_| format!("{text:?} is before all time"))?;
    Ok(Timestamp(then.timestamp().as_microsecond()))
}

/// `today 14:00`, `yesterday 14:00:30`; nothing if the text begins otherwise.
fn parse_day(text: &str, now: &Zoned) -> Option<Result<DateTime, String>> {
    let (day, time) = text.split_once(' ')?;
    let date = match day {
        "today" => Ok(now.date()),
        "yesterday" => now.date().yesterday(),
        _ => return None,
    };
    let time = time.trim_start().parse::<Time>();
    Some(match (date, time) {
        (Ok(date), Ok(time)) => Ok(date.to_datetime(time)),
        _ => Err(no_time(text)),
    })
}

/// The point in time of a local clock, if the local clock shows it once.
fn to_timestamp(local: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => {}
        AmbiguousOffset::Gap { .. } => {
            return Err(format!(
                "{local} did not happen: clocks were set forward; write a time with its offset"
            ));
        }
        AmbiguousOffset::Fold { before, after } => {
            return Err(format!(
                "{local} happened twice, as clocks were set back: \
                 write {local}{before} or {local}{after}"
            ));
        }
    }
    let point = ambiguous
        .unambiguous()
        .map_err(|_| no_time(&local.to_string()))?;
    Ok(Timestamp(point.as_microsecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a panic is how a test fails")]

    use proptest::prelude::*;

    use super::*;

    /// Helsinki's rules of today, whatever the machine knows of time zones.
    const HELSINKI: &str = "EET-2EEST,M3.5.0/3,M10.5.0/4";

    /// A local time of Helsinki, as the point in time that it is.
    fn at(text: &str) -> Zoned {
        let zone = TimeZone::posix(HELSINKI).expect("it is a zone");
        let point: jiff::Timestamp = text.parse().expect("it is a time");
        point.to_zoned(zone)
    }

    /// Friday 2026-11-20 14:00:00.25 in Helsinki, UTC+2.
    fn now() -> Zoned {
        at("2026-11-20T14:00:00.25+02:00")
    }

    fn utc(text: &str) -> Timestamp {
        let point: jiff::Timestamp = text.parse().expect("it is a time");
        Timestamp(point.as_microsecond())
    }

    #[test]
    fn every_form_names_its_point_in_time() {
        let forms = [
            ("2026-11-20T14:00:00+01:00", "2026-11-20T13:00:00Z"),
            ("2026-11-20T14:00:00.123456Z", "2026-11-20T14:00:00.123456Z"),
            ("2026-11-20 14:00:00-05:30", "2026-11-20T19:30:00Z"),
            ("2026-11-20 14:00", "2026-11-20T12:00:00Z"),
            ("2026-11-20T14:00:30.5", "2026-11-20T12:00:30.5Z"),
            ("2026-07-01 14:00", "2026-07-01T11:00:00Z"),
            ("today 08:15", "2026-11-20T06:15:00Z"),
            ("today 23:59:59", "2026-11-20T21:59:59Z"),
            ("yesterday 00:00", "2026-11-18T22:00:00Z"),
            ("now", "2026-11-20T12:00:00.25Z"),
            ("-5min", "2026-11-20T11:55:00.25Z"),
            ("-5m", "2026-11-20T11:55:00.25Z"),
            ("-90s", "2026-11-20T11:58:30.25Z"),
            ("-2h30m", "2026-11-20T09:30:00.25Z"),
            ("-1d", "2026-11-19T12:00:00.25Z"),
            ("5 min ago", "2026-11-20T11:55:00.25Z"),
            ("2 hours 3 min ago", "2026-11-20T09:57:00.25Z"),
            ("@0", "1970-01-01T00:00:00Z"),
            ("@1795000000", "2026-11-18T11:06:40Z"),
            ("@1795000000.5", "2026-11-18T11:06:40.5Z"),
            ("@1795000000.000001", "2026-11-18T11:06:40.000001Z"),
            ("@-1.5", "1969-12-31T23:59:58.5Z"),
            ("1795000000500", "2026-11-18T11:06:40.5Z"),
            ("  now ", "2026-11-20T12:00:00.25Z"),
        ];
        for (text, point) in forms {
            assert_eq!(parse_at(text, &now()), Ok(utc(point)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_that_are() {
        let nonsense = [
            "",
            "soon",
            "5min",
            "+5min",
            "ago",
            "14:00",
            "today",
            "today 25:00",
            "tomorrow 10:00",
            "@",
            "@1.",
            "@.5",
            "@1.1234567",
            "@1e9",
            "@99999999999999",
            "1795000000",
            "17950000005000",
            "2026-11-20 24:01",
            "2026-02-29 10:00",
            "2026-13-01 10:00",
            "-5min ago",
            "-",
            "--5min",
        ];
        for text in nonsense {
            let error = parse_at(text, &now()).expect_err(text);
            assert!(
                error.contains("-2h30m") && error.contains("@1795000000.5"),
                "{error}"
            );
        }
        assert!(parse_at("-99999y", &now()).is_err());
    }

    /// Clocks in Helsinki go back at 4:00 on 25 October 2026, and forward at 3:00 on 29 March.
    #[test]
    fn a_local_time_that_happened_twice_or_never_is_not_guessed() {
        let twice = parse_at("2026-10-25 03:30", &now()).expect_err("twice");
        for form in ["2026-10-25T03:30:00+03", "2026-10-25T03:30:00+02"] {
            assert!(twice.contains(form), "{twice}");
            assert!(parse_at(form, &now()).is_ok(), "{form} can be given back");
        }
        let never = parse_at("2026-03-29 03:30", &now()).expect_err("never");
        assert!(never.contains("did not happen"), "{never}");
    }

    /// The night has 25 hours; a day before is the same time of day.
    #[test]
    fn days_are_calendar_days_and_hours_are_hours() {
        let now = at("2026-10-25T12:00:00+02:00");
        assert_eq!(parse_at("-1d", &now), Ok(utc("2026-10-24T09:00:00Z")));
        assert_eq!(parse_at("-24h", &now), Ok(utc("2026-10-24T10:00:00Z")));
    }

    #[test]
    fn times_are_printed_with_the_offset_of_their_day() {
        let zone = now().time_zone().clone();
        let print = |text| format_in(utc(text), &zone);
        assert_eq!(
            print("2026-11-20T12:00:00Z"),
            "2026-11-20T14:00:00.000000+02:00"
        );
        assert_eq!(
            print("2026-07-01T12:00:00.1Z"),
            "2026-07-01T15:00:00.100000+03:00"
        );
        let local_mean_time = TimeZone::posix("LMT-1:39:49").expect("it is a zone");
        let printed = format_in(utc("2026-11-20T12:00:00Z"), &local_mean_time);
        assert_eq!(
            printed, "2026-11-20T12:00:00.000000+00:00",
            "no seconds of offset"
        );
        assert_eq!(format_in(Timestamp::MAX, &zone), "@9223372036854.775807");
    }

    #[test]
    fn spans_are_short_to_read() {
        let second = US_PER_S;
        let spans = [
            (0, "0.0 s"),
            (3_240_000, "3.2 s"),
            (59_940_000, "59.9 s"),
            (60 * second, "1m"),
            (312 * second, "5m 12s"),
            (7_261 * second, "2h 1m 1s"),
            (90 * 3_600 * second, "3d 18h"),
            (-5 * second, "-5s"),
        ];
        for (us, text) in spans {
            assert_eq!(format_span(us), text);
        }
    }

    #[test]
    fn durations_are_longer_than_nothing() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("30s"), Ok(30));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("5 min"), Ok(300));
        for text in ["", "30", "-30s", "0s", "soon", "1ns"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_printed_can_be_given_back(us in any::<i64>()) {
            for us in [us, us % 4_000_000_000_000_000] {
                let zone = now().time_zone().clone();
                let text = format_in(Timestamp(us), &zone);
                prop_assert_eq!(parse_at(&text, &now()), Ok(Timestamp(us)), "{}", text);
            }
        }

        #[test]
        fn the_engines_own_form_can_be_given_back(us in any::<i64>()) {
            let text = Timestamp(us).to_string();
            prop_assert_eq!(parse_at(&text, &now()), Ok(Timestamp(us)), "{}", text);
        }

        #[test]
        fn any_text_has_an_answer(text in ".{0,30}") {
            let _ = parse_at(&text, &now());
        }

        #[test]
        fn any_text_of_the_right_letters_has_an_answer(text in "[-+@0-9a-z:. TZ]{0,24}") {
            let _ = parse_at(&text, &now());
        }
    }
}
