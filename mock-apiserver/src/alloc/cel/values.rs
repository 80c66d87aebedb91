//! The values and functions that Kubernetes adds to CEL.

use std::any::Any;
use std::cmp::Ordering;

use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{self, CelBool, CelInt, CelMap, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use crate::alloc::{Quantity, Version};

static QUANTITY: Type = Type::new_unspecified_type("kubernetes.Quantity");
static SEMVER: Type = Type::new_unspecified_type("kubernetes.Semver");

/// A capacity of a device.
#[derive(Debug, Clone)]
pub(super) struct CelQuantity(pub(super) Quantity);

/// An attribute of type version.
#[derive(Debug, Clone)]
pub(super) struct CelVersion(pub(super) Version);

macro_rules! opaque_value {
    ($value:ty, $kind:expr) => {
        impl Val for $value {
            fn get_type(&self) -> &Type {
                &$kind
            }
            fn cel_type() -> &'static Type {
                &$kind
            }
            fn equals(&self, other: &dyn Val) -> bool {
                other
                    .downcast_ref::<$value>()
                    .is_some_and(|other| other.0 == self.0)
            }
            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(self.clone())
            }
            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }
        impl StaticVal for $value {}
    };
}

opaque_value!(CelQuantity, QUANTITY);
opaque_value!(CelVersion, SEMVER);

/// Attributes or capacities by domain. A domain nobody used is an empty map, not an error.
#[derive(Debug)]
pub(super) struct DomainMap {
    domains: CelMap<'static>,
    empty: CelMap<'static>,
}

impl DomainMap {
    pub(super) fn new(domains: CelMap<'static>) -> DomainMap {
        DomainMap {
            domains,
            empty: CelMap::from(std::collections::HashMap::new()),
        }
    }
}

impl Val for DomainMap {
    fn get_type(&self) -> &Type {
        &types::MAP_TYPE
    }
    fn cel_type() -> &'static Type {
        &types::MAP_TYPE
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(DomainMap::new(self.domains.clone()))
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for DomainMap {}

impl Indexer for DomainMap {
    fn get<'b, 'v>(&'b self, domain: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match self.domains.get(domain) {
            Err(ExecutionError::NoSuchKey(_)) => Ok(CowVal::Borrowed(&self.empty)),
            found => found,
        }
    }

    fn steal<'v>(self: Box<Self>, domain: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(domain).map(CowVal::into_owned)
    }
}

impl Container for DomainMap {
    fn contains(&self, domain: &dyn Val) -> Result<bool, ExecutionError> {
        self.domains.contains(domain)
    }
}

impl Iterable for DomainMap {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Iterable::iter(&self.domains)
    }
}

impl Sizer for DomainMap {
    fn size(&self) -> CelInt {
        self.domains.size()
    }
}

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn fail(function: &str, message: impl ToString) -> ExecutionError {
    ExecutionError::function_error(function, message)
}

fn string<'a>(args: &'a Args<'_, '_>) -> Option<&'a str> {
    args.first()?
        .downcast_ref::<CelString<'_>>()
        .map(CelString::inner)
}

fn quantity(args: &Args<'_, '_>, index: usize) -> Result<Quantity, ExecutionError> {
    let value = args
        .get(index)
        .and_then(|arg| arg.downcast_ref::<CelQuantity>());
    value
        .map(|value| value.0)
        .ok_or_else(ExecutionError::missing_argument_or_target)
}

fn version<'a>(args: &'a Args<'_, '_>, index: usize) -> Result<&'a Version, ExecutionError> {
    let value = args
        .get(index)
        .and_then(|arg| arg.downcast_ref::<CelVersion>());
    value
        .map(|value| &value.0)
        .ok_or_else(ExecutionError::missing_argument_or_target)
}

fn int<'b, 'v>(value: i64) -> CowVal<'b, 'v> {
    CowVal::owned(CelInt::from(value))
}

fn bool<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

fn order(ordering: Ordering) -> i64 {
    ordering as i64
}

fn core<'b, 'v>(args: &Args<'_, '_>, part: usize) -> Answer<'b, 'v> {
    Ok(int(
        i64::try_from(version(args, 0)?.core()[part]).unwrap_or(i64::MAX)
    ))
}

/// Declares the functions. They have names of their own, so no declaration can clash.
pub(super) fn declare(env: &mut Env) {
    let declared = quantities(env).and_then(|()| versions(env));
    debug_assert!(declared.is_ok(), "{declared:?}");
}

