//! A checker for the part of JSON Schema (draft 2020-12) that our schemas use.
//!
//! A keyword that it does not know is an error, so that no rule is passed over in silence.

use serde_json::Value;

/// Panics with the path of the first value that breaks the schema.
pub(crate) fn check(schema: &Value, value: &Value) {
    if let Err(error) = against(schema, schema, value, "$") {
        panic!("the report breaks its schema: {error}");
    }
}

fn against(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let rules = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = rule.as_str().and_then(|rule| rule.strip_prefix('#'));
                let target = pointer.and_then(|pointer| root.pointer(pointer));
                let target = target.ok_or_else(|| format!("no schema at {rule}"))?;
                against(root, target, value, path)?;
            }
            "type" => {
                let is_one = match rule {
                    Value::Array(rules) => rules.iter().any(|rule| has_type(value, rule)),
                    rule => has_type(value, rule),
                };
                holds(is_one, path, value, keyword, rule)?;
            }
            "const" => holds(value == rule, path, value, keyword, rule)?,
            "enum" => {
                let is_one = rule.as_array().is_some_and(|all| all.contains(value));
                holds(is_one, path, value, keyword, rule)?;
            }
            "minimum" => {
                let is_less = value.as_f64() < rule.as_f64();
                holds(!is_less, path, value, keyword, rule)?;
            }
            "required" => {
                let mut names = rule.as_array().ok_or("`required` is a list")?.iter();
                let has_all = names.all(|name| value.get(name.as_str().unwrap_or("")).is_some());
                holds(has_all, path, value, keyword, rule)?;
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                let has_others = value.as_object().is_some_and(|o| !o.keys().all(known));
                holds(rule == false && !has_others, path, value, keyword, rule)?;
            }
            "properties" => {
                for (name, rule) in rule.as_object().ok_or("`properties` is an object")? {
                    if let Some(value) = value.get(name) {
                        against(root, rule, value, &format!("{path}.{name}"))?;
                    }
                }
            }
            "items" => {
                for (at, value) in value.as_array().into_iter().flatten().enumerate() {
                    against(root, rule, value, &format!("{path}[{at}]"))?;
                }
            }
            _ => return Err(format!("the checker does not know `{keyword}`")),
        }
    }
    Ok(())
}

fn holds(
    is_kept: bool,
    path: &str,
    value: &Value,
    keyword: &str,
    rule: &Value,
) -> Result<(), String> {
    if is_kept {
        return Ok(());
    }
    Err(format!("{path} breaks `{keyword}: {rule}`: {value}"))
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_u64() || value.is_i64(),
        _ => false,
    }
}
