//! The column types that a table can have, in the words of ODBC and JDBC.

use std::sync::OnceLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType};
use flight_tonic::Status;

/// The types; the same for the life of the process.
pub(crate) fn type_info() -> Result<&'static XdbcTypeInfoData, Status> {
    static DATA: OnceLock<XdbcTypeInfoData> = OnceLock::new();
    if let Some(data) = DATA.get() {
        return Ok(data);
    }
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, code, size, parameters) in TYPES {
        types.append(info(name, code, size, parameters));
    }
    let data = types.build().map_err(Status::from)?;
    Ok(DATA.get_or_init(|| data))
}

/// Name, code, digits or bytes, parameters. A type that ODBC does not know is described as text.
const TYPES: [(&str, XdbcDataType, i32, &[&str]); 18] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, 1, &[]),
    ("TINYINT", XdbcDataType::XdbcTinyint, 3, &[]),
    ("SMALLINT", XdbcDataType::XdbcSmallint, 5, &[]),
    ("INTEGER", XdbcDataType::XdbcInteger, 10, &[]),
    ("BIGINT", XdbcDataType::XdbcBigint, 19, &[]),
    ("REAL", XdbcDataType::XdbcReal, 24, &[]),
    ("DOUBLE PRECISION", XdbcDataType::XdbcDouble, 53, &[]),
    ("VARCHAR", XdbcDataType::XdbcVarchar, 65_535, &["length"]),
    ("TEXT", XdbcDataType::XdbcVarchar, 67_108_864, &[]),
    ("JSON", XdbcDataType::XdbcVarchar, 65_536, &[]),
    ("TIMESTAMPTZ", XdbcDataType::XdbcTimestamp, 32, &[]),
    ("GEOMETRY", XdbcDataType::XdbcVarchar, 65_535, &[]),
    ("VECTOR", XdbcDataType::XdbcVarchar, 32_768, &["dimension"]),
    ("HALFVEC", XdbcDataType::XdbcVarchar, 32_768, &["dimension"]),
    (
        "BFLOAT16_VECTOR",
        XdbcDataType::XdbcVarchar,
        32_768,
        &["dimension"],
    ),
    ("INT8_VECTOR", XdbcDataType::XdbcVarchar, 32_768, &["dimension"]),
    ("BIT", XdbcDataType::XdbcVarchar, 262_144, &["dimension"]),
    ("SPARSEVEC", XdbcDataType::XdbcVarchar, 65_535, &[]),
];

fn info(name: &str, code: XdbcDataType, size: i32, parameters: &[&str]) -> XdbcTypeInfo {
    let is_text = matches!(code, XdbcDataType::XdbcVarchar | XdbcDataType::XdbcTimestamp);
    let is_integer = matches!(
        code,
        XdbcDataType::XdbcTinyint
            | XdbcDataType::XdbcSmallint
            | XdbcDataType::XdbcInteger
            | XdbcDataType::XdbcBigint
    );
    let is_float = matches!(code, XdbcDataType::XdbcReal | XdbcDataType::XdbcDouble);
    let quote = is_text.then(|| "'".to_string());
    XdbcTypeInfo {
        type_name: name.to_string(),
        data_type: code,
        column_size: Some(size),
        literal_prefix: quote.clone(),
        literal_suffix: quote,
        create_params: (!parameters.is_empty()).then(|| parameters.iter().map(ToString::to_string).collect()),
        nullable: Nullable::NullabilityNullable,
        case_sensitive: is_text,
        searchable: Searchable::Full,
        unsigned_attribute: (is_integer || is_float).then_some(false),
        fixed_prec_scale: is_integer,
        auto_increment: is_integer.then_some(code == XdbcDataType::XdbcBigint),
        local_type_name: Some(name.to_string()),
        minimum_scale: is_integer.then_some(0),
        maximum_scale: is_integer.then_some(0),
        sql_data_type: code,
        datetime_subcode: None,
        num_prec_radix: if is_integer {
            Some(10)
        } else {
            is_float.then_some(2)
        },
        interval_precision: None,
    }
}
