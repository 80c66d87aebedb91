//! The command that reads a driver's events from inside its container.

use std::time::Duration;

use super::intake::Intake;

/// How often the far side says that it is there, when there are no events.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// Names that the driver's container usually has.
pub(super) const CONTAINERS: [&str; 3] = ["ndra", "ndra-driver", "network-dra"];

/// What runs in the driver's container. There is no shell in it.
pub(super) fn events_command(follow: bool, intake: &Intake) -> Vec<String> {
    let mut args = vec!["ndra".to_owned(), "events".to_owned()];
    if follow {
        args.push("--follow".into());
    }
    args.extend(["-o", "json", "--attached"].map(str::to_owned));
    let places = intake.resume().iter();
    args.extend(
        places
            .filter(|place| !place.instance.is_empty())
            .map(|place| format!("--after={place}")),
    );
    args
}