fn quantities(env: &mut Env) -> Result<(), DeclarationError> {
    let text = || vec![types::STRING_TYPE.to_owned()];
    let this = || QUANTITY.to_owned();
    env.add_type(this())?;
    env.add_overload("quantity", "string_to_quantity", text(), |args| {
        let parsed = string(&args).and_then(Quantity::parse);
        let words = "quantities must match the regular expression \
'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        parsed
            .map(|value| CowVal::owned(CelQuantity(value)))
            .ok_or_else(|| fail("quantity", words))
    })?;
    env.add_overload("isQuantity", "is_quantity_string", text(), |args| {
        Ok(bool(string(&args).and_then(Quantity::parse).is_some()))
    })?;
    env.add_member_overload(
        "compareTo",
        "quantity_compare_to",
        this(),
        vec![this()],
        |args| Ok(int(order(quantity(&args, 0)?.cmp(&quantity(&args, 1)?)))),
    )?;
    env.add_member_overload(
        "isGreaterThan",
        "quantity_is_greater_than",
        this(),
        vec![this()],
        |args| Ok(bool(quantity(&args, 0)? > quantity(&args, 1)?)),
    )?;
    env.add_member_overload(
        "isLessThan",
        "quantity_is_less_than",
        this(),
        vec![this()],
        |args| Ok(bool(quantity(&args, 0)? < quantity(&args, 1)?)),
    )?;
    env.add_member_overload("add", "quantity_add", this(), vec![this()], |args| {
        let sum = quantity(&args, 0)?.plus(quantity(&args, 1)?);
        sum.map(|value| CowVal::owned(CelQuantity(value)))
            .ok_or_else(|| fail("add", "overflow"))
    })?;
    env.add_member_overload("sub", "quantity_sub", this(), vec![this()], |args| {
        let difference = quantity(&args, 0)?.minus(quantity(&args, 1)?);
        difference
            .map(|value| CowVal::owned(CelQuantity(value)))
            .ok_or_else(|| fail("sub", "overflow"))
    })?;
    env.add_member_overload("sign", "quantity_sign", this(), vec![], |args| {
        Ok(int(quantity(&args, 0)?.sign()))
    })?;
    env.add_member_overload("isInteger", "quantity_is_integer", this(), vec![], |args| {
        Ok(bool(quantity(&args, 0)?.as_integer().is_some()))
    })?;
    env.add_member_overload("asInteger", "quantity_as_integer", this(), vec![], |args| {
        let words = "cannot convert value to integer";
        quantity(&args, 0)?
            .as_integer()
            .map(int)
            .ok_or_else(|| fail("asInteger", words))
    })
}

fn versions(env: &mut Env) -> Result<(), DeclarationError> {
    let text = || vec![types::STRING_TYPE.to_owned()];
    let this = || SEMVER.to_owned();
    env.add_type(this())?;
    env.add_overload("semver", "string_to_semver", text(), |args| {
        let parsed = string(&args).and_then(Version::parse);
        parsed
            .map(|value| CowVal::owned(CelVersion(value)))
            .ok_or_else(|| fail("semver", "not a semantic version"))
    })?;
    env.add_overload("isSemver", "is_semver_string", text(), |args| {
        Ok(bool(string(&args).and_then(Version::parse).is_some()))
    })?;
    env.add_member_overload(
        "compareTo",
        "semver_compare_to",
        this(),
        vec![this()],
        |args| Ok(int(order(version(&args, 0)?.cmp(version(&args, 1)?)))),
    )?;
    env.add_member_overload(
        "isGreaterThan",
        "semver_is_greater_than",
        this(),
        vec![this()],
        |args| Ok(bool(version(&args, 0)? > version(&args, 1)?)),
    )?;
    env.add_member_overload(
        "isLessThan",
        "semver_is_less_than",
        this(),
        vec![this()],
        |args| Ok(bool(version(&args, 0)? < version(&args, 1)?)),
    )?;
    env.add_member_overload("major", "semver_major", this(), vec![], |args| {
        core(&args, 0)
    })?;
    env.add_member_overload("minor", "semver_minor", this(), vec![], |args| {
        core(&args, 1)
    })?;
    env.add_member_overload("patch", "semver_patch", this(), vec![], |args| {
        core(&args, 2)
    })
}
