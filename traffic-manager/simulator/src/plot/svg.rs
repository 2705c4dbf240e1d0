//! The few shapes that pictures need, as SVG.

use std::fmt::Write;

/// x to the right, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point(pub(super) f64, pub(super) f64);

/// A rectangle: its corner, width and height.
pub(super) type Frame = (Point, (f64, f64));

/// Light, and dark where the reader wants it.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#24292f}\
.page{fill:#fff}.panel{fill:#f6f8fa}.warm{fill:#000;fill-opacity:.06}\
.title{font-size:16px;font-weight:600}.heading{font-size:13px;font-weight:600}\
.small{font-size:11px}.faint{font-size:10px;fill:#6e7781}\
.wanted{fill:#8c959f;fill-opacity:.22}.admitted{fill:#2f7fd6}.over,.peak{fill:#d1242f}\
.peak{font-size:11px;font-weight:600;stroke:#fff;stroke-width:3px;paint-order:stroke}.exact{fill:#1a2b3c}\
.exact-line,.limit,.tick,.mark{fill:none;stroke-width:1}.exact-line{stroke:#1a2b3c}\
.limit{stroke:#d1242f;stroke-dasharray:5 3}.tick{stroke:#8c959f}\
.mark{stroke:#9a6700;stroke-dasharray:2 2}.badge{fill:#9a6700}\
text.number{font-size:10px;font-weight:600;fill:#fff}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.panel{fill:#161b22}\
.warm{fill:#fff;fill-opacity:.07}.faint{fill:#8b949e}.admitted{fill:#388bfd}\
.over,.peak{fill:#f85149}.peak{stroke:#0d1117}.exact{fill:#e6edf3}.exact-line{stroke:#e6edf3}.limit{stroke:#f85149}\
.mark{stroke:#d29922}.badge{fill:#d29922}text.number{fill:#0d1117}}";

/// A picture in the making.
pub(super) struct Canvas {
    text: String,
    clips: usize,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>"
        );
        let mut canvas = Canvas { text, clips: 0 };
        canvas.rect(Point(0.0, 0.0), (width, height), "page");
        canvas
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    pub(super) fn rect(&mut self, at: Point, (width, height): (f64, f64), class: &str) {
        let Point(x, y) = at;
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    /// Text that begins at the point.
    pub(super) fn text(&mut self, at: Point, class: &str, text: &str) {
        self.write(at, class, "start", text);
    }

    /// Text that ends at the point.
    pub(super) fn end(&mut self, at: Point, class: &str, text: &str) {
        self.write(at, class, "end", text);
    }

    /// Text around the point.
    pub(super) fn middle(&mut self, at: Point, class: &str, text: &str) {
        self.write(at, class, "middle", text);
    }

    fn write(&mut self, Point(x, y): Point, class: &str, anchor: &str, text: &str) {
        let _ = write!(
            self.text,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" \
             xml:space=\"preserve\">"
        );
        for c in text.chars().filter(|c| !c.is_control()) {
            match c {
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '&' => self.text.push_str("&amp;"),
                c => self.text.push(c),
            }
        }
        self.text.push_str("</text>\n");
    }

    /// A number in a circle.
    pub(super) fn badge(&mut self, Point(x, y): Point, number: &str) {
        let _ =
            writeln!(self.text, "<circle class=\"badge\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"/>");
        self.middle(Point(x, y + 3.5), "number", number);
    }

    /// A line through the points.
    pub(super) fn line(&mut self, points: &[Point], class: &str) {
        let path = path(points);
        let _ = writeln!(self.text, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// The area between the points and the bottom, or the part of it within a frame.
    pub(super) fn area(
        &mut self,
        points: &[Point],
        bottom: f64,
        class: &str,
        within: Option<Frame>,
    ) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let mut clip = String::new();
        if let Some((at, size)) = within {
            self.clips += 1;
            let _ = write!(self.text, "<clipPath id=\"c{}\">", self.clips);
            self.rect(at, size, "clip");
            self.text.push_str("</clipPath>\n");
            let _ = write!(clip, " clip-path=\"url(#c{})\"", self.clips);
        }
        let path = path(points);
        let (right, left) = (last.0, first.0);
        let _ = writeln!(
            self.text,
            "<path class=\"{class}\"{clip} d=\"{path}L{right:.1} {bottom:.1}L{left:.1} {bottom:.1}Z\"/>"
        );
    }
}

/// Points on a level are left out, but for its ends.
fn path(points: &[Point]) -> String {
    let mut text = String::new();
    for (i, Point(x, y)) in points.iter().enumerate() {
        let same = |j: usize| points.get(j).is_some_and(|p| (p.1 - y).abs() < 0.05);
        if i > 0 && same(i - 1) && same(i + 1) {
            continue;
        }
        let _ = write!(text, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    text
}
