//! Which bytes of a text do not stand for themselves in a string: quotes, backslashes, control characters.
//!
//! They are looked for in blocks, and remembered as a bit for each byte: of short strings several end in the same block.

/// Bytes of a block, one for each bit of what is remembered of it.
const BLOCK: usize = 64;

/// The marks of one block of a text, the last that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    block: usize,
    marks: u64,
}

impl Marks {
    /// Of the first block of a text.
    pub(super) fn new(text: &[u8]) -> Self {
        let marks = of_block(text, 0);
        Self { block: 0, marks }
    }

    /// Where the first such byte is from `at` on; the text's length when there is none.
    #[inline(always)]
    pub(super) fn next(&mut self, text: &[u8], at: usize) -> usize {
        let (mut block, mut from) = (at / BLOCK, at % BLOCK);
        loop {
            if block != self.block {
                (self.block, self.marks) = (block, of_block(text, block));
            }
            let ahead = self.marks >> from;
            if ahead != 0 {
                let at = block * BLOCK + from + ahead.trailing_zeros() as usize;
                return at.min(text.len());
            }
            (block, from) = (block + 1, 0);
        }
    }
}

/// The marks of a block. What is behind the text's end is marked.
fn of_block(text: &[u8], block: usize) -> u64 {
    let rest = text.get(block * BLOCK..).unwrap_or_default();
    match rest.first_chunk::<BLOCK>() {
        Some(whole) => of(whole),
        None => {
            let mut padded = [0; BLOCK];
            padded[..rest.len()].copy_from_slice(rest);
            of(&padded)
        }
    }
}

/// A bit for each byte. Eight bytes at a time are one number here: what ships is optimized for size at last, and then
/// compilers make no vectors of loops.
fn of(block: &[u8; BLOCK]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = ONES * 0x7f;
    // Its product has the lowest bits of eight bytes side by side at the top.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    // Of each byte the highest bit, set where it is not zero; no byte carries to the next.
    let other = |bytes: u64| ((bytes & LOW) + LOW) | bytes;
    let (words, _) = block.as_chunks::<8>();
    let mut marks = 0;
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = other(word ^ (ONES * u64::from(b'"')));
        let backslash = other(word ^ (ONES * u64::from(b'\\')));
        let control = other(word & (ONES * 0xe0));
        let special = !(quote & backslash & control) >> 7 & ONES;
        marks |= (special.wrapping_mul(GATHER) >> 56) << (8 * at);
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_next_mark_is_found(text in prop::collection::vec(any::<u8>(), 0..300), plain in any::<bool>()) {
            // Few marks, or as many as there are.
            let text: Vec<u8> = text.into_iter().map(|b| if plain && b % 50 != 0 { b | 0x80 } else { b }).collect();
            let mut marks = Marks::new(&text);
            let mut at = 0;
            while at < text.len() {
                let slow = text[at..].iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20));
                assert_eq!(marks.next(&text, at), slow.map_or(text.len(), |found| at + found));
                at += 1 + at % 7;
            }
        }

        #[test]
        fn a_block_has_a_bit_for_each_byte(block in any::<[[u8; 32]; 2]>()) {
            let block: [u8; BLOCK] = block.as_flattened().try_into().unwrap();
            let bits = (0..BLOCK).filter(|&at| matches!(block[at], b'"' | b'\\' | ..0x20));
            assert_eq!(of(&block), bits.map(|at| 1 << at).sum::<u64>());
        }
    }
}
