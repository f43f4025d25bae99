//! lvmd
