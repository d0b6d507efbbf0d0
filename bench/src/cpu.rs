//! Processor time and memory of another process, from `/proc`. What its children use counts too: some proxies have
//! helpers.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// Microseconds of one clock tick as `/proc/<pid>/stat` counts them: `USER_HZ` is 100 on every Linux port.
const TICK_MICROS: u64 = 10_000;

/// User and system time that process `pid` and its children have used so far, in microseconds, with a resolution of
/// 10 ms.
pub(crate) fn used_micros(pid: u32) -> anyhow::Result<u64> {
    let mut used = 0;
    for pid in family(pid)? {
        // A child may end meanwhile.
        if let Ok(stat) = Stat::of(pid) {
            used += stat.ticks * TICK_MICROS;
        }
    }
    Ok(used)
}

/// Resident memory of process `pid` and its children in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    sum(pid, "VmRSS:")
}

/// The most that it was since [`forget_peak`], in KiB.
pub(crate) fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    sum(pid, "VmHWM:")
}

/// Lets the peak begin anew at what is resident now (proc_pid_clear_refs(5)).
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    for pid in family(pid)? {
        crate::child::write(format!("/proc/{pid}/clear_refs").as_ref(), "5")?;
    }
    Ok(())
}

fn sum(pid: u32, field: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in family(pid)? {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        // A process that has just ended has none.
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix(field)) {
            sum += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// `pid` and all below it.
fn family(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(other) = name.to_str().and_then(|name| name.parse::<u32>().ok())
            && let Ok(stat) = Stat::of(other)
        {
            parents.insert(other, stat.parent);
        }
    }
    let mut family = vec![pid];
    let mut seen = 0;
    while let Some(of) = family.get(seen).copied() {
        seen += 1;
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| **parent == of)
                .map(|(child, _)| *child),
        );
    }
    Ok(family)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The name stands in parentheses and may hold anything; fields are counted after it (proc_pid_stat(5): 4, 14, 15).
        let (_, fields) = stat.rsplit_once(')').context("an odd /proc stat")?;
        let mut fields = fields.split_ascii_whitespace().skip(1);
        let parent = fields.next().context("no parent")?.parse()?;
        let mut times = fields.skip(9).map(str::parse::<u64>);
        let user = times.next().context("no user time")??;
        let system = times.next().context("no system time")??;
        Ok(Self {
            parent,
            ticks: user + system,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_time_and_memory() {
        let pid = std::process::id();
        used_micros(pid).unwrap();
        assert!(resident_kib(pid).unwrap() > 0);
        assert!(peak_kib(pid).unwrap() > 0);
    }

    #[test]
    fn a_child_is_of_the_family() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(family(std::process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
