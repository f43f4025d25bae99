//! `spec.select.cel`: an expression over `disk`, as Talos' `diskSelector.match`.
//!
//! What is accepted is small on purpose, so that an expression always ends, soon, and on
//! little stack: at most [`MAX_LENGTH`] bytes and [`MAX_DEPTH`] levels, loops over the
//! lists of the disk alone and never nested, known fields and functions only. Everything
//! else is refused when the configuration is read. An expression that cannot be told for
//! a disk, because a value is not known, does not pick it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, IdedExpr};
use cel::extractors::This;
use cel::parser::Parser;
use cel::{Context, ExecutionError, Value};

use super::vocabulary::{self, FIELDS, UNITS};
use crate::facts::DiskFacts;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 1024;
/// How deep expressions may be nested.
const MAX_DEPTH: usize = 48;
/// What a regular expression may take when it is compiled, in bytes.
const MAX_REGEX: usize = 1 << 16;
/// The stack on which an expression is parsed, in bytes: the parser recurses.
const PARSER_STACK: usize = 16 << 20;
/// Functions besides operators.
const FUNCTIONS: [&str; 11] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "glob",
    "string",
    "int",
    "uint",
    "double",
    "bool",
];
/// The lists of a disk, the only things a loop runs over.
const LISTS: [&str; 2] = ["symlinks", "secondary_disks"];
/// Fields that tell one disk from another; one of them has to be read.
const TELLING: [&str; 11] = [
    "dev_path",
    "model",
    "serial",
    "modalias",
    "wwid",
    "uuid",
    "bus_path",
    "sub_system",
    "transport",
    "rotational",
    "symlinks",
];

/// An expression that is understood.
#[derive(Clone)]
pub struct Cel {
    text: String,
    expression: Arc<IdedExpr>,
    fields: BTreeSet<&'static str>,
}

impl Cel {
    /// Reads an expression and tries it on a disk that has everything, so that what can
    /// never be told is found now.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "it has {} bytes, at most {MAX_LENGTH} are read",
                text.len()
            ));
        }
        let expression = parse(text)?;
        let mut check = Check::default();
        check.node(&expression, 0)?;
        let cel = Self {
            text: text.to_owned(),
            expression: Arc::new(expression),
            fields: check.fields,
        };
        let context = context(vocabulary::sample());
        for part in check
            .calls
            .iter()
            .map(Arc::as_ref)
            .chain([cel.expression.as_ref()])
        {
            if let Err(error) = resolve(&context, part)
                && never_right(&error)
            {
                return Err(reason(&error));
            }
        }
        match resolve(&context, &cel.expression) {
            Ok(Value::Bool(_)) | Err(_) => Ok(cel),
            Ok(_) => Err("it must be true or false".to_owned()),
        }
    }

    /// Whether the disk is picked.
    ///
    /// # Errors
    /// Why that cannot be told; the disk is not picked then.
    pub fn picks(&self, disk: &DiskFacts, unstable: bool) -> Result<bool, String> {
        match resolve(&context(vocabulary::of(disk, unstable)), &self.expression) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(ExecutionError::NoSuchKey(field)) => Err(format!("disk.{field} is not known")),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Whether it reads anything that tells one disk from another; size and
    /// `system_disk` do not.
    pub fn tells_disks_apart(&self) -> bool {
        TELLING.iter().any(|field| self.fields.contains(field))
    }

    /// Whether it reads the kernel's name, which another disk has after the next boot.
    pub fn reads_kernel_names(&self) -> bool {
        self.fields.contains("dev_path")
    }
}

/// Parses on a stack of its own: a hostile text must not take the process down.
fn parse(text: &str) -> Result<IdedExpr, String> {
    let source = text.to_owned();
    let parser = std::thread::Builder::new()
        .stack_size(PARSER_STACK)
        .spawn(move || {
            let depth = u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX);
            Parser::new()
                .max_recursion_depth(depth)
                .parse(&source)
                .map_err(|errors| {
                    let first = errors.errors.first();
                    first.map_or_else(
                        || "it is not understood".to_owned(),
                        |e| format!("{} (column {})", e.msg, e.pos.1),
                    )
                })
        });
    let parser = parser.map_err(|e| e.to_string())?;
    parser
        .join()
        .unwrap_or_else(|_| Err("the parser failed on it".to_owned()))
}

/// Walks over an expression and refuses what is not ours to evaluate.
#[derive(Default)]
struct Check {
    /// The variable of the loop that is being walked.
    looping: Option<String>,
    fields: BTreeSet<&'static str>,
    /// Every call outside a loop, to be tried by itself: `&&` hides what it does not reach.
    calls: Vec<Arc<IdedExpr>>,
}

