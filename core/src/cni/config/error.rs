//! Why a configuration is refused, in words that say what to change.

use std::fmt;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, relative to the configuration: `plugins[1].ipam.type`; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub fault: ConfigFault,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.fault, self.fault.mend())
    }
}

impl std::error::Error for ConfigError {}

/// What is wrong with a field of a configuration. Values in it are already bounded and
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigFault {
    #[error("the CNI configuration is not an object but {found}")]
    NotAnObject { found: &'static str },
    #[error("objects and lists are nested more than {max} deep")]
    TooDeep { max: usize },
    #[error("the CNI configuration has neither `plugins` nor a `type`")]
    NeitherListNorPlugin,
    #[error("the CNI configuration has both `plugins` and a `type`")]
    BothListAndPlugin,
    #[error("`plugins` is not a list but {found}")]
    PluginsNotAList { found: &'static str },
    #[error("the plugin list is empty")]
    NoPlugins,
    #[error("{count} plugins are too many")]
    TooManyPlugins { count: usize, max: usize },
    #[error("the plugin's configuration is not an object but {found}")]
    PluginNotAnObject { found: &'static str },
    #[error("the plugin's configuration has no `type`")]
    NoType,
    #[error("the IPAM configuration has no `type`")]
    NoIpamType,
    #[error("the IPAM configuration is not an object but {found}")]
    IpamNotAnObject { found: &'static str },
    #[error("{shown} contains a `/`")]
    TypeWithSlash { shown: String },
    #[error("{shown} is not the name of a plugin")]
    BadType { shown: String },
    #[error("plugin type {shown} is not allowed on this node")]
    TypeNotAllowed { shown: String, allowed: Vec<String> },
    #[error("names a file or directory of the node, which a claim may not")]
    NodePath,
    #[error("CNI version {shown} is not supported")]
    Version { shown: String },
    #[error("a list of versions is not supported")]
    Versions,
    #[error("{shown} is not a network name")]
    BadName { shown: String },
    #[error("must be a string, not {found}")]
    NotAString {
        found: &'static str,
        mend: &'static str,
    },
    #[error("is set by the caller of the plugins, never by a configuration")]
    Reserved,
    #[error("the key {shown} would be read as `{known}`, because plugins ignore case")]
    Case { shown: String, known: &'static str },
    #[error("the keys {first} and {second} differ by case alone, which plugins ignore")]
    SameKey { first: String, second: String },
    #[error("must be an object of booleans")]
    BadCapabilities,
    #[error("no plugin of the network takes `ips`: there is no IPAM")]
    IpsWithoutIpam,
    #[error("the IPAM plugin {ipam} is not known to take `ips`")]
    IpsNotTaken { ipam: String },
    #[error("the IPAM plugin host-local takes one address when Multus calls it, not {count}")]
    OneAddress { count: usize },
    #[error("no plugin of the network takes a `mac`")]
    MacNotTaken,
}

impl ConfigFault {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::NotAnObject { .. } => {
                "write a configuration list {cniVersion, name, plugins} or one plugin's {type, …}".into()
            }
            Self::TooDeep { .. } => "flatten the configuration".into(),
            Self::NeitherListNorPlugin => {
                "add `type: macvlan`, or a list of such objects as `plugins`".into()
            }
            Self::BothListAndPlugin => {
                "move `type` and its settings into an entry of `plugins`".into()
            }
            Self::PluginsNotAList { .. } | Self::NoPlugins => {
                "list at least one plugin, for example {type: macvlan}".into()
            }
            Self::TooManyPlugins { max, .. } => format!("list at most {max}"),
            Self::PluginNotAnObject { .. } => "write {type: …} with the plugin's settings".into(),
            Self::NoType => "name the plugin, for example `type: macvlan`".into(),
            Self::NoIpamType => {
                "name the plugin, for example `type: host-local`, or leave `ipam` out for a link without address"
                    .into()
            }
            Self::IpamNotAnObject { .. } => "write {type: …} with the IPAM plugin's settings".into(),
            Self::TypeWithSlash { .. } => {
                "write the plugin's name alone; it is looked up in the node's CNI directory".into()
            }
            Self::BadType { .. } => {
                "use at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
                    .into()
            }
            Self::TypeNotAllowed { allowed, .. } => format!(
                "use one of {}, or ask the administrator for a DeviceClass that has it, or to start the driver with --allow-cni-type for it",
                allowed.join(", ")
            ),
            Self::NodePath => {
                "leave it out, or ask the administrator for a DeviceClass that has it".into()
            }
            Self::Version { .. } => format!("use one of {}", super::VERSIONS.join(", ")),
            Self::Versions => "name one version as `cniVersion`".into(),
            Self::BadName { .. } => {
                "use at most 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
                    .into()
            }
            Self::NotAString { mend, .. } => (*mend).into(),
            Self::Reserved => "remove it".into(),
            Self::Case { known, .. } => format!("write `{known}`"),
            Self::SameKey { .. } => "keep one of them".into(),
            Self::BadCapabilities => "write for example {ips: true}".into(),
            Self::IpsWithoutIpam => "add `ipam: {type: static}` to the plugin that makes the interface".into(),
            Self::IpsNotTaken { .. } => {
                "use static or host-local, or add `capabilities: {ips: true}` if the plugin does read them"
                    .into()
            }
            Self::OneAddress { .. } => "use the IPAM plugin static".into(),
            Self::MacNotTaken => {
                "use macvlan, bridge or tap, append the plugin tuning, or add `capabilities: {mac: true}` to the plugin that does read it"
                    .into()
            }
        }
    }
}
