//! A run as a picture: admitted against allowed over time, with what happened.
//!
//! One panel for each limiter and limit shows how much the busiest counter admitted in the window that
//! was under way: it grows up to the limit and falls when the next window begins. What is above the
//! limit is red. The picture is plain SVG and goes by the reader's colour scheme.

mod curve;
mod svg;

use std::time::Duration;

use self::{
    curve::Curve,
    svg::{Canvas, Point},
};
use crate::{contest::Run, judge::Facts, scenario::Scenario};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 56.0;
/// Of one panel, its heading and axis left out.
const HEIGHT: f64 = 120.0;
const HEADING: f64 = 26.0;
const GAP: f64 = 34.0;
/// More would not be looked at.
const MAX_PANELS: usize = 16;
/// Nothing is drawn higher than this many limits; the peak is written down.
const HIGHEST: f64 = 2.5;

/// Draws the runs, which must have kept their requests, of this scenario.
pub fn svg(scenario: &Scenario, facts: &[Facts], runs: &[Run]) -> String {
    let mut panels = Vec::new();
    for (limit, facts) in facts.iter().enumerate() {
        for run in runs {
            if let Some(track) = run.tracks.get(limit) {
                let columns = WIDTH - LEFT - RIGHT;
                let curve =
                    Curve::new(track, facts, (scenario.warm_up, scenario.duration), columns);
                panels.push(Panel { scenario, facts, run, limit, curve, top: 0.0, scale: 1.0 });
            }
        }
    }
    panels.truncate(MAX_PANELS);
    let mut top = TOP;
    for (limit, facts) in facts.iter().enumerate() {
        let own = || panels.iter().filter(|panel| panel.limit == limit);
        let peak = own().map(|panel| panel.curve.peak.1).fold(0.0, f64::max);
        let amount = amount(facts);
        let scale = (peak * 1.08).clamp(amount * 1.25, amount * HIGHEST);
        for panel in panels.iter_mut().filter(|panel| panel.limit == limit) {
            panel.scale = scale;
        }
    }
    for panel in &mut panels {
        panel.top = top + HEADING;
        top += HEADING + HEIGHT + GAP;
    }
    let marks = grouped(scenario);
    let height = top + 8.0 + 18.0 * marks.len() as f64 + 16.0;
    let mut canvas = Canvas::new(WIDTH, height);
    head(scenario, runs, &mut canvas);
    for panel in &panels {
        panel.draw(&marks, &mut canvas);
    }
    legend(&marks, top + 4.0, &mut canvas);
    canvas.finish()
}

#[expect(clippy::cast_precision_loss, reason = "limits are small here")]
fn amount(facts: &Facts) -> f64 {
    facts.amount.max(1) as f64
}

fn head(scenario: &Scenario, runs: &[Run], canvas: &mut Canvas) {
    let title = if scenario.title.is_empty() { "Simulation" } else { &scenario.title };
    canvas.text(Point(LEFT, 22.0), "title", &shortened(title, 96));
    let seed = runs.first().map_or(scenario.seed, |run| run.seed);
    let mut x = LEFT;
    let items = [
        ("admitted", "admitted in the window so far"),
        ("over", "above the limit"),
        ("exact", "an exact central limiter"),
        ("wanted", "wanted"),
    ];
    for (class, text) in items {
        canvas.rect(Point(x, 34.0), (12.0, 10.0), class);
        canvas.text(Point(x + 17.0, 43.0), "small", text);
        x += 40.0 + 6.2 * text.len() as f64;
    }
    canvas.end(Point(WIDTH - RIGHT, 43.0), "small", &format!("seed {seed}"));
}

/// As much as a line holds.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// What happens, what is at one time together.
fn grouped(scenario: &Scenario) -> Vec<(Duration, String)> {
    let mut marks: Vec<(Duration, String)> = Vec::new();
    for (at, text) in scenario.marks.iter().filter(|(at, _)| *at <= scenario.duration) {
        match marks.last_mut() {
            Some((last, words)) if last == at => {
                words.push_str(", ");
                words.push_str(text);
            }
            _ => marks.push((*at, text.clone())),
        }
    }
    marks
}

fn legend(marks: &[(Duration, String)], top: f64, canvas: &mut Canvas) {
    for (i, (at, text)) in marks.iter().enumerate() {
        let y = top + 18.0 * i as f64;
        canvas.badge(Point(LEFT + 8.0, y), &(i + 1).to_string());
        let line = format!("{:.2} s   {text}", at.as_secs_f64());
        canvas.text(Point(LEFT + 24.0, y + 4.0), "small", &shortened(&line, 140));
    }
}

struct Panel<'a> {
    scenario: &'a Scenario,
    facts: &'a Facts,
    run: &'a Run,
    limit: usize,
    curve: Curve,
    top: f64,
    scale: f64,
}

