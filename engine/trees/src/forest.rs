//! The trees of a model, checked once when they are read, and walked without further questions.

use crate::document::{self, Value};

/// Why a file is no model that can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It is damaged, or something else.
    #[error("{0}")]
    Invalid(String),
    /// A model of a kind that is not there.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// What becomes of the sum of the trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It is the answer.
    Identity,
    /// The answer is the probability whose log-odds it is.
    Logistic,
    /// The answer has it as its logarithm.
    Exponential,
}

/// Objectives, and what their answers are. The base score in the file is one of them.
const OBJECTIVES: &[(&str, Link)] = &[
    ("reg:squarederror", Link::Identity),
    ("reg:squaredlogerror", Link::Identity),
    ("reg:absoluteerror", Link::Identity),
    ("reg:pseudohubererror", Link::Identity),
    ("rank:pairwise", Link::Identity),
    ("rank:ndcg", Link::Identity),
    ("rank:map", Link::Identity),
    ("reg:logistic", Link::Logistic),
    ("binary:logistic", Link::Logistic),
    ("binary:logitraw", Link::Identity),
    ("count:poisson", Link::Exponential),
    ("reg:gamma", Link::Exponential),
    ("reg:tweedie", Link::Exponential),
];

impl Link {
    fn apply(self, margin: f32) -> f32 {
        match self {
            Self::Identity => margin,
            // As XGBoost limits the exponent, so that the quotient is never that of infinities.
            Self::Logistic => 1.0 / ((-margin).min(88.7).exp() + 1.0),
            Self::Exponential => margin.exp(),
        }
    }

    fn invert(self, answer: f32) -> f32 {
        match self {
            Self::Identity => answer,
            Self::Logistic => -(1.0 / answer - 1.0).ln(),
            Self::Exponential => answer.ln(),
        }
    }
}

/// A node: a question about one feature, or a leaf. The children of a node follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// What the feature must be below to go left; in a leaf, what it adds.
    value: f32,
    /// The feature; [`LEAF`] in a leaf.
    feature: u32,
    /// The left child's place; the right one is behind it.
    left: u32,
    /// Where a missing value goes: 0 left, 1 right.
    missing: u32,
}

const LEAF: u32 = u32::MAX;

/// A model of gradient-boosted trees with one answer per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    features: usize,
    link: Link,
    /// What the sum begins with.
    base: f32,
    /// All trees, one after the other.
    nodes: Vec<Node>,
    /// Where each begins.
    roots: Vec<u32>,
}

impl Forest {
    /// Reads what XGBoost's `Booster.save_model` has written, as `.ubj` or as `.json`.
    ///
    /// # Errors
    /// Bytes that are no such model, and models with other boosters than `gbtree`, several answers per row,
    /// splits by categories, or an objective that is not among the known ones.
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let document = document::read(bytes)?;
        let learner = member(&document, &["learner"])?;
        let booster = text(learner, &["gradient_booster", "name"])?;
        if booster != "gbtree" {
            return Err(ModelError::Unsupported(format!(
                "booster '{booster}'; gbtree is there"
            )));
        }
        let objective = text(learner, &["objective", "name"])?;
        let Some((_, link)) = OBJECTIVES.iter().find(|(name, _)| *name == objective) else {
            let known: Vec<&str> = OBJECTIVES.iter().map(|(name, _)| *name).collect();
            return Err(ModelError::Unsupported(format!(
                "objective '{objective}'; there are {}",
                known.join(", ")
            )));
        };
        let param = |name: &str| text(learner, &["learner_model_param", name]);
        for (name, most) in [("num_class", 1), ("num_target", 1)] {
            // Older versions write no number of targets.
            let Ok(given) = param(name) else { continue };
            if given.parse().is_ok_and(|count: u32| count > most) {
                return Err(ModelError::Unsupported(format!(
                    "a model with {given} answers per row ({name}); allowed is one"
                )));
            }
        }
        let features = param("num_feature")?;
        let features: usize = features
            .parse()
            .map_err(|_| ModelError::Invalid(format!("num_feature is '{features}', no whole number")))?;
        let base = param("base_score")?;
        let base: f32 = base
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| ModelError::Invalid(format!("base_score is '{base}', not one number")))?;

        let mut forest = Self {
            features,
            link: *link,
            base: link.invert(base),
            nodes: Vec::new(),
            roots: Vec::new(),
        };
        let trees = member(learner, &["gradient_booster", "model", "trees"])?;
        let trees = trees
            .list()
            .ok_or_else(|| ModelError::Invalid("trees is no list".into()))?;
        for (number, tree) in trees.iter().enumerate() {
            forest.push(tree).map_err(|error| match error {
                ModelError::Invalid(what) => ModelError::Invalid(format!("tree {number}: {what}")),
                ModelError::Unsupported(what) => ModelError::Unsupported(format!("{what} (tree {number})")),
            })?;
        }
        Ok(forest)
    }

    /// Numbers that a row has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The sum of the trees, with the base score. `row` has [`Forest::features`] numbers, NaN for a missing one; numbers
    /// that it lacks are missing.
    #[must_use]
    pub fn margin(&self, row: &[f32]) -> f32 {
        self.roots
            .iter()
            .fold(self.base, |sum, root| sum + self.leaf(*root, row))
    }

    /// What the model was trained to answer: [`Forest::margin`], as a probability where the objective is logistic, as a
    /// power of e where it has a logarithmic link.
    #[must_use]
    pub fn predict(&self, row: &[f32]) -> f32 {
        self.link.apply(self.margin(row))
    }

    fn leaf(&self, root: u32, row: &[f32]) -> f32 {
        let mut place = root;
        // Every place is one: `push` has laid the nodes out, children behind their parent.
        while let Some(node) = self.nodes.get(place as usize) {
            if node.feature == LEAF {
                return node.value;
            }
            let given = row.get(node.feature as usize).copied().unwrap_or(f32::NAN);
            place = node.left
                + if given.is_nan() {
                    node.missing
                } else {
                    u32::from(given >= node.value)
                };
        }
        f32::NAN
    }

    /// Lays the nodes of a tree out, those that can be reached, breadth first.
    fn push(&mut self, tree: &Value) -> Result<(), ModelError> {
        let raw = RawTree::read(tree, self.features)?;
        let place = |nodes: usize| {
            u32::try_from(nodes).map_err(|_| ModelError::Invalid("there are too many nodes".into()))
        };
        let first = self.nodes.len();
        self.roots.push(place(first)?);
        // Numbers of nodes in the file, in the order of their places here.
        let mut order = vec![0_usize];
        let mut next = 0;
        while let Some(&id) = order.get(next) {
            next += 1;
            // A node that two others lead to would be laid out twice, and one that leads back, without end.
            if order.len() > raw.len() {
                return Err(ModelError::Invalid("a node has two parents".into()));
            }
            let left = place(first + order.len())?;
            let (node, children) = raw.node(id, left)?;
            self.nodes.push(node);
            order.extend(children.into_iter().flatten());
        }
        Ok(())
    }
}

