//! What every Go program exports of itself, under the same names, so that dashboards
//! of upstream's users stay filled.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc` at each scrape; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process {
    proc: PathBuf,
    ticks_per_second: f64,
}

impl Default for Process {
    fn default() -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Self {
            proc: "/proc".into(),
            ticks_per_second: u32::try_from(ticks).map_or(100.0, f64::from),
        }
    }
}

/// The fields of `/proc/self/stat` that are exported, in clock ticks.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    start: f64,
}

/// Reads `stat`; the program's name may hold spaces and brackets, so fields are counted
/// from its last bracket on.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // Numbers in proc(5) start at 1, and the fields here at number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu: field(14)? + field(15)?,
        start: field(22)?,
    })
}

/// The number that follows `key` in a file of `key: value` or `key value` lines.
fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn soft_limit(limits: &Path) -> Option<u64> {
    let text = fs::read_to_string(limits).ok()?;
    number_after(&text, "Max open files")
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let own = self.proc.join("self");
        let mut gauge = |name: &str, help: &str, value: Option<f64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let status = fs::read_to_string(own.join("status")).unwrap_or_default();
        let kib = |key| Some(exact(number_after(&status, key)?.checked_mul(1024)?));
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            kib("VmRSS:"),
        )?;
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes",
            kib("VmSize:"),
        )?;
        let open = fs::read_dir(own.join("fd")).ok().map(|d| d.count() as u64);
        gauge(
            "process_open_fds",
            "Number of open file descriptors",
            open.map(exact),
        )?;
        gauge(
            "process_max_fds",
            "Maximum number of open file descriptors",
            soft_limit(&own.join("limits")).map(exact),
        )?;
        let stat = fs::read_to_string(own.join("stat")).ok();
        let stat = stat.as_deref().and_then(parse_stat);
        let boot = fs::read_to_string(self.proc.join("stat"))
            .ok()
            .and_then(|text| number_after(&text, "btime "));
        let start = stat.as_ref().zip(boot);
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            start.map(|(s, boot)| exact(boot) + s.start / self.ticks_per_second),
        )?;
        let Some(stat) = stat else { return Ok(()) };
        let cpu = ConstCounter::new(stat.cpu / self.ticks_per_second);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds",
            None,
            cpu.metric_type(),
        )?)
    }
}

/// A count as Prometheus holds numbers; exact up to 2^53.
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 4 0 12345 1 2\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!(
            stat,
            Stat {
                cpu: 200.0,
                start: 12345.0
            }
        );
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }
}
