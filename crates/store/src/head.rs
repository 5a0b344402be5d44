//! A window in memory: the samples that were applied, as columns.

use std::collections::HashMap;

use farol_model::{Labels, Position, Text};

use crate::{
    block::push_run,
    clock::{Clock, Runs},
};

/// The columns of one window. Open ones grow; one that is over is written as a block.
#[derive(Debug)]
pub(crate) struct Window {
    /// Which one: its first millisecond divided by [`WINDOW_MILLIS`].
    pub number: i64,
    pub clocks: Vec<Clock>,
    pub columns: Vec<Column>,
    places: HashMap<(u32, u32), u32>,
    pub samples: u64,
}

/// The values of one series in one clock's rows.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Of the series, in the store's table.
    pub series: u32,
    pub clock: u32,
    pub runs: Vec<(u32, u32)>,
    pub values: Values,
}

/// Most series stand still: they take no memory until they move.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Same { value: f64, count: u32 },
    Each(Vec<f64>),
}

/// Windows are this long.
pub(crate) const WINDOW_MILLIS: i64 = 15 * 60 * 1000;

impl Window {
    pub(crate) fn new(number: i64) -> Window {
        Window {
            number,
            clocks: Vec::new(),
            columns: Vec::new(),
            places: HashMap::new(),
            samples: 0,
        }
    }

    pub(crate) fn clock(&mut self, key: &Text) -> u32 {
        let place = self.clocks.iter().position(|clock| clock.key == *key);
        let place = place.unwrap_or_else(|| {
            self.clocks.push(Clock::new(key.clone(), true));
            self.clocks.len() - 1
        });
        place as u32
    }

    pub(crate) fn column(&self, series: u32, clock: u32) -> Option<u32> {
        self.places.get(&(series, clock)).copied()
    }

    pub(crate) fn add_column(&mut self, series: u32, clock: u32) -> u32 {
        let place = self.columns.len() as u32;
        let values = Values::Same { value: 0.0, count: 0 };
        self.columns.push(Column { series, clock, runs: Vec::new(), values });
        self.places.insert((series, clock), place);
        place
    }

    /// The columns of a series: one for each clock it was in.
    pub(crate) fn of_series(&self, series: u32) -> impl Iterator<Item = &Column> {
        let clocks = 0..self.clocks.len() as u32;
        clocks
            .filter_map(move |clock| self.column(series, clock))
            .map(|place| &self.columns[place as usize])
    }

    /// A copy with the columns of these series alone, for a reader.
    pub(crate) fn only(&self, series: &[u32]) -> Window {
        let mut copy = Window::new(self.number);
        copy.clocks.clone_from(&self.clocks);
        for number in series {
            for column in self.of_series(*number) {
                copy.places.insert((column.series, column.clock), copy.columns.len() as u32);
                copy.columns.push(column.clone());
            }
        }
        copy
    }

    /// The times of the first and the last row.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        let first = self.clocks.iter().filter_map(|clock| clock.times.first()).min()?;
        let last = self.clocks.iter().filter_map(|clock| clock.times.last()).max()?;
        Some((*first, *last))
    }
}

impl Column {
    /// False if the series is in that row already.
    pub(crate) fn push(&mut self, row: u32, value: f64) -> bool {
        let end = self.runs.last().map_or(0, |(first, count)| first + count);
        if end > row {
            return false;
        }
        push_run(&mut self.runs, row, 1);
        self.values.push(value);
        true
    }

    /// Adds to the value of the last row.
    pub(crate) fn add_to_last(&mut self, value: f64) {
        self.values.add_to_last(value);
    }

    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }
}

impl Values {
    pub(crate) fn push(&mut self, value: f64) {
        match self {
            Values::Same { count: 0, .. } => *self = Values::Same { value, count: 1 },
            Values::Same { value: held, count } if held.to_bits() == value.to_bits() => *count += 1,
            Values::Same { value: held, count } => {
                let mut each = Vec::with_capacity((*count as usize + 1).next_power_of_two());
                each.resize(*count as usize, *held);
                each.push(value);
                *self = Values::Each(each);
            }
            Values::Each(each) => each.push(value),
        }
    }