/// A tree as the file has it: one list for each property of its nodes.
struct RawTree {
    left: Vec<f64>,
    right: Vec<f64>,
    values: Vec<f64>,
    features: Vec<f64>,
    default_left: Vec<f64>,
    /// How many features there are.
    known: usize,
}

impl RawTree {
    fn read(tree: &Value, known: usize) -> Result<Self, ModelError> {
        let numbers = |name: &str| {
            member(tree, &[name])?
                .numbers()
                .ok_or_else(|| ModelError::Invalid(format!("{name} is no list of numbers")))
        };
        let raw = Self {
            left: numbers("left_children")?,
            right: numbers("right_children")?,
            values: numbers("split_conditions")?,
            features: numbers("split_indices")?,
            default_left: numbers("default_left")?,
            known,
        };
        // Models of older versions have no types of splits.
        if let Ok(types) = numbers("split_type")
            && types.iter().any(|split| *split != 0.0)
        {
            return Err(ModelError::Unsupported("splits by categories".into()));
        }
        if raw.len() == 0 {
            return Err(ModelError::Invalid("there are no nodes".into()));
        }
        for (name, list) in [
            ("right_children", &raw.right),
            ("split_conditions", &raw.values),
            ("split_indices", &raw.features),
            ("default_left", &raw.default_left),
        ] {
            if list.len() != raw.len() {
                return Err(ModelError::Invalid(format!(
                    "{name} has {} nodes, left_children {}",
                    list.len(),
                    raw.len()
                )));
            }
        }
        Ok(raw)
    }

    fn len(&self) -> usize {
        self.left.len()
    }

    /// The node with number `id`, whose children will lie at `left` and behind it, and their numbers.
    fn node(&self, id: usize, left: u32) -> Result<(Node, Option<[usize; 2]>), ModelError> {
        let of = |list: &[f64]| list.get(id).copied().unwrap_or(f64::NAN);
        #[expect(clippy::cast_possible_truncation, reason = "32-bit floats in the file")]
        let value = of(&self.values) as f32;
        if !value.is_finite() {
            return Err(ModelError::Invalid(format!("the number of node {id} is {value}")));
        }
        let (to_left, to_right) = (of(&self.left), of(&self.right));
        if to_left == -1.0 && to_right == -1.0 {
            let leaf = Node {
                value,
                feature: LEAF,
                left: 0,
                missing: 0,
            };
            return Ok((leaf, None));
        }
        let feature = whole(of(&self.features), self.known);
        let children = [whole(to_left, self.len()), whole(to_right, self.len())];
        let (Some(feature), [Some(to_left), Some(to_right)]) = (feature, children) else {
            return Err(ModelError::Invalid(format!(
                "node {id} asks for feature {} of {} and leads to nodes {to_left} and {to_right} of {}",
                of(&self.features),
                self.known,
                self.len()
            )));
        };
        let node = Node {
            value,
            feature: u32::try_from(feature).unwrap_or(LEAF),
            left,
            missing: u32::from(of(&self.default_left) == 0.0),
        };
        Ok((node, Some([to_left, to_right])))
    }
}

/// The whole number below `end` that a float is.
fn whole(number: f64, end: usize) -> Option<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number, checked here"
    )]
    let whole = (number >= 0.0 && number.fract() == 0.0).then_some(number as usize)?;
    (whole < end).then_some(whole)
}

fn member<'a>(value: &'a Value, path: &[&str]) -> Result<&'a Value, ModelError> {
    value
        .at(path)
        .ok_or_else(|| ModelError::Invalid(format!("it has no {}", path.join("."))))
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Result<&'a str, ModelError> {
    member(value, path)?
        .text()
        .ok_or_else(|| ModelError::Invalid(format!("{} is no text", path.join("."))))
}
