//! What `CREATE FUNCTION f(double precision) RETURNS double precision IMMUTABLE` says of a function, compared with what its
//! plugin says. Nothing of it has to be said.

use elanus_plugins::{ColumnKind, Functions, Volatility};

use super::sql_name;
use crate::error::{QueryError, Result};

/// What a statement says; types as they are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// Types of the arguments.
    pub arguments: Option<Vec<String>>,
    /// Type of the result.
    pub returns: Option<String>,
    /// `immutable`, `stable` or `volatile`.
    pub volatility: Option<String>,
}

impl Declared {
    /// Compares it with the function `symbol`.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for the first difference.
    pub fn check(&self, functions: &Functions, symbol: &str) -> Result<()> {
        let all = &functions.descriptor().functions;
        // One that is not there is refused elsewhere.
        let Some(function) = functions.find(symbol).and_then(|place| all.get(place)) else {
            return Ok(());
        };
        let differs = |what: &str, said: &str, is: &str| {
            Err(QueryError::InvalidParameter(format!(
                "the statement says {what} {said}, the function '{symbol}' of the plugin has {is}"
            )))
        };
        if let Some(said) = &self.arguments {
            let kinds = function.parameters.iter().map(|parameter| &parameter.kind);
            let same = said.len() == function.parameters.len()
                && said
                    .iter()
                    .zip(kinds.clone())
                    .all(|(said, kind)| is_of(said, kind));
            if !same {
                let is: Vec<String> = kinds.map(sql_name).collect();
                return differs(
                    "arguments",
                    &format!("({})", said.join(", ")),
                    &format!("({})", is.join(", ")),
                );
            }
        }
        if let Some(said) = self
            .returns
            .as_ref()
            .filter(|said| !is_of(said, &function.returns))
        {
            return differs("RETURNS", said, &sql_name(&function.returns));
        }
        let volatility = match function.volatility {
            Volatility::Immutable => "immutable",
            Volatility::Stable => "stable",
            Volatility::Volatile => "volatile",
        };
        match &self.volatility {
            Some(said) if said != volatility => {
                differs("it is", &said.to_uppercase(), &volatility.to_uppercase())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a type, as it is written, is that of the values of a form.
fn is_of(written: &str, kind: &ColumnKind) -> bool {
    let written = written.to_ascii_lowercase();
    let names: &[&str] = match kind {
        ColumnKind::F32s => &["real", "float4", "float32"],
        ColumnKind::F64s => &["double precision", "double", "float8", "float64", "float"],
        ColumnKind::S64s => &["bigint", "int8", "int64"],
        ColumnKind::Bools => &["boolean", "bool"],
        ColumnKind::Text => &["text", "varchar", "character varying"],
        ColumnKind::Vectors(0) => return written == "vector" || written.starts_with("vector("),
        ColumnKind::Vectors(dim) => return written == format!("vector({dim})") || written == "vector",
        ColumnKind::Ipc(_) => return false,
    };
    names.contains(&written.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_postgresql() {
        for (written, kind) in [
            ("DOUBLE PRECISION", ColumnKind::F64s),
            ("real", ColumnKind::F32s),
            ("BIGINT", ColumnKind::S64s),
            ("Text", ColumnKind::Text),
            ("VECTOR(3)", ColumnKind::Vectors(3)),
            ("vector(3)", ColumnKind::Vectors(0)),
        ] {
            assert!(is_of(written, &kind), "{written} {kind}");
        }
        for (written, kind) in [
            ("INTEGER", ColumnKind::S64s),
            ("REAL", ColumnKind::F64s),
            ("VECTOR(4)", ColumnKind::Vectors(3)),
        ] {
            assert!(!is_of(written, &kind), "{written} {kind}");
        }
    }
}
