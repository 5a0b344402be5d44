//! As much of a D-Bus client as asking a service for values takes (D-Bus specification 0.42):
//! method calls whose arguments are strings, and the few types that come back.
//!
//! It is synchronous and trusts nothing: each message has a largest size, each read and write a
//! deadline, and whatever is not as the specification has it ends the connection. What others
//! send unasked (signals) is skipped, up to a number. Decision 010 says why it is our own.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The answer to `ListUnits` of a machine with ten thousand units has 3 MB.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// A message's head names an interface, a path and the like.
const MOST_HEAD_BYTES: usize = 64 * 1024;
/// Messages that are no answer to a call of ours.
const MOST_STRAYS: usize = 1024;
/// So many calls are under way at once: both sides' buffers hold that much, so that neither waits
/// for the other to read.
const CALLS_AT_ONCE: usize = 32;

/// Longest wait for the peer to take or give the next bytes.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A method call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [&'a str],
}

/// What a call gives back: the values, or the name of the error that the other side answers with.
pub(super) type Answer = Result<Body, String>;

pub(super) struct Connection {
    stream: UnixStream,
    last_serial: u32,
}

impl Connection {
    /// To a bus, which knows many services and wants to be greeted.
    pub(super) fn to_bus(socket: &Path) -> io::Result<Connection> {
        let mut connection = Connection::to_service(socket)?;
        let bus = "org.freedesktop.DBus";
        let path = "/org/freedesktop/DBus";
        let hello =
            Call { destination: bus, path, interface: bus, member: "Hello", arguments: &[] };
        match connection.call(&hello)? {
            Ok(_our_name) => Ok(connection),
            Err(error) => Err(io::Error::other(format!("the bus refuses us: {error}"))),
        }
    }

    /// To a service that listens itself.
    pub(super) fn to_service(socket: &Path) -> io::Result<Connection> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        authenticate(&mut stream)?;
        Ok(Connection { stream, last_serial: 0 })
    }

    pub(super) fn call(&mut self, call: &Call<'_>) -> io::Result<Answer> {
        let mut answers = self.call_all(std::slice::from_ref(call))?;
        answers.pop().ok_or_else(|| invalid("no answer"))
    }

    /// Asks for many things at once; the answers stand in the order of the calls.
    pub(super) fn call_all(&mut self, calls: &[Call<'_>]) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(CALLS_AT_ONCE) {
            self.call_some(calls, &mut answers)?;
        }
        Ok(answers)
    }

    fn call_some(&mut self, calls: &[Call<'_>], answers: &mut Vec<Answer>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(calls.len() * 256);
        let first_serial = self.last_serial.wrapping_add(1);
        for call in calls {
            self.last_serial = self.last_serial.wrapping_add(1);
            encode(self.last_serial, call, &mut bytes);
        }
        self.stream.write_all(&bytes)?;
        let mut waiting: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
        let (mut left, mut strays) = (calls.len(), 0);
        while left > 0 {
            let message = read_message(&mut self.stream)?;
            let index = message.answers.map(|serial| serial.wrapping_sub(first_serial) as usize);
            match index.and_then(|index| waiting.get_mut(index)) {
                Some(slot @ None) => {
                    *slot = Some(message.answer);
                    left -= 1;
                }
                Some(Some(_)) => return Err(invalid("two answers to one call")),
                None if strays < MOST_STRAYS => strays += 1,
                None => return Err(invalid("nothing but messages that nobody asked for")),
            }
        }
        answers.extend(waiting.into_iter().flatten());
        Ok(())
    }
}

/// SASL's EXTERNAL: the peer learns from the kernel who we are. No name is sent along, because in
/// a user namespace ours may be another there.
///
/// All three lines go at once, as systemd's own client sends them: a message right behind a BEGIN
/// that comes alone can be left lying in the manager's buffer until the next one arrives.
fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
    let mut line = read_line(stream)?;
    if line == "DATA" {
        line = read_line(stream)?;
    }
    match line.starts_with("OK ") {
        true => Ok(()),
        false => {
            let kind = io::ErrorKind::PermissionDenied;
            Err(io::Error::new(kind, format!("the bus lets us not in: {line:?}")))
        }
    }
}

