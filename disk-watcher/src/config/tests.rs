use super::*;

const HEAD: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\n";

/// A class with `spec` as its body, which must hold `select` and `volumeGroup`.
fn load(spec: &str) -> Result<DiskClass, ConfigError> {
    Config::load(&format!("{HEAD}spec:\n{spec}")).map(|mut config| config.classes.remove(0))
}

/// A class that selects by model, with more lines in its spec.
fn with(more: &str) -> Result<DiskClass, ConfigError> {
    load(&format!(
        "  select: {{model: [X]}}\n  volumeGroup: {{name: fast}}\n{more}"
    ))
}

fn refusal(result: Result<DiskClass, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

/// Readers copy these: each is whole, and changes nothing unless its page says so.
#[test]
fn the_documents_in_docs_are_valid_and_classes_are_in_mode_plan() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let (mut classes, mut requests) = (0, 0);
    for page in std::fs::read_dir(docs).unwrap() {
        let page = page.unwrap().path();
        if page.extension().is_none_or(|x| x != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).unwrap();
        for mark in ["```yaml class\n", "```yaml request\n"] {
            for block in text.split(mark).skip(1) {
                let (block, _) = block.split_once("\n```").unwrap();
                let config = Config::load(&format!("{block}\n"));
                let config = config.unwrap_or_else(|e| panic!("{}: {e}\n{block}", page.display()));
                let plans = config.classes.iter().all(|class| class.mode == Mode::Plan);
                assert!(plans, "{}:\n{block}", page.display());
                classes += config.classes.len();
                requests += config.removals.len();
            }
        }
    }
    assert!(classes > 9, "{classes} classes");
    assert!(requests > 1, "{requests} requests");
}

#[test]
fn the_example_is_valid_and_says_what_it_shows() {
    let config = Config::load(include_str!("../../examples/config.yaml")).unwrap();
    let fast = config.class("fast").unwrap();
    assert_eq!(fast.mode, Mode::Plan);
    assert_eq!(fast.select.transport, [Transport::Nvme]);
    assert_eq!(fast.limits.max_disks, Some(8));
    let pool = fast.thin_pool.as_ref().unwrap();
    assert_eq!(pool.size, PoolSize::OfGroup(Percent::whole(80)));
    assert_eq!(
        pool.metadata,
        Metadata::Auto {
            min: Some(Bytes(GIB)),
            max: METADATA_MAX,
            snapshot_factor: 2
        }
    );
    assert_eq!(config.class("bulk").unwrap().thin_pool, None);
    let trial = &config.class("trial").unwrap().select;
    assert_eq!(trial.files[0].size, Bytes(20 * GIB));
    assert!(trial.only_files && !fast.select.only_files);
    let raw = &config.class("raw").unwrap().select;
    assert!(raw.takes_partitions() && !fast.select.takes_partitions());
}

#[test]
fn defaults_are_the_careful_ones() {
    let class = with("").unwrap();
    assert_eq!((class.mode, class.discovery), (Mode::Plan, Discovery::Once));
    assert_eq!(class.select.min, Bytes(10 * GIB));
    assert_eq!(class.limits.settle, Duration::from_secs(10));
    assert_eq!(class.limits.min_disks, 1);
    assert!(!class.safety.allow_removable && !class.safety.allow_unique_id_missing);
    assert_eq!(
        class.safety.zeroes_required(Bytes(64 * GIB)),
        RequireZeroed::Full
    );
    assert_eq!(
        class.safety.zeroes_required(Bytes(64 * GIB + 1)),
        RequireZeroed::HeadAndTail
    );
    assert_eq!(class.volume_group.extent_size, Bytes(4 * MIB));
    assert_eq!(class.thin_pool, None);
    let pool = with("  thinPool: {name: p}\n").unwrap().thin_pool.unwrap();
    assert_eq!(pool.size, PoolSize::OfGroup(Percent::whole(80)));
    assert_eq!((pool.chunk_size, pool.spare), (None, true));
}

#[test]
fn an_empty_file_has_no_classes() {
    assert_eq!(Config::load("").unwrap(), Config::default());
    assert_eq!(Config::load("# nothing\n---\n").unwrap(), Config::default());
}

