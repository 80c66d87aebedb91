//! A bound on what evaluating an expression can cost, found without evaluating it.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};

use super::cel::CompileError;

/// The most steps an expression may take for one device, as in resource.k8s.io/v1.
const STEPS: u64 = 1_000_000;

/// The most a value may hold: bytes of a string or elements of a list.
const SIZE: u64 = 1_000_000;

/// A map of attributes or a string in one has at most this size.
const UNKNOWN: u64 = 64;

/// Names that are known without a macro having bound them.
const VARIABLES: [&str; 1] = ["device"];
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "optional_type",
];

/// Functions that exist beside the operators.
const FUNCTIONS: [&str; 44] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
    "quantity",
    "isQuantity",
    "compareTo",
    "isGreaterThan",
    "isLessThan",
    "add",
    "sub",
    "sign",
    "isInteger",
    "asInteger",
    "semver",
    "isSemver",
    "major",
    "minor",
    "patch",
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "of",
    "none",
    "hasValue",
    "value",
    "orValue",
    "or",
];

/// The deepest nesting of operations: evaluating recurses with it.
const DEPTH: usize = 64;

/// What evaluating a part can cost, and how large its value can get.
#[derive(Debug, Clone, Copy)]
struct Bound {
    steps: u64,
    size: u64,
}

/// Refuses an expression that names something unknown or could cost too much.
pub(super) fn check(expression: &IdedExpr) -> Result<(), CompileError> {
    let mut names = Names::default();
    let bound = names.bound(expression, &mut BTreeMap::new())?;
    match names.unknown.first() {
        Some(unknown) => Err(CompileError::Invalid(unknown.clone())),
        None if bound.steps > STEPS => Err(CompileError::TooComplex),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Names {
    unknown: BTreeSet<String>,
    depth: usize,
}

impl Names {
    fn bound<'e>(
        &mut self,
        expression: &'e IdedExpr,
        sizes: &mut BTreeMap<&'e str, u64>,
    ) -> Result<Bound, CompileError> {
        self.depth += 1;
        let bound = if self.depth > DEPTH {
            Err(CompileError::TooComplex)
        } else {
            self.part(expression, sizes)
        };
        self.depth -= 1;
        bound
    }

    fn part<'e>(
        &mut self,
        expression: &'e IdedExpr,
        sizes: &mut BTreeMap<&'e str, u64>,
    ) -> Result<Bound, CompileError> {
        let bound = match &expression.expr {
            Expr::Unspecified => Bound { steps: 0, size: 0 },
            Expr::Literal(literal) => Bound {
                steps: 1,
                size: literal_size(literal),
            },
            Expr::Ident(name) => {
                let bound = sizes.get(name.as_str()).copied();
                let plain = name.trim_start_matches('.');
                if bound.is_none()
                    && !name.starts_with('@')
                    && !VARIABLES.contains(&plain)
                    && !TYPES.contains(&plain)
                    && plain != "optional"
                {
                    self.unknown.insert(format!(
                        "undeclared reference to '{name}' (in container '')"
                    ));
                }
                Bound {
                    steps: 1,
                    size: bound.unwrap_or(UNKNOWN),
                }
            }
            Expr::Select(select) => {
                let inner = self.bound(&select.operand, sizes)?;
                Bound {
                    steps: inner.steps.saturating_add(1),
                    size: inner.size.max(UNKNOWN),
                }
            }
            Expr::Call(call) => {
                if call
                    .func_name
                    .starts_with(|c: char| c.is_ascii_alphabetic())
                    && !FUNCTIONS.contains(&call.func_name.as_str())
                {
                    self.unknown.insert(format!(
                        "undeclared reference to '{}' (in container '')",
                        call.func_name
                    ));
                }
                let mut bound = Bound { steps: 1, size: 0 };
                for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                    let part = self.bound(part, sizes)?;
                    bound.steps = bound.steps.saturating_add(part.steps);
                    bound.size = bound.size.saturating_add(part.size);
                }
                // Comparing, searching and concatenating look at every part of their operands.
                bound.steps = bound.steps.saturating_add(bound.size / 10);
                bound.size = bound.size.max(1);
                bound
            }
            Expr::List(list) => self.all(list.elements.iter(), sizes)?,
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr), sizes)?,
            Expr::Struct(made) => {
                self.entries(made.entries.iter().map(|entry| &entry.expr), sizes)?
            }
            Expr::Comprehension(loop_) => {
                let range = self.bound(&loop_.iter_range, sizes)?;
                let start = self.bound(&loop_.accu_init, sizes)?;
                // A value in the range is no larger than the range itself.
                let shadowed = [
                    (loop_.iter_var.as_str(), Some(range.size)),
                    (
                        loop_.iter_var2.as_deref().unwrap_or_default(),
                        Some(range.size),
                    ),
                    (loop_.accu_var.as_str(), Some(0)),
                ]
                .map(|(name, size)| (name, size.and_then(|size| sizes.insert(name, size))));
                let condition = self.bound(&loop_.loop_cond, sizes)?;
                let step = self.bound(&loop_.loop_step, sizes)?;
                let size = range
                    .size
                    .saturating_mul(step.size)
                    .saturating_add(start.size);
                sizes.insert(&loop_.accu_var, size);
                let result = self.bound(&loop_.result, sizes)?;
                for (name, before) in shadowed {
                    match before {
                        Some(size) => sizes.insert(name, size),
                        None => sizes.remove(name),
                    };
                }
                let turn = condition.steps.saturating_add(step.steps);
                let steps = [
                    range.steps,
                    start.steps,
                    range.size.saturating_mul(turn),
                    result.steps,
                ]
                .into_iter()
                .fold(1, u64::saturating_add);
                Bound { steps, size }
            }
        };
        if bound.size > SIZE || bound.steps > STEPS {
            Err(CompileError::TooComplex)
        } else {
            Ok(bound)
        }
    }

    fn all<'e>(
        &mut self,
        parts: impl Iterator<Item = &'e IdedExpr>,
        sizes: &mut BTreeMap<&'e str, u64>,
    ) -> Result<Bound, CompileError> {
        let mut bound = Bound { steps: 1, size: 1 };
        for part in parts {
            let part = self.bound(part, sizes)?;
            bound.steps = bound.steps.saturating_add(part.steps);
            bound.size = bound.size.saturating_add(part.size.max(1));
        }
        Ok(bound)
    }

    fn entries<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e EntryExpr>,
        sizes: &mut BTreeMap<&'e str, u64>,
    ) -> Result<Bound, CompileError> {
        let parts = entries.flat_map(|entry| match entry {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        });
        self.all(parts, sizes)
    }
}

fn literal_size(literal: &LiteralValue) -> u64 {
    let bytes = match literal {
        LiteralValue::String(text) => text.inner().len(),
        LiteralValue::Bytes(bytes) => bytes.inner().len(),
        _ => 1,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
