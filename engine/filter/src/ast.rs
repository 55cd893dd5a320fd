//! Syntax tree of a filter: what the text says, before any schema is known.
//!
//! Every production of the Milvus grammar has a node here, also those that [`crate::compile`] rejects. Parentheses leave
//! no trace; `and` and `or` chains are flat, so that a chain of ten thousand conditions is one node and not a tower.

pub use elanus_udfs::membership::MembershipKind;

/// Byte range in the expression's text. Spans never take part in comparisons: two trees are equal when they say the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The range from the start of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start,
            end: other.end,
        }
    }
}

impl PartialEq for Span {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

/// A node with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

impl From<ExprKind> for Expr {
    /// A node without a place, for trees that are built and not parsed.
    fn from(kind: ExprKind) -> Self {
        Self {
            kind,
            span: Span::default(),
        }
    }
}

/// A constant. Numbers may be negative: a minus sign directly before a number belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `true`, `True`, `TRUE` and the same for false.
    Bool(bool),
    /// Any integer base; 64 bits signed.
    Int(i64),
    /// Decimal or hexadecimal; always finite.
    Float(f64),
    /// Quoted or raw string, unescaped.
    Str(String),
}

/// A field, `$meta`, or a path into one: `meta["a"][0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// Field name as written, or `$meta`.
    pub name: String,
    /// Steps in brackets, outermost first.
    pub path: Vec<PathStep>,
}

/// One bracket of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// `["key"]`
    Key(String),
    /// `[3]`
    Index(u64),
}

/// Prefix operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+x`
    Plus,
    /// `-x`
    Minus,
    /// `~x`
    BitNot,
    /// `not x`, `!x`
    Not,
}

/// The six comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// The operator with its operands swapped: `a < b` is `b > a`.
    pub fn reversed(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }
}

/// Operators with two operands, all left-associative. `and` and `or` are separate nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `like`
    Like,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexNotMatch,
    /// `**`
    Pow,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `== != < <= > >=`
    Compare(CompareOp),
    /// `&`
    BitAnd,
    /// `^`
    BitXor,
    /// `|`
    BitOr,
}

impl BinaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::RegexMatch => "=~",
            Self::RegexNotMatch => "!~",
            Self::Pow => "**",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Shl => "<<",
            Self::Shr => ">>",
            Self::Compare(op) => op.symbol(),
            Self::BitAnd => "&",
            Self::BitXor => "^",
            Self::BitOr => "|",
        }
    }

    /// How tightly the operator binds (see [`precedence`]).
    pub fn precedence(self) -> u8 {
        match self {
            Self::Like => precedence::LIKE,
            Self::RegexMatch => precedence::REGEX,
            Self::RegexNotMatch => precedence::REGEX_NOT,
            Self::Pow => precedence::POWER,
            Self::Mul | Self::Div | Self::Mod => precedence::MULTIPLY,
            Self::Add | Self::Sub => precedence::ADD,
            Self::Shl | Self::Shr => precedence::SHIFT,
            Self::Compare(CompareOp::Eq | CompareOp::Ne) => precedence::EQUALITY,
            Self::Compare(CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge) => {
                precedence::RELATIONAL
            }
            Self::BitAnd => precedence::BIT_AND,
            Self::BitXor => precedence::BIT_XOR,
            Self::BitOr => precedence::BIT_OR,
        }
    }
}

/// Binding strength, larger is tighter. The order is Milvus' own and neither C's nor SQL's: `not` binds tighter than
/// `==`, and `&` looser. Steps of two leave room for "one tighter than".
pub mod precedence {
    /// `or`, `||`
    pub const OR: u8 = 2;
    /// `and`, `&&`
    pub const AND: u8 = 4;
    /// `|`
    pub const BIT_OR: u8 = 6;
    /// `^`
    pub const BIT_XOR: u8 = 8;
    /// `&`
    pub const BIT_AND: u8 = 10;
    /// `==`, `!=`
    pub const EQUALITY: u8 = 12;
    /// `<`, `<=`, `>`, `>=`
    pub const RELATIONAL: u8 = 14;
    /// `1 < a < 5`
    pub const RANGE: u8 = 16;
    /// `in`, `not in`
    pub const TERM: u8 = 18;
    /// `<<`, `>>`
    pub const SHIFT: u8 = 20;
    /// `+`, `-`
    pub const ADD: u8 = 22;
    /// `*`, `/`, `%`
    pub const MULTIPLY: u8 = 24;
    /// prefix `+ - ~ ! not`
    pub const PREFIX: u8 = 26;
    /// `**`
    pub const POWER: u8 = 28;
    /// `!~`
    pub const REGEX_NOT: u8 = 30;
    /// `=~`
    pub const REGEX: u8 = 32;
    /// `like`
    pub const LIKE: u8 = 34;
    /// `exists`
    pub const EXISTS: u8 = 36;
    /// Literals, fields, parentheses, calls.
    pub const PRIMARY: u8 = 38;
}

/// Which elements a containment test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainsMode {
    /// `json_contains(x, v)`
    One,
    /// `json_contains_all(x, [..])`
    All,
    /// `json_contains_any(x, [..])`
    Any,
}

/// Quantifier over the elements of a struct array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchMode {
    /// `match_all`
    All,
    /// `match_any`
    Any,
    /// `match_least`
    Least,
    /// `match_most`
    Most,
    /// `match_exact`
    Exact,
}

impl MatchMode {
    /// Function name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "match_all",
            Self::Any => "match_any",
            Self::Least => "match_least",
            Self::Most => "match_most",
            Self::Exact => "match_exact",
        }
    }
}