/// Byte by byte: what follows the line is not ours to take yet.
fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    const LONGEST: usize = 512;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST {
            return Err(invalid("a line without an end"));
        }
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(|_| invalid("a line that is not text"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {why}"))
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const VERSION: u8 = 1;
/// A service that is not there is not to be started for our sake.
const NO_AUTO_START: u8 = 2;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

fn encode(serial: u32, call: &Call<'_>, into: &mut Vec<u8>) {
    let mut body = Writer::default();
    for argument in call.arguments {
        body.string(argument);
    }
    let mut head = Writer::default();
    head.bytes.extend([b'l', METHOD_CALL, NO_AUTO_START, VERSION]);
    head.u32(body.length());
    head.u32(serial);
    let length_at = head.bytes.len();
    head.u32(0);
    let fields_from = head.bytes.len();
    head.field(PATH, b'o', call.path);
    head.field(INTERFACE, b's', call.interface);
    head.field(MEMBER, b's', call.member);
    head.field(DESTINATION, b's', call.destination);
    if !call.arguments.is_empty() {
        head.strings_field(call.arguments.len());
    }
    let length = length_of(head.bytes.len() - fields_from);
    head.bytes[length_at..fields_from].copy_from_slice(&length.to_le_bytes());
    head.align(8);
    into.append(&mut head.bytes);
    into.append(&mut body.bytes);
}

/// What we write is short: names, paths and our own words.
fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// In little-endian order.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn length(&self) -> u32 {
        length_of(self.bytes.len())
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(length_of(text.len()));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn field(&mut self, code: u8, kind: u8, text: &str) {
        self.align(8);
        self.bytes.extend([code, 1, kind, 0]);
        self.string(text);
    }

    /// The signature of so many strings.
    fn strings_field(&mut self, count: usize) {
        self.align(8);
        self.bytes.extend([SIGNATURE, 1, b'g', 0, u8::try_from(count).unwrap_or(u8::MAX)]);
        self.bytes.extend("s".repeat(count).as_bytes());
        self.bytes.push(0);
    }
}

struct Message {
    /// The serial number of the call that this answers.
    answers: Option<u32>,
    answer: Answer,
}

/// What an answer holds, still packed.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    signature: String,
    big_endian: bool,
}

const FIXED_HEAD: usize = 16;

fn read_message(stream: &mut impl io::Read) -> io::Result<Message> {
    let mut fixed = [0; FIXED_HEAD];
    stream.read_exact(&mut fixed)?;
    let sizes = Sizes::parse(&fixed)?;
    let mut head = fixed.to_vec();
    head.resize(sizes.head, 0);
    stream.read_exact(&mut head[FIXED_HEAD..])?;
    let mut body = vec![0; sizes.body];
    stream.read_exact(&mut body)?;
    Message::parse(&head, &sizes, body)
}

/// Of the two parts of a message.
struct Sizes {
    big_endian: bool,
    /// With what pads it to a multiple of eight.
    head: usize,
    fields_end: usize,
    body: usize,
}

impl Sizes {
    fn parse(fixed: &[u8; FIXED_HEAD]) -> io::Result<Sizes> {
        let big_endian = match fixed[0] {
            b'l' => false,
            b'B' => true,
            _ => return Err(invalid("neither byte order")),
        };
        if fixed[3] != VERSION {
            return Err(invalid("another version of the protocol"));
        }
        let mut numbers = Reader { bytes: fixed, at: 4, big_endian };
        let body = numbers.u32()? as usize;
        let _serial = numbers.u32()?;
        let fields = numbers.u32()? as usize;
        if fields > MOST_HEAD_BYTES || body > MOST_BYTES {
            return Err(invalid("a message beyond all bounds"));
        }
        let fields_end = FIXED_HEAD + fields;
        Ok(Sizes { big_endian, head: fields_end.next_multiple_of(8), fields_end, body })
    }
}

