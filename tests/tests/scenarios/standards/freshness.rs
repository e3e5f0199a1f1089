//! RFC 9111 §4.2, §5.1, §5.3: how long an answer is fresh, and how old it is.

use std::time::Duration;

use super::{Case, case, table};

/// An answer with these fields is fresh.
fn fresh(fields: &str) -> Case {
    case(format!("fresh: {fields}"))
        .says(200, fields)
        .get("")
        .reaches()
        .get("")
        .hit()
}

/// It is stale: the origin is asked the next time.
fn stale(fields: &str) -> Case {
    case(format!("stale: {fields}"))
        .says(200, fields)
        .get("")
        .reaches()
        .get("")
        .reaches()
}

#[test]
fn ages_in_directives_are_read_as_they_are_written() {
    let mut cases = Vec::new();
    for good in [
        "max-age=3600",
        "Max-Age=3600",
        "max-age=\"3600\"",
        "max-age=003600",
        "max-age=2147483647",
        "max-age=2147483648",
        "max-age=4294967296",
        "max-age=99999999999999999999999999",
        "s-maxage=3600",
        "S-MaxAge=\"3600\"",
        "s-maxage=3600, max-age=0",
        "max-age=0, s-maxage=3600",
        "s-maxage=99999999999",
        "max-age=3600\ncache-control: public",
        "public\ncache-control: max-age=3600",
        ", max-age=3600 ,",
        "foo, max-age=3600",
        "foo=\"max-age=0\", max-age=3600",
        "foo=\"\\\"max-age=0\", max-age=3600",
        "max-age=3600, bar=max-age=0",
        "max-age=3600\nexpires: {-60}",
        "max-age=3600\nexpires: 0",
        "max-age=3600\ndate: {-1800}",
        "max-age=3600\ndate: {+3600}",
        "max-age=3600\ndate: no date",
        "s-maxage=3600\nexpires: {-60}",
    ] {
        cases.push(fresh(&format!("cache-control: {good}")));
    }
    for bad in [
        "max-age=0",
        "max-age=00",
        "max-age=-1",
        "max-age=-3600",
        "max-age=+3600",
        "max-age=3600.0",
        "max-age=3600.5",
        "max-age='3600'",
        "max-age=3600s",
        "max-age=0x3600",
        "max-age=3e3",
        "max-age=3 600",
        "max-age=1 h",
        "max-age= 3600",
        "max-age = 3600",
        "max-age =\"-1\"",
        "max-age=\"3600",
        "max-age",
        "max-age=",
        "max-age=\"\"",
        "max-age=a",
        "max-age=;3600",
        "max-age:3600",
        "maxage=3600",
        "\"max-age=3600\"",
        "max-age=3600;public",
        "s-maxage=0, max-age=3600",
        "s-maxage=x, max-age=3600",
        "s-maxage=-1, max-age=3600",
        "max-age=3600, max-age=0",
        "max-age=0, max-age=3600",
        "max-age=0\ncache-control: max-age=3600",
        "s-maxage=3600, s-maxage=0",
        "max-age=0\nexpires: {+3600}",
        "max-age=x\nexpires: {+3600}",
        "max-age=3600\ndate: {-3700}",
    ] {
        cases.push(stale(&format!("cache-control: {bad}")));
    }
    table(cases);
}

