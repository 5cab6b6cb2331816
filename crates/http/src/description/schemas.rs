//! JSON Schemas of what the routes read and write, from the types that read and write it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

const PLACE: &str = "#/components/schemas/";

/// A schema that is made when the description is.
pub(crate) type SchemaOf = fn(&mut Schemas) -> Value;

/// Schemas by their names.
pub(crate) struct Schemas {
    /// Of what is read.
    inputs: SchemaGenerator,
    /// Of what is written, where every field stands that is not left out on purpose.
    outputs: SchemaGenerator,
    /// Of bodies, made of those of what is read.
    bodies: Map<String, Value>,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            inputs: settings.clone().for_deserialize().into_generator(),
            outputs: settings.for_serialize().into_generator(),
            bodies: Map::new(),
        }
    }
}

/// The schema of an answer.
pub(crate) fn written<T: JsonSchema>(schemas: &mut Schemas) -> Value {
    schemas.outputs.subschema_for::<T>().to_value()
}

/// The schema of a part of a request.
pub(crate) fn read<T: JsonSchema>(schemas: &mut Schemas) -> Value {
    schemas.inputs.subschema_for::<T>().to_value()
}

/// The schema of a parameter that names a list's place.
pub(crate) fn listed(_schemas: &mut Schemas) -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]+$"})
}

impl Schemas {
    /// The schema called `name` of a body that is read as a `T`, whose every field may be absent but those that are
    /// `required`. What it holds under `settings` is a JSON merge patch.
    pub(crate) fn body<T: JsonSchema>(&mut self, name: &str, required: &[&str]) -> Value {
        let reference = read::<T>(self);
        let mut schema = self.resolved(&reference).clone();
        if let Some(settings) = schema.pointer("/properties/settings").cloned() {
            schema["properties"]["settings"] = self.patch(&settings);
        }
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        for name in required {
            if let Some(field) = schema["properties"][name].as_object_mut() {
                field.remove("default");
            }
        }
        self.add(name, schema)
    }

    /// Adds a schema under a name.
    pub(crate) fn add(&mut self, name: &str, schema: Value) -> Value {
        self.bodies.insert(name.to_owned(), schema);
        json!({"$ref": format!("{PLACE}{name}")})
    }

    /// Changes a schema that was added.
    pub(crate) fn added(&mut self, name: &str) -> &mut Value {
        &mut self.bodies[name]
    }

    /// The schema of a JSON merge patch (RFC 7396) of what `schema` allows: `null` takes any field back to its default.
    fn patch(&mut self, schema: &Value) -> Value {
        let whole = self.resolved(schema).clone();
        let Some(fields) = whole["properties"].as_object() else {
            let is_nullable = schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")))
                || schema["anyOf"].as_array().is_some_and(|any| any.contains(&json!({"type": "null"})));
            return if is_nullable { schema.clone() } else { nullable(schema) };
        };
        let mut patch = whole.clone();
        patch["type"] = json!(["object", "null"]);
        patch["properties"] = fields.iter().map(|(name, field)| (name.clone(), self.patch(field))).collect();
        if let Some(patch) = patch.as_object_mut() {
            patch.remove("required");
        }
        match name_of(schema) {
            Some(name) => {
                let mut reference = self.add(&format!("{name}Patch"), patch);
                if let Some(about) = schema.get("description") {
                    reference["description"] = about.clone();
                }
                reference
            }
            None => patch,
        }
    }

    /// What a reference refers to; a schema that is none is its own.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        name_of(schema).and_then(|name| self.inputs.definitions().get(name)).unwrap_or(schema)
    }

    /// All that the description refers to.
    pub(crate) fn into_definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.outputs.take_definitions(true);
        let inputs = self.inputs.take_definitions(true);
        let mut open: Vec<String> = Vec::new();
        for (name, body) in self.bodies {
            references(&body, &mut open);
            let known = definitions.insert(name.clone(), body);
            assert!(known.is_none(), "the schema {name} is there twice");
        }
        // Of what is read, only what bodies refer to; what is read and written must be the same.
        while let Some(name) = open.pop() {
            let Some(schema) = inputs.get(&name) else { continue };
            if let Some(known) = definitions.get(&name) {
                assert_eq!(known, schema, "{name} is read and written differently");
                continue;
            }
            references(schema, &mut open);
            definitions.insert(name, schema.clone());
        }
        definitions.values_mut().for_each(without_empty_defaults);
        definitions
    }
}

fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(PLACE)
}

fn nullable(schema: &Value) -> Value {
    let mut nullable = schema.clone();
    let Some(fields) = nullable.as_object_mut() else { return nullable };
    let beside: Map<String, Value> = ["default", "description"]
        .into_iter()
        .filter_map(|name| fields.remove(name).map(|value| (name.to_owned(), value)))
        .collect();
    let mut whole = Map::from_iter([("anyOf".to_owned(), json!([fields, {"type": "null"}]))]);
    whole.extend(beside);
    Value::Object(whole)
}

/// Names of definitions that a schema refers to.
fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|text| text.strip_prefix(PLACE)).map(str::to_owned));
            fields.values().for_each(|field| references(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Leaves the defaults that tell something: that an absent field is absent needs no telling, and `null` is not always one
/// of its values; and the fields of an object have defaults of their own.
fn without_empty_defaults(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "default" || !(value.is_null() || value.is_object()));
            fields.values_mut().for_each(without_empty_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
