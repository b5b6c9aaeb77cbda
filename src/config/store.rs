//! The effective configuration as it is kept on the host.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Config, leaves};

impl Config {
    /// What the server takes over at its first start, by key; no secret is in it.
    pub fn first_start(&self) -> BTreeMap<String, Value> {
        let value = serde_json::to_value(self).expect("plain data");
        let keys = leaves().iter().filter(|l| l.first_start && !l.secret && l.path != "server.password_file");
        let at = |path: &str| value.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or_default();
        keys.map(|l| (l.path.clone(), at(&l.path))).collect()
    }

    /// YAML that loads back to this configuration. The password is in it only `with_password`: a resumed
    /// run needs it until the server has started once.
    pub fn effective_yaml(&self, with_password: bool) -> String {
        let mut value = serde_json::to_value(self).expect("plain data");
        if let Some(server) = value.get_mut("server").and_then(Value::as_object_mut) {
            if self.server.https == super::Https::default() {
                server.remove("https");
            }
            // The file it was read from may be gone after the reboot.
            server.remove("password_file");
            server.remove("password");
            if let (true, Some(password)) = (with_password, &self.server.password) {
                server.insert("password".into(), Value::String(password.expose().into()));
            }
        }
        if let Some(registry) = value.pointer_mut("/container/registry").and_then(Value::as_object_mut) {
            // Nothing is pulled after the restart; the next upgrade reads the file, or is given the password again.
            registry.remove("password");
            if self.container.registry.password_file.as_deref() == Some("-") {
                registry.remove("password_file");
            }
        }
        // What a release of this program brings along may change with the next one.
        if self.module.catalog == super::Catalog::default() {
            value.get_mut("module").and_then(Value::as_object_mut).map(|module| module.remove("catalog"));
        }
        prune(&mut value);
        crate::yaml::to_string(&value)
    }
}

/// Absent is the same as null here, and easier to read.
fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        let kept: Map<String, Value> = std::mem::take(map)
            .into_iter()
            .filter_map(|(key, mut v)| {
                prune(&mut v);
                let empty = v.is_null() || v.as_object().is_some_and(Map::is_empty);
                (!empty).then_some((key, v))
            })
            .collect();
        *map = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Secret, Sources, load};
    use super::*;

    #[test]
    fn what_is_kept_loads_back() {
        let mut config = Config::default();
        config.server.host = Some("vpn.example.org".parse().unwrap());
        config.server.password = Some(Secret::new("correct horse 'battery' $staple"));
        let read =
            |text: String| load(&Sources { file: Some(("kept".into(), text)), ..Sources::default() }).unwrap().config;
        let kept = read(config.effective_yaml(true));
        assert_eq!(kept.server.password.unwrap().expose(), "correct horse 'battery' $staple");
        let sealed = config.effective_yaml(false);
        assert!(!sealed.contains("staple") && !sealed.contains("  password"), "{sealed}");
        assert_eq!(read(sealed).server.host, config.server.host);
    }

    #[test]
    fn a_registry_s_password_is_never_kept() {
        let mut config = Config::default();
        let registry = &mut config.container.registry;
        registry.username = Some("reader".parse().unwrap());
        registry.password = Some(Secret::new("a token of the registry"));
        for (file, kept) in [("-", false), ("/root/registry.password", true)] {
            config.container.registry.password_file = Some(file.parse().unwrap());
            for first in [true, false] {
                let text = config.effective_yaml(first);
                assert!(!text.contains("token") && !text.contains("  password: "), "{text}");
                assert_eq!(text.contains("/root/registry.password"), kept, "{text}");
                let read = load(&Sources { file: Some(("kept".into(), text)), ..Sources::default() }).unwrap().config;
                assert_eq!(read.container.registry.username, config.container.registry.username);
                assert_eq!(read.require_login().is_ok(), kept);
            }
        }
    }
}
