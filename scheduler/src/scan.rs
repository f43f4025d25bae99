//! Goes through JSON without building anything: where values begin and end, and that they are values.
//!
//! Nearly all of a question is what nobody here looks at, and still it has to be JSON to its last byte before a part of it
//! is sent back. So strings, most of it, are gone through 64 bytes at a time, in place. What is accepted is what
//! `serde_json` accepts when it ignores a value; the tests hold one against the other.

mod cursor;
mod marks;

use std::borrow::Cow;

use cursor::Cursor;

/// Why a text is no JSON, or not the expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// What is wrong.
    pub what: &'static str,
    /// Where, in bytes from the beginning of what was read.
    pub at: usize,
}

/// What is gone through.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    cursor: Cursor<'a>,
    /// Room for [`Cursor::value`].
    open: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// At the beginning of a text.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            cursor: Cursor::new(text.as_bytes()),
            open: Vec::new(),
        }
    }

    /// All of the text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Goes on from somewhere else in the text.
    pub fn go_to(&mut self, at: usize) {
        self.cursor.at = at.min(self.text.len());
    }

    /// An error here.
    pub fn wrong(&self, what: &'static str) -> Malformed {
        self.cursor.wrong(what)
    }

    /// The next byte that is no white space, which stays the next; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        self.cursor.peek()
    }

    /// Where the next byte is that is no white space.
    pub fn position(&mut self) -> usize {
        self.peek();
        self.cursor.at
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.cursor.takes(byte)
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        self.cursor.expect(byte, what)
    }

    /// Whether a `null` was gone over.
    ///
    /// # Errors
    /// Something else that begins like it is there.
    pub fn null(&mut self) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b'n') => self.cursor.literal("null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// Nothing but white space is left.
    ///
    /// # Errors
    /// There is more.
    pub fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("something behind the end")),
        }
    }

    /// Goes through an object; `member` is told each key and goes over its value.
    ///
    /// # Errors
    /// It is no object, or what `member` says.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{', "no object")?;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if self.takes(b'}') {
                return Ok(());
            }
            self.expect(b',', "no , or }")?;
        }
    }

    /// Goes through an array; `item` goes over each of its values.
    ///
    /// # Errors
    /// It is no array, or what `item` says.
    pub fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'[', "no array")?;
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.takes(b']') {
                return Ok(());
            }
            self.expect(b',', "no , or ]")?;
        }
    }

    /// Goes over a value that `read` goes over; the text of it.
    ///
    /// # Errors
    /// What `read` says.
    pub fn span(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), Malformed>,
    ) -> Result<&'a str, Malformed> {
        let from = self.position();
        read(self)?;
        Ok(&self.text[from..self.cursor.at])
    }

    /// Goes over any value.
    ///
    /// # Errors
    /// It is none.
    pub fn value(&mut self) -> Result<(), Malformed> {
        let mut cursor = self.cursor;
        cursor.value(&mut self.open)?;
        self.cursor = cursor;
        Ok(())
    }

    fn key(&mut self) -> Result<Text<'a>, Malformed> {
        let key = self.string()?;
        self.expect(b':', "no :")?;
        Ok(key)
    }

    /// Goes over a string.
    ///
    /// # Errors
    /// It is none, or has what no string has.
    pub fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let from = self.position() + 1;
        let escaped = self.cursor.string()?;
        let inner = &self.text[from..self.cursor.at - 1];
        Ok(Text { inner, escaped })
    }
}

/// A string as it is written, without its quotes.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// What is meant.
    ///
    /// # Errors
    /// An escape stands for half a character.
    pub fn read(self) -> Result<Cow<'a, str>, Malformed> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.inner));
        }
        let quoted = format!("\"{}\"", self.inner);
        serde_json::from_str(&quoted)
            .map(Cow::Owned)
            .map_err(|error| Malformed {
                what: "an escape that stands for no character",
                at: error.column(),
            })
    }
}

#[cfg(test)]
mod tests;
