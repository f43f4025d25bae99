//! What has to be done to a guest from outside: power cuts, disks that come and go, reboots.
//!
//! A scenario is a function here; [`all`] is the list of them. It fails by returning an error or by panicking.

mod buses;
mod charts;
mod clone;
mod cluster;
mod cuts;
mod disks;
mod drain;
mod growth;
mod histories;
mod image;
mod input;
mod lvm;
mod onboarding;
mod pod;
mod power;
mod reboots;
mod sockets;
mod sysext;
mod talos;
mod thin_tools;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use crate::cluster::Minor;
use crate::spec::{Backend, Spec};
use crate::suite::Options;

/// A function that boots guests and does things to them.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Runs only when everything is run.
    pub slow: bool,
    /// Does it.
    pub run: fn(&Context) -> anyhow::Result<()>,
}

impl Scenario {
    /// What its full name starts with.
    pub const PREFIX: &'static str = "scenario::";

    const fn short(name: &'static str, run: fn(&Context) -> anyhow::Result<()>) -> Self {
        Self {
            name,
            slow: false,
            run,
        }
    }

    const fn slow(name: &'static str, run: fn(&Context) -> anyhow::Result<()>) -> Self {
        Self {
            name,
            slow: true,
            run,
        }
    }
}

/// Every scenario there is.
#[must_use]
pub fn all() -> Vec<Scenario> {
    use Backend::{Qemu, Uml};
    vec![
        Scenario::slow("disk_is_plugged_and_pulled_qemu", |c| {
            disks::plug_and_pull(c, Qemu)
        }),
        Scenario::short("lvm_works_qemu", |c| lvm::works(c, Qemu)),
        Scenario::slow("disk_in_use_is_pulled_qemu", |c| {
            disks::pull_in_use(c, Qemu)
        }),
        Scenario::slow("power_cut_keeps_what_was_synced_qemu", |c| {
            power::cut(c, Qemu)
        }),
        Scenario::slow("shutdown_keeps_what_was_written_qemu", |c| {
            power::shutdown(c, Qemu)
        }),
        Scenario::slow("two_guests_at_once_qemu", |c| power::two_guests(c, Qemu)),
        Scenario::slow("time_limits_hold_qemu", |c| power::time_limits(c, Qemu)),
        Scenario::slow("commands_read_much_qemu", |c| input::arrives(c, Qemu)),
        Scenario::short("commands_read_much_uml", |c| input::arrives(c, Uml)),
        Scenario::short("time_limits_hold_uml", |c| power::time_limits(c, Uml)),
        Scenario::short("node_image_works_uml", image::works),
        Scenario::short("lvm_works_uml", |c| lvm::works(c, Uml)),
        Scenario::short("power_cut_keeps_what_was_synced_uml", |c| {
            power::cut(c, Uml)
        }),
        Scenario::short("shutdown_keeps_what_was_written_uml", |c| {
            power::shutdown(c, Uml)
        }),
        Scenario::short("disk_is_plugged_and_pulled_uml", |c| {
            disks::plug_and_pull(c, Uml)
        }),
        Scenario::short("disk_in_use_is_pulled_uml", |c| disks::pull_in_use(c, Uml)),
        Scenario::short("scsi_debug_disks_have_identity_uml", |c| {
            disks::scsi_debug(c, Uml)
        }),
        Scenario::short("watcher_and_lvmd_work_in_a_pod_uml", |c| {
            pod::works(c, pod::RunLock::PartOfRun, Some("bound"))
        }),
        Scenario::slow("watcher_and_lvmd_work_in_a_pod_of_debian_uml", |c| {
            pod::works(c, pod::RunLock::OwnTmpfs, Some("shown"))
        }),
        Scenario::short("watcher_and_lvmd_work_on_debian_itself_uml", |c| {
            pod::works(c, pod::RunLock::OwnTmpfs, None)
        }),
        Scenario::short("a_private_lock_directory_is_refused_uml", pod::refuses),
        Scenario::short(
            "talos_extension_service_takes_a_disk_uml",
            talos::takes_a_disk,
        ),
        Scenario::short(
            "talos_extension_service_checks_a_pool_before_it_is_active_uml",
            talos::checks_a_pool,
        ),
        Scenario::short(
            "talos_extension_service_extends_a_pool_that_fills_uml",
            talos::extends_a_pool,
        ),
        Scenario::short(
            "talos_extension_service_refuses_a_private_lock_directory_uml",
            talos::refuses,
        ),
        Scenario::slow(
            "talos_extension_service_lives_from_disk_to_full_pool_qemu",
            talos::whole_life,
        ),
        Scenario::slow(
            "cluster_runs_a_pod_again_after_a_power_cut_uml",
            cluster::node,
        ),
        Scenario::short("cluster_takes_the_charts", charts::taken),
        Scenario::short("cluster_serves_pods_volumes_uml", cluster::volumes::life),
        Scenario::slow("cluster_passes_csi_sanity_uml", cluster::sanity::passes),
        Scenario::slow(
            "cluster_serves_every_kind_of_volume_uml",
            cluster::kinds::each,
        ),
        Scenario::slow(
            "cluster_copies_thick_volumes_by_snapshots_uml",
            cluster::copied::keep_their_data,
        ),
        Scenario::slow(
            "cluster_adopts_volumes_whose_objects_were_lost_uml",
            cluster::adopted::after_loss,
        ),
        Scenario::slow(
            "cluster_is_installed_and_uninstalled_by_the_plugin_uml",
            cluster::installed::and_uninstalled,
        ),
        Scenario::slow(
            "cluster_keeps_a_pods_data_on_a_disk_taken_by_node_label_over_a_power_cut_uml",
            |c| cluster::path::guide(c, Minor::Newest, cluster::path::Chosen::NodeLabel),
        ),
        Scenario::short(
            "cluster_keeps_a_pods_data_from_bare_disk_over_a_power_cut_uml",
            |c| cluster::path::guide(c, Minor::Newest, cluster::path::Chosen::Path),
        ),
        Scenario::slow(
            "cluster_keeps_a_pods_data_with_the_image_and_charts_of_a_release_from_a_registry_uml",
            cluster::released::pulled,
        ),
        Scenario::slow(
            "cluster_of_kubernetes_1_34_keeps_a_pods_data_from_bare_disk_over_a_power_cut_uml",
            |c| cluster::path::guide(c, Minor::Older, cluster::path::Chosen::Path),
        ),
        Scenario::slow(
            "cluster_keeps_a_pods_data_on_a_disk_taken_by_disk_config_over_a_power_cut_qemu",
            |c| cluster::path::guide(c, Minor::Newest, cluster::path::Chosen::DiskConfig),
        ),
        Scenario::slow(
            "cluster_takes_disks_by_a_disk_class_and_gives_one_back_uml",
            cluster::objects::from_class_to_removal,
        ),
        Scenario::slow(
            "cluster_fills_a_pool_while_the_api_server_is_away_uml",
            |c| cluster::away::pool_fills(c, Duration::from_mins(5), 3),
        ),
        Scenario::slow(
            "cluster_fills_a_pool_while_the_api_server_is_away_for_an_hour_uml",
            |c| cluster::away::pool_fills(c, Duration::from_mins(60), 40),
        ),
        Scenario::slow(
            "cluster_shows_capacity_0_of_a_full_pool_uml",
            cluster::full::shows_capacity_0,
        ),
        Scenario::slow(
            "cluster_destroys_nothing_after_slips_in_a_disk_class_uml",
            cluster::slips::destroy_nothing,
        ),
        Scenario::slow(
            "cluster_upgrades_and_downgrades_the_watcher_in_the_middle_of_its_work_uml",
            cluster::versions::there_and_back,
        ),
        Scenario::slow(
            "cluster_lets_one_of_two_watchers_act_uml",
            cluster::twins::one_acts,
        ),
        Scenario::slow(
            "cluster_places_pods_on_two_nodes_uml",
            cluster::placement::two_nodes,
        ),
        Scenario::slow(
            "cluster_schedules_pods_by_the_extender_and_the_webhook_uml",
            cluster::extender::decides,
        ),
        Scenario::slow(
            "cluster_does_what_upstreams_specs_ask_uml",
            cluster::specs::asked,
        ),
        Scenario::slow(
            "cluster_leaves_a_disk_alone_that_is_moved_to_another_node_uml",
            cluster::moved::stays_theirs,
        ),
        Scenario::slow(
            "cluster_serves_pods_while_the_driver_is_upgraded_uml",
            cluster::trouble::upgrade,
        ),
        Scenario::slow(
            "cluster_keeps_what_was_synced_on_a_pulled_disk_uml",
            cluster::trouble::pulled,
        ),
        Scenario::slow(
            "cluster_migrates_from_topolvm_and_back_under_load_uml",
            cluster::migration::there_and_back,
        ),
        Scenario::slow(
            "cluster_migrates_from_topolvm_0_36_and_back_under_load_uml",
            cluster::migration::from_the_older,
        ),
        Scenario::slow(
            "cluster_works_with_half_of_it_topolvms_uml",
            cluster::wire::each_with_the_other,
        ),
        Scenario::short("sockets_are_forwarded_uml", |c| sockets::forward(c, Uml)),
        Scenario::slow("sockets_are_forwarded_qemu", |c| sockets::forward(c, Qemu)),
        Scenario::short("onboarding_survives_power_cuts_uml", |c| {
            onboarding::power_cuts(c, if c.all { 20 } else { 2 })
        }),
        Scenario::short(
            "the_watcher_goes_on_after_a_cut_at_every_write",
            cuts::at_every_write,
        ),
        Scenario::slow("a_disk_leaves_its_group_over_power_cuts_uml", |c| {
            drain::leaves(c, if c.all { 20 } else { 1 })
        }),
        Scenario::short("a_pv_follows_its_disk_over_power_cuts_uml", |c| {
            growth::followed(c, if c.all { 20 } else { 1 })
        }),
        Scenario::slow(
            "a_copy_of_a_disk_is_not_chosen_over_reboots_uml",
            clone::is_not_chosen,
        ),
        Scenario::slow(
            "a_pool_works_again_after_a_reboot_in_each_of_its_states_uml",
            reboots::in_each_state,
        ),
        Scenario::slow(
            "the_extensions_thin_tools_serve_lvm_uml",
            thin_tools::serve_lvm,
        ),
        Scenario::slow(
            "systemd_sysext_merges_the_thin_tools_uml",
            thin_tools::are_merged,
        ),
        Scenario::slow("systemd_sysext_serves_the_watcher_uml", sysext::serves),
        Scenario::slow(
            "disks_of_every_bus_are_known_by_their_ids_qemu",
            buses::known_by_their_ids,
        ),
        Scenario::slow(
            "reader_equals_lvm_without_device_mapper",
            histories::without_device_mapper,
        ),
        Scenario::short("two_guests_at_once_uml", |c| power::two_guests(c, Uml)),
    ]
}