#[test]
fn expires_is_read_in_all_forms_and_nonsense_has_passed() {
    let mut cases = Vec::new();
    for good in [
        "{+3600}",
        "{850 +3600}",
        "{asctime +3600}",
        "Fri, 31 Dec 2049 23:59:59 GMT",
        "fri, 31 dec 2049 23:59:59 gmt",
        "FRI, 31 DEC 2049 23:59:59 GMT",
        "Friday, 31-Dec-49 23:59:59 GMT",
        "friday, 31-dec-49 23:59:59 gmt",
        "Thursday, 31-Dec-71 23:59:59 GMT",
        "Fri Dec 31 23:59:59 2049",
        "fri dec 31 23:59:59 2049",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        // A day of the week that is another one's says nothing about the time.
        "Mon, 31 Dec 2049 23:59:59 GMT",
        "Thu, 31 Dec 2048 23:59:60 GMT",
    ] {
        cases.push(fresh(&format!("expires: {good}\ndate: {{+0}}")));
        cases.push(fresh(&format!("expires: {good}")));
    }
    for bad in [
        "{-60}",
        "{850 -60}",
        "{asctime -60}",
        "0",
        "-1",
        "",
        "1",
        "9999999999",
        "never",
        "Fri, 31 Dec 2049 23:59:59",
        "Fri, 31 Dec 2049 23:59:59 UTC",
        "Fri, 31 Dec 2049 23:59:59 EST",
        "Fri, 31 Dec 2049 23:59:59 +0000",
        "Fri, 31 Dec 2049 23:59:59 GMT+1",
        "Fri, 31 Dec 2049 23:59:59 GMT and more",
        "Fri, 31 Dec 2049 23:59:59 GMT, Fri, 31 Dec 2049 23:59:59 GMT",
        "31 Dec 2049 23:59:59 GMT",
        "Fri 31 Dec 2049 23:59:59 GMT",
        "Fri, 31 Dec 49 23:59:59 GMT",
        "Fri, 31-Dec-2049 23:59:59 GMT",
        "Friday, 31 Dec 2049 23:59:59 GMT",
        "Fri, 31  Dec  2049 23:59:59 GMT",
        "Fri, 31 Dec 2049 25:59:59 GMT",
        "Fri, 31 Dec 2049 23:61:59 GMT",
        "Fri, 32 Dec 2049 23:59:59 GMT",
        "Fri, 30 Feb 2049 23:59:59 GMT",
        "Fri, 00 Dec 2049 23:59:59 GMT",
        "Fri, 31 Dez 2049 23:59:59 GMT",
        "Fri, 31 Dec 2049 23.59.59 GMT",
        "Fri, 1 Dec 2049 23:59:59 GMT",
        "Fri, 31 Dec 2049 23:59 GMT",
        "2049-12-31T23:59:59Z",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 1900 00:00:00 GMT",
        "Thu Dec 31 23:59:59 GMT 2049",
        "Fri, 31 Dec 2049 23:59:59 GMT\nexpires: 0",
        "0\nexpires: Fri, 31 Dec 2049 23:59:59 GMT",
    ] {
        cases.push(stale(&format!("expires: {bad}\ndate: {{+0}}")));
    }
    for (fields, is_fresh) in [
        // Expires is a distance from Date: the origin's clock may go wrong as a whole.
        ("expires: {+0}\ndate: {-600}\nage: 0", false),
        ("expires: {+7200}\ndate: {+3600}", true),
        ("expires: {+3600}\ndate: {+3600}", false),
        ("expires: {+3600}\ndate: {+3700}", false),
        ("expires: {+3600}\ndate: no date", true),
        ("expires: {+3600}\ndate: 0", true),
        ("expires: {+3600}\ncache-control: public", true),
        ("expires: {+3600}\ncache-control: foo", true),
        ("expires: {+3600}\ncache-control: max-age=0", false),
        ("expires: {+3600}\nage: 3000", true),
        ("expires: {+3600}\nage: 3700", false),
    ] {
        cases.push(if is_fresh {
            fresh(fields)
        } else {
            stale(fields)
        });
    }
    table(cases);
}

#[test]
fn age_is_what_upstream_says_and_the_time_since() {
    const HOUR: &str = "cache-control: max-age=3600";
    let mut cases = Vec::new();
    for (age, expected) in [
        ("age: 1800", 1800),
        ("age: 0", 0),
        ("age: 001800", 1800),
        ("age: 1800, 9000", 1800),
        ("age: 1800\nage: 9000", 1800),
        ("age: 1800,", 1800),
        // What is no number is ignored.
        ("age: -1800", 0),
        ("age: +1800", 0),
        ("age: 1800.0", 0),
        ("age: 1800.5", 0),
        ("age: 1800s", 0),
        ("age: 1800;a=b", 0),
        ("age: \"1800\"", 0),
        ("age: x", 0),
        ("age: x, 1800", 0),
        ("age:", 0),
        ("age: 18 00", 0),
        ("date: {-1800}", 1800),
        ("date: {-1800}\nage: 900", 1800),
        ("date: {-900}\nage: 1800", 1800),
        ("date: {+1800}", 0),
        ("date: {+1800}\nage: 5", 5),
        ("date: no date\nage: 5", 5),
    ] {
        cases.push(
            fresh(&format!("{HOUR}\n{age}"))
                .age(expected, expected + 20)
                .get("")
                .hit()
                .age(expected, expected + 20),
        );
    }
    for age in [
        "age: 3600",
        "age: 7200",
        "age: 7200, 0",
        "age: 7200\nage: 0",
        "age: 2147483648",
        "age: 99999999999999999999",
        "date: {-7200}",
        "date: {-7200}\nage: 0",
    ] {
        let one = stale(&format!("{HOUR}\n{age}"));
        // What another cache says of its age is passed on; what a date says is for us to reckon with.
        cases.push(match age.starts_with("age") {
            true => one.age(3600, 1 << 31),
            false => one,
        });
    }
    cases.push(stale("cache-control: max-age=2147483648\nage: 2147483648"));
    cases.push(
        case("what the origin has just said has no age")
            .says(200, HOUR)
            .get("")
            .sees("!age")
            .get("")
            .hit()
            .age(0, 20),
    );
    cases.push(
        case("nor does the origin's date give it one")
            .says(200, &format!("{HOUR}\ndate: {{-60}}"))
            .get("")
            .sees("!age")
            .get("")
            .hit()
            .age(60, 80),
    );
    cases.push(
        case("the time on the way counts, when it is used again")
            .says_after(Duration::from_millis(2100), 200, HOUR)
            .get("")
            .sees("!age")
            .get("")
            .hit()
            .age(2, 20),
    );
    cases.push(
        case("a time is kept as the origin gave it")
            .says(200, &format!("{HOUR}\ndate: {{-60}}"))
            .get("")
            .sees("date: {-60}")
            .get("")
            .hit()
            .sees("date: {-60}"),
    );
    cases.push(
        case("what has no time is given one, whether it is stored")
            .says(200, HOUR)
            .get("")
            .sees("date: ~GMT")
            .get("")
            .hit()
            .sees("date: ~GMT"),
    );
    cases.push(
        case("or not")
            .says(200, "cache-control: no-store")
            .get("")
            .sees("date: ~GMT"),
    );
    table(cases);
}
