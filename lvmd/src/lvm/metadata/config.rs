//! The grammar of LVM's configuration text (lvm.conf(5)): sections in braces, and
//! `name = value`, where a value is a whole number, a string in quotes, or a list of
//! these in brackets. `#` begins a comment. In double quotes `\"` and `\\` stand for the
//! character behind the backslash; any other backslash is itself.
//!
//! Only what LVM writes is taken. Bare words as values, fractions, numbers with a leading
//! zero (octal to LVM), slashes in names (paths to LVM), and a name that stands twice are
//! errors, since LVM reads them in ways of its own.

use std::borrow::Cow;

use super::MetadataError;

/// LVM writes four levels.
const DEEPEST: usize = 12;

/// A section: its entries in the order of the text, no name twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section<'a> {
    entries: Vec<(Cow<'a, str>, Node<'a>)>,
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    /// `name { ... }`
    Section(Section<'a>),
    /// `name = value`
    Value(Value<'a>),
    /// `name = [ ... ]`
    List(Vec<Value<'a>>),
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number.
    Number(i64),
    /// A string, its escapes undone. Bytes: the description holds the words of a command.
    Text(Cow<'a, [u8]>),
}

impl<'a> Section<'a> {
    /// The entries in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.entries.iter().map(|(name, node)| (&**name, node))
    }

    /// What stands behind this name.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.entries()
            .find(|(n, _)| *n == name)
            .map(|(_, node)| node)
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Self> {
        match self.get(name)? {
            Node::Section(section) => Some(section),
            _ => None,
        }
    }
}

impl Value<'_> {
    /// The string, when it is one and UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Number(_) => None,
        }
    }

    /// The number, when it is one and not negative.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(_) => None,
        }
    }
}

