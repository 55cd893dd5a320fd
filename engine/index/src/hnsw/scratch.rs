//! Memory that a walk needs and gives back: marks of visited nodes, buffers for one hop, a frontier.

use parking_lot::Mutex;

use super::frontier::SortedFrontier;

/// Marks of visited nodes. A mark is the number of the walk that set it, so a new walk needs no clearing; only when the
/// numbers run out are all marks wiped.
#[derive(Debug)]
pub(crate) struct Visited {
    marks: Vec<u16>,
    walk: u16,
}

impl Visited {
    fn new(nodes: usize) -> Self {
        Self {
            marks: vec![0; nodes],
            walk: 0,
        }
    }

    /// Forgets all visits.
    pub(crate) fn start(&mut self) {
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.marks.fill(0);
            self.walk = 1;
        }
    }

    /// Whether this walk has not seen `node`, which exists.
    #[inline]
    pub(crate) fn is_new(&self, node: u32) -> bool {
        self.marks
            .get(node as usize)
            .is_some_and(|&mark| mark != self.walk)
    }

    /// Marks `node`; true when this walk had not seen it. A node that does not exist counts as seen.
    #[inline]
    pub(crate) fn first_visit(&mut self, node: u32) -> bool {
        match self.marks.get_mut(node as usize) {
            Some(mark) if *mark != self.walk => {
                *mark = self.walk;
                true
            }
            _ => false,
        }
    }
}

/// Memory of one walk.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) visited: Visited,
    /// Unvisited neighbours of one hop, their rows, and their distances.
    pub(crate) nodes: Vec<u32>,
    pub(crate) rows: Vec<u32>,
    pub(crate) distances: Vec<f32>,
    pub(crate) sorted: SortedFrontier,
}

/// Scratch memory of as many walks as ever ran at once.
#[derive(Debug)]
pub(crate) struct ScratchPool {
    nodes: usize,
    idle: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    /// For graphs of at most `nodes` nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn take(&self) -> Scratch {
        let idle = self.idle.lock().pop();
        idle.unwrap_or_else(|| Scratch {
            visited: Visited::new(self.nodes),
            nodes: Vec::new(),
            rows: Vec::new(),
            distances: Vec::new(),
            sorted: SortedFrontier::default(),
        })
    }

    pub(crate) fn give_back(&self, scratch: Scratch) {
        self.idle.lock().push(scratch);
    }

    /// Bytes of the idle marks; the rest is small.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.idle.lock().len() * self.nodes * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_forgotten_with_every_walk_even_when_numbers_wrap() {
        let mut visited = Visited::new(3);
        for _ in 0..70_000 {
            visited.start();
            assert!(visited.first_visit(1));
            assert!(!visited.first_visit(1));
        }
        assert!(visited.first_visit(2));
        assert!(
            !visited.first_visit(3),
            "a node that does not exist is never visited"
        );
    }
}
