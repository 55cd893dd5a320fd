//! Every family, with parameters as clients write them.

use std::collections::BTreeMap;

use elanus_index::BuildParams;

/// An index type, what it is built with, and what it is searched with.
#[derive(Clone)]
pub struct Family {
    /// As a client names it.
    pub name: &'static str,
    /// The type that is built: another one for a name that only stands for it.
    built_as: &'static str,
    build: &'static str,
    search: String,
}

impl Family {
    fn new(name: &'static str, build: &'static str, search: &str) -> Self {
        Self {
            name,
            built_as: name,
            build,
            search: search.to_owned(),
        }
    }

    /// A name that stands for another type on vectors of this type.
    fn stands_for(self, built_as: &'static str) -> Self {
        Self { built_as, ..self }
    }

    pub fn params(&self) -> BuildParams {
        BuildParams::parse(self.built_as, &pairs(self.build)).unwrap()
    }

    pub fn search(&self) -> BTreeMap<String, String> {
        pairs(&self.search)
    }

    /// What it is built with, in words.
    pub fn built_with(&self) -> String {
        if self.name == "AUTOINDEX" {
            let params = self.params();
            let pairs = params.to_map().into_iter();
            let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
            return format!("= {} {}", params.kind(), pairs.join(" "));
        }
        words(self.build)
    }

    /// What it is searched with, in words.
    pub fn searched_with(&self) -> String {
        words(&self.search)
    }
}

/// `M=16 ef=64` as pairs.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn words(params: &str) -> String {
    if params.is_empty() {
        "-".to_owned()
    } else {
        params.to_owned()
    }
}

/// Of 32- and 16-bit floats.
pub fn of_floats() -> Vec<Family> {
    let mut all = vec![
        Family::new("FLAT", "", ""),
        Family::new("IVF_FLAT", "nlist=128", "nprobe=16"),
        Family::new("IVF_SQ8", "nlist=128", "nprobe=16"),
        Family::new("IVF_PQ", "nlist=128 m=32 nbits=8", "nprobe=16"),
        Family::new("IVF_RABITQ", "nlist=128 rbq_bits=1", "nprobe=16"),
        Family::new("IVF_RABITQ", "nlist=128 rbq_bits=4", "nprobe=16"),
        Family::new("IVF_RABITQ_FASTSCAN", "nlist=128 rbq_bits=1", "nprobe=16"),
        Family::new("SCANN", "nlist=128 sub_dim=2", "nprobe=16 reorder_k=100"),
    ];
    all.extend(graphs());
    all.push(Family::new(
        "DISKANN",
        "max_degree=48 search_list_size=128",
        "search_list=64",
    ));
    all.push(auto());
    all
}

/// Of 8-bit integers.
pub fn of_integers() -> Vec<Family> {
    let mut all = vec![Family::new("FLAT", "", "")];
    all.extend(graphs());
    all.push(auto());
    all
}

/// Of bits.
pub fn of_bits() -> Vec<Family> {
    vec![
        Family::new("FLAT", "", ""),
        Family::new("BIN_FLAT", "", "").stands_for("FLAT"),
        Family::new("BIN_IVF_FLAT", "nlist=128", "nprobe=16"),
        Family::new("HNSW", "M=16 efConstruction=100", "ef=64"),
        auto(),
    ]
}

/// Of signatures of 128 elements of 32 bits. AUTOINDEX has bands of four elements.
pub fn of_signatures() -> Vec<Family> {
    let bands = "mh_lsh_band=32 mh_element_bit_width=32";
    vec![
        Family::new("FLAT", "", ""),
        Family::new("BIN_FLAT", "", "").stands_for("FLAT"),
        Family::new("MINHASH_LSH", bands, ""),
        Family::new("AUTOINDEX", bands, "").stands_for("MINHASH_LSH"),
    ]
}

/// Of sparse vectors.
pub fn of_sparse() -> Vec<Family> {
    vec![
        Family::new("FLAT", "", ""),
        Family::new("SPARSE_INVERTED_INDEX", "inverted_index_algo=DAAT_MAXSCORE", ""),
        Family::new("SPARSE_INVERTED_INDEX", "inverted_index_algo=DAAT_WAND", ""),
        Family::new("SPARSE_INVERTED_INDEX", "inverted_index_algo=TAAT_NAIVE", ""),
        Family::new("SPARSE_INVERTED_INDEX", "", "drop_ratio_search=0.2"),
        Family::new("SPARSE_WAND", "", ""),
        Family::new("AUTOINDEX", "", "").stands_for("SPARSE_INVERTED_INDEX"),
    ]
}

/// The same over the elements of lists: on lists there is no DISKANN, more inverted lists are looked at, and it is said how
/// many elements are looked for.
pub fn of_lists(families: Vec<Family>) -> Vec<Family> {
    let in_lists = |family: Family| {
        let search = family.search.replace("nprobe=16", "nprobe=32");
        let ratio = if family.built_as == "FLAT" {
            ""
        } else {
            " retrieval_ann_ratio=8"
        };
        Family {
            search: format!("{search}{ratio}").trim().to_owned(),
            ..family
        }
    };
    let kept = families.into_iter().filter(|family| family.name != "DISKANN");
    kept.map(in_lists).collect()
}

fn graphs() -> [Family; 4] {
    [
        Family::new("HNSW", "M=16 efConstruction=100", "ef=64"),
        Family::new("HNSW_SQ", "M=16 efConstruction=100 sq_type=SQ8", "ef=64"),
        Family::new("HNSW_PQ", "M=16 efConstruction=100 m=32 nbits=8", "ef=64"),
        Family::new("HNSW_PRQ", "M=16 efConstruction=100 m=16 nrq=2 nbits=8", "ef=64"),
    ]
}

fn auto() -> Family {
    Family::new("AUTOINDEX", "", "ef=64")
}
