//! When the snapshots of one lane were taken, and what follows from it for the ends of series.
//!
//! All series of a lane share its clock: each is either in a row of it or not. Nothing about ends
//! is stored; [`Walk`] finds them from the rows alone, so that live, replayed and merged data agree.

use std::ops::Range;

use farol_model::Text;

/// The rows of one lane in one window or block, in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Clock {
    pub key: Text,
    /// Whether a series that is not in a row has ended. Not so for imported samples.
    pub ends: bool,
    /// Milliseconds, rising.
    pub times: Vec<i64>,
    /// How long until the next row was due: from this row on, so many milliseconds.
    pub intervals: Vec<(u32, i64)>,
    /// Rows that state nothing about series which are not in them, rising.
    pub partial: Vec<u32>,
}

/// A snapshot may be so many intervals late before its lane's series have ended.
const PATIENCE: i64 = 3;

impl Clock {
    pub(crate) fn new(key: Text, ends: bool) -> Clock {
        Clock { key, ends, ..Clock::default() }
    }

    pub(crate) fn rows(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn push(&mut self, at: i64, interval: i64, is_partial: bool) {
        let row = self.rows();
        if self.intervals.last().is_none_or(|(_, held)| *held != interval) {
            self.intervals.push((row, interval));
        }
        if is_partial {
            self.partial.push(row);
        }
        self.times.push(at);
    }

    /// Adds the rows of a later one.
    pub(crate) fn extend(&mut self, later: &Clock) {
        let shift = self.rows();
        self.times.extend_from_slice(&later.times);
        for (row, interval) in &later.intervals {
            if self.intervals.last().is_none_or(|(_, held)| held != interval) {
                self.intervals.push((row + shift, *interval));
            }
        }
        self.partial.extend(later.partial.iter().map(|row| row + shift));
    }

    /// The rows that came too late for the series of the one before, rising.
    pub(crate) fn late_rows(&self) -> Vec<u32> {
        let mut late = Vec::new();
        for (place, (first, interval)) in self.intervals.iter().enumerate() {
            let next = self.intervals.get(place + 1).map_or(self.rows(), |(row, _)| *row);
            // The row after the stretch is still measured by its interval.
            let end = (next as usize + 1).min(self.times.len());
            let patience = interval.saturating_mul(PATIENCE);
            let times = self.times.get(*first as usize..end).unwrap_or_default();
            let is_late = |pair: &[i64]| pair[1].saturating_sub(pair[0]) > patience;
            let found = times.windows(2).zip(first + 1..).filter(|(pair, _)| is_late(pair));
            late.extend(found.map(|(_, row)| row));
        }
        late
    }

    /// When a series that was in this row has ended, if no row comes before.
    fn deadline(&self, row: u32) -> i64 {
        let after = self.intervals.partition_point(|(from, _)| *from <= row);
        let interval = after.checked_sub(1).map_or(0, |place| self.intervals[place].1);
        deadline(self.times[row as usize], interval)
    }

    /// How long after its last row a series of this clock may end.
    pub(crate) fn longest_patience(&self) -> i64 {
        let longest = self.intervals.iter().map(|(_, interval)| *interval).max();
        longest.unwrap_or(0).saturating_mul(PATIENCE)
    }

    /// The rows with times in the range, both ends included.
    pub(crate) fn rows_within(&self, start: i64, end: i64) -> Range<u32> {
        let first = self.times.partition_point(|time| *time < start) as u32;
        let last = self.times.partition_point(|time| *time <= end) as u32;
        first..last.max(first)
    }
}

fn deadline(time: i64, interval: i64) -> i64 {
    time.saturating_add(interval.saturating_mul(PATIENCE))
}

/// The rows that a series is in: runs of (first row, number of rows), rising and apart.
pub(crate) type Runs = [(u32, u32)];

/// Goes with one series along its lane's clock, from window to window, and finds where it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    /// The series was there and nothing has ended it yet: when it will have ended by itself.
    alive_until: Option<i64>,
}