/// What a scenario gets.
#[derive(Debug)]
pub struct Context {
    workspace: PathBuf,
    scenario: &'static str,
    results: Mutex<Vec<String>>,
    limit: Duration,
    /// Is everything being run? Then counts are those of the full test.
    pub all: bool,
    /// Is what comes of it to be kept in docs?
    record: bool,
}

impl Context {
    pub(crate) fn new(options: &Options, scenario: &Scenario) -> Self {
        Self {
            workspace: options.workspace.clone(),
            scenario: scenario.name,
            results: Mutex::default(),
            limit: options.limit.max(Duration::from_mins(10)),
            all: options.all,
            record: options.record,
        }
    }

    /// Keeps what the scenario counted for the report.
    pub fn result(&self, counted: impl Into<String>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push(counted.into());
    }

    pub(crate) fn into_results(self) -> Vec<String> {
        self.results
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A guest to start from. Its console is kept in target/e2e; it ends after ten minutes, or
    /// the limit of a test where that is longer, whatever happens.
    #[must_use]
    pub fn spec(&self, backend: Backend, name: &str) -> Spec {
        Spec::new(backend)
            .name(name)
            .workspace(self.workspace.clone())
            .console(self.artifacts().join(format!("{name}.log")))
            .limit(self.limit)
    }

    /// Where the scenario may leave things for people to look at.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.workspace.join("target/e2e").join(self.scenario)
    }

    /// The same folder, there and empty.
    pub(crate) fn empty_artifacts(&self) -> anyhow::Result<PathBuf> {
        let dir = self.artifacts();
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }
}
