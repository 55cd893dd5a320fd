//! Business rules: factors for categories, and one for a range of prices.

use std::collections::HashMap;

use elanus_plugin::{
    Candidates, Description, Error, Kind, Parameters, Place, Request, Reranker, Source, Value, by_score,
    relevance,
};

struct Boost {
    categories: HashMap<String, f32>,
    category_column: Option<usize>,
    price_column: Option<usize>,
    prices: std::ops::RangeInclusive<f64>,
    price_factor: f32,
}

impl Reranker for Boost {
    fn describe() -> Description {
        let text = |text: &str| Value::Text(text.to_owned());
        Description::new(
            "boost",
            "1.0.0",
            "Factors for categories and for a range of prices.",
        )
        .column(Source::Parameter("category_column".to_owned()), Kind::Text)
        .column(Source::Parameter("price_column".to_owned()), Kind::F64s)
        .parameter(
            "category_column",
            text(""),
            "The column with the category, if that counts.",
        )
        .parameter(
            "categories",
            text(""),
            "Factors, such as 'shoes=1.5, bags=0.8'; others have 1.",
        )
        .parameter(
            "price_column",
            text(""),
            "The column with the price, if that counts.",
        )
        .parameter(
            "price_from",
            Value::Number(0.0),
            "The lowest price that is boosted.",
        )
        .parameter(
            "price_to",
            Value::Number(f64::MAX),
            "The highest price that is boosted.",
        )
        .parameter(
            "price_factor",
            Value::Number(1.0),
            "The factor for prices in between.",
        )
    }

    fn new(parameters: &Parameters) -> Result<Self, Error> {
        let given = |name: &str| parameters.text(name).map(|text| !text.trim().is_empty());
        let (category, price) = (given("category_column")?, given("price_column")?);
        Ok(Self {
            categories: factors(parameters.text("categories")?)?,
            category_column: category.then_some(0),
            price_column: price.then_some(usize::from(category)),
            prices: parameters.number("price_from")?..=parameters.number("price_to")?,
            price_factor: factor(parameters.number("price_factor")?)?,
        })
    }

    fn rerank(&mut self, _: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
        let mut scores: Vec<f32> = candidates.distances().iter().map(|&own| relevance(own)).collect();
        if let Some(column) = self.category_column {
            let categories = candidates.text(column)?;
            for (at, score) in scores.iter_mut().enumerate() {
                if candidates.is_there(column, at) {
                    *score *= self.categories.get(categories.get(at)).copied().unwrap_or(1.0);
                }
            }
        }
        if let Some(column) = self.price_column {
            let prices = candidates.f64s(column)?;
            for (at, score) in scores.iter_mut().enumerate() {
                if candidates.is_there(column, at) && self.prices.contains(&prices[at]) {
                    *score *= self.price_factor;
                }
            }
        }
        Ok(by_score(&scores))
    }
}

fn factors(text: &str) -> Result<HashMap<String, f32>, Error> {
    let wrong = |part: &str| Error::InvalidArgument(format!("categories: '{part}' is not 'name=factor'"));
    let read = |part: &str| {
        let (name, number) = part.rsplit_once('=').ok_or_else(|| wrong(part))?;
        let number: f64 = number.trim().parse().map_err(|_| wrong(part))?;
        Ok((name.trim().to_owned(), factor(number)?))
    };
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(read)
        .collect()
}

fn factor(number: f64) -> Result<f32, Error> {
    if (0.0..=1e6).contains(&number) {
        return Ok(number as f32);
    }
    Err(Error::InvalidArgument(format!(
        "a factor is {number}, 0 to 1000000 are allowed"
    )))
}

elanus_plugin::reranker!(Boost);
