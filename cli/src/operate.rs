//! `ndra detach` and `ndra cleanup`: what an operator does at a node that is broken.

use std::io::Write;
use std::process::ExitCode;

use ndra_core::attachment::operator::{How, Item, Outcome, Wanted};
use ndra_core::driver::Config;
use ndra_core::driver::operator::{Hand, OperatorError};

use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::report::{BAD, DIM, GOOD, Look, WARN, paint};
use crate::settings::DriverOptions;

/// Release interfaces of a claim or a pod, and forget them.
///
/// The plugin's DEL is run for each. The claim stays prepared: the next container that starts
/// with it gets its interface anew. Through the driver where one runs, else on its record, which
/// is locked meanwhile. Safe to repeat.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("which").required(true).multiple(true)),
    after_help = "Exit codes: 0 nothing is left of it, 1 something could not be released, \
                  2 wrong usage."
)]
pub(crate) struct Detach {
    /// Those of this claim.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key, group = "which")]
    claim: Option<String>,
    /// Those in this pod.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key, group = "which")]
    pod: Option<String>,
    /// Those of the claim with this UID.
    #[arg(long, value_name = "UID", group = "which")]
    uid: Option<String>,
    /// Only the interface of this name.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    driver: DriverOptions,
}

/// Clear what the driver left at this node and nothing needs any more.
///
/// Attachments whose claim is gone are released once more, with what the CNI cache has of them;
/// network namespaces that are kept for nothing are let go of; CDI specs and device metadata
/// files of claims that are not prepared are removed. Through the driver where one runs, else on
/// its record; a driver that holds the record and does not answer is not disturbed. Safe to
/// repeat.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing is left, 1 something could not be released or removed, \
                  2 wrong usage.\n\nWhere Multus is gone as well, `-- --cni exec` runs the \
                  plugins without it."
)]
pub(crate) struct Cleanup {
    /// Also what prepared claims have, for a node whose pods are gone: the kubelet can unprepare
    /// nothing there any more. Not while the driver runs.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    driver: DriverOptions,
}

#[derive(Debug, clap::Args)]
struct HowArgs {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Forget also what cannot be released; its address stays taken.
    #[arg(long)]
    force: bool,
}

impl From<&HowArgs> for How {
    fn from(args: &HowArgs) -> Self {
        Self {
            force: args.force,
            dry_run: args.dry_run,
        }
    }
}

/// `namespace/name`; a name alone is in `default`.
fn key(text: &str) -> Result<String, String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok(format!("default/{name}")),
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write NAMESPACE/NAME".into()),
    }
}

/// Carries `ndra detach` out.
pub(crate) async fn detach(args: Detach) -> Result<ExitCode, Failure> {
    let config = checked(&args.driver, "ndra detach")?;
    let wanted = Wanted {
        claim: args.claim,
        pod: args.pod,
        uid: args.uid,
        interface: args.interface,
    };
    let mut hand = Hand::of(&config).await.map_err(failed)?;
    let items = hand.detach(wanted, (&args.how).into()).await;
    Ok(tell(&items.map_err(failed)?, nobody(&hand, &config)))
}

/// Carries `ndra cleanup` out.
pub(crate) async fn cleanup(args: Cleanup) -> Result<ExitCode, Failure> {
    let config = checked(&args.driver, "ndra cleanup")?;
    let mut hand = Hand::of(&config).await.map_err(failed)?;
    let items = hand.cleanup(args.all, (&args.how).into()).await;
    Ok(tell(&items.map_err(failed)?, nobody(&hand, &config)))
}

fn checked(options: &DriverOptions, command: &str) -> Result<Config, Failure> {
    let config = options.config();
    config.check().map_err(|error| {
        let mend = "`ndra driver --help` lists every option of the driver";
        Problem::new(Place::file(command), error.to_string(), mend)
    })?;
    Ok(config)
}

fn failed(error: OperatorError) -> Failure {
    Failure::run(error.to_string(), "")
}

/// Where no driver was found: it may have other paths than the ones looked at.
fn nobody(hand: &Hand, config: &Config) -> Option<String> {
    matches!(hand, Hand::Nothing).then(|| {
        format!(
            "no driver answers at {}, and none left a record in {}; if yours has other paths, \
             name its options after `--`",
            config.events_socket.display(),
            config.state_dir.display()
        )
    })
}

fn tell(items: &[Item], nobody: Option<String>) -> ExitCode {
    let mut out = anstream::stdout().lock();
    // A reader that has gone away wants no more.
    let _ = out.write_all(page(items, nobody, Look::of_locale()).as_bytes());
    let bad = |item: &Item| matches!(item.outcome, Outcome::Failed(_));
    if items.iter().any(bad) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn page(items: &[Item], nobody: Option<String>, look: Look) -> String {
    if items.is_empty() {
        let why = nobody.map(|why| format!(": {}", plain(&why)));
        return format!("nothing to do{}\n", why.unwrap_or_default());
    }
    let mut page = String::new();
    for item in items {
        let (style, word, why) = match &item.outcome {
            Outcome::Would => (DIM, "would", None),
            Outcome::Done => (GOOD, "done", None),
            Outcome::Forgotten(why) => (WARN, "forgotten", Some(why)),
            Outcome::Failed(why) => (BAD, "failed", Some(why)),
        };
        page += &format!(
            "{}{}",
            paint(style, format!("{word:11}")),
            plain(&item.what)
        );
        if let Some(why) = why {
            page += &format!(" {} {}", paint(DIM, look.arrow), plain(why));
        }
        page.push('\n');
    }
    page
}

/// Without what a terminal would take for a command: names may come from a damaged record.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_thing_is_one_line() {
        let item = |what: &str, outcome| Item {
            what: what.into(),
            outcome,
        };
        let items = [
            item("net1 of pod default/web", Outcome::Would),
            item("net1 of pod default/web", Outcome::Done),
            item("net2\n of pod", Outcome::Forgotten("no plugin".into())),
            item("/run/cdi/x.json", Outcome::Failed("denied".into())),
        ];
        let page = anstream::adapter::strip_str(&page(&items, None, Look::UNICODE)).to_string();
        insta::assert_snapshot!(page, @r"
        would      net1 of pod default/web
        done       net1 of pod default/web
        forgotten  net2  of pod → no plugin
        failed     /run/cdi/x.json → denied
        ");
        assert_eq!(super::page(&[], None, Look::ASCII), "nothing to do\n");
        let config = Config::new("node-1");
        let nobody = nobody(&Hand::Nothing, &config);
        insta::assert_snapshot!(super::page(&[], nobody, Look::ASCII), @"nothing to do: no driver answers at /run/ndra/events.sock, and none left a record in /var/lib/ndra; if yours has other paths, name its options after `--`");
    }

    #[test]
    fn a_name_alone_is_in_the_default_namespace() {
        assert_eq!(key("web").unwrap(), "default/web");
        assert_eq!(key("shop/web").unwrap(), "shop/web");
        for bad in ["", "/web", "shop/", "a/b/c"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
