//! Names of zones, and the spans between changes of the clocks.

use super::*;

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

#[test]
fn zones_are_known_by_their_names_in_any_case() {
    for (name, spelt) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/BERLIN", "Europe/Berlin"),
        ("utc", "UTC"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ] {
        assert_eq!(zone(name).name(), spelt);
        assert_eq!(zone(name), zone(spelt));
    }
    for name in ["", "Berlin", "CEST", "Europe/Berlin ", "Etc/Unknown", "../etc/passwd", "+01:00"] {
        assert_eq!(Zone::named(name), None, "{name}");
    }
    assert!(Zone::names().count() > 400);
    assert!(Zone::names().all(|name| Zone::named(&name).is_some() || name == "Etc/Unknown"));
}

#[test]
fn clocks_are_steady_between_their_changes() {
    let spring = 1_806_195_600; // 2027-03-28, 01:00 UTC
    let autumn = 1_824_944_400; // 2027-10-31, 01:00 UTC
    let berlin = zone("Europe/Berlin");
    let summer = Steady { from: spring, until: autumn, offset: 7_200 };
    assert_eq!(berlin.steady(spring), summer);
    assert_eq!(berlin.steady(autumn - 1), summer);
    assert_eq!(berlin.steady(spring - 1).offset, 3_600);
    assert_eq!(berlin.steady(spring - 1).until, spring);
    assert_eq!(berlin.steady(autumn).from, autumn);
    let utc = zone("UTC").steady(spring);
    assert_eq!((utc.from, utc.until, utc.offset), (i64::MIN, i64::MAX, 0));
    // Nepal has left its clocks alone since 1986.
    let kathmandu = zone("Asia/Kathmandu").steady(spring);
    assert_eq!((kathmandu.until, kathmandu.offset), (i64::MAX, 20_700));
}
