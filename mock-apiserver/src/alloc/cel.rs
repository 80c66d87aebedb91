//! CEL expressions that select devices.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelString};
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError, Program};
use serde_json::Value;

use super::cost;
use crate::object;

mod values;

use values::{CelQuantity, CelVersion, DomainMap};

/// The longest expression resource.k8s.io/v1 accepts, in bytes.
pub(crate) const EXPRESSION_BYTES: usize = 10 * 1024;

/// Why an expression is no good, before any device was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("the expression is longer than {EXPRESSION_BYTES} bytes")]
    TooLong,
    /// It could take too much time or memory for the worst possible device.
    #[error("too complex, exceeds cost limit")]
    TooComplex,
    #[error("compilation failed: {0}")]
    Invalid(String),
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    values::declare(&mut env);
    Arc::new(env)
});

/// A compiled selector.
pub(crate) struct Selector {
    program: Program,
}

/// The deepest nesting of brackets. The parser has a limit of its own, but needs much stack
/// to get there.
const BRACKETS: usize = 64;

/// The stack for parsing and checking, which recurse with the length of an expression. It is
/// address space that is only used if it is needed.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// Compiled expressions, as the same few are used again and again.
static COMPILED: LazyLock<Mutex<HashMap<String, Compiled>>> = LazyLock::new(Mutex::default);

/// When the cache has this many entries, it begins anew.
const COMPILED_LIMIT: usize = 256;

type Compiled = Result<Arc<Selector>, CompileError>;

/// Whether the expression would compile.
pub(crate) fn check(expression: &str) -> Result<(), CompileError> {
    Selector::compile(expression).map(drop)
}

impl Selector {
    pub(crate) fn compile(expression: &str) -> Compiled {
        if expression.len() > EXPRESSION_BYTES {
            return Err(CompileError::TooLong);
        }
        if let Some(compiled) = cache().get(expression) {
            return compiled.clone();
        }
        let compiled = compile(expression);
        let mut cache = cache();
        if cache.len() == COMPILED_LIMIT {
            cache.clear();
        }
        cache.insert(expression.to_owned(), compiled.clone());
        compiled
    }