impl Check {
    fn node(&mut self, node: &IdedExpr, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == "disk" => self.field(&select.field),
                _ => Err(format!(
                    "only disk has fields, and .{} is read from something else",
                    select.field
                )),
            },
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|e| self.node(e, depth + 1)),
            Expr::Call(call) => self.call(node, call, depth),
            Expr::Comprehension(each) => {
                let over_a_list = matches!(&each.iter_range.expr, Expr::Select(s) if LISTS.contains(&s.field.as_str()));
                if !over_a_list || self.looping.is_some() {
                    return Err("exists, all, map and filter run over disk.symlinks or disk.secondary_disks, and not inside each other".to_owned());
                }
                self.node(&each.iter_range, depth + 1)?;
                self.looping = Some(each.iter_var.clone());
                for part in [
                    &each.accu_init,
                    &each.loop_cond,
                    &each.loop_step,
                    &each.result,
                ] {
                    self.node(part, depth + 1)?;
                }
                self.looping = None;
                Ok(())
            }
            _ => Err("maps, messages and optional values are not understood here".to_owned()),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        let known = name == "disk"
            || name == "system_disk"
            || name.starts_with('@')
            || self.looping.as_deref() == Some(name)
            || UNITS.iter().any(|(unit, _)| *unit == name);
        known.then_some(()).ok_or_else(|| {
            let hint = if FIELDS.contains(&name) {
                format!("; write disk.{name}")
            } else {
                String::new()
            };
            format!("{name:?} is not known{hint}")
        })
    }

    fn field(&mut self, name: &str) -> Result<(), String> {
        let known = FIELDS.iter().find(|field| **field == name);
        let field = known
            .ok_or_else(|| format!("disk has no field {name:?}; it has {}", FIELDS.join(", ")))?;
        self.fields.insert(field);
        Ok(())
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr, depth: usize) -> Result<(), String> {
        let name = call.func_name.as_str();
        let operator = name.contains('_') || name.starts_with('@');
        if !operator && !FUNCTIONS.contains(&name) {
            return Err(format!(
                "there is no function {name:?}; there are {}",
                FUNCTIONS.join(", ")
            ));
        }
        for part in call.target.iter().map(Box::as_ref).chain(&call.args) {
            self.node(part, depth + 1)?;
        }
        if self.looping.is_none() {
            self.calls.push(Arc::new(node.clone()));
        }
        Ok(())
    }
}

/// Whether an error comes from what was written, whatever the disk.
fn never_right(error: &ExecutionError) -> bool {
    !matches!(
        error,
        ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::NoSuchKey(_)
    )
}

fn reason(error: &ExecutionError) -> String {
    let mixed = match error {
        ExecutionError::NoSuchOverload(overload) => overload.argument_types() == ["int", "uint"],
        ExecutionError::UnsupportedBinaryOperator(_, Value::Int(_), Value::UInt(_)) => true,
        _ => false,
    };
    let hint = if mixed {
        " (sizes are unsigned: write 10u * GiB)"
    } else {
        ""
    };
    format!("{error}{hint}")
}

/// Evaluates; a panic of the interpreter is an answer like any other error.
fn resolve(context: &Context<'_, '_>, expression: &IdedExpr) -> Result<Value, ExecutionError> {
    let run = std::panic::AssertUnwindSafe(|| context.resolve(expression));
    std::panic::catch_unwind(run).unwrap_or_else(|_| {
        Err(ExecutionError::function_error(
            "cel",
            "the interpreter failed",
        ))
    })
}

fn context(words: vocabulary::Words) -> Context<'static, 'static> {
    let mut context = Context::default();
    context.add_variable_from_value("disk", words.disk);
    context.add_variable_from_value("system_disk", words.system_disk);
    for (unit, bytes) in UNITS {
        context.add_variable_from_value(unit, bytes);
    }
    // Both names are free: `matches` is left out of the crate by its features.
    let _ = context.add_function("glob", glob);
    let _ = context.add_function("matches", matches);
    context
}

/// `glob(pattern, text)`, Talos' own function.
fn glob(pattern: Arc<String>, text: Arc<String>) -> Result<bool, ExecutionError> {
    let pattern =
        glob::Pattern::new(&pattern).map_err(|e| ExecutionError::function_error("glob", e))?;
    Ok(pattern.matches(&text))
}

/// `text.matches(regex)`, with a bound on what a regular expression may take.
fn matches(This(text): This<Arc<String>>, regex: Arc<String>) -> Result<bool, ExecutionError> {
    let regex = regex::RegexBuilder::new(&regex)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .build();
    let regex = regex.map_err(|e| ExecutionError::function_error("matches", e))?;
    Ok(regex.is_match(&text))
}

impl PartialEq for Cel {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Cel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cel").field(&self.text).finish()
    }
}

impl fmt::Display for Cel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