/// Reads a whole text.
///
/// # Errors
/// Where it leaves the grammar, with the byte.
pub fn parse(text: &[u8]) -> Result<Section<'_>, MetadataError> {
    let mut reader = Reader { text, at: 0 };
    let section = reader.entries(0)?;
    match reader.peek() {
        None => Ok(section),
        Some(_) => reader.fail("something behind the last entry"),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, what: &'static str) -> Result<T, MetadataError> {
        Err(MetadataError::Syntax { at: self.at, what })
    }

    /// The next byte that is neither white space nor in a comment.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at)? {
                b'#' => {
                    let rest = &self.text[self.at..];
                    let line = rest.iter().position(|b| *b == b'\n');
                    self.at += line.unwrap_or(rest.len());
                }
                // isspace(3)
                b' ' | b'\t'..=b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    fn take(&mut self, mark: u8) -> bool {
        let found = self.peek() == Some(mark);
        self.at += usize::from(found);
        found
    }

    /// Entries up to the closing brace or the end of the text.
    fn entries(&mut self, depth: usize) -> Result<Section<'a>, MetadataError> {
        if depth > DEEPEST {
            return self.fail("sections too deep in each other");
        }
        let mut section = Section::default();
        while let Some(byte) = self.peek() {
            if byte == b'}' {
                break;
            }
            let name = self.name(byte)?;
            let node = if self.take(b'{') {
                let inner = self.entries(depth + 1)?;
                if !self.take(b'}') {
                    return self.fail("a section that does not end");
                }
                Node::Section(inner)
            } else if self.take(b'=') {
                self.value()?
            } else {
                return self.fail("a name with neither = nor { behind it");
            };
            section.entries.push((name, node));
        }
        let mut names: Vec<&str> = section.entries().map(|(name, _)| name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return self.fail("a section in which a name stands twice");
        }
        Ok(section)
    }

    fn name(&mut self, first: u8) -> Result<Cow<'a, str>, MetadataError> {
        let begin = self.at;
        let name = if matches!(first, b'"' | b'\'') {
            self.quoted(first)?
        } else {
            let rest = &self.text[begin..];
            let end = rest
                .iter()
                .position(|b| matches!(b, b'#' | b'=' | b'{' | b'}' | b' ' | b'\t'..=b'\r'))
                .unwrap_or(rest.len());
            self.at += end;
            Cow::Borrowed(&rest[..end])
        };
        let known = |b: &u8| b.is_ascii_alphanumeric() || b"_.+-".contains(b);
        if name.is_empty() || !name.iter().all(known) {
            self.at = begin;
            return self.fail("a name with characters LVM does not write");
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match name {
            Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
                Ok(name) => Cow::Borrowed(name),
                Err(_) => Cow::Owned(text(bytes)),
            },
            Cow::Owned(bytes) => Cow::Owned(text(&bytes)),
        })
    }

    fn value(&mut self) -> Result<Node<'a>, MetadataError> {
        if !self.take(b'[') {
            return self.scalar().map(Node::Value);
        }
        let mut list = Vec::new();
        loop {
            if self.take(b']') {
                return Ok(Node::List(list));
            }
            list.push(self.scalar()?);
            // A comma may also stand behind the last value, as in LVM.
            if !self.take(b',') && self.peek() != Some(b']') {
                return self.fail("a list that does not end");
            }
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, MetadataError> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("neither a string nor a number nor a list"),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, MetadataError> {
        let rest = &self.text[self.at..];
        let sign = usize::from(rest[0] == b'-');
        let digits = rest[sign..].iter().take_while(|b| b.is_ascii_digit());
        let end = sign + digits.count();
        let word = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let octal = end > sign + 1 && rest[sign] == b'0';
        let ends = !rest
            .get(end)
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'.');
        match word.parse() {
            Ok(number) if ends && !octal => {
                self.at += end;
                Ok(Value::Number(number))
            }
            _ => self.fail("a number LVM does not write"),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, [u8]>, MetadataError> {
        self.at += 1;
        let begin = self.at;
        let mut escaped = false;
        loop {
            match self.text.get(self.at) {
                None | Some(0) => return self.fail("a string that does not end"),
                Some(b) if *b == quote => break,
                Some(b'\\') if quote == b'"' && self.at + 1 < self.text.len() => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
            }
        }
        let raw = &self.text[begin..self.at];
        self.at += 1;
        Ok(if escaped {
            Cow::Owned(unescape(raw))
        } else {
            Cow::Borrowed(raw)
        })
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(next @ (b'"' | b'\\'))) => {
                text.push(*next);
                bytes.next();
            }
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn reads_sections_values_and_lists() {
        let text = br#"
            vg { # a comment { with a brace
                seqno = 7
                status = ["READ", "WRITE",]
                flags = []
                pv0 { device = "/dev/a\"b\\c\d" dev_size = -1 }
            }
            description = ''"#;
        let root = parse(text).unwrap();
        let vg = root.section("vg").unwrap();
        assert_eq!(vg.get("seqno"), Some(&Node::Value(Value::Number(7))));
        assert_eq!(vg.get("flags"), Some(&Node::List(Vec::new())));
        let Some(Node::List(status)) = vg.get("status") else {
            panic!("{vg:?}")
        };
        assert_eq!(status[1].text(), Some("WRITE"));
        let Some(Node::Value(device)) = vg.section("pv0").unwrap().get("device") else {
            panic!("{vg:?}")
        };
        assert_eq!(device.text(), Some(r#"/dev/a"b\c\d"#));
        let names: Vec<_> = root.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["vg", "description"]);
    }

    #[test]
    fn what_lvm_would_read_in_its_own_way_is_an_error() {
        for text in [
            "a = 1 a = 2",
            "a = 010",
            "a = 1.5",
            "a = word",
            "a = 0x10",
            "a/b = 1",
            "a {",
            "a }",
            "a = \"x",
            "a = [1",
            "a = 99999999999999999999",
            "a",
            "= 1",
            "\"\" = 1",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "a {".repeat(20) + &"}".repeat(20);
        assert!(
            parse(deep.as_bytes()).is_err(),
            "a text cannot exhaust the stack"
        );
        let many: String = (0..100).map(|n| format!("a{n} = 1\n")).collect();
        assert!(parse(many.as_bytes()).is_ok());
        assert!(parse((many + "a3 = 2").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_string_survives_quoting(text in proptest::collection::vec(1u8..=255, 0..40)) {
            let quoted: Vec<u8> = text.iter().flat_map(|b| match b {
                b'"' | b'\\' => vec![b'\\', *b],
                _ => vec![*b],
            }).collect();
            let whole = [b"a = \"", &quoted[..], b"\""].concat();
            let root = parse(&whole).unwrap();
            let Some(Node::Value(Value::Text(read))) = root.get("a") else { panic!("{root:?}") };
            prop_assert_eq!(&read[..], &text[..]);
        }

        #[test]
        fn no_input_panics(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_made_of_the_grammars_own_marks_panics(text in r#"([a-c]|[{}=\[\],"'\\# \n.0-9-]){0,60}"#) {
            let _ = parse(text.as_bytes());
        }
    }
}