    /// Whether the device, an entry of a slice's `spec.devices`, is selected.
    pub(crate) fn matches(&self, driver: &str, device: &Value) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_as_val("device", variable(driver, device)?);
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(matches)) => Ok(matches),
            Ok(other) => Err(format!(
                "CEL result of type {} could not be converted to bool",
                other.type_of()
            )),
            Err(ExecutionError::NoSuchKey(key)) => Err(format!("no such key: {key}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn cache() -> MutexGuard<'static, HashMap<String, Compiled>> {
    COMPILED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn compile(expression: &str) -> Compiled {
    if bracket_depth(expression) > BRACKETS {
        return Err(CompileError::TooComplex);
    }
    let expression = expression.to_owned();
    let parse = move || {
        let program = ENVIRONMENT
            .compile(&expression)
            .map_err(|error| CompileError::Invalid(error.to_string()))?;
        cost::check(program.expression())?;
        Ok(Arc::new(Selector { program }))
    };
    let thread = std::thread::Builder::new()
        .name("cel".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(parse);
    let thread = thread
        .map_err(|error| CompileError::Invalid(format!("no thread to parse it in: {error}")))?;
    thread
        .join()
        .unwrap_or_else(|_| Err(CompileError::Invalid("the parser failed on it".to_owned())))
}

/// How deep brackets are nested; those in strings count too, which does no harm.
fn bracket_depth(expression: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn variable(driver: &str, device: &Value) -> Result<Box<dyn Val>, String> {
    let mut attributes = Domains::default();
    for (name, attribute) in object::at(device, &["attributes"])
        .as_object()
        .into_iter()
        .flatten()
    {
        let value = attribute_value(attribute)
            .ok_or_else(|| format!("attribute {name}: unsupported attribute value"))?;
        attributes.put(driver, name, value);
    }
    let mut capacity = Domains::default();
    for (name, amount) in object::at(device, &["capacity"])
        .as_object()
        .into_iter()
        .flatten()
    {
        let text = match object::at(amount, &["value"]) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let quantity = super::Quantity::parse(&text)
            .ok_or_else(|| format!("capacity {name}: not a quantity"))?;
        capacity.put(driver, name, Box::new(CelQuantity(quantity)));
    }
    let mut fields: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
    fields.insert(
        "driver".into(),
        Box::new(CelString::from(driver.to_owned())),
    );
    fields.insert(
        "allowMultipleAllocations".into(),
        Box::new(CelBool::from(super::capacity::is_shared(device))),
    );
    fields.insert("attributes".into(), attributes.finish());
    fields.insert("capacity".into(), capacity.finish());
    Ok(Box::new(CelMap::from(fields)))
}

/// Values by domain, then by name.
#[derive(Default)]
struct Domains(HashMap<String, HashMap<CelMapKey<'static>, Box<dyn Val>>>);

impl Domains {
    /// A name without a domain belongs to the driver's.
    fn put(&mut self, driver: &str, name: &str, value: Box<dyn Val>) {
        let (domain, id) = name.split_once('/').unwrap_or((driver, name));
        self.0
            .entry(domain.to_owned())
            .or_default()
            .insert(id.to_owned().into(), value);
    }

    fn finish(self) -> Box<dyn Val> {
        let maps: HashMap<CelMapKey<'static>, Box<dyn Val>> = self
            .0
            .into_iter()
            .map(|(domain, ids)| (domain.into(), Box::new(CelMap::from(ids)) as Box<dyn Val>))
            .collect();
        Box::new(DomainMap::new(CelMap::from(maps)))
    }
}

fn attribute_value(attribute: &Value) -> Option<Box<dyn Val>> {
    let (kind, value) = attribute
        .as_object()?
        .iter()
        .find(|(_, value)| !value.is_null())?;
    Some(match kind.as_str() {
        "int" => Box::new(CelInt::from(value.as_i64()?)),
        "bool" => Box::new(CelBool::from(value.as_bool()?)),
        "string" => Box::new(CelString::from(value.as_str()?.to_owned())),
        "version" => Box::new(CelVersion(super::Version::parse(value.as_str()?)?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn device() -> Value {
        json!({
            "name": "slot-0",
            "attributes": {
                "kind": {"string": "slot"},
                "index": {"int": 3},
                "fast": {"bool": true},
                "firmware": {"version": "1.10.2"},
                "other.example/numa": {"int": 1},
            },
            "capacity": {"bandwidth": {"value": "10G"}},
        })
    }

    fn matches(expression: &str) -> Result<bool, String> {
        Selector::compile(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
            .matches("d.example", &device())
    }

    #[test]
    fn attributes_have_their_types() {
        for expression in [
            "device.driver == 'd.example'",
            "device.attributes['d.example'].kind == 'slot'",
            "device.attributes['d.example']['index'] >= 3",
            "device.attributes['d.example'].fast",
            "device.attributes['other.example'].numa == 1",
            "device.attributes['d.example'].firmware.isGreaterThan(semver('1.9.0'))",
            "device.attributes['d.example'].firmware.compareTo(semver('1.10.2')) == 0",
            "device.attributes['d.example'].firmware.major() == 1",
            "device.attributes['d.example'].kind.startsWith('sl') && device.driver.matches('^d[.]')",
        ] {
            assert_eq!(matches(expression), Ok(true), "{expression}");
        }
        assert_eq!(
            matches("device.attributes['d.example'].index == 4"),
            Ok(false)
        );
    }

    #[test]
    fn capacities_are_quantities() {
        for expression in [
            "device.capacity['d.example'].bandwidth.compareTo(quantity('1G')) > 0",
            "device.capacity['d.example'].bandwidth.isLessThan(quantity('10Gi'))",
            "device.capacity['d.example'].bandwidth == quantity('10000M')",
            "isQuantity('1Gi') && !isQuantity('many')",
        ] {
            assert_eq!(matches(expression), Ok(true), "{expression}");
        }
    }

    #[test]
    fn presence_can_be_asked_for() {
        for expression in [
            "'d.example' in device.attributes",
            "!('x.example' in device.attributes)",
            "'kind' in device.attributes['d.example']",
            "!('kind' in device.attributes['x.example'])",
            "has(device.attributes['d.example'].kind)",
            "!has(device.attributes['x.example'].kind)",
            "device.attributes['d.example'].?nothing.orValue('none') == 'none'",
        ] {
            assert_eq!(matches(expression), Ok(true), "{expression}");
        }
    }

    #[test]
    fn a_bad_expression_is_told_not_to_compile() {
        let words = [
            "device.driver ==",
            "x == 1",
            "frobnicate(device.driver)",
            "",
            "(((((",
            "device.driver == 'a' &&& true",
        ]
        .map(|expression| match Selector::compile(expression) {
            Ok(_) => format!("{expression:?} compiles"),
            Err(error) => format!("{expression:?}: {error}"),
        })
        .join("\n");
        insta::assert_snapshot!(words, @r#"
        "device.driver ==": compilation failed: ERROR: <input>:1:17: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
        | device.driver ==
        | ................^
        "x == 1": compilation failed: undeclared reference to 'x' (in container '')
        "frobnicate(device.driver)": compilation failed: undeclared reference to 'frobnicate' (in container '')
        "": compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
        "(((((": compilation failed: ERROR: <input>:1:6: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
        | (((((
        | .....^
        "device.driver == 'a' &&& true": compilation failed: ERROR: <input>:1:24: Syntax error: token recognition error at: '& '
        | device.driver == 'a' &&& true
        | .......................^
        "#);
    }

    #[test]
    fn a_failing_expression_is_told_on_the_device() {
        let words = [
            "device.attributes['d.example'].missing == 1",
            "device.attributes['d.example'].kind",
            "device.attributes['d.example'].kind > 3",
            "device.nothing == 1",
            "quantity('many') == quantity('1')",
        ]
        .map(|expression| matches(expression).unwrap_err())
        .join("\n");
        insta::assert_snapshot!(words, @"
        no such key: missing
        CEL result of type string could not be converted to bool
        found no matching overload for '_>_' applied to '(string, int)'
        no such key: nothing
        Error executing function 'quantity': quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        ");
    }

    #[test]
    fn expressions_are_bounded() {
        let long = format!("device.driver == '{}'", "x".repeat(EXPRESSION_BYTES));
        assert_eq!(check(&long), Err(CompileError::TooLong));
        let list = format!("[{}]", vec!["1"; 100].join(","));
        let slow = format!(
            "{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, a + b + c + d > 0))))"
        );
        assert_eq!(check(&slow), Err(CompileError::TooComplex));
        let mut wide = "'xxxxxxxx'".to_owned();
        for _ in 0..30 {
            wide = format!("[{wide}].map(x, x + x)[0]");
        }
        let result = check(&format!("{wide} == ''"));
        assert!(
            matches!(
                result,
                Err(CompileError::TooComplex | CompileError::Invalid(_))
            ),
            "{result:?}"
        );
        let deep = format!("{}true{}", "(".repeat(4000), ")".repeat(4000));
        assert_eq!(check(&deep), Err(CompileError::TooComplex));
    }

    #[test]
    fn long_chains_do_not_exhaust_the_stack() {
        for chain in [
            format!("{}true", "!".repeat(9000)),
            format!("{}1 == 1", "-".repeat(9000)),
            format!("1{} == 1", "+1".repeat(4000)),
            format!("device{} == 1", ".a".repeat(4000)),
            format!("device{} == 1", "[0]".repeat(3000)),
            format!("true{}", "&&true".repeat(1500)),
            format!("true{}", "?true:true".repeat(900)),
            format!("{}true", "true?true:".repeat(900)),
        ] {
            if let Ok(selector) = Selector::compile(&chain) {
                let _ = selector.matches("d.example", &device());
            }
        }
        // As many as a person might write.
        let names = vec!["device.driver == 'x'"; 300].join(" || ");
        assert_eq!(
            Selector::compile(&names)
                .unwrap()
                .matches("d.example", &device()),
            Ok(false)
        );
    }
}