#[test]
fn an_unknown_key_shows_its_line_a_caret_and_the_nearest_name() {
    let text = refusal(with("  limits: {maxDisk: 3}\n"));
    assert!(text.contains("maxDisk: 3") && text.contains('^'), "{text}");
    assert!(
        text.contains(":7:") || text.contains("line 7") || text.contains("7 |"),
        "{text}"
    );
    assert!(text.ends_with("help: did you mean \"maxDisks\"?"), "{text}");
    let text = refusal(with("  mode: Enforced\n"));
    assert!(text.ends_with("help: did you mean \"Enforce\"?"), "{text}");
    let text = refusal(with("  modus: Plan\n"));
    assert!(text.contains("unknown field"), "{text}");
}

#[test]
fn a_field_that_does_nothing_yet_is_refused_by_name_and_line() {
    for (field, spec) in [
        (
            "spec.nodeSelector",
            "  nodeSelector: {matchLabels: {a: b}}\n",
        ),
        ("spec.priority", "  priority: 0\n"),
        (
            "spec.existing.adoptOwnedVG",
            "  existing: {adoptOwnedVG: true}\n",
        ),
        (
            "spec.safety.allowRAIDMembers",
            "  safety: {allowRAIDMembers: false}\n",
        ),
        (
            "spec.safety.requireZeroed: Trimmed",
            "  safety: {requireZeroed: Trimmed}\n",
        ),
        (
            "spec.thinPool.metadataDevice",
            "  thinPool: {name: p, metadataDevice: {select: {}}}\n",
        ),
        (
            "spec.thinPool.stripes",
            "  thinPool: {name: p, stripes: 1}\n",
        ),
        (
            "spec.thinPool.raid",
            "  thinPool: {name: p, raid: {data: none}}\n",
        ),
        (
            "spec.thinPool.onExhaustion",
            "  thinPool: {name: p, onExhaustion: {condition: true}}\n",
        ),
        (
            "spec.thinPool.chunkSize.policy: Performance",
            "  thinPool: {name: p, chunkSize: {policy: Performance}}\n",
        ),
    ] {
        assert_eq!(
            refusal(with(spec)),
            format!(
                "class \"fast\": not supported: {field} (line 7), remove it: {}",
                unsupported::why(field)
            )
        );
    }
    for (field, group) in [
        ("spec.volumeGroup.metadataCopies", "metadataCopies: All"),
        ("spec.volumeGroup.nameTemplate", "nameTemplate: x"),
    ] {
        let spec = format!("  select: {{model: [X]}}\n  volumeGroup: {{name: fast, {group}}}\n");
        assert_eq!(
            refusal(load(&spec)),
            format!(
                "class \"fast\": not supported: {field} (line 6), remove it: {}",
                unsupported::why(field)
            )
        );
    }
}

#[test]
fn every_field_that_is_refused_is_documented_with_the_reason() {
    let docs = include_str!("../../../docs/disk-watcher.md");
    let (_, section) = docs.split_once("## Fields that are refused").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let documented: Vec<&str> = section.lines().filter(|l| l.starts_with("| `")).collect();
    let rows = unsupported::UNSUPPORTED.map(|(field, why)| format!("| `{field}` | {why} |"));
    assert_eq!(documented, rows, "docs/disk-watcher.md");
}

#[test]
fn what_a_pool_is_made_for_is_checked() {
    let pool = |fields: &str| with(&format!("  thinPool: {{name: p, {fields}}}\n"));
    let made =
        pool("zero: false, discards: nopassdown, followVG: true, expectedMaxSize: 20Ti").unwrap();
    let made = made.thin_pool.unwrap();
    assert_eq!(
        (
            made.zero,
            made.discards,
            made.follow_vg,
            made.expected_max_size
        ),
        (false, Discards::Nopassdown, true, Some(Bytes(20 << 40)))
    );
    let plain = pool("size: 80%").unwrap().thin_pool.unwrap();
    assert_eq!(
        (
            plain.zero,
            plain.discards,
            plain.follow_vg,
            plain.expected_max_size
        ),
        (true, Discards::Passdown, false, None)
    );
    for (fields, words) in [
        ("size: 1Gi, followVG: true", "1Gi is no share of the group"),
        (
            "size: 2Gi, expectedMaxSize: 1Gi",
            "1Gi is less than size 2Gi",
        ),
        (
            "expectedMaxSize: 20Ti, chunkSize: 64Ki",
            "a chunk of 64Ki addresses 15.79Ti",
        ),
        (
            "expectedMaxSize: 1Ti, autoExtend: {metadata: {maxSize: 16Mi}}",
            "with 16Mi of metadata",
        ),
        ("metadata: {snapshotFactor: 0}", "from 1 to 16"),
        (
            "metadata: {size: 1Gi, snapshotFactor: 2}",
            "size stands alone",
        ),
    ] {
        let text = refusal(pool(fields));
        assert!(text.contains(words), "{fields}: {text}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = refusal(with(
        "  priority: 1\n  limits: {minDisks: 0}\n  thinPool: {name: p_tmeta, chunkSize: 100Ki}\n",
    ));
    assert!(
        text.starts_with("4 problems:\n- class \"fast\": not supported"),
        "{text}"
    );
}

