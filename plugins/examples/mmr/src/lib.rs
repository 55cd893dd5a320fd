//! Maximal marginal relevance (Carbonell and Goldstein, 1998): close to the query, and not all alike.

use elanus_plugin::{Candidates, Description, Error, Parameters, Place, Request, Reranker, Value};

struct Mmr {
    lambda: f32,
}

impl Reranker for Mmr {
    fn describe() -> Description {
        Description::new(
            "mmr",
            "1.0.0",
            "Maximal marginal relevance: close to the query, and not all alike.",
        )
        .vectors()
        .at_most(10_000)
        .parameter(
            "lambda",
            Value::Number(0.5),
            "1: only relevance counts; 0: only difference.",
        )
    }

    fn new(parameters: &Parameters) -> Result<Self, Error> {
        let lambda = parameters.number("lambda")?;
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::InvalidArgument(format!(
                "lambda is {lambda}, 0 to 1 are allowed"
            )));
        }
        Ok(Self {
            lambda: lambda as f32,
        })
    }

    fn rerank(&mut self, request: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
        let Some(query) = request.query_vectors().next() else {
            return Err(Error::Unsupported("a search without a query vector".to_owned()));
        };
        let count = candidates.len();
        let norms: Vec<f32> = (0..count).map(|at| norm(candidates.vector(at))).collect();
        let query_norm = norm(query);
        let relevance: Vec<f32> = (0..count)
            .map(|at| cosine(query, query_norm, candidates.vector(at), norms[at]))
            .collect();
        // The largest similarity of each candidate to one that is chosen already.
        let mut nearest = vec![0.0_f32; count];
        let mut left: Vec<usize> = (0..count).collect();
        let mut places = Vec::with_capacity(request.limit().min(count));
        while !left.is_empty() && places.len() < request.limit() {
            let score = |at: usize| self.lambda * relevance[at] - (1.0 - self.lambda) * nearest[at];
            let mut best = 0;
            for (slot, &at) in left.iter().enumerate() {
                if score(at) > score(left[best]) {
                    best = slot;
                }
            }
            let chosen = left.remove(best);
            places.push(Place {
                candidate: chosen as u32,
                score: score(chosen),
            });
            for &at in &left {
                let similarity = cosine(
                    candidates.vector(chosen),
                    norms[chosen],
                    candidates.vector(at),
                    norms[at],
                );
                // With nothing chosen before, there was nothing to be similar to.
                nearest[at] = if places.len() == 1 {
                    similarity
                } else {
                    nearest[at].max(similarity)
                };
            }
        }
        Ok(places)
    }
}

/// Sums of eight lanes, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn norm(vector: &[f32]) -> f32 {
    dot(vector, vector).sqrt()
}

/// 0 for a vector without a direction.
fn cosine(a: &[f32], a_norm: f32, b: &[f32], b_norm: f32) -> f32 {
    let norms = a_norm * b_norm;
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

elanus_plugin::reranker!(Mmr);
