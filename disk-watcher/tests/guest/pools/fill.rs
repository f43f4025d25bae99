//! Writers at full speed while the pool grows under them.

use super::stage::{Stage, extensions};
use super::writer;

#[test]
fn a_writer_at_full_speed_sees_no_error_while_the_pool_grows_under_it() {
    // A short horizon, so that it grows in steps and not once to its largest size.
    let stage = Stage::new(
        "size: 20%, metadata: {size: 4Mi}, chunkSize: 64Ki, autoExtend: {data: {horizon: 1s}}",
    );
    let before = stage.pool()["size"].as_u64().unwrap();
    let volume = stage.volume("v", "700m");
    let written = writer::write(&volume, 0, 600).expect("no write fails");
    println!("result: {written}");
    assert!(
        writer::is_there(&volume, 0, &written),
        "every byte is there"
    );
    let pool = stage.wait("it rests", |pool| pool["state"] == "Active");
    let grown = extensions(&pool, "Data").len();
    println!(
        "result: the pool grew {grown} times, from {before} to {} bytes",
        pool["size"]
    );
    assert!(grown >= 2, "{pool:#}");
    assert!(
        !stage.log().contains("could not be extended"),
        "{}",
        stage.log()
    );
}