#[test]
fn labels_of_disks_are_for_where_there_is_a_cluster() {
    let select =
        "  select: {diskLabels: {matchLabels: {tier: fast}}}\n  volumeGroup: {name: fast}\n";
    let config = |spec: &str| Config::load(&format!("{HEAD}spec:\n{spec}")).unwrap();
    let error = config(select)
        .check_without_cluster()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("spec.select.diskLabels") && error.contains("--kubernetes"),
        "{error}"
    );
    let without = config("  select: {model: [X]}\n  volumeGroup: {name: fast}\n");
    without.check_without_cluster().unwrap();
    let unlabelled = "  select: {model: [X], diskLabels: {matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}\n  volumeGroup: {name: fast}\n";
    assert!(
        refusal(load(unlabelled)).contains("means disks without any label too"),
        "a disk that lost its labels would be taken"
    );
    let slip = "  select: {diskLabels: {matchExpressions: [{key: a, operator: In}]}}\n  volumeGroup: {name: fast}\n";
    assert!(
        refusal(load(slip)).contains("spec.select.diskLabels: matchExpressions: a In needs values")
    );
}

#[test]
fn how_many_changes_of_a_group_are_kept_elsewhere_is_said_within_bounds() {
    let changes = |text: &str| with(text).unwrap().secret_changes;
    assert_eq!(changes(""), 10);
    assert_eq!(changes("  metadataBackup: {keep: 3}\n"), 3);
    assert_eq!(changes("  metadataBackup: {to: None}\n"), 0);
    for keep in [0, 11] {
        let text = refusal(with(&format!(
            "  metadataBackup: {{to: Secret, keep: {keep}}}\n"
        )));
        assert!(text.contains("spec.metadataBackup.keep"), "{text}");
    }
}

#[test]
fn a_class_must_say_which_disks_it_means() {
    for select in [
        "{}",
        "{size: {min: 1Gi}}",
        "{model: []}",
        "{allowUnstableNames: true}",
        "{diskLabels: {}}",
        "{diskLabels: {matchExpressions: [{key: a, operator: DoesNotExist}]}}",
    ] {
        let text = refusal(load(&format!(
            "  select: {select}\n  volumeGroup: {{name: fast}}\n"
        )));
        assert!(text.contains("spec.select: selects every disk"), "{text}");
    }
    let text = refusal(load(
        "  select: {model: ['*']}\n  volumeGroup: {name: fast}\n",
    ));
    assert!(text.contains("\"*\" matches every disk"), "{text}");
}

