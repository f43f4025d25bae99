//! The file `disk-config` of TrueCharts' lvm-disk-watcher: `<node>: all | none | /dev/x ...`.
//!
//! A line becomes a DiskClass (`compat/class.yaml`) and is judged like any other: what the
//! original wiped is refused here. `all` is every whole disk of an allowed transport and at
//! least 10 GiB that passes every rule. A name such as `/dev/sdb` is allowed because a person
//! wrote it; it is bound to the disk that has it when it is first judged, and not followed
//! afterwards. Two more keys, which no node can be called, carry what people decide about
//! what is there already: `adoptForeignVG` and `approvedDisks`.
//!
//! `none`, and a node without a line, take no disk and nothing else: the class is there and
//! selects nothing, so that what was taken before is cared for as it was.

use crate::config::{Approval, Config, ConfigError, DiskClass, Mode, Named, Problem};
use crate::facts::{DiskId, Transport};

const CLASS: &str = include_str!("compat/class.yaml");
/// The name of the class that a line becomes.
pub const CLASS_NAME: &str = "topolvm";
/// The key of VG UUIDs that may be adopted.
const ADOPT: &str = "adoptForeignVG";
/// The key of approvals, `<diskId>=<fingerprint>`.
const APPROVED: &str = "approvedDisks";

/// What the file says of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct DiskConfig {
    wanted: Wanted,
    adopt: Vec<String>,
    approved: Vec<Approval>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    None,
    All,
    Names(Vec<String>),
}

/// The class that `text`, the contents of `file`, asks for on `node`. Where it asks for no disk
/// the class is idle, see [`DiskClass::is_idle`].
///
/// # Errors
/// Every line that is not understood.
pub fn class(file: &str, text: &str, node: &str, mode: Mode) -> Result<DiskClass, ConfigError> {
    let config = parse(file, text, node)?;
    let Some(mut class) = Config::load(CLASS)?.classes.pop() else {
        let nothing = Problem::Syntax("the class of disk-config is empty".to_owned());
        return Err(nothing.into());
    };
    class.mode = mode;
    class.approved = config.approved;
    class.existing.adopt_foreign_vg = config.adopt;
    match config.wanted {
        Wanted::All => {}
        // No further disk, only what is there already.
        Wanted::None => class.select.named = Some(Vec::new()),
        Wanted::Names(names) => {
            class.select.named = Some(names.iter().map(|name| Named::new(name)).collect());
            // Whoever writes a name has looked at the disk: its bus and size are what they are.
            class.select.transport = Transport::ALL.to_vec();
            class.select.min = lvmd::units::Bytes(0);
        }
    }
    Ok(class)
}

fn parse(file: &str, text: &str, node: &str) -> Result<DiskConfig, ConfigError> {
    let mut config = DiskConfig::default();
    let mut problems = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let read = line
            .split_once(':')
            .ok_or_else(|| {
                format!("{line:?} has no colon; write <node>: all, none, or paths under /dev/")
            })
            .and_then(|(key, words)| {
                let (key, words) = (key.trim(), words.split_whitespace().collect::<Vec<_>>());
                if key != ADOPT && key != APPROVED {
                    if seen.contains(&key) {
                        return Err(format!(
                            "{key:?} has a line already; write one line for each node"
                        ));
                    }
                    seen.push(key);
                }
                read(&mut config, key, &words, node)
            });
        if let Err(what) = read {
            problems.push(Problem::Line {
                file: file.to_owned(),
                line: index + 1,
                what,
            });
        }
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::new(problems))
    }
}

fn read(config: &mut DiskConfig, key: &str, words: &[&str], node: &str) -> Result<(), String> {
    match key {
        ADOPT => {
            for word in words {
                crate::config::vg_uuid(word)?;
                config.adopt.push((*word).to_owned());
            }
            Ok(())
        }
        APPROVED => {
            for word in words {
                config.approved.push(approval(word, node)?);
            }
            Ok(())
        }
        _ => {
            let wanted = wanted(key, words)?;
            if key == node {
                config.wanted = wanted;
            }
            Ok(())
        }
    }
}

/// The last `=` parts them: a serial number may have one, a digest has none.
fn approval(word: &str, node: &str) -> Result<Approval, String> {
    let parts = word.rsplit_once('=');
    let (id, fingerprint) =
        parts.ok_or_else(|| format!("{word:?} is no <diskId>=<fingerprint>"))?;
    Approval::new(node, DiskId::from(id.to_owned()), fingerprint)
}

fn wanted(key: &str, words: &[&str]) -> Result<Wanted, String> {
    let is_node = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if key.is_empty() || !key.bytes().all(is_node) {
        return Err(format!(
            "{key:?} is no node's name (a-z 0-9 - .), nor {ADOPT} or {APPROVED}; the name is compared exactly, it is no pattern"
        ));
    }
    match words {
        ["all"] => Ok(Wanted::All),
        ["none"] => Ok(Wanted::None),
        [] => Err(format!(
            "{key} has nothing behind it; write all, none, or paths under /dev/"
        )),
        names => {
            for name in names {
                name_of_a_disk(name)?;
            }
            Ok(Wanted::Names(
                names.iter().map(|name| (*name).to_owned()).collect(),
            ))
        }
    }
}

