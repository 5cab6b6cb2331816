//! Places from database files that the tests write themselves, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use leadtrail_domain::ports::{Enrich as _, RequestFacts};
use leadtrail_enrich::{GeoFile, Knowledge, Place};

/// A value of the format, <https://maxmind.github.io/MaxMind-DB/> (2.0).
enum Value {
    Text(&'static str),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(BTreeMap<&'static str, Value>),
    List(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(2, text.len(), out);
                out.extend(text.as_bytes());
            }
            Self::U16(number) => {
                control(5, 2, out);
                out.extend(number.to_be_bytes());
            }
            Self::U32(number) => {
                control(6, 4, out);
                out.extend(number.to_be_bytes());
            }
            Self::U64(number) => {
                control(9, 8, out);
                out.extend(number.to_be_bytes());
            }
            Self::Map(entries) => {
                control(7, entries.len(), out);
                for (key, value) in entries {
                    Self::Text(key).write(out);
                    value.write(out);
                }
            }
            Self::List(values) => {
                control(11, values.len(), out);
                for value in values {
                    value.write(out);
                }
            }
        }
    }
}

/// The control byte of a value; kinds above 7 lie in a byte of their own, lengths above 28 too.
fn control(kind: u8, len: usize, out: &mut Vec<u8>) {
    let len = u8::try_from(len).expect("a short value");
    let (short, long) = if len < 29 { (len, None) } else { (29, Some(len - 29)) };
    if kind > 7 {
        out.extend([short, kind - 7]);
    } else {
        out.push(kind << 5 | short);
    }
    out.extend(long);
}

fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
    Value::Map(entries.into())
}

/// A database that knows 81.0.0.0/8 and nothing else.
fn database(record: &Value) -> Vec<u8> {
    const NODES: u32 = 8;
    let mut file = Vec::new();
    for bit in 0..NODES {
        let is_one = 81 >> (7 - bit) & 1 == 1;
        // The first byte of the data lies 16 beyond the number of nodes; the number itself means "unknown".
        let next = if bit + 1 == NODES { NODES + 16 } else { bit + 1 };
        let sides = if is_one { [NODES, next] } else { [next, NODES] };
        for side in sides {
            file.extend(&side.to_be_bytes()[1..]);
        }
    }
    file.extend([0; 16]);
    record.write(&mut file);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    map([
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_790_000_000)),
        ("database_type", Value::Text("Test")),
        ("description", map([])),
        ("ip_version", Value::U16(4)),
        ("languages", Value::List(vec![])),
        ("node_count", Value::U32(NODES)),
        ("record_size", Value::U16(24)),
    ])
    .write(&mut file);
    file
}

fn nested() -> Value {
    let named = |name| map([("names", map([("en", Value::Text(name))]))]);
    map([
        ("city", named("Bern")),
        ("country", map([("iso_code", Value::Text("CH"))])),
        ("subdivisions", Value::List(vec![named("Canton of Bern")])),
    ])
}

fn flat() -> Value {
    map([
        ("city", Value::Text("Lyon")),
        ("country_code", Value::Text("fr")),
        ("state1", Value::Text("Auvergne-Rhône-Alpes")),
    ])
}

fn place(country: &str, region: &str, city: &str) -> Place {
    let some = |text: &str| Some(text.to_owned());
    Place { country: some(country), region: some(region), city: some(city) }
}

const KNOWN: IpAddr = IpAddr::V4(Ipv4Addr::new(81, 2, 69, 142));
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::new(82, 2, 69, 142));

#[test]
fn both_shapes_are_read_and_countries_are_two_capitals() {
    let folder = tempfile::tempdir().unwrap();
    for (record, wanted) in [
        (nested(), place("CH", "Canton of Bern", "Bern")),
        (flat(), place("FR", "Auvergne-Rhône-Alpes", "Lyon")),
        (map([("country_code", Value::Text("ZZ"))]), Place::default()),
        (map([("country", Value::Text("SE"))]), Place { country: Some("SE".to_owned()), ..Place::default() }),
    ] {
        let path = folder.path().join("geo.mmdb");
        fs::write(&path, database(&record)).unwrap();
        let file = GeoFile::new(path);
        assert_eq!(file.place(KNOWN), wanted);
        assert_eq!(file.place(UNKNOWN), Place::default());
        assert_eq!(file.place("2001:db8::1".parse().unwrap()), Place::default());
    }
}

#[test]
fn a_file_that_changes_is_read_again_and_a_broken_one_leaves_the_last_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geo.mmdb");
    let file = GeoFile::new(path.clone());
    assert_eq!(file.place(KNOWN), Place::default());

    fs::write(&path, database(&nested())).unwrap();
    file.refresh();
    let bern = place("CH", "Canton of Bern", "Bern");
    assert_eq!(file.place(KNOWN), bern);

    let whole = database(&flat());
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    file.refresh();
    assert_eq!(file.place(KNOWN), bern);

    fs::remove_file(&path).unwrap();
    file.refresh();
    assert_eq!(file.place(KNOWN), bern);

    fs::write(&path, whole).unwrap();
    file.refresh();
    assert_eq!(file.place(KNOWN), place("FR", "Auvergne-Rhône-Alpes", "Lyon"));
}

#[test]
fn whatever_bytes_the_file_holds_nothing_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geo.mmdb");
    let whole = database(&nested());
    for index in 0..whole.len() {
        let mut broken = whole.clone();
        broken[index] ^= 0xff;
        fs::write(&path, broken).unwrap();
        let file = GeoFile::new(path.clone());
        let _whatever = (file.place(KNOWN), file.place(UNKNOWN));
    }
}

#[test]
fn an_event_has_its_place_beside_its_whole_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geo.mmdb");
    fs::write(&path, database(&nested())).unwrap();
    let knowledge = Knowledge::new(Some(path));
    let client = knowledge.enrich(&RequestFacts { ip: Some(KNOWN), user_agent: None });
    assert_eq!(
        (client.ip, client.country.as_deref(), client.city.as_deref()),
        (Some(KNOWN), Some("CH"), Some("Bern"))
    );
}
