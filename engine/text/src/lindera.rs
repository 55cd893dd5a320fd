//! The tokenizer `lindera`: morphemes of Japanese, Korean and Chinese by a dictionary.
//!
//! Dictionaries are large (ipadic: 50 MB, unidic: 250 MB), so that they are no part of the program. They are folders as
//! Lindera's own builder makes them and its releases have them, one for each kind, in a folder that is named once
//! ([`set_dictionaries`]). A dictionary is read when the first analyzer asks for it, and kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use lindera::dictionary::load_fs_dictionary;
use lindera::mode::Mode;
use lindera::segmenter::Segmenter;
use serde_json::{Map, Value};

use crate::error::AnalyzerError;
use crate::params::{only, text, texts};
use crate::token::Token;

const KINDS: [&str; 5] = ["ipadic", "ipadic-neologd", "unidic", "ko-dic", "cc-cedict"];
const FILTERS: &str = "japanese_stop_tags, japanese_keep_tags, korean_stop_tags, korean_keep_tags";
/// Parts of speech of Japanese have so many levels.
const JAPANESE_LEVELS: usize = 4;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();
static LOADED: LazyLock<Mutex<BTreeMap<String, Arc<Segmenter>>>> = LazyLock::new(Mutex::default);

/// Names the folder of the dictionaries, such as `FOLDER/ipadic`, for the whole process; the first name stays.
pub fn set_dictionaries(folder: &Path) {
    let _ = FOLDER.set(folder.to_path_buf());
}

/// A dictionary, and which of its morphemes are left out.
#[derive(Clone)]
pub(crate) struct Lindera {
    segmenter: Arc<Segmenter>,
    filters: Arc<[TagFilter]>,
}

/// Keeps or drops morphemes by their part of speech.
#[derive(Debug)]
struct TagFilter {
    language: Language,
    keep: bool,
    tags: HashSet<String>,
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Japanese,
    Korean,
}

impl Lindera {
    /// The tokenizer that these parameters describe.
    pub fn new(params: &Map<String, Value>, of: &str) -> Result<Self, AnalyzerError> {
        only(params, &["type", "dict_kind", "filter"], of)?;
        let kind = text(params, "dict_kind", of)?;
        if !KINDS.contains(&kind) {
            return Err(AnalyzerError::Invalid(format!(
                "unknown 'dict_kind' '{kind}' of {of}; allowed are {}",
                KINDS.join(", ")
            )));
        }
        let filters = match params.get("filter") {
            None => Vec::new(),
            Some(Value::Array(filters)) => filters
                .iter()
                .map(|filter| TagFilter::new(filter, of))
                .collect::<Result<_, _>>()?,
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "'filter' of {of} must be a list, got {other}"
                )));
            }
        };
        Ok(Self {
            segmenter: segmenter(kind, FOLDER.get().map(PathBuf::as_path))?,
            filters: filters.into(),
        })
    }

    /// The morphemes; white space is none.
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let Ok(morphemes) = self.segmenter.segment(Cow::Borrowed(text)) else {
            // The segmenter fails for no text; one that it cannot cut would have no morphemes.
            return Vec::new();
        };
        let mut tokens = Vec::with_capacity(morphemes.len());
        for mut morpheme in morphemes {
            let token = Token {
                text: morpheme.surface.to_string(),
                start: morpheme.byte_start,
                end: morpheme.byte_end,
                position: morpheme.position,
                position_length: morpheme.position_length,
            };
            let details = morpheme.details();
            if self.filters.iter().all(|filter| filter.passes(&details)) {
                tokens.push(token);
            }
        }
        tokens
    }
}

impl fmt::Debug for Lindera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.segmenter.dictionary.metadata.name;
        write!(f, "lindera with {name} and {:?}", self.filters)
    }
}

