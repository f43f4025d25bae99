//! Pools while they fill and while they fail. Each test says what it did to the pool and
//! what came of it.

mod activation;
mod beside;
mod fill;
mod full;
mod made;
pub(crate) mod stage;
mod twin;
pub(crate) mod writer;
