//! Newer first, other things being equal: relevance halves with every half-life of age.

use elanus_plugin::{
    Candidates, Description, Error, Kind, Parameters, Place, Request, Reranker, Source, Value, by_score,
    relevance,
};

struct Recency {
    now: f64,
    half_life: f64,
    weight: f64,
}

impl Reranker for Recency {
    fn describe() -> Description {
        Description::new("recency", "1.0.0", "Newer first, other things being equal.")
            .column(Source::Parameter("column".to_owned()), Kind::S64s)
            .parameter(
                "column",
                Value::Text("created_at".to_owned()),
                "The column with the time.",
            )
            .needed_parameter(
                "now",
                &Value::Number(0.0),
                "The present, in the unit of the column.",
            )
            .needed_parameter(
                "half_life",
                &Value::Number(0.0),
                "Age at which half is left, in the same unit.",
            )
            .parameter("weight", Value::Number(1.0), "How much age counts, 0 to 1.")
    }

    fn new(parameters: &Parameters) -> Result<Self, Error> {
        let number = |name: &str| parameters.number(name);
        let own = Self {
            now: number("now")?,
            half_life: number("half_life")?,
            weight: number("weight")?,
        };
        if own.half_life <= 0.0 {
            return Err(Error::InvalidArgument(format!(
                "half_life is {}, not positive",
                own.half_life
            )));
        }
        if !(0.0..=1.0).contains(&own.weight) {
            return Err(Error::InvalidArgument(format!(
                "weight is {}, 0 to 1 are allowed",
                own.weight
            )));
        }
        if parameters.text("column")?.trim().is_empty() {
            return Err(Error::InvalidArgument("column is empty".to_owned()));
        }
        Ok(own)
    }

    fn rerank(&mut self, _: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
        let times = candidates.s64s(0)?;
        let score = |at: usize| {
            let age = (self.now - times[at] as f64).max(0.0);
            // Without a time, as old as can be.
            let left = if candidates.is_there(0, at) {
                (-age / self.half_life).exp2()
            } else {
                0.0
            };
            relevance(candidates.distances()[at]) * (1.0 - self.weight + self.weight * left) as f32
        };
        let scores: Vec<f32> = (0..candidates.len()).map(score).collect();
        Ok(by_score(&scores))
    }
}

elanus_plugin::reranker!(Recency);
