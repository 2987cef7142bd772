//! Claims about what callees ask for.

use proptest::prelude::*;

use super::*;

const THEN: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

#[test]
fn all_three_forms_of_a_date_mean_the_same() {
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        let wish = retry_after(text, THEN - 30);
        assert_eq!(wish, Some(Duration::from_secs(30)), "{text}");
    }
}

// Pitfall 28: a date that has passed is no reason to wait, and none to fail.
#[test]
fn a_date_in_the_past_asks_for_no_wait() {
    let wish = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", THEN + 1);
    assert_eq!(wish, Some(Duration::ZERO));
}

#[test]
fn a_year_of_two_digits_is_never_more_than_fifty_years_ahead() {
    let now = 1_795_000_000; // 2026
    assert_eq!(full_year(94, now), 1994);
    assert_eq!(full_year(76, now), 2076);
    assert_eq!(full_year(77, now), 1977);
    assert_eq!(full_year(26, now), 2026);
}

#[test]
fn days_are_counted_over_leap_years() {
    assert_eq!(days_since_1970(1970, 1, 1), 0);
    assert_eq!(days_since_1970(2000, 2, 29), 11_016);
    assert_eq!(days_since_1970(2000, 3, 1), 11_017);
    assert_eq!(days_since_1970(2100, 3, 1), 47_541);
    assert_eq!(days_of(2100, 2), 28);
    assert_eq!(days_of(2000, 2), 29);
}

#[test]
fn a_number_too_long_for_any_clock_is_a_very_long_wish_and_not_none() {
    let wish = retry_after("99999999999999999999999999", 0);
    assert_eq!(wish, Some(Duration::from_secs(SECONDS_MAX)));
}

#[test]
fn what_is_neither_a_number_nor_a_date_is_no_wish() {
    for text in [
        "",
        " ",
        "-1",
        "1.5",
        "+3",
        "soon",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 06 Nov 1994 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994 GMT",
    ] {
        assert_eq!(retry_after(text, 0), None, "{text:?}");
    }
}

#[test]
fn pushback_that_is_negative_or_no_number_forbids_another_attempt() {
    for text in ["-1", "-2147483648", "", "1.5", "2147483648", "x"] {
        assert_eq!(pushback(text), Pushback::Never, "{text:?}");
        assert_eq!(pushback(text).outcome(), Outcome::Permanent);
    }
    assert_eq!(
        pushback("0").outcome(),
        Outcome::Throttled {
            retry_after: Some(Duration::ZERO)
        }
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,40}", now: u64) {
        let _ = retry_after(&text, now);
        let _ = pushback(&text);
    }

    #[test]
    fn every_second_of_four_centuries_is_read_back(then in 0_i64..12_622_780_800) {
        // The inverse, by counting up from 1970.
        let (mut year, mut days) = (1970, then / 86_400);
        while days >= 337 + days_of(year, 2) {
            days -= 337 + days_of(year, 2);
            year += 1;
        }
        let mut month = 1;
        while days >= days_of(year, month) {
            days -= days_of(year, month);
            month += 1;
        }
        let time = then % 86_400;
        let text = alloc::format!(
            "Mon, {:02} {} {year} {:02}:{:02}:{:02} GMT",
            days + 1,
            MONTHS[usize::try_from(month - 1).expect("a month")],
            time / 3_600,
            time / 60 % 60,
            time % 60,
        );
        prop_assert_eq!(date(&text, 0), Some(then), "{}", text);
    }
}
