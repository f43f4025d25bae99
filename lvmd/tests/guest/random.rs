//! Random moments and places.

/// Random numbers; its `Debug` is the seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Of this moment and process, or of `$BASALT_SEED`.
    pub fn new() -> Self {
        if let Some((_, seed)) = std::env::vars().find(|(key, _)| key == "BASALT_SEED") {
            return Self(seed.parse().expect("BASALT_SEED is a number"));
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = u64::try_from(now.unwrap().as_micros()).unwrap();
        Self((now ^ u64::from(std::process::id()) << 32) | 1)
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
