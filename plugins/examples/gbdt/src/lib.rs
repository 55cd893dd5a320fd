//! A gradient-boosted model over columns and the distance: XGBoost's JSON, handed over as a parameter.

mod model;

use elanus_plugin::{
    Candidates, Description, Error, Kind, Parameters, Place, Request, Reranker, Source, Value, by_score,
};

use model::Model;

struct Gbdt {
    model: Model,
    /// Of every feature of the model, the column with its values; none for the distance.
    columns: Vec<Option<usize>>,
}

impl Reranker for Gbdt {
    fn describe() -> Description {
        let text = |text: &str| Value::Text(text.to_owned());
        Description::new("gbdt", "1.0.0", "Scores of a gradient-boosted model.")
            .column(Source::ParameterList("columns".to_owned()), Kind::F32s)
            .needed_parameter(
                "model",
                &text(""),
                "The model as Booster.save_model('model.json') writes it.",
            )
            .parameter(
                "columns",
                text(""),
                "The columns of the features, separated by commas.",
            )
            .parameter(
                "distance",
                text(""),
                "The feature that is the distance, if one is.",
            )
    }

    fn new(parameters: &Parameters) -> Result<Self, Error> {
        let model = Model::parse(parameters.text("model")?)?;
        let distance = parameters.text("distance")?.trim();
        let mut names: Vec<&str> = parameters
            .text("columns")?
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        let columns = names.len();
        if !distance.is_empty() {
            names.push(distance);
        }
        let place = |feature: &str| {
            names.iter().position(|name| *name == feature).ok_or_else(|| {
                Error::InvalidArgument(format!(
                    "the model has a feature '{feature}', columns and distance do not"
                ))
            })
        };
        // A model without names takes the columns as they come, and the distance last.
        let places: Vec<usize> = match model.names.as_slice() {
            [] if model.features <= names.len() => (0..model.features).collect(),
            [] => {
                let (has, given) = (model.features, names.len());
                return Err(Error::InvalidArgument(format!(
                    "the model has {has} features, {given} are given"
                )));
            }
            features => features
                .iter()
                .map(|feature| place(feature))
                .collect::<Result<_, _>>()?,
        };
        let columns = places
            .into_iter()
            .map(|at| (at < columns).then_some(at))
            .collect();
        Ok(Self { model, columns })
    }

    fn rerank(&mut self, _: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
        let columns: Vec<Option<&[f32]>> = self
            .columns
            .iter()
            .map(|column| column.map(|column| candidates.f32s(column)).transpose())
            .collect::<Result<_, _>>()?;
        let mut row = vec![0.0; columns.len()];
        let mut scores = Vec::with_capacity(candidates.len());
        for at in 0..candidates.len() {
            for ((value, place), data) in row.iter_mut().zip(&self.columns).zip(&columns) {
                *value = match (place, data) {
                    (Some(column), Some(values)) if candidates.is_there(*column, at) => values[at],
                    (Some(_), _) => f32::NAN,
                    (None, _) => candidates.distances()[at],
                };
            }
            scores.push(self.model.score(&row));
        }
        Ok(by_score(&scores))
    }
}

elanus_plugin::reranker!(Gbdt);
