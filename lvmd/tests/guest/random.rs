//! Random moments and places.

/// Random numbers; its `Debug` is the seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self((now.unwrap().as_secs() * 1_000_000_007) | 1)
    }

    /// Less than `limit`, or 0 (xorshift64, Marsaglia 2003).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    /// One of these, or none of none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(among.len()).unwrap());
        among.get(usize::try_from(at).unwrap())
    }
}
