//! Flags about logs: ours, and those of the two libraries upstream logs with.

use clap::ValueEnum;

use crate::runtime::{Format, LogSettings};

/// Shown by `--help`, not by `-h`.
const HEADING: &str = "Flags of upstream's log libraries";

/// Noise of libraries, kept out when more than `info` is asked for without a filter.
const QUIET: &str = "h2=info,hyper_util=info,tonic=info,tower=info";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What zap calls the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ZapEncoder {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Console,
}

/// Flags about logs. [`LogArgs::settings`] says what they come to.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LogArgs {
    /// What to log: a level, or directives such as info,lvmd::cmd=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "RUST_LOG")]
    pub log: Option<String>,
    /// How a line of the log looks [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<FormatArg>,

    /// Level as a number: 0 info, 1 to 4 debug, above trace
    #[arg(short, long = "v", value_name = "N", help_heading = HEADING, hide_short_help = true, allow_negative_numbers = true)]
    pub v: Option<i32>,
    /// Level: debug, info, error, panic, or a number as with --v
    #[arg(long, value_name = "LEVEL", value_parser = zap_level, help_heading = HEADING, hide_short_help = true)]
    pub zap_log_level: Option<&'static str>,
    /// Format: json or console
    #[arg(long, value_name = "FORMAT", ignore_case = true, help_heading = HEADING, hide_short_help = true)]
    pub zap_encoder: Option<ZapEncoder>,
    /// Level debug and format text, unless other flags say otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub zap_devel: Option<bool>,

    /// Without effect: there are no stack traces in logs
    #[arg(long, value_name = "LEVEL", help_heading = HEADING, hide_short_help = true)]
    pub zap_stacktrace_level: Option<String>,
    /// Without effect: times are RFC 3339
    #[arg(long, value_name = "FORM", help_heading = HEADING, hide_short_help = true)]
    pub zap_time_encoding: Option<String>,
    /// Without effect: use --log
    #[arg(long, value_name = "PATTERN=N,...", help_heading = HEADING, hide_short_help = true)]
    pub vmodule: Option<String>,
    /// Without effect: logs go to stderr
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub logtostderr: Option<bool>,
    /// Without effect: logs go to stderr
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub alsologtostderr: Option<bool>,
    /// Without effect: logs go to stderr
    #[arg(long = "log_dir", value_name = "DIR", help_heading = HEADING, hide_short_help = true)]
    pub log_dir: Option<String>,
    /// Without effect: logs go to stderr
    #[arg(long = "log_file", value_name = "FILE", help_heading = HEADING, hide_short_help = true)]
    pub log_file: Option<String>,
    /// Without effect: logs go to stderr
    #[arg(long = "log_file_max_size", value_name = "MIB", help_heading = HEADING, hide_short_help = true)]
    pub log_file_max_size: Option<u64>,
    /// Without effect: logs go to stderr
    #[arg(long = "one_output", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub one_output: Option<bool>,
    /// Without effect
    #[arg(long = "skip_headers", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub skip_headers: Option<bool>,
    /// Without effect
    #[arg(long = "skip_log_headers", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub skip_log_headers: Option<bool>,
    /// Without effect: everything that is logged goes to stderr
    #[arg(long, value_name = "LEVEL", help_heading = HEADING, hide_short_help = true)]
    pub stderrthreshold: Option<String>,
    /// Without effect
    #[arg(long = "add_dir_header", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, help_heading = HEADING, hide_short_help = true)]
    pub add_dir_header: Option<bool>,
    /// Without effect: there are no stack traces in logs
    #[arg(long = "log_backtrace_at", value_name = "FILE:LINE", help_heading = HEADING, hide_short_help = true)]
    pub log_backtrace_at: Option<String>,
}

/// What Go's flag library takes as a boolean.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

fn zap_level(text: &str) -> Result<&'static str, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok("debug"),
        "info" => Ok("info"),
        // zap's panic level lets through less than error; we have nothing in between.
        "error" | "panic" => Ok("error"),
        number => match number.parse() {
            Ok(n) if n > 0 => Ok(verbosity(n)),
            _ => Err("write debug, info, error, panic or a number from 1".to_owned()),
        },
    }
}

/// The level for klog's and zap's numbers; upstream logs queries at 4.
fn verbosity(number: i32) -> &'static str {
    match number {
        i32::MIN..=0 => "info",
        1..=4 => "debug",
        5.. => "trace",
    }
}

impl LogArgs {
    /// What the flags come to. Our own flags win over zap's, and those over klog's. Flags
    /// without effect are added to `notices`.
    pub fn settings(self, notices: &mut Vec<String>) -> LogSettings {
        let Self {
            log,
            log_format,
            v,
            zap_log_level,
            zap_encoder,
            zap_devel,
            zap_stacktrace_level,
            zap_time_encoding,
            vmodule,
            logtostderr,
            alsologtostderr,
            log_dir,
            log_file,
            log_file_max_size,
            one_output,
            skip_headers,
            skip_log_headers,
            stderrthreshold,
            add_dir_header,
            log_backtrace_at,
        } = self;
        let ignored = [
            ("--zap-stacktrace-level", zap_stacktrace_level.is_some()),
            ("--zap-time-encoding", zap_time_encoding.is_some()),
            ("--vmodule", vmodule.is_some()),
            // Where logs go is where these ask for when they are true.
            ("--logtostderr=false", logtostderr == Some(false)),
            ("--alsologtostderr=false", alsologtostderr == Some(false)),
            ("--log_dir", log_dir.is_some()),
            ("--log_file", log_file.is_some()),
            ("--log_file_max_size", log_file_max_size.is_some()),
            ("--one_output", one_output.is_some()),
            ("--skip_headers", skip_headers.is_some()),
            ("--skip_log_headers", skip_log_headers.is_some()),
            ("--stderrthreshold", stderrthreshold.is_some()),
            ("--add_dir_header", add_dir_header.is_some()),
            ("--log_backtrace_at", log_backtrace_at.is_some()),
        ];
        let ignored: Vec<&str> = ignored.iter().filter(|f| f.1).map(|f| f.0).collect();
        if !ignored.is_empty() {
            notices.push(format!("accepted without effect: {}", ignored.join(", ")));
        }
        let devel = zap_devel.unwrap_or(false).then_some("debug");
        let level = zap_log_level.or(devel).or(v.map(verbosity));
        // An empty RUST_LOG is none.
        let log = log.filter(|l| !l.trim().is_empty());
        let filter = log.unwrap_or_else(|| match level.unwrap_or("info") {
            level @ ("debug" | "trace") => format!("{level},{QUIET}"),
            level => level.to_owned(),
        });
        let zap = zap_encoder.map(|encoder| match encoder {
            ZapEncoder::Json => Format::Json,
            ZapEncoder::Console => Format::Text,
        });
        let own = log_format.map(|format| match format {
            FormatArg::Json => Format::Json,
            FormatArg::Text => Format::Text,
        });
        LogSettings {
            filter,
            format: own.or(zap).unwrap_or_default(),
        }
    }
}
