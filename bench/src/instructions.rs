//! How many instructions a request costs in the processor's user mode, counted by valgrind.
//!
//! Time on a busy machine says little; instructions are nearly the same in each run. The counts are checked in, so that
//! a change that makes the hot path longer shows in review. Of the product the data plane alone is counted: see
//! [`crate::plane`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use agent_vault_testing::Home;
use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::child::{Child, Wrapper};
use crate::load::Asking;
use crate::report::RELAY;
use crate::row::{Ask, Version};
use crate::target::{Kind, PLAIN, Target};
use crate::{child, start_relay, start_upstream};

/// Requests before the count begins: caches are filled and buffers have grown.
const WARM_UP: usize = 200;
/// Requests that are counted.
const COUNTED: usize = 500;
/// New tunnels that are counted; each costs as much as many requests.
const TUNNELS: usize = 20;

/// What is counted: the client's version, what the upstream offers, and whether tunnels are kept.
const CASES: [(&str, Version, Version, bool); 5] = [
    ("h1 to h1", Version::H1, Version::H1, true),
    ("h1 to h2", Version::H1, Version::H2, true),
    ("h2 to h2", Version::H2, Version::H2, true),
    ("new h1 tunnel to h1", Version::H1, Version::H1, false),
    ("new h2 tunnel to h2", Version::H2, Version::H2, false),
];

/// The name of the data plane.
const PLANE: &str = "data plane";

/// Counts for each case and target, as instructions for each request.
pub(crate) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Counts the data plane and the relay, and writes what valgrind saw into `profiles`, if given.
pub(crate) async fn count(profiles: Option<&Path>) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for offered in [Version::H1, Version::H2] {
        let home = Home::new();
        let folder = profiles.map_or_else(|| home.path().to_owned(), Path::to_owned);
        std::fs::create_dir_all(&folder)?;
        let wrapper = wrapper(&folder);
        let (upstream, authority, upstream_ca) = start_upstream(&home, offered, 64).await?;
        let (relay, relay_target) =
            start_relay(&home, &authority, &upstream_ca, offered, Some(&wrapper)).await?;
        let (plane, plane_target) = start_plane(&home, &authority, &upstream_ca, &wrapper).await?;
        let targets = [relay_target, plane_target];
        for (name, client, _, keeps) in CASES.iter().filter(|case| case.2 == offered) {
            for target in &targets {
                let label = format!("{name} {}", target.name).replace(' ', "-");
                let count = requests(target, *client, *keeps, &folder, &label)
                    .await
                    .with_context(|| format!("{name} through {}", target.name))?;
                counts
                    .entry((*name).to_owned())
                    .or_default()
                    .insert(target.name.clone(), count);
            }
        }
        drop((upstream, relay, plane));
    }
    Ok(counts)
}

async fn start_plane(
    home: &Home,
    authority: &str,
    upstream_ca: &Path,
    wrapper: &Wrapper,
) -> anyhow::Result<(Child, Target)> {
    let (ca, token) = (home.join("plane.pem"), home.join("token"));
    let arguments: [&OsStr; 9] = [
        "plane".as_ref(),
        "--ca-out".as_ref(),
        ca.as_os_str(),
        "--token-out".as_ref(),
        token.as_os_str(),
        "--upstream-ca".as_ref(),
        upstream_ca.as_os_str(),
        "--authority".as_ref(),
        authority.as_ref(),
    ];
    let plane = Child::of_self_in(Some(wrapper), &arguments).await?;
    let pem = std::fs::read_to_string(&ca).context("the certificate of the data plane")?;
    let agents = [std::fs::read_to_string(&token)?];
    let (pid, addr) = (plane.pid(), plane.addr());
    let target = Target::new(PLANE, Kind::Running, pid, addr, &pem, authority, &agents);
    Ok((plane, target))
}

/// One thread, so that counts do not depend on who wakes whom.
fn wrapper(folder: &Path) -> Wrapper {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(folder.join("callgrind.%p"));
    Wrapper {
        program: "valgrind".into(),
        arguments: vec![
            "--tool=callgrind".into(),
            "--quiet".into(),
            "--instr-atstart=no".into(),
            out,
        ],
        environment: vec![("TOKIO_WORKER_THREADS", "1")],
    }
}