impl Walk {
    /// Goes through these rows of one window or block, of which the series is in `runs`, and says
    /// when it ended. `late` are the clock's [`late_rows`](Clock::late_rows).
    pub(crate) fn through(
        &mut self,
        clock: &Clock,
        late: &[u32],
        runs: &Runs,
        rows: Range<u32>,
        mut ended: impl FnMut(i64),
    ) {
        if !clock.ends {
            return;
        }
        let mut next = rows.start;
        for (first, count) in runs {
            let run = (*first).max(next)..first.saturating_add(*count).min(rows.end);
            if run.is_empty() {
                continue;
            }
            self.absent(clock, next..run.start, &mut ended);
            next = run.end;
            self.present(clock, late, run, &mut ended);
        }
        self.absent(clock, next..rows.end, &mut ended);
    }

    /// With no newer row: whether the silence has lasted too long.
    pub(crate) fn until(&mut self, now: i64, mut ended: impl FnMut(i64)) {
        if let Some(deadline) = self.alive_until.take_if(|deadline| *deadline < now) {
            ended(deadline);
        }
    }

    /// Whether a later row may still end the series.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive_until.is_some()
    }

    fn absent(&mut self, clock: &Clock, rows: Range<u32>, ended: &mut impl FnMut(i64)) {
        for row in rows {
            // Once it has ended, absence says nothing new.
            if self.alive_until.is_none() {
                return;
            }
            let time = clock.times[row as usize];
            self.until(time, &mut *ended);
            if self.alive_until.is_none() {
                return;
            }
            if clock.partial.binary_search(&row).is_ok() {
                self.alive_until = Some(clock.deadline(row));
            } else {
                self.alive_until = None;
                ended(time);
            }
        }
    }

    fn present(
        &mut self,
        clock: &Clock,
        late: &[u32],
        rows: Range<u32>,
        ended: &mut impl FnMut(i64),
    ) {
        if rows.is_empty() {
            return;
        }
        self.until(clock.times[rows.start as usize], &mut *ended);
        // A late row in the middle of a run: the series ended and came back.
        let first = late.partition_point(|row| *row <= rows.start);
        for row in late[first..].iter().take_while(|row| **row < rows.end) {
            ended(clock.deadline(row - 1));
        }
        self.alive_until = Some(clock.deadline(rows.end - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(times: &[i64], partial: &[u32]) -> Clock {
        let mut clock = Clock::new(Text::from_static("fast"), true);
        for (row, time) in times.iter().enumerate() {
            clock.push(*time, 10, partial.contains(&(row as u32)));
        }
        clock
    }

    fn ends(clock: &Clock, runs: &Runs, now: Option<i64>) -> Vec<i64> {
        let mut found = Vec::new();
        let mut walk = Walk::default();
        walk.through(clock, &clock.late_rows(), runs, 0..clock.rows(), |at| found.push(at));
        if let Some(now) = now {
            walk.until(now, |at| found.push(at));
        }
        found
    }

    #[test]
    fn a_series_ends_at_the_first_row_without_it() {
        let clock = clock(&[0, 10, 20, 30], &[]);
        assert_eq!(ends(&clock, &[(0, 4)], None), [] as [i64; 0]);
        assert_eq!(ends(&clock, &[(0, 2)], None), [20]);
        assert_eq!(ends(&clock, &[(0, 1), (2, 1)], None), [10, 30]);
    }

    #[test]
    fn all_end_three_intervals_after_the_last_row_when_the_next_is_late() {
        let late = clock(&[0, 10, 41], &[]);
        assert_eq!(ends(&late, &[(0, 3)], None), [40]);
        let in_time = clock(&[0, 10, 40], &[]);
        assert_eq!(ends(&in_time, &[(0, 3)], None), [] as [i64; 0]);
        assert_eq!(ends(&in_time, &[(0, 3)], Some(71)), [70]);
        assert_eq!(ends(&in_time, &[(0, 3)], Some(70)), [] as [i64; 0]);
    }

    #[test]
    fn a_partial_row_neither_carries_on_nor_ends() {
        let clock = clock(&[0, 10, 20, 30, 40, 50, 60], &[1, 2, 3, 4, 5]);
        assert_eq!(ends(&clock, &[(0, 1)], None), [60]);
        assert_eq!(ends(&clock, &[(0, 1), (6, 1)], None), [] as [i64; 0]);
    }
}
