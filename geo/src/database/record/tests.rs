//! Records of each schema, in the database's own encoding: small files would hide what is read.

use serde::Deserialize as _;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, MapDeserializer};

use super::*;

/// A flat record of text fields.
fn flat(fields: &[(&'static str, &'static str)]) -> Result<Record, Error> {
    let fields = fields.iter().map(|&(name, text)| (name, text));
    Record::deserialize(MapDeserializer::new(fields))
}

/// A flat record of numbers.
fn numbers(fields: &[(&'static str, f64)]) -> Result<Record, Error> {
    let fields = fields.iter().map(|&(name, number)| (name, number));
    Record::deserialize(MapDeserializer::new(fields))
}

#[test]
fn both_of_ipinfos_forms_are_read() {
    let record = numbers(&[("latitude", 48.1), ("longitude", 11.6)]).expect("a record");
    assert_eq!(record.point(), Point::new(48.1, 11.6));
    let record = flat(&[("country", "DE"), ("lat", "48.1"), ("lng", "11.6")]).expect("a record");
    assert_eq!(record.country(), Country::parse("DE"));
    assert_eq!(record.point(), Point::new(48.1, 11.6));
}

#[test]
fn a_country_in_words_is_not_a_code_but_stands_beside_one() {
    let record = flat(&[("country", "Germany"), ("country_code", "DE")]).expect("a record");
    assert_eq!(record.country(), Country::parse("DE"));
    assert_eq!(record.point(), None);
}

#[test]
fn nowhere_is_not_the_gulf_of_guinea() {
    let record = numbers(&[("latitude", 0.0), ("longitude", 0.0)]).expect("a record");
    assert_eq!(record.point(), None);
    let record = flat(&[("lat", ""), ("lng", "")]).expect("a record");
    assert_eq!(record.point(), None);
}

#[test]
fn what_is_no_number_is_an_error() {
    flat(&[("lat", "north"), ("lng", "1")]).expect_err("not a number");
    let odd: Result<Number, Error> = Number::deserialize(true.into_deserializer());
    odd.expect_err("not a number");
}

#[test]
fn loc_is_latitude_and_longitude() {
    use serde::de::value::BorrowedStrDeserializer;
    let read = |text| Pair::deserialize(BorrowedStrDeserializer::<Error>::new(text));
    assert_eq!(read("37.4,-122.1").expect("a pair").0, Some((37.4, -122.1)));
    assert_eq!(read("").expect("nothing").0, None);
    read("37.4").expect_err("half a pair");
}
