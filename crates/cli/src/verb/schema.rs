//! `apr schema VERB`

use super::{Task, Verb};
use crate::Outcome;
use crate::output::{ErrorDocument, Output};
use apr::Error;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The name under which the document of a failure is described.
const ERROR: &str = "error";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A verb, or "error" for the document that every verb prints when it fails
    #[arg(value_parser = known)]
    verb: String,
}

impl Task for Args {
    /// A JSON schema, draft 2020-12.
    type Report = Value;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let schemas = Verb::schemas();
        let of_verb = schemas.iter().find(|(name, _)| *name == self.verb);
        let schema = of_verb.map_or_else(of::<ErrorDocument>, |(_, schema)| schema());
        output.document(&schema)?;
        Ok(Outcome::Success)
    }
}

fn known(name: &str) -> Result<String, String> {
    let verbs = Verb::schemas().into_iter().map(|(verb, _)| verb);
    let names: Vec<String> = verbs.chain([ERROR.to_owned()]).collect();
    if names.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(format!("there are {}", names.join(", ")))
}

/// The schema of the documents that this type becomes.
pub(super) fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(close).transform(&mut schema);
    schema
}

/// A document has the keys that are described, and no others.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}
