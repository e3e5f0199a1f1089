//! The atlas over the files that operators have, and over those that were made to break it.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{Country, Special};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn open(names: &[&str]) -> Atlas {
    let files: Vec<_> = names.iter().map(|name| file(name)).collect();
    Atlas::open(&files).expect("good files")
}

fn at(atlas: &Atlas, address: &str) -> Place {
    atlas.locate(address.parse().expect("an address"))
}

#[test]
fn the_embedded_database_passes_the_check_of_any_file_and_knows_the_world() {
    let bytes = zstd::bulk::decompress(EMBEDDED, EMBEDDED_BYTES_MAX).expect("zstd");
    let mut database = Database::from_bytes("embedded".into(), bytes).expect("a database");
    database.check().expect("sound");

    let atlas = Atlas::embedded().expect("embedded");
    for (address, country) in [
        ("81.2.69.160", "GB"),
        ("85.214.132.117", "DE"),
        ("133.242.0.3", "JP"),
        ("200.160.2.3", "BR"),
        ("139.130.4.5", "AU"),
        ("196.25.1.1", "ZA"),
        ("240b:10::1", "JP"),
        ("2a02:8071::1", "DE"),
    ] {
        let place = at(&atlas, address);
        assert_eq!(place.country, Country::parse(country), "{address}");
        assert!(
            place.point.is_some() && place.accuracy_km.is_some(),
            "{address}: a centre"
        );
        assert!(
            place
                .network
                .contains(&address.parse::<IpAddr>().expect("an address"))
        );
        assert!(place.network.prefix_len() > 0);
    }
}

#[test]
fn a_nested_city_file_gives_coordinates_radius_and_its_own_prefix() {
    let atlas = open(&["GeoIP2-City-Test.mmdb"]);
    let london = at(&atlas, "81.2.69.160");
    assert_eq!(london.country, Country::parse("GB"));
    assert_eq!(london.point.map(|p| p.latitude), Some(51.5142));
    assert_eq!(london.accuracy_km, Some(100.0));
    assert_eq!(london.network.to_string(), "81.2.69.160/27");
    assert_eq!(london.source, PlaceSource::Coordinates { database: 0 });
    assert!(
        atlas
            .database(0)
            .is_some_and(|about| about.coordinates && about.ipv6)
    );

    let mapped = at(&atlas, "::ffff:81.2.69.160");
    assert_eq!(mapped.point, london.point);
    assert_eq!(mapped.network.to_string(), "::ffff:81.2.69.160/123");
}

#[test]
fn a_country_file_gives_the_centre_and_how_little_that_says() {
    let atlas = open(&["GeoLite2-Country-Test.mmdb"]);
    let place = at(&atlas, "81.2.69.160");
    assert_eq!(place.country, Country::parse("GB"));
    assert_eq!(place.source, PlaceSource::CountryCentre { database: 0 });
    assert!(place.accuracy_km.is_some_and(|km| km > 20.0));
}

#[test]
fn flat_files_of_both_kinds_are_read() {
    let point = |place: &Place| place.point.map(|at| (at.latitude, at.longitude.round()));
    let atlas = open(&["flat-city.mmdb"]);
    let london = at(&atlas, "81.2.69.160");
    assert_eq!(point(&london), Some((51.5, 0.0)));
    assert_eq!(london.network.to_string(), "81.2.69.0/24");
    assert_eq!(london.accuracy_km, None);
    // It writes 0°N 0°E where it knows the country only.
    let germany = at(&atlas, "85.214.1.1");
    assert_eq!(germany.source, PlaceSource::CountryCentre { database: 0 });
    assert!(point(&germany).is_some_and(|(latitude, _)| latitude > 45.0));
    assert!(at(&atlas, "2a02:8071::1").point.is_some());

    let atlas = open(&["ipinfo-location.mmdb"]);
    assert_eq!(point(&at(&atlas, "81.2.69.160")), Some((51.5, 0.0)));
    assert_eq!(point(&at(&atlas, "85.214.1.1")), Some((52.52, 13.0)));
    for (address, country) in [("133.242.1.1", "JP"), ("200.160.1.1", "BR")] {
        let place = at(&atlas, address);
        assert_eq!(place.country, Country::parse(country));
        assert_eq!(place.source, PlaceSource::CountryCentre { database: 0 });
    }
}

#[test]
fn several_files_answer_together_and_the_more_precise_wins() {
    let atlas = open(&["GeoLite2-Country-Test.mmdb", "GeoIP2-City-Test.mmdb"]);
    let place = at(&atlas, "81.2.69.160");
    assert_eq!(place.source, PlaceSource::Coordinates { database: 1 });
    let unknown = at(&atlas, "9.9.9.9");
    assert_eq!((unknown.point, unknown.country), (None, None));
    assert_eq!(unknown.source, PlaceSource::Unknown);
}