/// The segmenter of a kind of dictionary, read from `folder` where nobody has asked before.
fn segmenter(kind: &str, folder: Option<&Path>) -> Result<Arc<Segmenter>, AnalyzerError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(segmenter) = loaded.get(kind) {
        return Ok(Arc::clone(segmenter));
    }
    let Some(folder) = folder else {
        return Err(AnalyzerError::Unsupported(format!(
            "the tokenizer 'lindera' without dictionaries: name their folder with --analyzer-dictionaries, with '{kind}' in it"
        )));
    };
    let path = folder.join(kind);
    let dictionary = load_fs_dictionary(&path).map_err(|error| {
        AnalyzerError::Invalid(format!(
            "the dictionary '{kind}' of the tokenizer 'lindera' cannot be read from {}: {error}",
            path.display()
        ))
    })?;
    let segmenter = Arc::new(Segmenter::new(Mode::Normal, dictionary, None));
    loaded.insert(kind.to_string(), Arc::clone(&segmenter));
    Ok(segmenter)
}

impl TagFilter {
    fn new(params: &Value, of: &str) -> Result<Self, AnalyzerError> {
        let Value::Object(params) = params else {
            return Err(AnalyzerError::Invalid(format!(
                "a filter of {of} must be an object with 'kind' and 'tags', got {params}"
            )));
        };
        let kind = text(params, "kind", &format!("a filter of {of}"))?;
        let (language, keep) = match kind {
            "japanese_stop_tags" => (Language::Japanese, false),
            "japanese_keep_tags" => (Language::Japanese, true),
            "korean_stop_tags" => (Language::Korean, false),
            "korean_keep_tags" => (Language::Korean, true),
            other => {
                return Err(AnalyzerError::Unsupported(format!(
                    "the filter '{other}' of {of}; allowed are {FILTERS}"
                )));
            }
        };
        only(params, &["kind", "tags"], &format!("the filter '{kind}' of {of}"))?;
        let tags = params
            .get("tags")
            .ok_or_else(|| AnalyzerError::Invalid(format!("the filter '{kind}' of {of} must have 'tags'")))?;
        let tags = texts(tags, &format!("'tags' of the filter '{kind}'"))?;
        Ok(Self {
            language,
            keep,
            tags: tags.iter().map(|tag| language.whole_tag(tag)).collect(),
        })
    }

    fn passes(&self, details: &[&str]) -> bool {
        self.tags.contains(&self.language.tag_of(details)) == self.keep
    }
}

impl Language {
    /// A tag with all of its levels: 助詞 is 助詞,*,*,* and not every particle.
    fn whole_tag(self, tag: &str) -> String {
        match self {
            Self::Japanese => {
                let levels = tag.split(',').map(str::trim).chain(std::iter::repeat("*"));
                levels.take(JAPANESE_LEVELS).collect::<Vec<_>>().join(",")
            }
            Self::Korean => tag.trim().to_string(),
        }
    }

