//! Processor time and memory of another process, from `/proc`.

use anyhow::Context as _;

/// Microseconds of one clock tick as `/proc/<pid>/stat` counts them: `USER_HZ` is 100 on every Linux port.
const TICK_MICROS: u64 = 10_000;

/// User and system time that process `pid` has used so far, in microseconds, with a resolution of 10 ms.
pub(crate) fn used_micros(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name stands in parentheses and may hold anything; fields are counted after it (proc_pid_stat(5): 14 and 15).
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc stat")?;
    let mut times = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<u64>);
    let user = times.next().context("no user time")??;
    let system = times.next().context("no system time")??;
    Ok((user + system) * TICK_MICROS)
}

/// Resident memory of process `pid` in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no resident memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_time_and_memory() {
        let pid = std::process::id();
        used_micros(pid).unwrap();
        assert!(resident_kib(pid).unwrap() > 0);
    }
}
