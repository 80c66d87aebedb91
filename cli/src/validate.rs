//! `ndra validate`: manifests checked as the driver would, before anything runs.

mod check;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use check::check;

use crate::failure::{Failure, tell};
use crate::manifest;
use crate::problem::{Problem, Problems, Severity};
use crate::report::Look;

/// Check claims, classes, templates, pods and networks without running anything.
///
/// Every problem is shown with its file, object and field, and how to mend it. Exit code 0:
/// no errors (there may be warnings); 2: errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifests, YAML or JSON; `-` reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to show the findings.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// The driver whose configurations are checked.
    #[arg(long, default_value = "dra.networking", value_name = "NAME")]
    driver_name: String,
    /// A CNI plugin type that claims may name, `*` for every type; may be repeated.
    #[arg(
        long = "allow-cni-type",
        value_name = "TYPE",
        value_parser = crate::driver::plugin_type,
        default_values = ndra_core::cni::DEFAULT_TYPES
    )]
    allow_cni_types: Vec<String>,
    /// Refuse network configuration in claims; only DeviceClasses may carry it.
    #[arg(long)]
    class_config_only: bool,
}

/// How to show findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The class that every installation of the driver brings along.
pub(crate) const DEFAULT_CLASS: &str = "dra.networking";

/// What a driver would be told about the configurations that it may be given.
pub(crate) struct Rules {
    pub(crate) driver: String,
    pub(crate) policy: ndra_core::cni::Policy,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            driver: "dra.networking".into(),
            policy: ndra_core::cni::Policy::default(),
        }
    }
}

/// Checks the files and shows what was found.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = Rules {
        driver: args.driver_name.clone(),
        policy: ndra_core::cni::Policy {
            allowed_types: ndra_core::cni::Policy::types(
                args.allow_cni_types.iter().map(String::as_str),
            ),
            config_from: if args.class_config_only {
                ndra_core::cni::ConfigFrom::ClassOnly
            } else {
                ndra_core::cni::ConfigFrom::ClassOrClaim
            },
        },
    };
    let (objects, problems) = match manifest::load(&args.files) {
        Ok(objects) => {
            let problems = check(&objects, &rules);
            (objects, problems)
        }
        Err(Problems(problems)) => (Vec::new(), problems),
    };
    let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
    match args.output {
        Format::Text => show(&names, &problems),
        Format::Json => show_json(&names, &problems),
    }
    Ok(if problems.iter().any(Problem::is_error) {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

fn bad(name: &str, problems: &[Problem]) -> bool {
    problems
        .iter()
        .any(|p| p.is_error() && p.object.as_deref() == Some(name))
}

fn show(names: &[String], problems: &[Problem]) {
    for problem in problems {
        tell(problem);
    }
    let look = Look::of_locale();
    let mut text = String::new();
    for name in names.iter().filter(|name| !bad(name, problems)) {
        text.push_str(&format!("{} {name}\n", look.good));
    }
    // A reader that has gone away wants no more.
    let _ = anstream::stdout().write_all(text.as_bytes());
}

fn show_json(names: &[String], problems: &[Problem]) {
    #[derive(Serialize)]
    struct Found<'a> {
        ok: bool,
        objects: Vec<&'a String>,
        problems: &'a [Problem],
    }
    let found = Found {
        ok: !problems.iter().any(|p| p.severity == Severity::Error),
        objects: names.iter().collect(),
        problems,
    };
    let text = serde_json::to_string_pretty(&found).unwrap_or_default();
    let _ = writeln!(anstream::stdout(), "{text}");
}
