//! Call forms: the grammar's own functions with their fixed arguments, and `name(args)` of any other name.

use super::keyword::{is_keyword, is_reserved};
use super::operand::field_kind;
use super::{Built, Parser};
use crate::ast::{ContainsMode, Expr, ExprKind, MatchMode, MembershipKind, Span, SpatialOp};
use crate::error::{Issue, Result};
use crate::token::TokenKind;

impl Parser {
    /// A call from its opening parenthesis on.
    pub(super) fn call(&mut self, name: &str, start: Span) -> Result<Built> {
        self.expect("(")?;
        let lower = name.to_ascii_lowercase();
        let known = if is_keyword(name, &lower) {
            lower.as_str()
        } else {
            ""
        };
        let (kind, below) = match known {
            "json_contains" | "array_contains" => self.contains(ContainsMode::One)?,
            "json_contains_all" | "array_contains_all" => self.contains(ContainsMode::All)?,
            "json_contains_any" | "array_contains_any" => self.contains(ContainsMode::Any)?,
            "array_length" => self.array_length()?,
            "text_match" => self.text_match()?,
            "text_match_fuzzy" => self.text_match_fuzzy()?,
            "phrase_match" => self.phrase_match()?,
            "membership_match" => self.membership_match()?,
            "random_sample" => {
                let share = self.expr(0)?;
                (ExprKind::RandomSample(Box::new(share.expr)), share.height)
            }
            "element_filter" => {
                let (field, predicate) = self.field_and_expr()?;
                (
                    ExprKind::ElementFilter {
                        field,
                        predicate: Box::new(predicate.expr),
                    },
                    predicate.height,
                )
            }
            "match_all" => self.element_match(MatchMode::All)?,
            "match_any" => self.element_match(MatchMode::Any)?,
            "match_least" => self.element_match(MatchMode::Least)?,
            "match_most" => self.element_match(MatchMode::Most)?,
            "match_exact" => self.element_match(MatchMode::Exact)?,
            "st_equals" => self.spatial(SpatialOp::Equals)?,
            "st_touches" => self.spatial(SpatialOp::Touches)?,
            "st_overlaps" => self.spatial(SpatialOp::Overlaps)?,
            "st_crosses" => self.spatial(SpatialOp::Crosses)?,
            "st_contains" => self.spatial(SpatialOp::Contains)?,
            "st_intersects" => self.spatial(SpatialOp::Intersects)?,
            "st_within" => self.spatial(SpatialOp::Within)?,
            "st_dwithin" => {
                let (field, shape) = self.field_and_expr()?;
                self.expect(",")?;
                let distance = self.expr(0)?;
                let below = shape.height.max(distance.height);
                (
                    ExprKind::SpatialDistance {
                        field,
                        shape: Box::new(shape.expr),
                        distance: Box::new(distance.expr),
                    },
                    below,
                )
            }
            "st_isvalid" => (ExprKind::SpatialIsValid(self.identifier("a geometry field")?), 0),
            _ => {
                let (args, below) = self.items(")")?;
                (
                    ExprKind::Call {
                        name: name.to_owned(),
                        args,
                    },
                    below,
                )
            }
        };
        let close = self.expect(")")?;
        Built::node(kind, start.to(close), below)
    }

    fn contains(&mut self, mode: ContainsMode) -> Result<(ExprKind, u32)> {
        let container = self.expr(0)?;
        self.expect(",")?;
        let value = self.expr(0)?;
        let below = container.height.max(value.height);
        Ok((
            ExprKind::Contains {
                mode,
                container: Box::new(container.expr),
                value: Box::new(value.expr),
            },
            below,
        ))
    }

    fn array_length(&mut self) -> Result<(ExprKind, u32)> {
        let token = &self.peek().kind;
        let takes = matches!(token, TokenKind::Path(..) | TokenKind::StructField(..))
            || matches!(token, TokenKind::Word(word) if !is_reserved(word));
        if !takes {
            return Err(self.unexpected("an array field or a JSON path"));
        }
        let token = self.bump();
        let operand = Expr {
            span: token.span,
            kind: field_kind(token.kind).unwrap_or(ExprKind::ElementSelf),
        };
        Ok((ExprKind::ArrayLength(Box::new(operand)), 1))
    }

