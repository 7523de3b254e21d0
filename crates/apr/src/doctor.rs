//! What this machine and its settings are, as far as they decide how models run.

use crate::{Error, memory, units};
use apr_hub::{Cache, CacheState, Settings};
use apr_kernel::{Kernels, cpu_features};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::thread;

/// The state of the machine.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Doctor {
    /// Version of this program.
    pub version: &'static str,
    /// Operating system and processor family that it was built for.
    pub platform: String,
    /// The kernel table that models run with.
    pub kernels: &'static str,
    /// Every table that this processor can run, best last.
    pub available_kernels: Vec<&'static str>,
    /// Features of the processor that kernels use or could use.
    pub cpu_features: Vec<&'static str>,
    /// Threads that models run with unless told otherwise.
    pub cores: usize,
    /// Memory of the machine; unknown where the system does not tell.
    pub memory_bytes: Option<u64>,
    /// Memory that a process could take now.
    pub available_memory_bytes: Option<u64>,
    /// The hub and its cache.
    pub hub: HubHealth,
    /// What stands in the way of speed or of a download.
    pub remarks: Vec<String>,
}

/// The settings of the hub, and what is in its cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HubHealth {
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Whether it can be written, or made if it is not there.
    pub writable: bool,
    /// Models in it.
    pub models: usize,
    /// Bytes of their files.
    pub size_bytes: u64,
    /// Address of the hub.
    pub endpoint: String,
    /// Whether there is a token.
    pub has_token: bool,
    /// Whether the network is forbidden.
    pub offline: bool,
}

/// Looks at the machine and its settings. `kernels` names the table to run with; without it, the
/// best one.
///
/// # Errors
/// When there is no such table, or the cache cannot be read.
pub fn doctor(kernels: Option<&str>) -> Result<Doctor, Error> {
    let table = kernels.map_or_else(|| Ok(Kernels::best()), Kernels::named)?;
    let settings = Settings::from_env().map_err(Error::HubCache)?;
    let CacheState { writable, models, bytes } =
        Cache::new(&settings.cache).state().map_err(Error::HubCache)?;
    let hub = HubHealth {
        cache: settings.cache,
        writable,
        models,
        size_bytes: bytes,
        endpoint: settings.endpoint,
        has_token: settings.token.is_some(),
        offline: settings.offline,
    };
    let memory = memory::of_machine();
    Ok(Doctor {
        version: env!("CARGO_PKG_VERSION"),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        kernels: table.name(),
        available_kernels: Kernels::available().iter().map(|table| table.name()).collect(),
        cpu_features: cpu_features(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory.map(|(total, _)| total),
        available_memory_bytes: memory.map(|(_, available)| available),
        remarks: remarks(table, &hub),
        hub,
    })
}

fn remarks(table: &Kernels, hub: &HubHealth) -> Vec<String> {
    let mut remarks = Vec::new();
    let best = Kernels::best().name();
    if table.name() != best {
        remarks.push(format!("models run with {}, although {best} is faster here", table.name()));
    }
    if best == "scalar" {
        remarks.push("no vector instructions are used: models run slowly".to_owned());
    }
    if !hub.writable {
        let folder = hub.cache.display();
        remarks.push(format!("{folder} cannot be written: set HF_HUB_CACHE to pull models"));
    }
    if hub.offline {
        remarks.push("HF_HUB_OFFLINE is set: nothing is pulled".to_owned());
    }
    remarks
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), units::bytes);
        let (hub, yes_or_no) = (&self.hub, |yes: bool| if yes { "yes" } else { "no" });
        let memory = (bytes(self.memory_bytes), bytes(self.available_memory_bytes));
        for (what, value) in [
            ("version", self.version.to_owned()),
            ("platform", self.platform.clone()),
            ("kernels", format!("{} (of {})", self.kernels, self.available_kernels.join(", "))),
            ("cpu features", self.cpu_features.join(" ")),
            ("cores", self.cores.to_string()),
            ("memory", format!("{}, {} available", memory.0, memory.1)),
            ("cache", hub.cache.display().to_string()),
            ("  models", format!("{}, {}", hub.models, units::bytes(hub.size_bytes))),
            ("  writable", yes_or_no(hub.writable).to_owned()),
            ("hub", hub.endpoint.clone()),
            ("  token", yes_or_no(hub.has_token).to_owned()),
            ("  offline", yes_or_no(hub.offline).to_owned()),
        ] {
            writeln!(f, "{what:<14}{value}")?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "remark        {remark}"))
    }
}