    fn add_to_last(&mut self, more: f64) {
        match self {
            Values::Each(each) => {
                if let Some(last) = each.last_mut() {
                    *last += more;
                }
            }
            Values::Same { value, count } => {
                let sum = *value + more;
                *count = count.saturating_sub(1);
                self.push(sum);
            }
        }
    }
}

/// An open window.
#[derive(Debug)]
pub(crate) struct Head {
    pub window: Window,
    /// The first record that it holds: from here on the journal has to be read again after a crash.
    pub first: Position,
    /// Records that went to other windows since the last one that came here.
    pub passed_by: u32,
    /// By the clock's place.
    layouts: Vec<Layout>,
    /// Series made of rows.
    pub row_series: usize,
}

/// Which columns the samples of a lane's last snapshot went to, in its order. The next one usually
/// has the same series in the same order, and in the same places in memory.
#[derive(Debug, Default)]
struct Layout {
    host: Text,
    samples: Vec<Placed>,
    by_sample: HashMap<(Text, Labels), u32>,
    /// Where in `samples` the next one is expected.
    cursor: usize,
    changed: bool,
    next: Vec<Placed>,
}

#[derive(Clone, Debug)]
struct Placed {
    name: Text,
    labels: Labels,
    column: u32,
}

impl Head {
    pub(crate) fn new(window: i64, first: Position) -> Head {
        Head {
            window: Window::new(window),
            first,
            passed_by: 0,
            layouts: Vec::new(),
            row_series: 0,
        }
    }

    /// Before the samples of a snapshot.
    pub(crate) fn begin_row(&mut self, clock: u32, host: &Text) {
        if self.layouts.len() <= clock as usize {
            self.layouts.resize_with(clock as usize + 1, Layout::default);
        }
        let layout = &mut self.layouts[clock as usize];
        if layout.host != *host {
            *layout = Layout { host: host.clone(), ..Layout::default() };
        }
        layout.cursor = 0;
        layout.changed = false;
        layout.next.clear();
    }

    /// The column of a sample, if it had one in this window.
    pub(crate) fn find(&mut self, clock: u32, name: &Text, labels: &Labels) -> Option<u32> {
        let layout = &mut self.layouts[clock as usize];
        if let Some(placed) = layout.samples.get(layout.cursor)
            && placed.name == *name
            && (placed.labels.same_place(labels) || placed.labels == *labels)
        {
            let column = placed.column;
            layout.cursor += 1;
            layout.note(name, labels, column);
            return Some(column);
        }
        let column = layout.by_sample.get(&(name.clone(), labels.clone())).copied()?;
        layout.moved();
        layout.note(name, labels, column);
        Some(column)
    }

    /// Remembers the column of a sample that had none.
    pub(crate) fn place(&mut self, clock: u32, name: &Text, labels: &Labels, column: u32) {
        let layout = &mut self.layouts[clock as usize];
        layout.by_sample.insert((name.clone(), labels.clone()), column);
        layout.moved();
        layout.note(name, labels, column);
    }

    /// After the samples of a snapshot.
    pub(crate) fn end_row(&mut self, clock: u32) {
        let layout = &mut self.layouts[clock as usize];
        if layout.changed {
            std::mem::swap(&mut layout.samples, &mut layout.next);
        }
    }
}

impl Layout {
    /// The order is another from here on; up to here it was that of the last snapshot.
    fn moved(&mut self) {
        if !self.changed {
            self.changed = true;
            self.next.extend_from_slice(&self.samples[..self.cursor]);
        }
        self.cursor = self.samples.len().min(self.cursor + 1);
    }

    fn note(&mut self, name: &Text, labels: &Labels, column: u32) {
        if self.changed {
            self.next.push(Placed { name: name.clone(), labels: labels.clone(), column });
        }
    }
}
