//! What the user sees: plain lines, coloured where a person looks at them.

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// A colour or a weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// Names.
    Bold,
    /// All is well.
    Good,
    /// Something failed, as it may.
    Bad,
    /// Beside the point.
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Bold => "1",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Dim => "2",
        }
    }
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    began: Instant,
    closed: Cell<bool>,
}

impl Screen {
    /// Colours are used where they are wanted and the output is a terminal.
    pub(crate) fn new(colours: bool) -> Self {
        let colours = colours && io::stdout().is_terminal();
        Self { colours, began: Instant::now(), closed: Cell::new(false) }
    }

    /// The text in a style.
    pub(crate) fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_string() }
    }

    /// Prints a line. A reader that has gone is no fault: the programs run on.
    pub(crate) fn line(&self, text: &str) {
        if !self.closed.get() && writeln!(io::stdout(), "{text}").is_err() {
            self.closed.set(true);
        }
    }

    /// Prints an event with the time since the start.
    pub(crate) fn event(&self, style: Style, text: &str) {
        let at = format!("{:>8.1} s ", self.age().as_secs_f64());
        self.line(&format!("{} {}", self.paint(Style::Dim, at), self.paint(style, text)));
    }

    /// Since the start.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Says on standard error why something failed.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "quickstart: {text}");
}