#[test]
fn names_that_change_with_the_boot_are_refused() {
    let select = |path: &str, more: &str| {
        load(&format!(
            "  select: {{paths: ['{path}']{more}}}\n  volumeGroup: {{name: fast}}\n"
        ))
    };
    for path in [
        "/dev/sda",
        "/dev/sd*",
        "/dev/s*",
        "/dev/*",
        "/dev/[s]da",
        "/dev/nvme0n1",
        "/dev/nvme*",
        "/dev/vdb",
        "/dev/hda",
        "/dev/mmcblk0",
        "/dev/xvdf",
        "/dev/ubda",
        "/dev/dm-0",
        "/dev/mapper/x",
        "/dev/block/8:0",
        "/dev/disk/by-diskseq/3",
    ] {
        let text = refusal(select(path, ""));
        assert!(
            text.contains("may name another disk after the next boot"),
            "{path}: {text}"
        );
        assert!(select(path, ", allowUnstableNames: true").is_ok(), "{path}");
    }
    for path in [
        "/dev/disk/by-id/nvme-*",
        "/dev/disk/by-path/pci-0000:3b:*",
        "/dev/disk/by-*/x",
        "/dev/storage/slot-1",
        "/dev/slot1",
        "/dev/slot*",
    ] {
        assert!(select(path, "").is_ok(), "{path}");
    }
    assert!(refusal(select("disk1", "")).contains("\"disk1\" is not under /dev/"));
    let exclude = refusal(with("  exclude: {paths: [/dev/sda]}\n"));
    assert!(
        exclude.contains("spec.exclude.paths: \"/dev/sda\" may name another"),
        "{exclude}"
    );
}

#[test]
fn sizes_and_chunks_keep_to_what_lvm_takes() {
    for (spec, words) in [
        (
            "  thinPool: {name: p, chunkSize: 96Ki}\n",
            "96Ki is no multiple of 64Ki from 64Ki to 1Gi",
        ),
        (
            "  thinPool: {name: p, chunkSize: 0}\n",
            "0 is no multiple of 64Ki",
        ),
        (
            "  thinPool: {name: p, chunkSize: 2Gi}\n",
            "2Gi is no multiple of 64Ki",
        ),
        (
            "  thinPool: {name: p, chunkSize: {policy: Static}}\n",
            "policy Static needs a value",
        ),
        (
            "  thinPool: {name: p, chunkSize: {policy: Auto, value: 64Ki}}\n",
            "policy Auto takes no value",
        ),
        (
            "  thinPool: {name: p, metadata: {size: 1Mi}}\n",
            "1Mi is not from 2Mi to 15.8Gi",
        ),
        (
            "  thinPool: {name: p, metadata: 16Gi}\n",
            "16Gi is not from 2Mi to 15.8Gi",
        ),
        (
            "  thinPool: {name: p, metadata: {min: 1Gi, max: 512Mi}}\n",
            "min 1Gi is more than max 512Mi",
        ),
        (
            "  thinPool: {name: p, metadata: {min: 64Mi, size: 1Gi}}\n",
            "size stands alone",
        ),
        ("  thinPool: {name: p, size: 99%}\n", "99% and 2 x "),
        (
            "  thinPool: {name: p, size: 11Gi}\n",
            "more than the smallest group this class makes (10Gi",
        ),
        (
            "  thinPool: {name: p, size: 80%, metadata: 2Gi}\n",
            "2 x 2Gi of metadata (one is the spare) need 12Gi",
        ),
        (
            "  limits: {minDisks: 3, maxDisks: 2}\n",
            "2 is less than minDisks 3",
        ),
        ("  limits: {settle: 10}\n", "is no duration"),
    ] {
        let text = refusal(with(spec));
        assert!(text.contains(words), "{spec}: {text}");
    }
    for spec in [
        "  thinPool: {name: p, chunkSize: 64Ki}\n",
        "  thinPool: {name: p, chunkSize: {policy: Static, value: 1Gi}}\n",
        "  thinPool: {name: p, metadata: {size: 1Gi}}\n",
        "  thinPool: {name: p, metadata: 15.8Gi, size: 1Gi}\n  limits: {minDisks: 4}\n",
        "  thinPool: {name: p, size: 80%, metadata: 2Gi, spare: false}\n",
        "  limits: {settle: 0s}\n",
    ] {
        assert!(with(spec).is_ok(), "{spec}: {}", refusal(with(spec)));
    }
    let text = refusal(load(
        "  select: {model: [X], size: {min: 2Gi, max: 1Gi}}\n  volumeGroup: {name: fast}\n",
    ));
    assert!(text.contains("max 1Gi is less than min 2Gi"), "{text}");
}