impl Message {
    fn parse(head: &[u8], sizes: &Sizes, body: Vec<u8>) -> io::Result<Message> {
        let kind = head[1];
        let big_endian = sizes.big_endian;
        let fields = head.get(..sizes.fields_end).ok_or_else(|| invalid("a head cut short"))?;
        let mut fields = Reader { bytes: fields, at: FIXED_HEAD, big_endian };
        let (mut answers, mut error, mut signature) = (None, None, "");
        while !fields.is_at_end() {
            fields.align(8)?;
            let code = fields.byte()?;
            match (code, fields.variant()?) {
                (REPLY_SERIAL, Value::Number(serial)) => answers = u32::try_from(serial).ok(),
                (ERROR_NAME, Value::Text(name)) => error = Some(name.to_owned()),
                (SIGNATURE, Value::Text(text)) => signature = text,
                _ => {}
            }
        }
        match kind {
            METHOD_RETURN => {
                let body = Body { bytes: body, signature: signature.to_owned(), big_endian };
                Ok(Message { answers, answer: Ok(body) })
            }
            ERROR => Ok(Message { answers, answer: Err(error.unwrap_or_default()) }),
            _ => Ok(Message { answers: None, answer: Ok(Body::default()) }),
        }
    }
}

/// A value of one of the simple types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

impl Body {
    /// The value of a property: `Get` answers with a variant.
    pub(super) fn property(&self) -> io::Result<Value<'_>> {
        let mut reader = self.reader("v")?;
        let value = reader.variant()?;
        reader.end()?;
        Ok(value)
    }

    /// An array of structures; `one` reads the members of one.
    pub(super) fn structures<'a, T>(
        &'a self,
        signature: &str,
        mut one: impl FnMut(&mut Reader<'a>) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let mut reader = self.reader(signature)?;
        let length = reader.u32()? as usize;
        reader.align(8)?;
        let end = reader.at.checked_add(length).ok_or_else(|| invalid("an array without end"))?;
        if end != reader.bytes.len() {
            return Err(invalid("an array that does not end with its message"));
        }
        let mut all = Vec::new();
        while !reader.is_at_end() {
            reader.align(8)?;
            all.push(one(&mut reader)?);
        }
        Ok(all)
    }

    fn reader(&self, signature: &str) -> io::Result<Reader<'_>> {
        if self.signature != signature {
            let is = &self.signature;
            return Err(invalid(&format!("{is:?} where {signature:?} was to come")));
        }
        Ok(Reader { bytes: &self.bytes, at: 0, big_endian: self.big_endian })
    }
}

/// Positions count from the beginning of a head or of a body: both lie at multiples of eight.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.align(4)?;
        let bytes = self.array()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A string or the path of an object.
    pub(super) fn string(&mut self) -> io::Result<&'a str> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn variant(&mut self) -> io::Result<Value<'a>> {
        match self.signature()? {
            "s" | "o" => Ok(Value::Text(self.string()?)),
            "g" => Ok(Value::Text(self.signature()?)),
            "y" => Ok(Value::Number(self.byte()?.into())),
            "b" | "u" | "h" => Ok(Value::Number(self.u32()?.into())),
            "t" => Ok(Value::Number(self.u64()?)),
            other => Err(invalid(&format!("a value of type {other:?}"))),
        }
    }

    fn signature(&mut self) -> io::Result<&'a str> {
        let length = self.byte()?.into();
        self.text(length)
    }

    fn text(&mut self, length: usize) -> io::Result<&'a str> {
        let text = self.take(length)?;
        if self.byte()? != 0 || text.contains(&0) {
            return Err(invalid("a text that does not end where it should"));
        }
        std::str::from_utf8(text).map_err(|_| invalid("a text that is not UTF-8"))
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.align(8)?;
        let bytes = self.array()?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    fn align(&mut self, to: usize) -> io::Result<()> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(invalid("something between the values")),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| invalid("a value cut short"))
    }

    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or_else(|| invalid("a value without end"))?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(|| invalid("a value cut short"))?;
        self.at = end;
        Ok(bytes)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn end(&self) -> io::Result<()> {
        match self.is_at_end() {
            true => Ok(()),
            false => Err(invalid("more than was to come")),
        }
    }
}

