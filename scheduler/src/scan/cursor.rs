//! A place in a text, and how one goes on from it.

use super::Malformed;
use super::marks::Marks;

/// A place in a text. A copy of it is what loops work with, so that it is in registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    /// Where it is.
    pub(super) at: usize,
    marks: Marks,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a text.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let marks = Marks::new(text);
        Self { text, at: 0, marks }
    }

    /// An error here.
    #[inline(always)]
    pub(super) fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space, which stays the next; `None` at the end.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<u8> {
        match self.byte()? {
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.at = behind_space(self.text, self.at);
                self.byte()
            }
            byte => Some(byte),
        }
    }

    /// Goes over `byte` if it is the next.
    #[inline(always)]
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        match self.takes(byte) {
            true => Ok(()),
            false => Err(self.wrong(what)),
        }
    }

    /// Goes over any value. `open` is room for the ends of what it is in.
    #[inline(always)]
    pub(super) fn value(&mut self, open: &mut Vec<u8>) -> Result<(), Malformed> {
        // No recursion: a question must not be able to end the program by its depth.
        open.clear();
        // What the innermost of `open` ends with, none outside of all.
        let mut end = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{') => {
                    self.at += 1;
                    if !self.takes(b'}') {
                        open.extend(end);
                        end = Some(b'}');
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.takes(b']') {
                        open.extend(end);
                        end = Some(b']');
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.wrong("no value")),
            }
            // A value ended, and with it perhaps what it is in.
            loop {
                let Some(byte) = end else {
                    return Ok(());
                };
                if self.takes(b',') {
                    if byte == b'}' {
                        self.key()?;
                    }
                    break;
                }
                self.expect(byte, "no end of what was opened")?;
                end = open.pop();
            }
        }
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(), Malformed> {
        self.string()?;
        self.expect(b':', "no :")
    }

    /// Goes over a string; whether anything in it is escaped.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<bool, Malformed> {
        self.expect(b'"', "no string")?;
        self.at = self.marks.next(self.text, self.at);
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(false);
        }
        *self = self.rest_of_string()?;
        Ok(true)
    }

    /// Goes on in a string from what does not stand for itself.
    #[cold]
    fn rest_of_string(mut self) -> Result<Self, Malformed> {
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.wrong("a control character in a string")),
                None => return Err(self.wrong("no end of a string")),
            }
            self.at = self.marks.next(self.text, self.at);
        }
        self.at += 1;
        Ok(self)
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let rest = &self.text[self.at + 1..];
        self.at += match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(self.wrong("no escape")),
        };
        Ok(())
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), Malformed> {
        let minus = self.byte() == Some(b'-');
        self.at += usize::from(minus);
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            let sign = matches!(self.byte(), Some(b'+' | b'-'));
            self.at += usize::from(sign);
            self.digits()?;
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        match self.at > from {
            true => Ok(()),
            false => Err(self.wrong("no digit")),
        }
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), Malformed> {
        let is = self.text[self.at..].starts_with(word.as_bytes());
        if !is {
            return Err(self.wrong("no value"));
        }
        self.at += word.len();
        Ok(())
    }
}

/// Where white space ends that begins at `at`.
#[cold]
fn behind_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().take_while(|byte| space(byte)).count()
}
