//! The language that a text is in.

use serde_json::Value;

use crate::error::AnalyzerError;
use crate::params::{only, text};

/// What tells languages apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identifier {
    /// The crate `whatlang`; a language that it is not surer of than this, from 0 to 1, is none.
    Whatlang { confidence: f64 },
    /// The crate `lingua` with all of its languages. Its models are large, so that builds have it only when they are asked to.
    #[cfg(feature = "lingua")]
    Lingua,
}

impl Identifier {
    /// The identifier of this name, or described by an object with a `type`; `whatlang` when there is none.
    pub fn new(params: Option<&Value>) -> Result<Self, AnalyzerError> {
        let of = "'identifier' of the tokenizer 'language_identifier'";
        let (name, confidence) = match params {
            None => ("whatlang", None),
            Some(Value::String(name)) => (name.as_str(), None),
            Some(Value::Object(params)) => {
                let name = text(params, "type", of)?;
                let known: &[&str] = if name == "whatlang" {
                    &["type", "confidence"]
                } else {
                    &["type"]
                };
                only(params, known, of)?;
                (name, params.get("confidence"))
            }
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "{of} must be a string or an object, got {other}"
                )));
            }
        };
        match name {
            "whatlang" => {
                let confidence = confidence.map_or(Some(0.0), Value::as_f64);
                let confidence = confidence.filter(|confidence| (0.0..=1.0).contains(confidence));
                let confidence = confidence.ok_or_else(|| {
                    AnalyzerError::Invalid(format!("'confidence' of {of} must be a number from 0 to 1"))
                })?;
                Ok(Self::Whatlang { confidence })
            }
            #[cfg(feature = "lingua")]
            "lingua" => Ok(Self::Lingua),
            #[cfg(not(feature = "lingua"))]
            "lingua" => Err(AnalyzerError::Unsupported(format!(
                "{of} 'lingua' in this build: it is there when elanus is built with --features lingua, which adds 280 MB"
            ))),
            other => Err(AnalyzerError::Invalid(format!(
                "unknown {of} '{other}'; allowed are whatlang, lingua"
            ))),
        }
    }

    /// The English names of all languages that it knows.
    pub fn languages(&self) -> Vec<String> {
        match self {
            Self::Whatlang { .. } => {
                let all = whatlang::Lang::all().iter();
                all.map(|language| language.eng_name().to_string()).collect()
            }
            #[cfg(feature = "lingua")]
            Self::Lingua => {
                let mut all: Vec<String> = lingua::Language::all().iter().map(ToString::to_string).collect();
                all.sort();
                all
            }
        }
    }

    /// The English name of the language of `text`.
    pub fn language(&self, text: &str) -> Option<String> {
        match self {
            Self::Whatlang { confidence } => {
                let found = whatlang::detect(text).filter(|found| found.confidence() > *confidence);
                found.map(|found| found.lang().eng_name().to_string())
            }
            #[cfg(feature = "lingua")]
            Self::Lingua => detector()
                .detect_language_of(text)
                .map(|language| language.to_string()),
        }
    }
}

/// The detector of all languages; a model is read when it is first needed.
#[cfg(feature = "lingua")]
fn detector() -> &'static lingua::LanguageDetector {
    use std::sync::LazyLock;

    use lingua::{LanguageDetector, LanguageDetectorBuilder};

    static DETECTOR: LazyLock<LanguageDetector> =
        LazyLock::new(|| LanguageDetectorBuilder::from_all_languages().build());
    &DETECTOR
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXTS: [(&str, &str); 4] = [
        (
            "English",
            "The quick brown fox jumps over the lazy dog near the river bank",
        ),
        (
            "French",
            "Le renard brun saute par-dessus le chien paresseux au bord de la rivière",
        ),
        (
            "Russian",
            "Быстрая бурая лиса прыгает через ленивую собаку у реки",
        ),
        ("Thai", "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ"),
    ];

    #[test]
    fn whatlang_tells_languages() {
        let identifier = Identifier::new(None).unwrap();
        assert_eq!(identifier, Identifier::new(Some(&json!("whatlang"))).unwrap());
        for (language, text) in TEXTS {
            assert_eq!(identifier.language(text).as_deref(), Some(language));
            assert!(identifier.languages().contains(&language.to_string()));
        }
        assert_eq!(identifier.language("1234"), None);
        // It is never surer than that.
        let sure = Identifier::new(Some(&json!({"type": "whatlang", "confidence": 1.0}))).unwrap();
        assert_eq!(sure.language(TEXTS[0].1), None);
    }

    #[cfg(feature = "lingua")]
    #[test]
    fn lingua_tells_languages() {
        let identifier = Identifier::new(Some(&json!("lingua"))).unwrap();
        assert_eq!(
            identifier,
            Identifier::new(Some(&json!({"type": "lingua"}))).unwrap()
        );
        assert_eq!(identifier.languages().len(), 75);
        for (language, text) in TEXTS {
            assert_eq!(identifier.language(text).as_deref(), Some(language));
        }
        // Two words are enough.
        assert_eq!(
            identifier.language("languages are awesome").as_deref(),
            Some("English")
        );
        assert_eq!(identifier.language("1234"), None);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |params| Identifier::new(Some(&params)).unwrap_err().to_string();
        assert!(error(json!("langid")).contains("'langid'; allowed are whatlang, lingua"));
        assert!(error(json!(1)).contains("must be a string or an object"));
        assert!(error(json!({"confidence": 0.5})).contains("must have 'type'"));
        for confidence in [json!(2), json!(-0.1), json!("high")] {
            let error = error(json!({"type": "whatlang", "confidence": confidence}));
            assert!(error.contains("must be a number from 0 to 1"), "{error}");
        }
        assert!(error(json!({"type": "lingua", "confidence": 0.5})).contains("unknown key 'confidence'"));
        #[cfg(not(feature = "lingua"))]
        assert!(error(json!("lingua")).contains("--features lingua"));
    }
}
