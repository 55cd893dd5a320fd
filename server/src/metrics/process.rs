//! The process: memory, CPU time, threads, open files, under the names that every Prometheus client uses. Read from
//! `/proc/self`; on a system without it the figures stay 0.

use prometheus::Gauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{descriptions, gauge, values};

/// Reads `/proc/self` at every scrape.
pub struct ProcessMetrics {
    cpu: Gauge,
    resident: Gauge,
    virtual_memory: Gauge,
    threads: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    start: Gauge,
}

impl ProcessMetrics {
    /// All gauges at 0.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            // A gauge by mechanism, since its value is read and not counted; the name is the one dashboards know.
            cpu: gauge(
                "process_cpu_seconds_total",
                "User and system CPU time in seconds.",
            )?,
            resident: gauge("process_resident_memory_bytes", "Resident memory in bytes.")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory in bytes.")?,
            threads: gauge("process_threads", "Threads of the process.")?,
            open_files: gauge("process_open_fds", "Open file descriptors.")?,
            most_files: gauge("process_max_fds", "Most file descriptors that may be open.")?,
            start: gauge(
                "process_start_time_seconds",
                "Start of the process in seconds since 1970.",
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.resident,
            &self.virtual_memory,
            &self.threads,
            &self.open_files,
            &self.most_files,
            &self.start,
        ]
    }

    /// Reads what can be read.
    fn refresh(&self) -> Option<()> {
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as f64);
        }
        if let Some(limit) = std::fs::read_to_string("/proc/self/limits")
            .ok()
            .as_deref()
            .and_then(max_open_files)
        {
            self.most_files.set(limit);
        }
        let stat = Stat::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
        let (page, ticks) = (
            system_value(libc::_SC_PAGESIZE)?,
            system_value(libc::_SC_CLK_TCK)?,
        );
        self.cpu.set(stat.cpu_ticks / ticks);
        self.threads.set(stat.threads);
        self.virtual_memory.set(stat.virtual_bytes);
        self.resident.set(stat.resident_pages * page);
        let booted = std::fs::read_to_string("/proc/stat")
            .ok()
            .as_deref()
            .and_then(boot_time)?;
        self.start.set(booted + stat.start_ticks / ticks);
        Some(())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        descriptions(&self.all())
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if self.refresh().is_none() {
            tracing::debug!("no figures of the process in /proc/self");
        }
        values(&self.all())
    }
}

/// The fields of `/proc/self/stat` that are shown.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// Fields are numbered as in proc(5); the second, the name in parentheses, may contain spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn max_open_files(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn boot_time(stat: &str) -> Option<f64> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

fn system_value(name: libc::c_int) -> Option<f64> {
    // SAFETY: `sysconf` reads a constant of the system and touches no memory of ours.
    let value = unsafe { libc::sysconf(name) };
    (value > 0).then_some(value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            cpu_ticks: 23.0,
            threads: 17.0,
            start_ticks: 19.0,
            virtual_bytes: 20.0,
            resident_pages: 21.0,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("12 (a) S 1"), None);
    }

    #[test]
    fn limits_and_boot_time_are_found() {
        let limits =
            "Limit      Soft Limit  Hard Limit  Units\nMax open files            1024     4096     files\n";
        assert_eq!(max_open_files(limits), Some(1024.0));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_files() {
        let metrics = ProcessMetrics::new().unwrap();
        metrics.collect();
        assert!(metrics.resident.get() > 100_000.0);
        assert!(metrics.open_files.get() >= 3.0);
        assert!(metrics.threads.get() >= 1.0);
    }
}
