//! A small blob of every family of indexes, type of vectors and version of the format, each with its name.

use elanus_index::scalar::{
    Extent, ExtentColumn, ExtentIndex, GramLengths, ScalarColumn, ScalarIndex, Values,
};
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildOptions, BuildParams, Code, CodedParams, DiskParams,
    ElementMetric, Elements, GraphCode, HnswCodedParams, Metric, MinHashParams, Ratio, Rows, ScalarFormat,
    SparseAlgorithm, SparseParams, SparseVectors, VectorLists, Vectors, VectorsRef,
};

pub const ROWS: usize = 90;
pub const DIM: usize = 8;
/// Kinds that are made on a device and opened without one, and those whose arrays they have.
const ON_DEVICE: [(u8, &str, &str); 5] = [
    (14, "FLAT L2", "GPU_BRUTE_FORCE"),
    (15, "IVF_FLAT L2", "GPU_IVF_FLAT"),
    (23, "IVF_PQ L2", "GPU_IVF_PQ"),
    (20, "HNSW L2", "GPU_CAGRA"),
    (20, "HNSW HAMMING", "GPU_CAGRA of bits"),
];

fn value(at: usize) -> f32 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    mixed as f32 / (1 << 23) as f32 - 1.0
}

/// The numbers of the rows, one row after the other.
pub fn floats(count: usize) -> Vec<f32> {
    (0..count).map(value).collect()
}

fn coded(code: Code) -> BuildParams {
    BuildParams::IvfCoded(CodedParams {
        nlist: 3,
        code,
        refine: true,
        refine_type: None,
    })
}

fn graph(code: GraphCode) -> BuildParams {
    BuildParams::HnswCoded(HnswCodedParams {
        m: 3,
        ef_construction: 20,
        code,
        refine: true,
        refine_type: None,
    })
}

const HNSW: BuildParams = BuildParams::Hnsw {
    m: 3,
    ef_construction: 20,
};
const LISTS: BuildParams = BuildParams::IvfFlat { nlist: 3 };
const DISK: BuildParams = BuildParams::Disk(DiskParams {
    max_degree: 8,
    search_list_size: 20,
    code_ratio: Ratio(100_000),
    cache_ratio: Ratio(500_000),
});
const SQ8: GraphCode = GraphCode::Scalar(ScalarFormat::Sq8);

fn float_families() -> Vec<BuildParams> {
    let mut families = vec![BuildParams::Flat, LISTS, HNSW, DISK];
    families.extend([4, 6, 8].map(|bits| coded(Code::Scalar { bits })));
    families.extend([(4, 4), (2, 6)].map(|(m, nbits)| coded(Code::Product { m, nbits })));
    families.extend([1, 5].map(|bits| {
        coded(Code::Rabitq {
            bits,
            fast_scan: bits > 1,
        })
    }));
    families.push(coded(Code::Scann { sub_dim: 2 }));
    let formats = [
        ScalarFormat::Sq4u,
        ScalarFormat::Sq6,
        ScalarFormat::Sq8,
        ScalarFormat::Bf16,
        ScalarFormat::Fp16,
    ];
    families.extend(formats.map(|format| graph(GraphCode::Scalar(format))));
    families.push(graph(GraphCode::Product { m: 4, nbits: 4 }));
    families.push(graph(GraphCode::Residual {
        m: 2,
        nrq: 2,
        nbits: 5,
    }));
    families
}