fn name_of_a_disk(name: &str) -> Result<(), String> {
    if matches!(name, "all" | "none") {
        return Err(format!(
            "{name} stands alone; remove it, or the paths beside it"
        ));
    }
    let rest = name.strip_prefix("/dev/").unwrap_or_default();
    if rest.is_empty() || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "{name:?} is no path under /dev/; write it in full, such as /dev/sdb"
        ));
    }
    if name.contains(['*', '?', '[', ',', '"', '\'']) {
        return Err(format!(
            "{name:?}: patterns, commas and quotes are not understood here; write each path in full, with blanks between"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolSize;
    use lvmd::units::{Bytes, GIB, KIB};

    const FILE: &str = "# the cluster's disks\nnode-1: all\nnode-10: /dev/sdb /dev/disk/by-id/ata-X   # two\nnode-2: none\n\nadoptForeignVG: 1aBcDe-fGhI-2345-6789-abcd-EFGH-ijklmn\n";

    fn of(text: &str, node: &str) -> Result<DiskClass, String> {
        class("disk-config", text, node, Mode::Plan).map_err(|e| e.to_string())
    }

    #[test]
    fn the_names_are_those_of_the_guide_and_the_pool_has_room_to_grow() {
        let class = of("node-1: all\n", "node-1").unwrap();
        let pool = class.thin_pool.as_ref().unwrap();
        assert_eq!(
            (class.volume_group.name.as_str(), pool.name.as_str()),
            ("topolvm_vg", "topolvm_thin")
        );
        assert_eq!(pool.chunk_size, Some(Bytes(256 * KIB)));
        assert_eq!(
            pool.size,
            PoolSize::OfGroup(crate::config::Percent::whole(80))
        );
        assert_eq!(class.select.min, Bytes(10 * GIB));
        assert_eq!(class.mode, Mode::Plan);
        assert_eq!(class.name, CLASS_NAME);
    }

    #[test]
    fn a_node_is_matched_exactly() {
        let names = |node| {
            let named = of(FILE, node).unwrap().select.named?;
            Some(named.into_iter().map(|n| n.path).collect::<Vec<_>>())
        };
        assert_eq!(names("node-1"), None, "all");
        let two = ["/dev/sdb".to_owned(), "/dev/disk/by-id/ata-X".to_owned()];
        assert_eq!(names("node-10"), Some(two.to_vec()));
        for node in ["node-2", "node", "node-3", "ode-1", "node.1"] {
            let class = of(FILE, node).unwrap();
            assert_eq!(class.select.named, Some(vec![]), "{node}: no disk");
            assert_eq!(class.existing.adopt_foreign_vg.len(), 1);
        }
    }

    #[test]
    fn what_was_taken_is_cared_for_after_none_and_without_a_line() {
        let all = of("node-1: all\n", "node-1").unwrap();
        assert!(!all.is_idle());
        for text in ["node-1: none\n", "node-2: all\n", "# nothing\n"] {
            let idle = class("disk-config", text, "node-1", Mode::Enforce).unwrap();
            assert!(idle.is_idle(), "{text}");
            assert_eq!(idle.mode, Mode::Enforce, "{text}: its pool grows");
            assert_eq!(
                (&idle.name, &idle.volume_group, &idle.thin_pool),
                (&all.name, &all.volume_group, &all.thin_pool),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bad_line_names_file_line_rule_and_way_out() {
        for (text, wanted) in [
            (
                "a: all\nnode1 all",
                "disk-config, line 2: \"node1 all\" has no colon; write",
            ),
            (
                "node1: sdb",
                "disk-config, line 1: \"sdb\" is no path under /dev/; write it in full",
            ),
            ("node1: all /dev/sdb", "line 1: all stands alone"),
            (
                "node1: /dev/sd*",
                "patterns, commas and quotes are not understood",
            ),
            ("node1: /dev/sda,/dev/sdb", "with blanks between"),
            ("node1: /dev/../etc/passwd", "is no path under /dev/"),
            ("node1: \"all\"", "is no path under /dev/"),
            ("node1:", "nothing behind it"),
            (
                "node1: all\nnode1: none",
                "line 2: \"node1\" has a line already",
            ),
            ("Node_1: all", "is no node's name"),
            ("adoptForeignVG: topolvm_vg", "is no UUID of a volume group"),
            ("approvedDisks: naa.1", "is no <diskId>=<fingerprint>"),
            ("approvedDisks: naa.1=sha256:12", "is no fingerprint"),
        ] {
            let error = of(text, "x").expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let both = of("a\nb", "x").unwrap_err();
        assert!(both.starts_with("2 problems"), "{both}");
    }

    #[test]
    fn approvals_are_for_the_node_that_reads_them() {
        let text = format!(
            "n1: all\napprovedDisks: serial.a=b=sha256:{}\n",
            "ab".repeat(32)
        );
        let class = of(&text, "n1").unwrap();
        assert_eq!(class.approved[0].disk_id.as_str(), "serial.a=b");
        assert_eq!(class.approved[0].node, "n1");
    }
}
