//! The monitor of a virtual machine: one JSON object per line, questions answered in order, events in between.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long the machine has for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
struct Question<'a> {
    execute: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    arguments: Value,
}

/// Everything the monitor says; which field is there tells what it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    data: EventData,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EventData {
    device: Option<String>,
}

/// An open monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
    /// Ids of devices that were reported gone while something else was waited for.
    gone: Vec<String>,
}

impl Monitor {
    /// Opens the monitor at `socket`.
    pub(crate) fn open(socket: &Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(socket)?)
    }

    fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut this = Self {
            stream: BufReader::new(stream),
            gone: Vec::new(),
        };
        // The greeting; then the monitor wants to be told that it was understood.
        this.hear()?;
        this.ask("qmp_capabilities", Value::Null)?;
        Ok(this)
    }

    /// Asks, and returns what was answered.
    pub(crate) fn ask(&mut self, execute: &str, arguments: Value) -> io::Result<Value> {
        let mut line = serde_json::to_vec(&Question { execute, arguments })?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        loop {
            let said = self.hear()?;
            if let Some(refusal) = said.error {
                return Err(io::Error::other(format!("{execute}: {}", refusal.desc)));
            }
            if let Some(answer) = said.answer {
                return Ok(answer);
            }
            self.note(said);
        }
    }

    /// Waits until the guest has let go of a device.
    pub(crate) fn await_gone(&mut self, device: &str) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.gone.iter().any(|gone| gone == device) {
            if deadline < Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let said = self.hear()?;
            self.note(said);
        }
        Ok(())
    }

    fn note(&mut self, said: Said) {
        if said.event.as_deref() == Some("DEVICE_DELETED") {
            self.gone.extend(said.data.device);
        }
    }

    fn hear(&mut self) -> io::Result<Said> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A machine that says these lines, the first at once and one more after each line it hears.
    fn machine(
        lines: &'static [&'static str],
    ) -> (UnixStream, std::thread::JoinHandle<Vec<String>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let mut theirs = BufReader::new(theirs);
            let mut heard = Vec::new();
            for said in lines {
                theirs.get_mut().write_all(said.as_bytes()).unwrap();
                let mut line = String::new();
                if theirs.read_line(&mut line).unwrap() == 0 {
                    break;
                }
                heard.push(line);
            }
            heard
        });
        (ours, thread)
    }

    #[test]
    fn answers_events_and_refusals_are_told_apart() {
        let (ours, thread) = machine(&[
            "{\"QMP\":{}}\n",
            "{\"return\":{}}\n",
            "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"disk1\",\"path\":\"/x\"}}\n{\"return\":7}\n",
            "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such device\"}}\n",
        ]);
        let mut monitor = Monitor::over(ours).unwrap();
        assert_eq!(
            monitor.ask("device_del", json!({"id": "disk1"})).unwrap(),
            json!(7)
        );
        monitor.await_gone("disk1").unwrap();
        let refusal = monitor
            .ask("device_del", json!({"id": "disk2"}))
            .unwrap_err();
        assert_eq!(refusal.to_string(), "device_del: no such device");
        drop(monitor);
        let heard = thread.join().unwrap();
        assert_eq!(heard[0], "{\"execute\":\"qmp_capabilities\"}\n");
        assert_eq!(
            heard[1],
            "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"disk1\"}}\n"
        );
    }
}