    fn field_and_expr(&mut self) -> Result<(String, Built)> {
        let field = self.identifier("a field name")?;
        self.expect(",")?;
        Ok((field, self.expr(0)?))
    }

    fn text_match(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        let minimum_should_match = if self.is_symbol(0, ",") {
            self.bump();
            Some(self.option("minimum_should_match")?)
        } else {
            None
        };
        Ok((
            ExprKind::TextMatch {
                field,
                query: Box::new(query.expr),
                minimum_should_match,
            },
            query.height,
        ))
    }

    fn text_match_fuzzy(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        self.expect(",")?;
        let max_edit_distance = self.option("max_edit_distance")?;
        Ok((
            ExprKind::TextMatchFuzzy {
                field,
                query: Box::new(query.expr),
                max_edit_distance,
            },
            query.height,
        ))
    }

    fn phrase_match(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        let mut below = query.height;
        let slop = if self.is_symbol(0, ",") {
            self.bump();
            let slop = self.expr(0)?;
            below = below.max(slop.height);
            Some(Box::new(slop.expr))
        } else {
            None
        };
        Ok((
            ExprKind::PhraseMatch {
                field,
                query: Box::new(query.expr),
                slop,
            },
            below,
        ))
    }

    fn membership_match(&mut self) -> Result<(ExprKind, u32)> {
        let value = self.expr(0)?;
        self.expect(",")?;
        let set = self.expr(0)?;
        let kind = if self.is_symbol(0, ",") {
            self.bump();
            Some(self.membership_kind()?)
        } else {
            None
        };
        let below = value.height.max(set.height);
        Ok((
            ExprKind::MembershipMatch {
                value: Box::new(value.expr),
                set: Box::new(set.expr),
                kind,
            },
            below,
        ))
    }

    /// `type=bloom`
    fn membership_kind(&mut self) -> Result<MembershipKind> {
        const WANTED: &str = "type=bloom or type=roaring";
        if !self.is_word(0, "type") {
            return Err(self.unexpected(WANTED));
        }
        self.bump();
        self.expect("=")?;
        let kinds = [MembershipKind::Bloom, MembershipKind::Roaring];
        let named = |kind: &MembershipKind| matches!(&self.peek().kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(kind.name()));
        let Some(kind) = kinds.into_iter().find(named) else {
            return Err(self.unexpected(WANTED));
        };
        self.bump();
        Ok(kind)
    }

    fn element_match(&mut self, mode: MatchMode) -> Result<(ExprKind, u32)> {
        let (field, predicate) = self.field_and_expr()?;
        let threshold = match mode {
            MatchMode::All | MatchMode::Any => None,
            MatchMode::Least | MatchMode::Most | MatchMode::Exact => {
                self.expect(",")?;
                Some(self.option("threshold")?)
            }
        };
        Ok((
            ExprKind::Match {
                mode,
                field,
                predicate: Box::new(predicate.expr),
                threshold,
            },
            predicate.height,
        ))
    }

    fn spatial(&mut self, op: SpatialOp) -> Result<(ExprKind, u32)> {
        let (field, shape) = self.field_and_expr()?;
        Ok((
            ExprKind::Spatial {
                op,
                field,
                shape: Box::new(shape.expr),
            },
            shape.height,
        ))
    }

    /// `name=5`
    fn option(&mut self, name: &str) -> Result<i64> {
        if !self.is_word(0, name) {
            return Err(self.unexpected(&format!("{name}=<integer>")));
        }
        self.bump();
        self.expect("=")?;
        let span = self.peek().span;
        if let TokenKind::Int(magnitude) = self.peek().kind {
            self.bump();
            return i64::try_from(magnitude).map_err(|_| {
                Issue::parse(span, format!("integer {magnitude} is out of the range of int64"))
            });
        }
        Err(self.unexpected("an integer"))
    }
}
