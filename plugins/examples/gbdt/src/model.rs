//! XGBoost's JSON (`gbtree`, numerical splits): parsed into one flat array of nodes.

use elanus_plugin::Error;
use serde_json::Value;

/// A node of a tree: a question, or a leaf.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The feature that is asked for.
    feature: u32,
    /// Smaller than this goes left; of a leaf, its value.
    threshold: f32,
    /// Where to go on, from the start of all nodes; both 0 in a leaf.
    left: u32,
    right: u32,
    /// Where a missing value goes.
    missing: u32,
}

/// Trees and what becomes of their sum.
#[derive(Debug)]
pub struct Model {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    /// Added to the sum of all trees.
    base: f32,
    /// Whether the score is a probability.
    logistic: bool,
    /// Names of the features, if the model has them.
    pub names: Vec<String>,
    /// How many features there are.
    pub features: usize,
}

fn wrong(text: &str) -> Error {
    Error::InvalidArgument(format!("model: {text}"))
}

impl Model {
    /// Reads the model.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let json: Value = serde_json::from_str(json).map_err(|error| wrong(&format!("no JSON: {error}")))?;
        let learner = &json["learner"];
        let booster = &learner["gradient_booster"];
        if booster["name"] != "gbtree" {
            return Err(Error::Unsupported(format!(
                "a booster {}, only \"gbtree\"",
                booster["name"]
            )));
        }
        let parameters = &learner["learner_model_param"];
        let base = match number_text(&parameters["base_score"]) {
            Some(base) if base.is_finite() => base,
            _ => return Err(wrong("no base_score")),
        };
        let features = parameters["num_feature"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let objective = learner["objective"]["name"].as_str().unwrap_or_default();
        let logistic = match objective {
            "binary:logistic" => true,
            "reg:squarederror" | "rank:ndcg" | "rank:pairwise" | "rank:map" => false,
            other => return Err(Error::Unsupported(format!("an objective '{other}'"))),
        };
        let names = match learner["feature_names"].as_array() {
            Some(names) => names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        let base = if logistic {
            (base / (1.0 - base)).ln()
        } else {
            base
        };
        let features = features.ok_or_else(|| wrong("no num_feature"))?;
        let mut model = Self {
            nodes: Vec::new(),
            roots: Vec::new(),
            base,
            logistic,
            names,
            features,
        };
        let trees = booster["model"]["trees"]
            .as_array()
            .ok_or_else(|| wrong("no trees"))?;
        trees.iter().try_for_each(|tree| model.add(tree))?;
        Ok(model)
    }

    fn add(&mut self, tree: &Value) -> Result<(), Error> {
        let numbers = |key: &str| -> Result<Vec<f64>, Error> {
            let list = tree[key]
                .as_array()
                .ok_or_else(|| wrong(&format!("a tree without {key}")))?;
            // Booleans are written as such by some versions and as numbers by others.
            let number = |value: &Value| {
                value
                    .as_f64()
                    .or(value.as_bool().map(|flag| f64::from(u8::from(flag))))
            };
            list.iter()
                .map(|value| number(value).ok_or_else(|| wrong(key)))
                .collect()
        };
        if tree["categories"]
            .as_array()
            .is_some_and(|categories| !categories.is_empty())
        {
            return Err(Error::Unsupported("splits by category".to_owned()));
        }
        let (left, right) = (numbers("left_children")?, numbers("right_children")?);
        let (thresholds, features) = (numbers("split_conditions")?, numbers("split_indices")?);
        let missing_left = numbers("default_left")?;
        let count = left.len();
        if count == 0 || [right.len(), thresholds.len(), features.len(), missing_left.len()] != [count; 4] {
            return Err(wrong("a tree with lists of different lengths"));
        }
        let start = self.nodes.len();
        self.roots.push(start as u32);
        for at in 0..count {
            // A child comes after its parent: then every walk ends.
            let child = |own: f64| {
                let own = own as i64;
                (own > at as i64 && own < count as i64).then_some(start as u32 + own as u32)
            };
            let (feature, threshold) = (features[at] as u32, thresholds[at] as f32);
            if left[at] < 0.0 {
                self.nodes.push(Node {
                    feature: 0,
                    threshold,
                    left: 0,
                    right: 0,
                    missing: 0,
                });
                continue;
            }
            let (Some(left), Some(right)) = (child(left[at]), child(right[at])) else {
                return Err(wrong("a tree that is none"));
            };
            if feature as usize >= self.features {
                return Err(wrong("a tree that asks for a feature that there is not"));
            }
            let missing = if missing_left[at] != 0.0 { left } else { right };
            self.nodes.push(Node {
                feature,
                threshold,
                left,
                right,
                missing,
            });
        }
        Ok(())
    }

    /// The score of a row; a missing value is NaN.
    pub fn score(&self, row: &[f32]) -> f32 {
        let sum: f32 = self.roots.iter().map(|root| self.leaf(*root, row)).sum::<f32>() + self.base;
        if self.logistic {
            1.0 / (1.0 + (-sum).exp())
        } else {
            sum
        }
    }

    fn leaf(&self, root: u32, row: &[f32]) -> f32 {
        let mut node = self.nodes[root as usize];
        while node.left != 0 {
            let value = row[node.feature as usize];
            let next = if value.is_nan() {
                node.missing
            } else if value < node.threshold {
                node.left
            } else {
                node.right
            };
            node = self.nodes[next as usize];
        }
        node.threshold
    }
}

/// Numbers are texts in the model, newer versions put them in brackets.
fn number_text(value: &Value) -> Option<f32> {
    value.as_str()?.trim_matches(['[', ']']).parse().ok()
}