/// For the fuzzer: the bytes as messages, and as the body of one.
pub(super) fn parse_everything(mut bytes: &[u8]) {
    for signature in ["v", super::systemd::UNITS] {
        for big_endian in [false, true] {
            let body = Body { bytes: bytes.to_vec(), signature: signature.into(), big_endian };
            body.property().ok();
            super::systemd::units_of(&body).ok();
        }
    }
    while let Ok(message) = read_message(&mut bytes) {
        let Ok(body) = message.answer else { continue };
        body.property().ok();
        super::systemd::units_of(&body).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    const GET: Call<'_> = Call {
        destination: "a.b",
        path: "/a",
        interface: "c.d",
        member: "Get",
        arguments: &["x", "Type"],
    };

    /// `Get(x, Type)` as the specification has it, byte by byte.
    const GET_BYTES: &[u8] = b"l\x01\x02\x01\x11\0\0\0\x07\0\0\0\x48\0\0\0\
        \x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0\
        \x02\x01s\0\x03\0\0\0c.d\0\0\0\0\0\
        \x03\x01s\0\x03\0\0\0Get\0\0\0\0\0\
        \x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0\
        \x08\x01g\0\x02ss\0\
        \x01\0\0\0x\0\0\0\x04\0\0\0Type\0";

    #[test]
    fn a_call_is_written_as_the_specification_has_it() {
        let mut bytes = Vec::new();
        encode(7, &GET, &mut bytes);
        assert_eq!(bytes, GET_BYTES);
    }

    /// An answer to call 7 that holds the text "oneshot" in a variant.
    const TEXT: &[u8] = b"l\x02\x01\x01\x10\0\0\0\x09\0\0\0\x0f\0\0\0\
        \x05\x01u\0\x07\0\0\0\
        \x08\x01g\0\x01v\0\0\
        \x01s\0\0\x07\0\0\0oneshot\0";

    #[test]
    fn an_answer_is_read_as_the_specification_has_it() {
        let message = read_message(&mut &*TEXT).unwrap();
        assert_eq!(message.answers, Some(7));
        assert_eq!(message.answer.unwrap().property().unwrap(), Value::Text("oneshot"));
    }

    #[test]
    fn a_machine_of_the_other_byte_order_is_understood() {
        let bytes = b"B\x02\x01\x01\0\0\0\x10\0\0\0\x09\0\0\0\x0f\
            \x05\x01u\0\0\0\0\x07\
            \x08\x01g\0\x01v\0\0\
            \x01t\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02";
        let message = read_message(&mut &bytes[..]).unwrap();
        assert_eq!(message.answers, Some(7));
        assert_eq!(message.answer.unwrap().property().unwrap(), Value::Number(258));
    }

    #[test]
    fn an_error_is_an_answer_and_a_signal_is_none() {
        let mut error = b"l\x03\x01\x01\0\0\0\0\x09\0\0\0\x15\0\0\0\
            \x05\x01u\0\x07\0\0\0\
            \x04\x01s\0\x04\0\0\0e.No\0\0\0\0"
            .to_vec();
        let message = read_message(&mut &*error).unwrap();
        assert_eq!((message.answers, message.answer.unwrap_err()), (Some(7), "e.No".to_owned()));
        error[1] = 4;
        assert_eq!(read_message(&mut &*error).unwrap().answers, None);
    }

    #[test]
    fn no_message_cut_short_or_with_another_byte_makes_the_reader_panic() {
        for at in 0..TEXT.len() {
            assert!(read_message(&mut &TEXT[..at]).is_err(), "{at} bytes are no message");
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = TEXT.to_vec();
                bytes[at] = byte;
                parse_everything(&bytes);
            }
        }
    }

    #[test]
    fn a_message_beyond_all_bounds_is_refused_before_room_is_made_for_it() {
        let mut bytes = TEXT.to_vec();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read_message(&mut &*bytes).err().unwrap();
        assert!(error.to_string().contains("bounds"), "{error}");
    }

    #[test]
    fn the_bus_is_asked_in_the_order_it_expects_and_strays_are_skipped() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            expect(&mut stream, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            stream.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
            let mut call = GET_BYTES.to_vec();
            call[8] = 1;
            expect(&mut stream, &call);
            let (mut stray, mut answer) = (TEXT.to_vec(), TEXT.to_vec());
            stray[1] = 4;
            answer[20] = 1;
            stray.extend(answer);
            stream.write_all(&stray).unwrap();
        });
        let mut connection = Connection::to_service(&socket).unwrap();
        let body = connection.call(&GET).unwrap().unwrap();
        assert_eq!(body.property().unwrap(), Value::Text("oneshot"));
        service.join().unwrap();
    }

    #[test]
    fn a_bus_that_lets_us_not_in_is_said_to() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        let error = authenticate(&mut ours).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("REJECTED"), "{error}");
    }

    #[test]
    fn a_silent_peer_is_not_waited_for_without_end() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = Connection::to_service(&socket).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    fn expect(stream: &mut UnixStream, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }
}
