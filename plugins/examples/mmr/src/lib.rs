//! Maximal marginal relevance (Carbonell and Goldstein, 1998): close to the query, and not all alike.

use elanus_plugin::{Candidates, Description, Error, Parameters, Place, Request, Reranker, Value, dot, dots};

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
        let vectors: Vec<&[f32]> = (0..candidates.len()).map(|at| candidates.vector(at)).collect();
        if let Some(other) = vectors.iter().find(|vector| vector.len() != query.len()) {
            return Err(Error::Unsupported(format!(
                "a query vector of {} dimensions for vectors of {}",
                query.len(),
                other.len()
            )));
        }
        let inverse_norms: Vec<f32> = vectors.iter().map(|vector| inverse_norm(vector)).collect();
        let query_inverse = inverse_norm(query);
        let mut left: Vec<Left> = dots(query, &vectors)
            .into_iter()
            .zip(&inverse_norms)
            .zip(0..)
            .map(|((dot, inverse), candidate)| Left {
                candidate,
                relevance: self.lambda * dot * query_inverse * inverse,
                nearest: 0.0,
            })
            .collect();
        let mut vectors_left = vectors.clone();
        let mut places = Vec::with_capacity(request.limit().min(left.len()));
        while let Some(best) = self.best(&left).filter(|_| places.len() < request.limit()) {
            let chosen = left.remove(best);
            vectors_left.remove(best);
            places.push(Place {
                candidate: chosen.candidate,
                score: self.score(&chosen),
            });
            let own_inverse = inverse_norms[chosen.candidate as usize];
            let similarities = dots(vectors[chosen.candidate as usize], &vectors_left);
            for (one, dot) in left.iter_mut().zip(similarities) {
                let similarity = dot * own_inverse * inverse_norms[one.candidate as usize];
                // With nothing chosen before, there was nothing to be similar to.
                one.nearest = if places.len() == 1 {
                    similarity
                } else {
                    one.nearest.max(similarity)
                };
            }
        }
        Ok(places)
    }
}

/// A candidate that is not chosen yet.
struct Left {
    candidate: u32,
    /// Similarity to the query, weighted.
    relevance: f32,
    /// The largest similarity to one that is chosen already.
    nearest: f32,
}

impl Mmr {
    fn score(&self, one: &Left) -> f32 {
        one.relevance - (1.0 - self.lambda) * one.nearest
    }

    /// Where the first of those with the largest score is.
    fn best(&self, left: &[Left]) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for (at, score) in left.iter().map(|one| self.score(one)).enumerate() {
            if best.is_none_or(|(_, leading)| score > leading) {
                best = Some((at, score));
            }
        }
        best.map(|(at, _)| at)
    }
}

/// 0 for a vector without a direction, which is then similar to nothing.
fn inverse_norm(vector: &[f32]) -> f32 {
    let norm = dot(vector, vector).sqrt();
    if norm > 0.0 { norm.recip() } else { 0.0 }
}

elanus_plugin::reranker!(Mmr);
