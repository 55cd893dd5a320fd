//! The distances that a search may return.

/// An interval of distances, both ends included; by default it holds every distance.
///
/// A search within a window returns the `k` nearest rows *of the window*: what lies nearer than its start is passed over,
/// not counted. So a range search and the next page of an iteration are one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Smallest distance in it.
    first: f32,
    /// Largest distance in it.
    last: f32,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            first: f32::NEG_INFINITY,
            last: f32::INFINITY,
        }
    }
}

impl Window {
    /// The window of distances `d` with `nearest <= d < farthest`; `None` leaves a side open. NaN is no bound.
    pub fn new(nearest: Option<f32>, farthest: Option<f32>) -> Self {
        let open = Self::default();
        let given = |bound: Option<f32>| bound.filter(|bound| !bound.is_nan());
        Self {
            first: given(nearest).unwrap_or(open.first),
            last: given(farthest).map_or(open.last, f32::next_down),
        }
    }

    /// Whether every distance is in it.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nearer distances than its start are left out.
    pub fn starts_late(&self) -> bool {
        self.first > f32::NEG_INFINITY
    }

    /// Smallest distance in it.
    pub fn first(&self) -> f32 {
        self.first
    }

    /// Largest distance in it.
    pub fn last(&self) -> f32 {
        self.last
    }

    /// Whether a distance is in it.
    pub fn contains(&self, distance: f32) -> bool {
        self.first <= distance && distance <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_end_is_in_it_and_the_far_end_is_not() {
        let window = Window::new(Some(1.0), Some(2.0));
        assert!(window.contains(1.0) && window.contains(1.999_999_9));
        assert!(!window.contains(2.0) && !window.contains(0.999_999_9));
        assert!(window.starts_late() && !window.is_open());
        let signs = Window::new(Some(0.0), Some(-0.0));
        assert!(!signs.contains(0.0) && !signs.contains(-0.0));
    }

    #[test]
    fn an_open_window_holds_every_distance() {
        let open = Window::new(None, None);
        assert!(open.is_open() && !open.starts_late());
        assert!(open.contains(f32::INFINITY) && open.contains(f32::NEG_INFINITY));
        assert!(Window::new(Some(f32::NAN), Some(f32::NAN)).is_open());
    }
}