async fn requests(
    target: &Target,
    client: Version,
    keeps: bool,
    folder: &Path,
    label: &str,
) -> anyhow::Result<u64> {
    let (warm_up, counted) = if keeps {
        (WARM_UP, COUNTED)
    } else {
        (TUNNELS, TUNNELS)
    };
    let tls = target.tls(client.alpn(), false);
    let mut kept = None;
    let mut round = async |requests: usize| -> anyhow::Result<()> {
        for _ in 0..requests {
            let mut http = match kept.take() {
                Some(http) => http,
                None => target
                    .open(&tls, PLAIN)
                    .await
                    .map_err(|error| anyhow!("{error}"))?,
            };
            let asked = match Asking::new(&target.authority, http.is_h2(), Ask::Small) {
                Ok(asking) => asking.ask(&mut http).await,
                Err(error) => Err(error),
            };
            asked.map_err(|error| anyhow!("a request failed: {error}"))?;
            if keeps {
                kept = Some(http);
            } else {
                http.close().await;
            }
        }
        Ok(())
    };
    control(&["--instr=on"], target.pid)?;
    round(warm_up).await?;
    control(&["--zero"], target.pid)?;
    round(counted).await?;
    control(&[&format!("--dump={label}")], target.pid)?;
    control(&["--instr=off"], target.pid)?;
    Ok(total(folder, target.pid)? / counted as u64)
}

fn control(arguments: &[&str], pid: u32) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control")
        .args(arguments)
        .arg(pid.to_string())
        .output()
        .context("cannot run callgrind_control; it comes with valgrind")?;
    ensure!(
        output.status.success(),
        "callgrind_control {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The total of the newest dump of process `pid`.
fn total(folder: &Path, pid: u32) -> anyhow::Result<u64> {
    let prefix = format!("callgrind.{pid}.");
    let newest = std::fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let number: u32 = name.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .max();
    let Some((_, path)) = newest else {
        bail!("valgrind wrote nothing for process {pid}");
    };
    let text = std::fs::read_to_string(&path)?;
    let line = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("totals:")
                .or(line.strip_prefix("summary:"))
        })
        .with_context(|| format!("no total in {}", path.display()))?;
    Ok(line.trim().parse()?)
}

/// The counts as they are checked in.
fn to_json(counts: &Counts, tolerance: f64) -> Value {
    json!({ "tolerance": tolerance, "instructions_per_request": counts })
}

/// Prints `counts`, beside what is checked in at `checked_in`, and fails when the product needs more than that allows.
/// With `update` the file is written instead.
pub(crate) fn compare(counts: &Counts, checked_in: &Path, update: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let known: Option<Value> = std::fs::read_to_string(checked_in)
        .ok()
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .with_context(|| format!("{} is not JSON", checked_in.display()))?;
    let tolerance = known
        .as_ref()
        .and_then(|known| known.get("tolerance")?.as_f64())
        .unwrap_or(DEFAULT_TOLERANCE);
    let before = |case: &str, target: &str| {
        known
            .as_ref()
            .and_then(|known| known.pointer(&format!("/instructions_per_request/{case}/{target}")))
            .and_then(Value::as_u64)
    };
    let mut worse = Vec::new();
    for (case, targets) in counts {
        let relay = targets.get(RELAY).copied().unwrap_or_default();
        for (target, count) in targets {
            let before_count = before(case, target);
            writeln!(
                out,
                "{case:<20} {target:<12} {count:>9} instructions, {:.2} x relay{}",
                *count as f64 / relay as f64,
                before_count.map_or_else(String::new, |before| format!(", checked in {before}"))
            )?;
            if let (Some(before_count), Some(before_relay)) = (before_count, before(case, RELAY)) {
                let is_now = Measured::new(*count, relay);
                if is_now.is_more_than(Measured::new(before_count, before_relay), tolerance) {
                    worse.push(format!("{case} through {target}"));
                }
            }
        }
    }
    if update {
        return child::write(checked_in, &format!("{:#}\n", to_json(counts, tolerance)));
    }
    ensure!(
        worse.is_empty(),
        "more instructions than checked in: {}; shorten the path, or write the new counts with --update and say why",
        worse.join(", ")
    );
    Ok(())
}

/// How much more than what is checked in is let pass: two runs differ by less.
const DEFAULT_TOLERANCE: f64 = 0.05;

/// A count, by itself and relative to the relay's in the same run.
#[derive(Debug, Clone, Copy)]
struct Measured {
    count: f64,
    ratio: f64,
}

impl Measured {
    fn new(count: u64, relay: u64) -> Self {
        Self {
            count: count as f64,
            ratio: count as f64 / relay as f64,
        }
    }

    /// More in both respects. Another compiler, processor or library changes the count and the relay's alike, and so does
    /// a busy machine over HTTP/2, where several frames may then be read at once.
    fn is_more_than(self, other: Self, tolerance: f64) -> bool {
        let more = |one: f64, other: f64| one > other * (1.0 + tolerance);
        more(self.count, other.count) && more(self.ratio, other.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_by_itself_and_beside_the_relay_is_worse() {
        let before = Measured::new(60_000, 40_000);
        let worse = |count, relay| Measured::new(count, relay).is_more_than(before, 0.05);
        assert!(!worse(60_000, 40_000));
        assert!(!worse(62_900, 40_000));
        assert!(worse(63_100, 40_000));
        // Another compiler made both longer.
        assert!(!worse(72_000, 48_000));
        assert!(worse(80_000, 48_000));
        // The relay alone became shorter.
        assert!(!worse(60_000, 30_000));
    }
}