#[test]
fn names_follow_lvm() {
    for (group, words) in [
        ("{name: '-x'}", "is no LVM name"),
        ("{name: 'a b'}", "is no LVM name"),
        ("{}", "spec.volumeGroup.name: is missing"),
        ("{name: x, tags: [basalt.owner=me]}", "state ownership"),
        ("{name: x, extentSize: 3Mi}", "3Mi is no power of two"),
        ("{name: x, extentSize: 1Ki}", "1Ki is no power of two"),
    ] {
        let text = refusal(load(&format!(
            "  select: {{model: [X]}}\n  volumeGroup: {group}\n"
        )));
        assert!(text.contains(words), "{group}: {text}");
    }
    let text = refusal(with("  thinPool: {name: snapshot1}\n"));
    assert!(
        text.contains("LVM keeps names that begin with \"snapshot\""),
        "{text}"
    );
    let text = Config::load(
        &format!("{HEAD}spec: {{select: {{model: [X]}}, volumeGroup: {{name: x}}}}")
            .replace("fast", "Fast"),
    )
    .unwrap_err()
    .to_string();
    assert!(text.contains("\"Fast\" is no class name"), "{text}");
}

#[test]
fn twins_are_all_refused() {
    let class = |name: &str, group: &str| {
        format!("{HEAD}spec: {{select: {{model: [X]}}, volumeGroup: {{name: {group}}}}}\n---\n")
            .replace("fast", name)
    };
    let text = Config::load(&(class("a", "one") + &class("b", "one")))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(
            "class \"a\": spec.volumeGroup.name: \"one\" is the group of 2 classes (a, b)"
        ),
        "{text}"
    );
    assert!(
        text.contains("class \"b\": spec.volumeGroup.name"),
        "{text}"
    );
    let text = Config::load(&(class("a", "one") + &class("a", "two")))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("class \"a\": metadata.name: 2 documents have this name"),
        "{text}"
    );
}

#[test]
fn other_documents_are_named() {
    let load = |text: &str| Config::load(text).unwrap_err().to_string();
    let text = load("node1: all\nnode2: none\nnode3: /dev/sda /dev/sdb\n");
    assert!(
        text.contains("node map of lvm-disk-watcher") && text.contains("DiskClass"),
        "{text}"
    );
    let text = load("a: 1\n");
    assert!(text.contains("apiVersion (none) and kind (none)"), "{text}");
    let text = load(&HEAD.replace("DiskClass", "NodeDisk"));
    assert!(
        text.starts_with("document 1: kind NodeDisk is not read from this file"),
        "{text}"
    );
    let text = load(&HEAD.replace("v1alpha1", "v1"));
    assert!(text.contains("apiVersion \"basalt.storage/v1\""), "{text}");
    let text = load("a: [\n");
    assert!(text.contains('^'), "{text}");
    let text = load(HEAD);
    assert!(text.contains("missing field `spec`"), "{text}");
}

#[test]
fn an_expression_counts_as_a_selection_only_when_it_tells_disks_apart() {
    let by = |cel: &str, more: &str| {
        load(&format!(
            "  select: {{cel: {cel:?}{more}}}\n  volumeGroup: {{name: fast}}\n"
        ))
    };
    assert!(by("disk.transport == 'nvme'", "").is_ok());
    assert!(refusal(by("disk.size > 1u", "")).contains("selects every disk"));
    assert!(refusal(by("!system_disk", "")).contains("selects every disk"));
    assert!(by("!system_disk", ", media: [ssd]").is_ok());
    let names = "disk.dev_path == '/dev/sda'";
    assert!(refusal(by(names, "")).contains("after the next boot"));
    assert!(by(names, ", allowUnstableNames: true").is_ok());
    let text = refusal(by("disk.transport = 'nvme'", ""));
    assert!(text.contains("spec.select.cel"), "{text}");
}

