//! What was measured, as a table of medians.

use std::{collections::BTreeMap, fmt};

use crate::http2::Shape;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// CPU time of the server per request, in microseconds.
    pub(crate) micros: f64,
    /// Requests per second.
    pub(crate) rate: f64,
}

/// All measurements, by shape and peer.
#[derive(Debug)]
pub(crate) struct Table {
    peers: Vec<&'static str>,
    figures: BTreeMap<(Shape, usize), Vec<Figure>>,
}

impl Table {
    pub(crate) fn new(peers: Vec<&'static str>) -> Self {
        Self { peers, figures: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, shape: Shape, peer: usize, figure: Figure) {
        self.figures.entry((shape, peer)).or_default().push(figure);
    }

    /// The first peer's time as a part of another's, repetition by repetition.
    fn ratio(&self, shape: Shape, peer: usize) -> Option<f64> {
        let (own, other) = (self.figures.get(&(shape, 0))?, self.figures.get(&(shape, peer))?);
        Some(median(own.iter().zip(other).map(|(own, other)| own.micros / other.micros)))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.peers.first().unwrap_or(&"");
        writeln!(
            f,
            "| connections x streams | server | µs CPU per request | from-to | requests/s | {first} / it |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for ((shape, peer), figures) in &self.figures {
            let name = self.peers.get(*peer).unwrap_or(&"");
            let times = || figures.iter().map(|figure| figure.micros);
            let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
            let rate = median(figures.iter().map(|figure| figure.rate)) / 1e3;
            let time = median(times());
            write!(f, "| {shape} | {name} | {time:.2} | {least:.2}-{most:.2} | {rate:.0}k |")?;
            match self.ratio(*shape, *peer) {
                Some(ratio) if *peer > 0 => writeln!(f, " {ratio:.2} |")?,
                _ => writeln!(f, " |")?,
            }
        }
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let pair =
        values.get(middle.saturating_sub(usize::from(values.len().is_multiple_of(2)))..=middle);
    pair.map_or(f64::NAN, |pair| pair.iter().sum::<f64>() / pair.len() as f64)
}
