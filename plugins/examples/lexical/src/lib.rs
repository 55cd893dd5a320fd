//! Lexical overlap: how many of the query's words are in the text.

use std::collections::HashSet;

use elanus_plugin::{
    Candidates, Description, Error, Kind, Parameters, Place, Request, Reranker, Source, Value, by_score,
    relevance,
};

struct Lexical {
    weight: f32,
}

impl Reranker for Lexical {
    fn describe() -> Description {
        Description::new(
            "lexical",
            "1.0.0",
            "Mixes the distance with the share of the query's words in a text.",
        )
        .query_text()
        .column(Source::Parameter("column".to_owned()), Kind::Text)
        .parameter(
            "column",
            Value::Text("text".to_owned()),
            "The column with the text.",
        )
        .parameter(
            "weight",
            Value::Number(0.5),
            "How much the words count, 0 to 1; the rest is the distance.",
        )
    }

    fn new(parameters: &Parameters) -> Result<Self, Error> {
        let weight = parameters.number("weight")?;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::InvalidArgument(format!(
                "weight is {weight}, 0 to 1 are allowed"
            )));
        }
        if parameters.text("column")?.trim().is_empty() {
            return Err(Error::InvalidArgument("column is empty".to_owned()));
        }
        Ok(Self {
            weight: weight as f32,
        })
    }

    fn rerank(&mut self, request: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
        let wanted: HashSet<String> = words(request.query_text().unwrap_or_default()).collect();
        let texts = candidates.text(0)?;
        let score = |at: usize| {
            let found: HashSet<String> = words(texts.get(at))
                .filter(|word| wanted.contains(word))
                .collect();
            let share = found.len() as f32 / wanted.len().max(1) as f32;
            (1.0 - self.weight) * relevance(candidates.distances()[at]) + self.weight * share
        };
        let scores: Vec<f32> = (0..candidates.len()).map(score).collect();
        Ok(by_score(&scores))
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

elanus_plugin::reranker!(Lexical);
