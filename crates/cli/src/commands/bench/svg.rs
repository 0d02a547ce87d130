//! As much of SVG as the plot needs: rectangles, lines and text.

use std::fmt::{Display, Write as _};

/// Fonts that look alike where they exist; nothing is loaded.
const FONTS: &str = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";

/// Where a text begins, seen from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub(super) size: f64,
    pub(super) color: &'static str,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
}

/// A picture that is being drawn; lengths in pixels, from the top left.
#[derive(Debug)]
pub(super) struct Picture {
    width: f64,
    body: String,
}

impl Picture {
    pub(super) const fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    pub(super) fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: &str, title: &str) {
        let title = Escaped(title);
        self.element(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{color}\"><title>{title}</title></rect>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, width: f64, dashed: bool) {
        let stroke = if dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        self.element(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\" stroke-width=\"{width}\"{stroke}/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through all points, with a dot on each.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], color: &str) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.element(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.5\" stroke-linejoin=\"round\"/>",
            path.join(" ")
        ));
        for (x, y) in points {
            self.element(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"));
        }
    }

    /// `at` is on the text's baseline.
    pub(super) fn text(&mut self, at: (f64, f64), style: TextStyle, text: &str) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let (TextStyle { size, color, .. }, text) = (style, Escaped(text));
        self.element(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" fill=\"{color}\" text-anchor=\"{anchor}\"{weight}>{text}</text>",
            at.0, at.1
        ));
    }

    fn element(&mut self, element: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// The file. It has a background of its own, so that it can be read on a dark page.
    pub(super) fn finish(self, height: f64, title: &str) -> String {
        let (width, body, title) = (self.width, self.body, Escaped(title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" font-family=\"{FONTS}\">\n\
             <title>{title}</title>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

/// A text as XML wants it; what XML does not allow at all becomes U+FFFD.
struct Escaped<'text>(&'text str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\t' | '\n' | '\r' => formatter.write_char(letter)?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => formatter.write_char('\u{fffd}')?,
                _ => formatter.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// The names of the elements in a document, in order.
///
/// # Panics
/// It is not well-formed: as far as this writer could err.
#[cfg(test)]
pub(super) fn check_well_formed(document: &str) -> Vec<String> {
    let (mut open, mut names, mut rest) = (Vec::new(), Vec::new(), document);
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a bare `>`: {text:?}");
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            assert!(known.iter().any(|known| entity.starts_with(known)), "a bare `&`: {text:?}");
        }
        let (tag, after) = after.split_once('>').expect("a tag without an end");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "an end tag that matches nothing");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "an attribute without an end: {tag}");
        let inner = tag.strip_suffix('/').unwrap_or(tag);
        let name = inner.split(' ').next().unwrap_or_default().to_owned();
        names.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "not closed: {open:?}, {rest:?}");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: TextStyle = TextStyle { size: 12.0, color: "#000000", anchor: Anchor::Middle, bold: true };

    #[test]
    fn elements_are_nested_and_closed() {
        let mut picture = Picture::new(100.0);
        picture.rectangle((1.0, 2.0), (3.0, 4.0), "#123456", "a bar");
        picture.line((0.0, 0.0), (5.0, 5.0), "#eeeeee", 1.0, true);
        picture.curve(&[(1.0, 1.0), (2.0, 3.0)], "#ff0000");
        picture.text((9.0, 9.0), STYLE, "hello");
        let names = check_well_formed(&picture.finish(50.0, "a picture"));
        let expected = ["svg", "title", "rect", "rect", "title", "line", "polyline", "circle", "circle", "text"];
        assert_eq!(names, expected);
    }

    #[test]
    fn texts_are_escaped() {
        let mut picture = Picture::new(100.0);
        picture.text((0.0, 0.0), STYLE, "<b a=\"1\" & 'x'>\u{1}\u{e9}");
        let document = picture.finish(10.0, "</title>");
        check_well_formed(&document);
        assert!(document.contains("&lt;b a=&quot;1&quot; &amp; &#39;x&#39;&gt;\u{fffd}\u{e9}"), "{document}");
        assert!(document.contains("<title>&lt;/title&gt;</title>"), "{document}");
    }
}