/// Spatial predicates of a geometry field and a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpatialOp {
    /// `st_equals`
    Equals,
    /// `st_touches`
    Touches,
    /// `st_overlaps`
    Overlaps,
    /// `st_crosses`
    Crosses,
    /// `st_contains`
    Contains,
    /// `st_intersects`
    Intersects,
    /// `st_within`
    Within,
}

impl SpatialOp {
    /// Function name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equals => "st_equals",
            Self::Touches => "st_touches",
            Self::Overlaps => "st_overlaps",
            Self::Crosses => "st_crosses",
            Self::Contains => "st_contains",
            Self::Intersects => "st_intersects",
            Self::Within => "st_within",
        }
    }
}

/// `ts + INTERVAL '..' op ISO '..'`, in either order of its sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeCompare {
    /// The TIMESTAMPTZ field.
    pub field: String,
    /// Interval added (`false`) or subtracted (`true`), ISO 8601 duration as written.
    pub interval: Option<(bool, String)>,
    /// Comparison as written, read from left to right.
    pub op: CompareOp,
    /// The instant as written.
    pub iso: String,
    /// True when the `ISO` side stands left.
    pub iso_first: bool,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// A field or a path into one.
    Field(FieldPath),
    /// `structs[sub]`
    StructField {
        /// Struct array field.
        field: String,
        /// Sub-field.
        sub: String,
    },
    /// `structs[0][sub]`
    StructIndexField {
        /// Struct array field.
        field: String,
        /// Element.
        index: u64,
        /// Sub-field.
        sub: String,
    },
    /// `$[sub]`
    StructSubField(String),
    /// `$`
    ElementSelf,
    /// `{name}`
    Template(String),
    /// `[a, b]`, `[]`
    List(Vec<Expr>),
    /// `exists x`
    Exists(Box<Expr>),
    /// A prefix operator.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// An operator between two operands.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Two or more conditions that must all hold.
    And(Vec<Expr>),
    /// Two or more conditions of which one must hold.
    Or(Vec<Expr>),
    /// `x in list`, `x not in list`
    In {
        /// `not in`
        negated: bool,
        /// Left side.
        value: Box<Expr>,
        /// Right side.
        list: Box<Expr>,
    },
    /// `left op middle op right`, both operators pointing the same way.
    Range {
        /// Outer left bound.
        left: Box<Expr>,
        /// Operator after it.
        left_op: CompareOp,
        /// The tested field.
        middle: Box<Expr>,
        /// Operator after the field.
        right_op: CompareOp,
        /// Outer right bound.
        right: Box<Expr>,
    },
    /// `x is null`, `x is not null`; the operand is always a [`ExprKind::Field`].
    IsNull {
        /// The field or path.
        operand: Box<Expr>,
        /// `is not null`
        negated: bool,
    },
    /// Comparison of a timestamp field with an instant.
    TimeCompare(TimeCompare),
    /// `name(a, b)` of a name that is no keyword.
    Call {
        /// As written.
        name: String,
        /// Arguments.
        args: Vec<Expr>,
    },
    /// `json_contains*`, `array_contains*`
    Contains {
        /// One, all or any.
        mode: ContainsMode,
        /// JSON path or array.
        container: Box<Expr>,
        /// Element or list of elements.
        value: Box<Expr>,
    },
    /// `array_length(x)`; the operand is a field, a path or a struct field.
    ArrayLength(Box<Expr>),
    /// `text_match(field, query, minimum_should_match=N)`
    TextMatch {
        /// Field.
        field: String,
        /// Query text.
        query: Box<Expr>,
        /// Number of tokens that must match.
        minimum_should_match: Option<i64>,
    },
    /// `text_match_fuzzy(field, query, max_edit_distance=D)`
    TextMatchFuzzy {
        /// Field.
        field: String,
        /// Query text.
        query: Box<Expr>,
        /// Edits allowed per token.
        max_edit_distance: i64,
    },
    /// `phrase_match(field, query, slop)`
    PhraseMatch {
        /// Field.
        field: String,
        /// Query text.
        query: Box<Expr>,
        /// Words that may lie between.
        slop: Option<Box<Expr>>,
    },
    /// `membership_match(field, {set}, type=bloom)`
    MembershipMatch {
        /// A field or a JSON path.
        value: Box<Expr>,
        /// The placeholder of the set's bytes.
        set: Box<Expr>,
        /// The kind that the set must be of.
        kind: Option<MembershipKind>,
    },
    /// `random_sample(p)`
    RandomSample(Box<Expr>),
    /// `element_filter(structs, predicate)`
    ElementFilter {
        /// Struct array field.
        field: String,
        /// Condition on one element.
        predicate: Box<Expr>,
    },
    /// `match_*(structs, predicate, threshold=N)`
    Match {
        /// Quantifier.
        mode: MatchMode,
        /// Struct array field.
        field: String,
        /// Condition on one element.
        predicate: Box<Expr>,
        /// Bound of least, most and exact.
        threshold: Option<i64>,
    },
    /// `st_*(field, shape)`
    Spatial {
        /// The relation.
        op: SpatialOp,
        /// Geometry field.
        field: String,
        /// WKT.
        shape: Box<Expr>,
    },
    /// `st_dwithin(field, shape, distance)`
    SpatialDistance {
        /// Geometry field.
        field: String,
        /// WKT.
        shape: Box<Expr>,
        /// Metres.
        distance: Box<Expr>,
    },
    /// `st_isvalid(field)`
    SpatialIsValid(String),
}
