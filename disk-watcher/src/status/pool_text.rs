//! Pools as text for people.

use comfy_table::{ContentArrangement, Table};
use lvmd::units::Bytes;

use super::NodeThinPool;
use crate::pools::{Entry, EntryResult};

/// The table people read; nothing where there is no pool. With `details`, conditions and
/// history stand below it.
pub fn pool_table(pools: &[NodeThinPool], width: Option<u16>, details: bool) -> String {
    if pools.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "POOL", "SIZE", "DATA", "METADATA", "FULL IN", "STATE", "WRONG",
        ]);
    if let Some(width) = width {
        table.set_width(width);
    }
    for pool in pools {
        table.add_row([
            format!("{}/{}", pool.volume_group, pool.name),
            pool.size.to_string(),
            share(pool.used, pool.size),
            share(pool.metadata_used, pool.metadata_size),
            pool.time_to_full_seconds
                .map_or_else(|| "-".to_owned(), time),
            format!("{:?}", pool.state),
            codes(pool),
        ]);
    }
    let mut text = format!("\n{}", super::text::lines(&table));
    if details {
        text.extend(pools.iter().map(in_full));
    }
    text
}

/// The reasons of what is wrong.
fn codes(pool: &NodeThinPool) -> String {
    let wrong = pool.conditions.iter().filter(|c| c.is_trouble());
    let mut codes: Vec<&str> = wrong.map(|c| c.reason.as_str()).collect();
    codes.dedup();
    codes.join(", ")
}

fn in_full(pool: &NodeThinPool) -> String {
    let mut text = format!("\n{}/{} ({})\n", pool.volume_group, pool.name, pool.uuid);
    for condition in &pool.conditions {
        let so = if condition.status { "" } else { "not " };
        text.push_str(&format!("  {so}{}: {}", condition.kind, condition.reason));
        if !condition.message.is_empty() {
            text.push_str(&format!(": {}", condition.message));
        }
        text.push('\n');
    }
    for plan in &pool.plan {
        text.push_str(&format!("  would run: {plan}\n"));
    }
    for Entry {
        at,
        part,
        from,
        to,
        result,
        millis,
        why,
    } in &pool.history
    {
        let (from, to) = (Bytes(*from), Bytes(*to));
        let ended = match result {
            EntryResult::Done => format!("in {millis} ms"),
            EntryResult::Failed => format!("failed: {why}"),
        };
        text.push_str(&format!("  {at}: {part:?} from {from} to {to} {ended}\n"));
    }
    text
}

fn share(used: Bytes, of: Bytes) -> String {
    let percent = u128::from(used.0) * 100 / u128::from(of.0.max(1));
    format!("{percent}%")
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
