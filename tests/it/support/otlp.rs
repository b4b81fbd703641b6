//! What a collector is told, read from the bytes by the field numbers of opentelemetry-proto.

use std::collections::BTreeMap;

/// One span, and the service that told of it.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub service: String,
    pub name: String,
    /// 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    /// Hexadecimal, as all ids here.
    pub trace: String,
    pub span: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub begun: u64,
    pub ended: u64,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, String>,
    /// 0 unset, 2 error.
    pub status: u64,
}

impl Told {
    pub fn is(&self, name: &str, expected: &str) -> bool {
        self.attributes.get(name).is_some_and(|value| value == expected)
    }

    /// As its own `traceparent`.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }
}

/// The spans of one request.
pub fn spans(request: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    for of_program in parts(request, 1) {
        let resource: BTreeMap<_, _> =
            parts(of_program, 1).flat_map(|resource| parts(resource, 1)).map(attribute).collect();
        for scope in parts(of_program, 2) {
            all.extend(parts(scope, 2).map(|span| told(span, &resource["service.name"])));
        }
    }
    all
}

fn told(span: &[u8], service: &str) -> Told {
    let hex_of = |message: &[u8], number| parts(message, number).next().map(hex).unwrap_or_default();
    let status = parts(span, 15).next();
    Told {
        service: service.to_owned(),
        name: text(parts(span, 5).next().expect("a name")),
        kind: number(span, 6),
        trace: hex_of(span, 1),
        span: hex_of(span, 2),
        parent: hex_of(span, 4),
        begun: number(span, 7),
        ended: number(span, 8),
        links: parts(span, 13).map(|link| (hex_of(link, 1), hex_of(link, 2))).collect(),
        attributes: parts(span, 9).map(attribute).collect(),
        status: status.map_or(0, |status| number(status, 3)),
    }
}

/// A `KeyValue` whose value is a text or a whole number.
fn attribute(pair: &[u8]) -> (String, String) {
    let value = parts(pair, 2).next().expect("a value");
    let value = parts(value, 1).next().map_or_else(|| number(value, 3).to_string(), text);
    (text(parts(pair, 1).next().expect("a key")), value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// One field of a message.
enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// The fields of this number that hold bytes.
fn parts(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter_map(move |(number, field)| match field {
        Field::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// The field of this number that holds a number; 0 where it is left out.
fn number(message: &[u8], wanted: u64) -> u64 {
    let found = fields(message).into_iter().find_map(|(number, field)| match field {
        Field::Number(value) if number == wanted => Some(value),
        _ => None,
    });
    found.unwrap_or(0)
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message, 8).try_into().expect("8 bytes"))),
            5 => Field::Number(u32::from_le_bytes(take(&mut message, 4).try_into().expect("4 bytes")).into()),
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("a length");
                Field::Bytes(take(&mut message, length))
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> &'m [u8] {
    let (taken, rest) = message.split_at_checked(length).expect("a whole field");
    *message = rest;
    taken
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for at in 0..10 {
        let byte = take(message, 1)[0];
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits");
}
