//! The charts as helm renders them: what they refuse, what they make of TopoLVM's values, and whether our programs
//! take the arguments and files that they give them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod clustertool;
mod disk_watcher_chart;
mod helm;
mod inventory;
mod monitoring;
mod topolvm_chart;
mod upstream;
mod whole_values;