#[test]
fn a_pool_grows_unless_told_otherwise_and_only_by_values_that_can_be_meant() {
    let pool = |more: &str| with(&format!("  thinPool: {{name: p{more}}}\n"));
    let plain = pool("").unwrap().thin_pool.unwrap();
    assert_eq!(plain.auto_extend, AutoExtend::default());
    assert_eq!(plain.when_full, WhenFull::Queue);
    let told = ", whenFull: auto, autoExtend: {data: {threshold: 80%, minStep: 1Gi, maxSize: 90%VG}, cooldown: 5s}";
    let told = pool(told).unwrap().thin_pool.unwrap();
    assert_eq!(told.auto_extend.data.threshold, Percent::whole(80));
    assert_eq!(told.auto_extend.data.min_step, Some(Bytes(GIB)));
    assert_eq!(
        told.auto_extend.data.step,
        Percent::whole(20),
        "as not written"
    );
    assert_eq!(told.when_full, WhenFull::Auto);
    for (field, spec) in [
        ("data.threshold", "data: {threshold: 30%}"),
        ("data.threshold", "data: {threshold: 70.5%}"),
        ("metadata.maxSize", "metadata: {maxSize: 1Ti}"),
        ("poll", "poll: {normal: 1s, fast: 10s}"),
        ("cooldown", "cooldown: 1h"),
    ] {
        let text = refusal(pool(&format!(", autoExtend: {{{spec}}}")));
        assert!(
            text.contains(&format!("spec.thinPool.autoExtend.{field}")),
            "{text}"
        );
    }
}

#[test]
fn only_a_group_with_a_pool_says_who_activates_it() {
    let of = |group: &str, rest: &str| {
        load(&format!(
            "  select: {{model: [X]}}\n  volumeGroup: {{name: fast, {group}}}\n{rest}"
        ))
    };
    let pool = "  thinPool: {name: p}\n";
    let class = of("activation: Watcher, deactivateOnExit: true", pool).unwrap();
    assert_eq!(class.volume_group.activation, Activation::Watcher);
    assert!(class.volume_group.deactivate_on_exit);
    let class = of("extentSize: 4Mi", pool).unwrap();
    assert_eq!(class.volume_group.activation, Activation::Host);
    assert!(!class.volume_group.deactivate_on_exit);
    for group in ["activation: Watcher", "deactivateOnExit: true"] {
        let text = refusal(of(group, ""));
        assert!(
            text.contains("spec.volumeGroup.activation: is about thin pools"),
            "{text}"
        );
    }
}

#[test]
fn files_have_a_place_a_size_and_one_class() {
    let file = |path: &str, size: &str| {
        load(&format!(
            "  select: {{files: [{{path: {path}, size: {size}}}]}}\n  volumeGroup: {{name: fast}}\n"
        ))
    };
    assert!(file("/var/lib/basalt/a", "64Mi").unwrap().select.only_files);
    for (path, size, why) in [
        ("/var/lib/kubelet/a", "64Mi", "is below /var/lib/kubelet"),
        ("a", "64Mi", "no absolute path"),
        ("/var/lib/basalt/a", "63Mi", "less than 64Mi"),
        ("/var/lib/basalt/a", "67108865", "no multiple of 1Mi"),
    ] {
        let text = refusal(file(path, size));
        assert!(
            text.contains("spec.select.files") && text.contains(why),
            "{text}"
        );
    }
    let class = |name: &str| {
        format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: {name}}}\nspec:\n  \
             select: {{files: [{{path: /var/lib/basalt/a, size: 64Mi}}]}}\n  volumeGroup: {{name: {name}}}\n"
        )
    };
    let text = Config::load(&format!("{}---\n{}", class("a"), class("b"))).unwrap_err();
    assert!(
        text.to_string().contains("named 2 times (by a, b)"),
        "{text}"
    );
}

#[test]
fn partitions_are_selected_by_globs_and_guids() {
    let load = |select: &str| {
        load(&format!(
            "  select: {{{select}}}\n  volumeGroup: {{name: fast}}\n"
        ))
    };
    let config =
        load("partitionLabel: ['r-*'], partitionType: [E6D6D379-F507-44C2-A23C-238F2A3DF928]");
    let select = config.unwrap().select;
    assert!(select.takes_partitions());
    assert_eq!(
        select.partition_type,
        ["e6d6d379-f507-44c2-a23c-238f2a3df928"]
    );
    for (select, words) in [
        ("partitionLabel: ['*']", "matches every"),
        ("partitionLabel: ['']", "an empty pattern"),
        ("partitionType: [8e00]", "is no GUID"),
        (
            "partitionType: ['e6d6d379-f507-44c2-a23c-238f2a3df92?']",
            "is no GUID",
        ),
        (
            "partitionLabel: [r-x], files: [{path: /var/lib/x, size: 1Gi}]",
            "give each a class of its own",
        ),
    ] {
        let text = refusal(load(select));
        assert!(text.contains(words), "{select}: {text}");
    }
}