    /// The tag of a morpheme; one that is in no dictionary is UNK.
    fn tag_of(self, details: &[&str]) -> String {
        match self {
            Self::Japanese if details.len() >= JAPANESE_LEVELS => details
                .iter()
                .take(JAPANESE_LEVELS)
                .copied()
                .collect::<Vec<_>>()
                .join(","),
            Self::Japanese | Self::Korean => details.first().copied().unwrap_or_default().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lindera_dictionary::builder::DictionaryBuilder;
    use lindera_dictionary::dictionary::metadata::Metadata;
    use serde_json::json;

    use super::*;

    /// A dictionary of a few words, as MeCab's sources are written.
    fn write_dictionary(folder: &Path) {
        let source = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(source.path().join(name), text).unwrap();
        write(
            "char.def",
            "DEFAULT 0 1 0\nSPACE 0 1 0\nKANJI 0 0 2\nHIRAGANA 0 1 2\n0x0020 SPACE\n0x4E00..0x9FFF KANJI\n0x3041..0x309F HIRAGANA\n",
        );
        write(
            "unk.def",
            "DEFAULT,0,0,3000,記号,一般,*,*,*,*,*,*,*\nSPACE,0,0,0,記号,空白,*,*,*,*,*,*,*\nKANJI,0,0,5000,名詞,一般,*,*,*,*,*,*,*\nHIRAGANA,0,0,5000,名詞,一般,*,*,*,*,*,*,*\n",
        );
        write(
            "lex.csv",
            "東京,0,0,100,名詞,固有名詞,地域,一般,*,*,東京,トウキョウ,トウキョウ\n都,0,0,300,名詞,接尾,地域,*,*,*,都,ト,ト\nに,0,0,50,助詞,格助詞,一般,*,*,*,に,ニ,ニ\n行く,0,0,200,動詞,自立,*,*,*,*,行く,イク,イク\n",
        );
        write("matrix.def", "1 1\n0 0 0\n");
        DictionaryBuilder::new(Metadata::default())
            .build_dictionary(source.path(), folder)
            .unwrap();
    }

    #[test]
    fn morphemes_are_those_of_the_dictionary() {
        let folder = tempfile::tempdir().unwrap();
        write_dictionary(&folder.path().join("ipadic"));
        let error = |params: Value| {
            let params = params.as_object().unwrap();
            Lindera::new(params, "the tokenizer 'lindera'")
                .unwrap_err()
                .to_string()
        };
        assert!(
            error(json!({"dict_kind": "ipadic"}))
                .contains("not supported: the tokenizer 'lindera' without dictionaries")
        );
        set_dictionaries(folder.path());
        assert!(
            error(json!({"dict_kind": "unidic"}))
                .contains("the dictionary 'unidic' of the tokenizer 'lindera' cannot be read")
        );
        assert!(error(json!({"dict_kind": "naist"})).contains("allowed are ipadic, ipadic-neologd"));
        assert!(error(json!({})).contains("must have 'dict_kind'"));
        let filtered = |filter: Value| json!({"dict_kind": "ipadic", "filter": [filter]});
        assert!(
            error(filtered(json!({"kind": "japanese_number"})))
                .starts_with("not supported: the filter 'japanese_number'")
        );
        assert!(error(filtered(json!({"kind": "japanese_stop_tags"}))).contains("must have 'tags'"));
        assert!(error(filtered(json!("korean_stop_tags"))).contains("must be an object"));

        let split = |filter: Value| {
            let params = json!({"dict_kind": "ipadic", "filter": filter});
            let tokens = Lindera::new(params.as_object().unwrap(), "it")
                .unwrap()
                .tokens("東京都に 行く");
            let places = tokens
                .iter()
                .map(|token| (token.text.as_str(), token.start, token.end, token.position));
            places
                .map(|(text, start, end, at)| format!("{text} {start}-{end} {at}"))
                .collect::<Vec<_>>()
        };
        let all = ["東京 0-6 0", "都 6-9 1", "に 9-12 2", "行く 13-19 3"];
        assert_eq!(split(json!([])), all);
        // A tag is whole: one level alone is no particle with more.
        let stop = |tag: &str| split(json!([{"kind": "japanese_stop_tags", "tags": [tag]}]));
        assert_eq!(stop("助詞"), all);
        assert_eq!(
            stop("助詞,格助詞,一般"),
            ["東京 0-6 0", "都 6-9 1", "行く 13-19 3"]
        );
        let keep = json!([{"kind": "japanese_keep_tags", "tags": ["名詞,固有名詞,地域,一般", "動詞,自立"]}]);
        assert_eq!(split(keep), ["東京 0-6 0", "行く 13-19 3"]);
        // Of Korean tags the first level counts.
        let korean = json!([{"kind": "korean_stop_tags", "tags": ["名詞"]}]);
        assert_eq!(split(korean), ["に 9-12 2", "行く 13-19 3"]);
    }
}
