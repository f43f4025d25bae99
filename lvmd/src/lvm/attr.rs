//! `lv_attr`, the ten characters of lvs(8) "Lv attr bits".

use std::fmt;

/// The attribute characters: type, permissions, allocation, fixed minor, state,
/// open, target, zero, health, skip activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LvAttr([u8; 10]);

impl LvAttr {
    /// Reads the text of an `lv_attr` column; `None` unless it is ten ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 10] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_graphic)
            .then_some(Self(bytes))
    }

    /// Volume type: `t` thin pool, `V` thin volume, `s` snapshot, `o` origin, `r` RAID, `-` plain.
    pub fn kind(self) -> char {
        char::from(self.0[0])
    }

    /// Whether the metadata lets it be written.
    pub fn is_writable(self) -> bool {
        self.0[1] == b'w'
    }

    /// Whether its extents are held, as those that a pvmove moves.
    pub fn is_locked(self) -> bool {
        self.0[2].is_ascii_uppercase()
    }

    /// State: `a` active, `s` suspended, `-` inactive, `i`/`d` mapped device without live table.
    pub fn state(self) -> char {
        char::from(self.0[4])
    }

    /// Open: `o` when somebody has it open.
    pub fn open(self) -> char {
        char::from(self.0[5])
    }

    /// Health: `-` when nothing is known to be wrong.
    pub fn health(self) -> char {
        char::from(self.0[8])
    }

    /// The same with these state and open characters.
    #[must_use]
    pub(super) fn with_state(mut self, state: char, open: bool) -> Self {
        self.put(4, state);
        self.0[5] = if open { b'o' } else { b'-' };
        self
    }

    /// The same for a device that is read-only; `R` where the metadata lets it be written.
    #[must_use]
    pub(super) fn read_only_device(mut self) -> Self {
        if self.0[1] != b'r' {
            self.0[1] = b'R';
        }
        self
    }

    /// The same with this health character.
    #[must_use]
    pub(super) fn with_health(mut self, health: char) -> Self {
        self.put(8, health);
        self
    }

    fn put(&mut self, at: usize, mark: char) {
        self.0[at] = u8::try_from(mark).unwrap_or(b'X');
    }

    /// Activation is skipped unless `-K` is given.
    pub fn skips_activation(self) -> bool {
        self.0[9] == b'k'
    }

    /// New blocks of a thin pool are zeroed before use.
    pub fn zeroes_new_blocks(self) -> bool {
        self.0[7] == b'z'
    }

    /// The same with the state and open characters device-mapper shows now.
    /// `None` in `mapped` means that there is no device.
    #[must_use]
    pub fn with_device(mut self, mapped: Option<Mapped>) -> Self {
        let (state, open) = match mapped {
            None => (b'-', b'-'),
            Some(Mapped { live: false, .. }) => (b'd', b'-'),
            Some(Mapped {
                suspended, open, ..
            }) => (
                if suspended { b's' } else { b'a' },
                if open { b'o' } else { b'-' },
            ),
        };
        // Snapshot states (I, S, m, M), missing tables (i) and unknown (X) are LVM's own findings.
        if matches!(self.0[4], b'a' | b's' | b'-' | b'd') {
            self.0[4] = state;
            self.0[5] = open;
        }
        self
    }
}

/// What device-mapper says of an LV's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// It has a live table.
    pub live: bool,
    /// It is suspended.
    pub suspended: bool,
    /// Somebody has it open.
    pub open: bool,
}

impl fmt::Display for LvAttr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|b| write!(f, "{}", char::from(*b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_changes_state_and_open_only() {
        let attr = LvAttr::parse("Vwi---tz-k").unwrap();
        let live = Mapped {
            live: true,
            suspended: false,
            open: true,
        };
        assert_eq!(attr.with_device(Some(live)).to_string(), "Vwi-aotz-k");
        assert_eq!(attr.with_device(None).to_string(), "Vwi---tz-k");
        assert_eq!(
            attr.with_device(Some(Mapped {
                live: false,
                ..live
            }))
            .state(),
            'd'
        );
    }

    /// Upstream's `TestParsedLVAttr` and `TestLVAttrString`.
    #[test]
    fn upstreams_examples_are_written_as_they_were_read() {
        let rows: [_; 4] = [
            ("-wi-a-----", '-', '-'),
            ("Rwi-a-r---", 'R', '-'),
            ("twi-a-tz--", 't', '-'),
            ("Cwi-aoC---", 'C', 'o'),
        ];
        for (text, kind, open) in rows {
            let attr = LvAttr::parse(text).unwrap();
            assert_eq!(attr.to_string(), text);
            assert_eq!((attr.kind(), attr.state(), attr.open()), (kind, 'a', open));
            assert!(attr.is_writable() && !attr.skips_activation());
        }
    }

    #[test]
    fn ten_characters_or_nothing() {
        assert!(LvAttr::parse("").is_none());
        assert!(LvAttr::parse("-wi-a----").is_none());
        assert!(LvAttr::parse("-wi-a-----").is_some());
    }
}
