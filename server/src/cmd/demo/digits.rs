//! The data of the demo: 1,797 handwritten digits, carried inside the binary. See `server/data/README.md` for where
//! they come from and their licence.

use std::io::Read;

use anyhow::Context;
use flate2::read::GzDecoder;

/// Pixels of one image, 8 x 8.
pub const PIXELS: usize = 64;
const SIDE: usize = 8;

static CSV: &[u8] = include_bytes!("../../../data/digits.csv.gz");

/// All images with their labels. An image's id is its position.
pub struct Digits {
    /// Row-major, [`PIXELS`] values from 0 to 16 each.
    pub pixels: Vec<f32>,
    /// The digit that each image shows, 0 to 9.
    pub labels: Vec<i64>,
}

impl Digits {
    /// Unpacks the data set.
    ///
    /// # Errors
    /// The data inside the binary is damaged.
    pub fn load() -> anyhow::Result<Self> {
        let mut text = String::new();
        GzDecoder::new(CSV)
            .read_to_string(&mut text)
            .context("the demo's data cannot be unpacked")?;
        let mut digits = Self {
            pixels: Vec::with_capacity(text.len() / 2),
            labels: Vec::new(),
        };
        for line in text.lines() {
            let (pixels, label) = line
                .rsplit_once(',')
                .context("a line of the demo's data has no label")?;
            let before = digits.pixels.len();
            for value in pixels.split(',') {
                digits.pixels.push(
                    value
                        .parse()
                        .context("a pixel of the demo's data is not a number")?,
                );
            }
            anyhow::ensure!(
                digits.pixels.len() - before == PIXELS,
                "an image of the demo's data is not 8 x 8"
            );
            digits.labels.push(
                label
                    .parse()
                    .context("a label of the demo's data is not a number")?,
            );
        }
        Ok(digits)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The images one by one.
    pub fn images(&self) -> impl Iterator<Item = &[f32]> {
        self.pixels.chunks_exact(PIXELS)
    }

    /// One image.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn image(&self, id: usize) -> anyhow::Result<&[f32]> {
        self.images().nth(id).with_context(|| format!("no image {id}"))
    }
}

/// Images side by side as text, a pixel as two characters.
pub fn draw(images: &[&[f32]]) -> String {
    let shade = |value: &f32| match *value as u32 {
        0..=3 => "  ",
        4..=7 => "░░",
        8..=11 => "▒▒",
        12..=14 => "▓▓",
        _ => "██",
    };
    let mut text = String::new();
    for row in 0..SIDE {
        for image in images {
            text.push_str("    ");
            text.extend(image.iter().skip(row * SIDE).take(SIDE).map(shade));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_set_is_there() {
        let digits = Digits::load().unwrap();
        assert_eq!(digits.len(), 1797);
        assert_eq!(digits.pixels.len(), 1797 * PIXELS);
        assert!(digits.pixels.iter().all(|value| (0.0..=16.0).contains(value)));
        assert!((0..10).all(|digit| digits.labels.contains(&digit)));
        assert!(digits.image(1796).is_ok() && digits.image(1797).is_err());
    }

    #[test]
    fn drawings_stand_side_by_side() {
        let (dark, light) = ([16.0; PIXELS], [0.0; PIXELS]);
        let drawing = draw(&[&light, &dark]);
        assert_eq!(drawing.lines().count(), 8);
        assert!(drawing.lines().all(|line| line.ends_with("████████████████")));
    }
}
