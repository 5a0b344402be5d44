//! Numbers and texts in as few bytes as they need: LEB128, and zigzag for what may be negative.

/// What a footer is written with.
pub(crate) trait Put {
    fn put(&mut self, number: u64);

    fn put_signed(&mut self, number: i64) {
        self.put(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn put_text(&mut self, text: &str);
}

impl Put for Vec<u8> {
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn put_text(&mut self, text: &str) {
        self.put(text.len() as u64);
        self.extend_from_slice(text.as_bytes());
    }
}

/// What a footer is read with. Every answer is checked against what is left.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    rest: &'a [u8],
}

pub(crate) type Taken<T> = Result<T, &'static str>;

const SHORT: &str = "the index ends too early";

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Take<'a> {
        Take { rest: bytes }
    }

    pub(crate) fn number(&mut self) -> Taken<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(SHORT)?;
            self.rest = rest;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number in the index is too large")
    }

    pub(crate) fn signed(&mut self) -> Taken<i64> {
        let zigzag = self.number()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    pub(crate) fn small(&mut self) -> Taken<u32> {
        u32::try_from(self.number()?).map_err(|_| "a number in the index is too large")
    }

    /// How many things follow. Each takes a byte at least, so that no damage makes us ask for more
    /// memory than the file has bytes.
    pub(crate) fn count(&mut self) -> Taken<usize> {
        let count = self.number()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(SHORT),
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Taken<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn float(&mut self) -> Taken<f64> {
        let bytes = self.bytes(8)?;
        Ok(f64::from_le_bytes(bytes.try_into().map_err(|_| SHORT)?))
    }

    pub(crate) fn text(&mut self) -> Taken<&'a str> {
        let count = self.count()?;
        std::str::from_utf8(self.bytes(count)?).map_err(|_| "a text in the index is not UTF-8")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_come_back() {
        let mut bytes = Vec::new();
        for number in [0, 127, 128, u64::MAX] {
            bytes.put(number);
        }
        for number in [0, -1, i64::MAX, i64::MIN] {
            bytes.put_signed(number);
        }
        bytes.put_text("µs");
        let mut take = Take::new(&bytes);
        assert_eq!([(); 4].map(|()| take.number().unwrap()), [0, 127, 128, u64::MAX]);
        assert_eq!([(); 4].map(|()| take.signed().unwrap()), [0, -1, i64::MAX, i64::MIN]);
        assert_eq!(take.text(), Ok("µs"));
        assert!(take.is_empty() && take.number().is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_memory_is_asked_for() {
        let mut bytes = Vec::new();
        bytes.put(1 << 40);
        assert!(Take::new(&bytes).count().is_err());
        assert!(Take::new(&[0xff; 11]).number().is_err(), "it has no end");
    }
}
