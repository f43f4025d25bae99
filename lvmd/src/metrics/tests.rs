use super::*;

fn sample(class: &str, pool: bool) -> ClassSample {
    ClassSample {
        device_class: class.to_owned(),
        available_bytes: 10,
        size_bytes: 20,
        pool: pool.then_some(PoolSample {
            size_bytes: 30,
            data_percent: 1.5,
            metadata_percent: 2.0,
            overprovision_bytes: 40,
        }),
    }
}

fn page(node: Option<&str>, write: impl FnOnce(&Metrics)) -> Page {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, node);
    write(&metrics);
    Page::new(registry)
}

fn lines(page: &Page, prefix: &str) -> Vec<String> {
    let (_, text) = page.render(None);
    let own = text.lines().filter(|l| l.starts_with(prefix));
    own.map(str::to_owned).collect()
}

#[test]
fn upstreams_six_gauges_have_its_names_and_labels() {
    let page = page(Some("n1"), |m| {
        m.set_classes(vec![sample("ssd", false), sample("thin", true)]);
    });
    let labels = |class| format!("{{node=\"n1\",device_class=\"{class}\"}}");
    let (ssd, thin) = (labels("ssd"), labels("thin"));
    assert_eq!(
        lines(&page, "topolvm_"),
        [
            format!("topolvm_volumegroup_available_bytes{ssd} 10"),
            format!("topolvm_volumegroup_available_bytes{thin} 10"),
            format!("topolvm_volumegroup_size_bytes{ssd} 20"),
            format!("topolvm_volumegroup_size_bytes{thin} 20"),
            format!("topolvm_thinpool_size_bytes{thin} 30"),
            format!("topolvm_thinpool_overprovisioned_available{thin} 40"),
            format!("topolvm_thinpool_data_percent{thin} 1.5"),
            format!("topolvm_thinpool_metadata_percent{thin} 2.0"),
        ]
    );
}

#[test]
fn a_class_that_is_gone_disappears() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, None);
    let page = Page::new(registry);
    metrics.set_classes(vec![sample("a", true), sample("b", false)]);
    metrics.set_volume_groups(vec![("vg".into(), "ok".into())]);
    metrics.set_classes(vec![sample("b", false)]);
    let all = lines(&page, "topolvm_");
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        all[0],
        "topolvm_volumegroup_available_bytes{device_class=\"b\"} 10"
    );
    assert_eq!(
        lines(&page, "lvmd_volumegroup_state"),
        ["lvmd_volumegroup_state{volume_group=\"vg\",state=\"ok\"} 1"]
    );
}

#[test]
fn own_metrics_count() {
    let page = page(None, |m| {
        m.operation("CreateLV", "OK", Duration::from_millis(70));
        m.command("lvcreate", "ok", Duration::from_millis(60));
        m.config_reload(Outcome::Refused);
        m.heal("creating", "removed");
        m.read_fallback("unknown_segment");
        let running = m.command_running();
        drop(m.command_running());
        std::mem::forget(running);
    });
    let (_, text) = page.render(None);
    for line in [
        "lvmd_operation_seconds_bucket{le=\"0.05\",operation=\"CreateLV\",result=\"OK\"} 0",
        "lvmd_operation_seconds_bucket{le=\"0.1\",operation=\"CreateLV\",result=\"OK\"} 1",
        "lvmd_command_seconds_count{command=\"lvcreate\",result=\"ok\"} 1",
        "lvmd_commands_running 1",
        "lvmd_config_reload_total{result=\"refused\"} 1",
        "lvmd_heal_total{kind=\"creating\",result=\"removed\"} 1",
        "lvmd_read_fallback_total{reason=\"unknown_segment\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in:\n{text}");
    }
}

#[test]
fn the_format_follows_the_accept_header() {
    let page = page(None, |m| m.heal("k", "r"));
    let (kind, text) = page.render(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(
        text.contains("# TYPE lvmd_heal counter") && text.ends_with("# EOF\n"),
        "{text}"
    );
    let (kind, text) = page.render(Some("text/plain"));
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        text.contains("# TYPE lvmd_heal_total counter\nlvmd_heal_total{"),
        "{text}"
    );
    assert!(
        text.contains("# HELP lvmd_heal_total Wrecks") && !text.contains("EOF"),
        "{text}"
    );
}

#[test]
fn the_process_is_exported_under_gos_names() {
    let page = page(None, |_| {});
    let (_, text) = page.render(None);
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
    ] {
        let line = text.lines().find(|l| l.starts_with(&format!("{name} ")));
        let value = line
            .and_then(|l| l.split(' ').nth(1))
            .and_then(|v| v.parse::<f64>().ok());
        assert!(value.is_some_and(|v| v >= 0.0), "{name} in\n{text}");
    }
}
