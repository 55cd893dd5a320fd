//! Words of analyzers that stand in registered files: they are read when a field is made, and kept in its parameters.
//!
//! So a field has the same terms as long as it lives, whatever becomes of the file.

use std::collections::BTreeMap;

use elanus_text::AnalyzerError;
use elanus_text::word_files::{WordFile, with_words, without_words, word_files};

use super::Collections;
use crate::error::{Error, Result};
use crate::function::{ANALYZER_PARAMS, MULTI_ANALYZER_PARAMS};
use crate::types::Field;

/// Most bytes of the words of one field: they are a part of its schema.
const MAX_WORD_BYTES: usize = 1 << 20;

impl Collections {
    /// The parameters of an analyzer, JSON as text, with the words of the files that they name.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a file that is not registered, has another name, is no text or has too many words.
    pub async fn with_words(&self, params: &str) -> Result<String> {
        let named = word_files(params).map_err(|error| wrong(&error))?;
        if named.is_empty() {
            return Ok(params.to_string());
        }
        let mut texts: BTreeMap<WordFile, String> = BTreeMap::new();
        for file in named {
            let text = self.words_of(&file).await?;
            texts.insert(file, text);
        }
        let bytes: usize = texts.values().map(String::len).sum();
        if bytes > MAX_WORD_BYTES {
            return Err(Error::InvalidParameter(format!(
                "the files of an analyzer have {bytes} bytes of words, at most {MAX_WORD_BYTES} are allowed"
            )));
        }
        let text_of = |file: &WordFile| Ok(texts.get(file).cloned().unwrap_or_default());
        with_words(params, text_of).map_err(|error| wrong(&error))
    }

    /// Puts the words of files into the parameters of a field.
    pub(super) async fn read_words(&self, field: &mut Field) -> Result<()> {
        for param in [ANALYZER_PARAMS, MULTI_ANALYZER_PARAMS] {
            if let Some(params) = field.params.get_mut(param) {
                *params = self.with_words(params).await?;
            }
        }
        Ok(())
    }

    async fn words_of(&self, file: &WordFile) -> Result<String> {
        let bytes = self.read_file_resource(&file.resource).await?;
        let path = self.file_resource(&file.resource).map(|resource| resource.path);
        let name = path.as_deref().and_then(|path| path.rsplit('/').next());
        if let Some(name) = name
            && name != file.file
        {
            return Err(Error::InvalidParameter(format!(
                "file resource '{}' has no file '{}': its file is '{name}'",
                file.resource, file.file
            )));
        }
        String::from_utf8(bytes.into()).map_err(|error| {
            Error::InvalidParameter(format!(
                "the file '{}' of file resource '{}' is not UTF-8: {error}",
                file.file, file.resource
            ))
        })
    }
}

impl Field {
    /// The parameters as the user gave them: without the words of files.
    pub fn given_params(&self) -> BTreeMap<String, String> {
        let mut params = self.params.clone();
        for param in [ANALYZER_PARAMS, MULTI_ANALYZER_PARAMS] {
            if let Some(params) = params.get_mut(param) {
                *params = without_words(params);
            }
        }
        params
    }
}

fn wrong(error: &AnalyzerError) -> Error {
    Error::InvalidParameter(error.to_string())
}
