//! The webhook that writes into new pods what the scheduler extender reads: how many bytes
//! of each device class they want.
//!
//! Only needed with the extender. [`pod`] decides, [`http`] answers the API server,
//! [`tls`] keeps the connection secret with a certificate that may change at any time:
//! from files ([`files`]), or of our own making ([`own`], `kept`, [`upkeep`]).

pub mod files;
pub mod http;
mod kept;
pub mod own;
pub mod pod;
pub mod tls;
pub mod upkeep;