#[test]
fn inner_addresses_have_no_place_and_say_why() {
    let atlas = Atlas::embedded().expect("embedded");
    for (address, range, network) in [
        ("10.1.2.3", Special::Private, "10.0.0.0/8"),
        ("127.0.0.5", Special::Loopback, "127.0.0.0/8"),
        ("::1", Special::Loopback, "::1/128"),
        ("100.64.1.1", Special::Cgnat, "100.64.0.0/10"),
        ("192.0.2.7", Special::Documentation, "192.0.2.0/24"),
        ("2001:db8::1", Special::Documentation, "2001:db8::/32"),
        (
            "::ffff:192.168.1.1",
            Special::Private,
            "::ffff:192.168.0.0/112",
        ),
        ("fd00::1", Special::Private, "fc00::/7"),
    ] {
        let place = at(&atlas, address);
        assert_eq!(place.source, PlaceSource::Special { range }, "{address}");
        assert_eq!(place.point, None);
        assert_eq!(place.network.to_string(), network);
    }
}

#[test]
fn every_broken_file_is_refused_in_one_line_that_names_it() {
    let mut names = vec![
        "GeoIP2-City-Test-Broken-Double-Format.mmdb".to_owned(),
        "GeoIP2-City-Test-Invalid-Node-Count.mmdb".into(),
        "MaxMind-DB-test-broken-pointers-24.mmdb".into(),
        "MaxMind-DB-test-broken-search-tree-24.mmdb".into(),
        // Sound, but about something else.
        "MaxMind-DB-no-ipv4-search-tree.mmdb".into(),
        "GeoLite2-ASN-Test.mmdb".into(),
        // No database at all.
        "README.md".into(),
    ];
    for entry in std::fs::read_dir(file("bad")).expect("the folder") {
        names.push(format!(
            "bad/{}",
            entry.expect("a file").file_name().display()
        ));
    }
    assert!(names.len() > 25);
    for name in names {
        let error = Atlas::open(&[file(&name)]).expect_err(&name);
        let line = error.to_string();
        assert!(line.contains(&name) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused_or_still_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(file("GeoIP2-City-Test.mmdb")).expect("the file");
    let path = folder.path().join("cut.mmdb");
    for length in (0..whole.len()).step_by(611) {
        std::fs::write(&path, &whole[..length]).expect("written");
        Atlas::open(std::slice::from_ref(&path)).expect_err("cut short");
    }
    assert!(Atlas::open(&[folder.path().join("none.mmdb")]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes changed anywhere: refused at once, or answers without a panic.
    #[test]
    fn a_damaged_file_never_panics(
        damage in proptest::collection::vec((0..22_000_usize, any::<u8>()), 1..6),
        addresses in proptest::collection::vec(any::<u32>(), 16),
    ) {
        let mut bytes = std::fs::read(file("GeoIP2-City-Test.mmdb")).expect("the file");
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        if let Ok(mut database) = Database::from_bytes("damaged".into(), bytes) {
            let sound = database.check().is_ok();
            for address in addresses {
                let address = std::net::Ipv4Addr::from(address);
                let place = database.locate(address.into(), 0);
                prop_assert!(!sound || place.network.contains(&IpAddr::from(address)));
            }
        }
    }

    /// What makes a network usable as a scope: every address in it has the same answer and the same network.
    #[test]
    fn everything_in_a_network_has_the_same_answer(address in any::<u32>(), other in any::<u32>()) {
        let atlas = embedded();
        let address = std::net::Ipv4Addr::from(address);
        let place = atlas.locate(address.into());
        let IpAddr::V4(first) = place.network.network() else { panic!("IPv4") };
        let hosts = place.network.hostmask().to_string().parse::<std::net::Ipv4Addr>().expect("a mask");
        let inside = std::net::Ipv4Addr::from(u32::from(first) | (other & u32::from(hosts)));
        prop_assert_eq!(atlas.locate(inside.into()), place);
    }

    #[test]
    fn everything_in_an_ipv6_network_has_the_same_answer(
        lead in prop_oneof![Just(0x2000_u16), 0x2001..=0x2003_u16, 0x2400..=0x2c0f_u16, any::<u16>()],
        rest in any::<u128>(),
        other in any::<u128>(),
    ) {
        let atlas = embedded();
        let address = std::net::Ipv6Addr::from((u128::from(lead) << 112) | (rest >> 16));
        let place = atlas.locate(address.into());
        let IpAddr::V6(first) = place.network.network() else { panic!("IPv6") };
        let IpAddr::V6(hosts) = place.network.hostmask() else { panic!("IPv6") };
        let inside = std::net::Ipv6Addr::from(u128::from(first) | (other & u128::from(hosts)));
        prop_assert_eq!(atlas.locate(inside.into()), place);
    }
}

fn embedded() -> &'static Atlas {
    static ATLAS: std::sync::LazyLock<Atlas> =
        std::sync::LazyLock::new(|| Atlas::embedded().expect("embedded"));
    &ATLAS
}