impl Panel<'_> {
    fn x(&self, at: Duration) -> f64 {
        let part = at.as_secs_f64() / self.scenario.duration.as_secs_f64();
        LEFT + part.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + HEIGHT - (value / self.scale).min(1.0) * HEIGHT
    }

    fn draw(&self, marks: &[(Duration, String)], canvas: &mut Canvas) {
        let (width, bottom) = (WIDTH - LEFT - RIGHT, self.top + HEIGHT);
        let limit = self.y(amount(self.facts));
        canvas.rect(Point(LEFT, self.top), (width, HEIGHT), "panel");
        let warm = self.x(self.scenario.warm_up) - LEFT;
        canvas.rect(Point(LEFT, self.top), (warm, HEIGHT), "warm");
        canvas.text(Point(LEFT + 4.0, self.top + 12.0), "faint", "warm-up");
        canvas.area(&self.points(|c| c.wanted), bottom, "wanted", None);
        let admitted = self.points(|c| c.admitted);
        let below = (Point(LEFT, limit), (width, bottom - limit));
        canvas.area(&admitted, bottom, "admitted", Some(below));
        let above = (Point(LEFT, self.top), (width, limit - self.top));
        canvas.area(&admitted, bottom, "over", Some(above));
        canvas.line(&self.points(|c| c.exact), "exact-line");
        canvas.line(&[Point(LEFT, limit), Point(LEFT + width, limit)], "limit");
        self.axes(canvas);
        for (i, (at, _)) in marks.iter().enumerate() {
            let x = self.x(*at);
            canvas.line(&[Point(x, self.top), Point(x, bottom)], "mark");
            canvas.badge(Point(x, self.top + 9.0), &(i + 1).to_string());
        }
        self.peak(marks, canvas);
        self.heading(canvas);
    }

    fn points(&self, of: impl Fn(&curve::Column) -> f64) -> Vec<Point> {
        let step = (WIDTH - LEFT - RIGHT) / self.curve.columns.len().max(1) as f64;
        let point = |(i, column): (usize, &curve::Column)| {
            Point(LEFT + (i as f64 + 0.5) * step, self.y(of(column)))
        };
        self.curve.columns.iter().enumerate().map(point).collect()
    }

    fn axes(&self, canvas: &mut Canvas) {
        let bottom = self.top + HEIGHT;
        let amount = amount(self.facts);
        for (value, text) in [(0.0, "0".to_owned()), (amount, format!("{amount}"))] {
            canvas.end(Point(LEFT - 6.0, self.y(value) + 4.0), "small", &text);
        }
        let seconds = self.scenario.duration.as_secs_f64();
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3_600.0];
        let step = steps.into_iter().find(|step| seconds / step <= 13.0).unwrap_or(7_200.0);
        let mut at = 0.0;
        while at <= seconds {
            let x = self.x(Duration::from_secs_f64(at));
            canvas.line(&[Point(x, bottom), Point(x, bottom + 4.0)], "tick");
            canvas.middle(Point(x, bottom + 16.0), "small", &format!("{at} s"));
            at += step;
        }
    }

    /// How much the fullest window held, when it was too much.
    fn peak(&self, marks: &[(Duration, String)], canvas: &mut Canvas) {
        let (column, value) = self.curve.peak;
        if value <= amount(self.facts) {
            return;
        }
        let step = (WIDTH - LEFT - RIGHT) / self.curve.columns.len().max(1) as f64;
        let x = (LEFT + (column as f64 + 0.5) * step).clamp(LEFT + 20.0, WIDTH - RIGHT - 20.0);
        // Badges of events are at the top; the label goes below them.
        let badge = marks.iter().any(|(at, _)| (self.x(*at) - x).abs() < 32.0);
        let top = self.top + if badge { 28.0 } else { 12.0 };
        canvas.middle(Point(x, (self.y(value) - 4.0).max(top)), "peak", &format!("{value}"));
    }

    fn heading(&self, canvas: &mut Canvas) {
        let score = &self.run.scores[self.limit];
        let mut text = format!("{} · {}", self.run.entrant.name(), self.facts.name);
        if let Some(drawn) = self.run.drawn.get(self.limit).filter(|drawn| !drawn.is_empty()) {
            text = format!("{text} · {drawn}");
        }
        canvas.text(Point(LEFT, self.top - 8.0), "heading", &shortened(&text, 88));
        let text = format!(
            "over {:.1} %   under {:.1} %   wrong {:.1} %",
            score.over, score.under, score.wrong
        );
        canvas.end(Point(WIDTH - RIGHT, self.top - 8.0), "small", &text);
    }
}

#[cfg(test)]
mod tests;
