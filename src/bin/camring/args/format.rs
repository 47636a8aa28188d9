//! In which form commands print what they have found.

use clap::{Args, ValueEnum};

/// How to print what was found.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print one JSON document instead of text: short for --format json.
    #[arg(long)]
    json: bool,
    /// What to print.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Text,
          conflicts_with = "json")]
    format: Form,
}

/// How to print what comes one after the other.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LineFormat {
    /// Print a JSON document per line instead of text: short for --format json.
    #[arg(long)]
    json: bool,
    /// What to print; json is a document per line here.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Text,
          conflicts_with = "json")]
    format: Form,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text for people.
    Text,
    /// JSON for programs. Each document has the version of its fields as "schema".
    Json,
}

impl Format {
    /// Whether it is JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json || self.format == Form::Json
    }
}

impl LineFormat {
    /// Whether it is JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json || self.format == Form::Json
    }
}
