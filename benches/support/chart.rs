//! What the plots of the benches share: an SVG that is legible on light and on dark pages, and logarithmic axes.

use std::fmt::{Arguments, Write};

/// Text and reference lines: as far from white as from a dark page. There is no background.
pub const INK: &str = "#777";

/// How wide a letter is about, in the fonts that pages have.
const LETTER_WIDTH: f64 = 6.7;

/// A picture that is put together line by line.
pub struct Chart {
    svg: String,
}

/// How a curve is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    /// Lengths of dashes and gaps; none: it is solid.
    pub dashes: &'static str,
}

/// Where a text stands beside its place.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A logarithmic axis: these values, at these places.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub values: (f64, f64),
    pub places: (f64, f64),
}

impl Scale {
    /// Where a value is; one beyond the axis is at its end.
    pub fn at(&self, value: f64) -> f64 {
        let (least, most) = self.values;
        let (from, to) = self.places;
        let share = (value.clamp(least, most) / least).ln() / (most / least).ln();
        from + (to - from) * share
    }
}

impl Chart {
    /// An empty one of this size, under a title.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n"
        );
        let mut chart = Self { svg };
        chart.put(format_args!("<text x=\"8\" y=\"22\" font-size=\"15\">{title}</text>"));
        chart
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    /// A thin line across, for a value of the axis.
    pub fn rule(&mut self, y: f64, (from, to): (f64, f64)) {
        self.put(format_args!("<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"{INK}\" stroke-opacity=\"0.35\"/>"));
    }

    /// A path in the words of SVG.
    pub fn curve(&mut self, path: &str, stroke: Stroke) {
        let Stroke { colour, width, dashes } = stroke;
        let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        self.put(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>"
        ));
    }

    /// The names of the curves, side by side.
    pub fn legend<'a>(&mut self, (left, y): (f64, f64), curves: impl IntoIterator<Item = (&'a str, Stroke)>) {
        let mut x = left;
        for (name, stroke) in curves {
            self.curve(&format!("M{x:.1} {:.1}h22", y - 4.0), stroke);
            self.text((x + 27.0, y), Anchor::Start, name);
            x += 27.0 + name.len() as f64 * LETTER_WIDTH + 16.0;
        }
    }

    /// Anything else.
    pub fn put(&mut self, line: Arguments<'_>) {
        writeln!(self.svg, "{line}").expect("a string takes it");
    }

    pub fn svg(self) -> String {
        self.svg + "</svg>\n"
    }
}
