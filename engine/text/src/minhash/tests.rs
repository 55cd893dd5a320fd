//! Expected signatures were computed by a second implementation, in Python on integers of any size.

use proptest::prelude::*;

use super::*;

fn signature(function: &MinHashFunction, text: &str) -> Vec<u32> {
    let mut bytes = Vec::new();
    function.append(&Analyzer::default(), text, &mut bytes);
    assert_eq!(bytes.len(), function.signature_bytes());
    let elements = bytes.as_chunks::<4>().0.iter();
    elements.map(|element| u32::from_le_bytes(*element)).collect()
}

fn alike(a: &[u32], b: &[u32]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    equal as f64 / a.len() as f64
}

#[test]
fn signatures_of_words_are_those_of_milvus_algorithm() {
    let text = "The quick brown fox jumps over the lazy dog";
    let function = MinHashFunction::new(5, 3, Hashed::Words, ShingleHash::XxHash, 1234);
    assert_eq!(
        signature(&function, text),
        [0x190a_0b6f, 0x4817_ad6f, 0x5832_dac1, 0x11cc_302c, 0x241f_9864]
    );
    let function = MinHashFunction::new(5, 2, Hashed::Words, ShingleHash::Sha1, -7);
    assert_eq!(
        signature(&function, text),
        [0x0eb4_e17d, 0x2884_5a56, 0x1ccc_b29d, 0x0629_946f, 0x0aac_7fd3]
    );
}

#[test]
fn characters_are_bytes() {
    let function = MinHashFunction::new(5, 4, Hashed::Bytes, ShingleHash::XxHash, 42);
    assert_eq!(
        signature(&function, "Größe ändert sich"),
        [0x02ee_30e6, 0x0fe4_8f53, 0x0513_58d3, 0x0624_ba5a, 0x1202_3ae9]
    );
}

#[test]
fn short_texts_are_one_shingle_and_empty_ones_have_all_bits() {
    let function = MinHashFunction::new(3, 3, Hashed::Words, ShingleHash::XxHash, 1234);
    assert_eq!(
        signature(&function, "Foxes!"),
        [0xaf90_5f31, 0x5823_27b7, 0xf8c4_258a]
    );
    for hashed in [Hashed::Words, Hashed::Bytes] {
        let function = MinHashFunction::new(3, 3, hashed, ShingleHash::Sha1, 0);
        assert_eq!(signature(&function, ""), [u32::MAX; 3]);
    }
    assert_eq!(signature(&function, " ..."), [u32::MAX; 3]);
}

#[test]
fn equal_elements_estimate_the_jaccard_similarity() {
    // Of 200 words and as many shingles of one word, 150 are shared: 150 / 250.
    let text = |from: usize| {
        let words: Vec<String> = (from..from + 200).map(|word| format!("w{word}")).collect();
        words.join(" ")
    };
    for hash in [ShingleHash::XxHash, ShingleHash::Sha1] {
        let function = MinHashFunction::new(1024, 1, Hashed::Words, hash, 7);
        let estimate = alike(&signature(&function, &text(0)), &signature(&function, &text(50)));
        // Four standard deviations of a mean of 1024.
        assert!((estimate - 0.6).abs() < 0.062, "{hash}: {estimate}");
    }
}

#[test]
fn names_read_back_and_others_are_refused() {
    for hashed in [Hashed::Words, Hashed::Bytes] {
        assert_eq!(hashed.to_string().parse(), Ok(hashed));
    }
    for hash in [ShingleHash::XxHash, ShingleHash::Sha1] {
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
    }
    assert_eq!("character".parse(), Ok(Hashed::Bytes));
    assert_eq!("xxhash".parse(), Ok(ShingleHash::XxHash));
    assert_eq!(
        "line".parse::<Hashed>().unwrap_err(),
        "unknown token_level: line (expected 'char' or 'word')"
    );
    assert_eq!(
        "md5".parse::<ShingleHash>().unwrap_err(),
        "unknown hash function: md5 (expected 'xxhash64' or 'sha1')"
    );
}

proptest! {
    #[test]
    fn a_permutation_is_what_its_definition_says(a in any::<u64>(), b in any::<u64>(), hash in any::<u64>()) {
        let product = a.wrapping_mul(hash).wrapping_add(b);
        prop_assert_eq!(permuted(a, b, hash), (product % PRIME) as u32);
    }

    #[test]
    fn the_order_of_shingles_does_not_matter_and_repeats_do_not_count(
        words in prop::collection::vec("[a-f]{1,3}", 1..12),
    ) {
        let function = MinHashFunction::new(16, 1, Hashed::Words, ShingleHash::XxHash, 1);
        let forward = signature(&function, &words.join(" "));
        let twice: Vec<&str> = words.iter().rev().chain(&words).map(String::as_str).collect();
        prop_assert_eq!(forward, signature(&function, &twice.join(" ")));
    }
}