/// Every blob, with its name.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut blobs = Vec::new();
    let valid = Bitset::from_fn(ROWS, |row| row % 7 != 3);
    let mut add =
        |params: BuildParams, metric: AnyMetric, vectors: VectorsRef<'_>, valid: Option<&Bitset>| {
            let options = BuildOptions::default();
            let index = AnyIndex::build(&params, metric, vectors, valid, &options).unwrap();
            let name = |kind: &str| format!("{} {metric}", kind);
            let kind = index.kind().to_string();
            let mut name = name(&kind);
            if blobs.iter().any(|(known, _): &(String, Vec<u8>)| *known == name) {
                name = format!("{name} {}", blobs.len());
            }
            blobs.push((name, index.serialize()));
        };
    let floats = floats(ROWS * 64);
    let short = Vectors::new(&floats[..ROWS * DIM], DIM).unwrap();
    let metrics = [Metric::L2, Metric::Ip, Metric::Cosine];
    for (index, params) in float_families().into_iter().enumerate() {
        add(params, Metric::L2.into(), VectorsRef::Floats(short), None);
        let other = metrics[1 + index % 2];
        add(params, other.into(), VectorsRef::Floats(short), Some(&valid));
    }
    // Numbers of more than a byte, for which there must be as many rows as codewords.
    let many = Vectors::new(&floats[..520 * DIM], DIM).unwrap();
    let code = Code::Product { m: 2, nbits: 9 };
    add(coded(code), Metric::Ip.into(), VectorsRef::Floats(many), None);
    let code = GraphCode::Residual {
        m: 1,
        nrq: 2,
        nbits: 9,
    };
    add(graph(code), Metric::L2.into(), VectorsRef::Floats(many), None);
    // Long rows, which plain graphs have codes of.
    let long = Vectors::new(&floats, 64).unwrap();
    add(HNSW, Metric::L2.into(), VectorsRef::Floats(long), None);

    let shorts: Vec<u16> = floats
        .iter()
        .map(|value| (value.to_bits() >> 16) as u16)
        .collect();
    let shorts = Rows::new(&shorts[..ROWS * DIM], DIM).unwrap();
    let halves: Vec<u16> = (0..ROWS * DIM)
        .map(|at| 0x3000 + (at * 37 % 4096) as u16)
        .collect();
    let halves = Rows::new(&halves, DIM).unwrap();
    let ints: Vec<i8> = floats.iter().map(|value| (value * 100.0) as i8).collect();
    let ints = Rows::new(&ints[..ROWS * DIM], DIM).unwrap();
    for (index, params) in [
        BuildParams::Flat,
        HNSW,
        graph(SQ8),
        LISTS,
        coded(Code::Scalar { bits: 8 }),
        DISK,
    ]
    .into_iter()
    .enumerate()
    {
        let metric = metrics[index % 3].into();
        add(params, metric, VectorsRef::Halves(halves), None);
        add(params, metric, VectorsRef::BFloat16s(shorts), Some(&valid));
        if index < 3 {
            add(params, metric, VectorsRef::Int8s(ints), Some(&valid));
        }
    }
    let bytes: Vec<u8> = (0..ROWS * 8).map(|at| (value(at) * 100.0) as i8 as u8).collect();
    let bits = VectorsRef::Bits(Rows::new(&bytes, 8).unwrap());
    for params in [BuildParams::Flat, HNSW, LISTS] {
        add(params, BitMetric::Hamming.into(), bits, Some(&valid));
        add(params, BitMetric::Jaccard.into(), bits, None);
    }
    let signatures = MinHashParams {
        element_bits: 8,
        bands: 3,
    };
    add(
        BuildParams::MinHash(signatures),
        signatures.metric().into(),
        bits,
        Some(&valid),
    );

    let offsets: Vec<i32> = (0..=ROWS).map(|row| row as i32 * 3).collect();
    let terms: Vec<u32> = (0..ROWS)
        .flat_map(|row| [row % 5, 5 + row % 7, 12 + row % 9].map(|term| term as u32))
        .collect();
    let counts: Vec<f32> = (0..terms.len()).map(|at| (1 + at % 4) as f32).collect();
    let sparse = VectorsRef::Sparse(SparseVectors::new(&offsets, &terms, &counts).unwrap());
    for algorithm in [
        SparseAlgorithm::DaatMaxScore,
        SparseAlgorithm::BlockMaxWand,
        SparseAlgorithm::Sindi,
    ] {
        let params = BuildParams::Sparse(SparseParams { algorithm, block: 16 });
        add(params, Metric::Ip.into(), sparse, None);
        add(params, AnyMetric::Bm25, sparse, Some(&valid));
    }

    let offsets: Vec<i32> = (0..=ROWS / 3).map(|row| row as i32 * 3).collect();
    for params in [BuildParams::Flat, HNSW, coded(Code::Scalar { bits: 8 })] {
        let lists = VectorLists::new(&offsets, Elements::Floats(short)).unwrap();
        let metric = AnyMetric::MaxSim(ElementMetric::Numbers(Metric::Cosine));
        add(params, metric, VectorsRef::Lists(lists), None);
    }
    let elements = Elements::of(bits).unwrap();
    let lists = VectorsRef::Lists(VectorLists::new(&offsets, elements).unwrap());
    let metric = AnyMetric::MaxSim(ElementMetric::Bits(BitMetric::Hamming));
    add(HNSW, metric, lists, None);

    for (kind, of, name) in ON_DEVICE {
        let (_, like) = blobs.iter().find(|(known, _)| known == of).unwrap();
        let mut blob = like.clone();
        blob[12] = kind;
        blob[44..48].fill(0);
        crate::reader::reseal(&mut blob);
        blobs.push((name.to_owned(), blob));
    }
    blobs.extend(of_columns());
    blobs
}

fn of_columns() -> Vec<(String, Vec<u8>)> {
    let rows = 100;
    let texts: Vec<String> = (0..rows)
        .map(|row| format!("{}abc{}", row % 7, row % 30))
        .collect();
    let column = |values| ScalarColumn {
        rows,
        values,
        nulls: Bitset::from_fn(rows, |row| row % 9 == 0),
        others: Bitset::from_fn(rows, |row| row == 50),
    };
    let numbers = || (0..rows as u32).filter(|row| row % 9 != 0);
    let of = |name: &str, values, grams| {
        let index = ScalarIndex::build(column(values), grams, &BuildOptions::default()).unwrap();
        (name.to_owned(), index.serialize())
    };
    let pairs = || numbers().map(|row| (texts[row as usize].as_str(), row)).collect();
    let extents = numbers().map(|row| {
        let (x, y) = (f64::from(row % 10), f64::from(row / 10));
        let extent = Extent {
            min: [x, y],
            max: [x + 1.0, y + 2.0],
            bulge: 0.0,
        };
        (extent, row)
    });
    let extents = ExtentColumn {
        rows,
        extents: extents.collect(),
        nulls: Bitset::from_fn(rows, |row| row % 9 == 0),
        others: Bitset::new(rows),
    };
    let extents = ExtentIndex::build(extents, &BuildOptions::default()).unwrap();
    vec![
        of(
            "integers",
            Values::Ints(numbers().map(|row| (i64::from(row % 20), row)).collect()),
            None,
        ),
        of(
            "numbers",
            Values::Floats(numbers().map(|row| (f64::from(row % 30) / 4.0, row)).collect()),
            None,
        ),
        of("texts", Values::Texts(pairs()), None),
        of("texts with parts", Values::Texts(pairs()), GramLengths::new(2, 3)),
        ("shapes".to_owned(), extents.serialize()),
    ]
}
