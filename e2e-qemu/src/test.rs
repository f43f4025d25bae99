//! `e2e-qemu test` and `e2e-qemu runner`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use e2e_qemu::suite::{self, Job, Options, Pool, Record};
use e2e_qemu::{Backend, Command, Disk, Guest, Spec, find_workspace, host};

use crate::args::exit_code;
use crate::run::parse_size;

/// The longest one test may take. The longest takes about a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);
/// The same with the full counts, where the longest takes about ten minutes.
const LIMIT_OF_ALL: Duration = Duration::from_secs(3600);

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Only tests whose name contains this. Names are `<crate>::<target>::<function>` and `scenario::<function>`.
    name: Option<String>,
    /// Long variants too: tests marked `#[ignore]`, slow scenarios, and the full counts of all others.
    #[arg(long)]
    all: bool,
    /// Keeps what comes of each test in docs/results, and leaves out what passed before with the same code: an
    /// interrupted run goes on.
    #[arg(long, requires = "all")]
    record: bool,
    /// What runs the guests of guest tests. Scenarios choose for themselves.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// How many guests at once; as many as there are processors, but not more than four.
    #[arg(long)]
    jobs: Option<usize>,
    /// After how many seconds one test is killed; 300, and 3600 with --all.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Builds the guest tests as what ships is built, for those that measure. What scenarios start stays as it is.
    #[arg(long, conflicts_with = "record")]
    release: bool,
    /// Prints the names and runs nothing.
    #[arg(long)]
    list: bool,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            name,
            all,
            record,
            backend,
            jobs,
            timeout,
            release,
            list,
        } = self;
        let workspace = workspace()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options {
            filter: name,
            all,
            record,
            release,
            backend,
            jobs: jobs.unwrap_or(processors.min(4)),
            limit: timeout.map_or(if all { LIMIT_OF_ALL } else { LIMIT }, Duration::from_secs),
            workspace,
        };
        let mut jobs = suite::find(&options)?;
        if jobs.is_empty() {
            bail!("no test to run: nothing has such a name");
        }
        if list {
            for job in &jobs {
                println!("{}", job.name());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let record = record
            .then(|| open_record(&options, &mut jobs))
            .transpose()?;
        if jobs.is_empty() {
            println!("every test passed before with the same code: docs/results/test-all.md");
            return Ok(ExitCode::SUCCESS);
        }
        // Before the workers: they would all wait for it.
        if suite::only_scenarios(options.filter.as_deref()) {
            suite::programs(&options.workspace)?;
        }
        for module in e2e_qemu::peer::MODULES {
            let suite = format!("::{}::", module.suite);
            if jobs.iter().any(|job| job.name().contains(&suite)) {
                let cache = options.workspace.join(".cache");
                module.build(&cache)?;
            }
        }
        if jobs
            .iter()
            .any(|job| job.name().starts_with("scenario::cluster"))
        {
            e2e_qemu::cluster::prepare(&options.workspace, e2e_qemu::cluster::Minor::Newest)?;
        }
        e2e_qemu::prepare(&options.workspace, backend)?;
        let report = Pool::new(&options, jobs, record).run();
        let file = options.workspace.join("target/e2e/results.json");
        report
            .write(&file)
            .with_context(|| format!("write {}", file.display()))?;
        println!("{}", report.summary());
        Ok(if report.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Opens the record and leaves out the jobs that are done.
fn open_record(options: &Options, jobs: &mut Vec<Job>) -> anyhow::Result<Record> {
    let mut record = Record::open(&options.workspace)?;
    if options.filter.is_none() {
        record.keep_only(&jobs.iter().map(Job::name).collect());
    }
    let all = jobs.len();
    jobs.retain(|job| !record.has_passed(&job.name()));
    if jobs.len() < all {
        println!(
            "{} of {all} passed before with the same code",
            all - jobs.len()
        );
    }
    Ok(record)
}

/// A test binary, as cargo hands it to its runner.
#[derive(Debug, clap::Args)]
pub(crate) struct Runner {
    /// What runs the guest's kernel.
    #[arg(long, value_enum, default_value_t, env = "BASALT_GUEST_BACKEND")]
    backend: Backend,
    /// The sizes of the guest's disks.
    #[arg(long, value_delimiter = ',', default_value = "512M,512M,512M,512M", env = "BASALT_GUEST_DISKS", value_parser = parse_size)]
    disks: Vec<u64>,
    /// How much backtrace a panic in the test shows.
    #[arg(long, hide = true, env = "RUST_BACKTRACE", default_value = "0")]
    backtrace: String,
    /// After how many seconds the binary is killed.
    #[arg(
        long,
        default_value_t = 1800,
        value_name = "SECONDS",
        env = "BASALT_GUEST_TIMEOUT"
    )]
    timeout: u64,
    /// The binary.
    binary: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Runner {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            backend,
            disks,
            backtrace,
            timeout,
            binary,
            args,
        } = self;
        let binary = binary
            .canonicalize()
            .with_context(|| format!("find {}", binary.display()))?;
        if args.iter().any(|arg| arg == "--list") {
            let status = host::command(&binary).args(&args).status()?;
            return Ok(exit_code(status.code().unwrap_or(1)));
        }
        let mut spec = Spec::new(backend).memory_mib(768);
        if let Some(folder) = binary.parent() {
            spec = spec.share_read_only(folder);
        }
        for size in disks {
            spec = spec.disk(Disk::new(size));
        }
        let guest = Guest::boot(spec)?;
        let command = Command::new(binary.display().to_string())
            .args(args)
            .env("BASALT_DISKS", suite::disk_list(&guest))
            .env("RUST_BACKTRACE", backtrace)
            .cwd(std::env::current_dir()?)
            .timeout(Duration::from_secs(timeout))
            .inherit();
        Ok(exit_code(guest.run(command)?.status.shell_code()))
    }
}

fn workspace() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    find_workspace(&here)
        .or_else(|| find_workspace(Path::new(&host::own_executable().ok()?)))
        .with_context(|| format!("no workspace at or above {}", here.display()))
}
