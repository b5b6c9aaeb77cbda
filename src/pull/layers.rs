//! What the engine says of an image's layers while it pulls them.

use std::collections::BTreeMap;

use serde_json::Value;

/// The layers so far, and the error that ended them.
#[derive(Debug, Default)]
pub struct Layers {
    layers: BTreeMap<String, Layer>,
    pub error: Option<String>,
}

/// Bytes.
#[derive(Debug, Default)]
struct Layer {
    have: u64,
    total: Option<u64>,
}

impl Layers {
    /// Takes one line.
    pub fn take(&mut self, line: &Value) {
        if let Some(said) = line["errorDetail"]["message"].as_str().or(line["error"].as_str()) {
            self.error = Some(said.to_string());
        }
        let (Some(id), Some(status)) = (line["id"].as_str(), line["status"].as_str()) else { return };
        let layer = self.layers.entry(id.to_string());
        match status {
            "Pulling fs layer" | "Waiting" => _ = layer.or_default(),
            "Downloading" => {
                let number = |key: &str| line["progressDetail"][key].as_u64();
                let layer = layer.or_default();
                layer.have = number("current").unwrap_or(layer.have);
                layer.total = number("total").filter(|t| *t > 0).or(layer.total);
            }
            // A small one comes at once, and its size is never said.
            "Verifying Checksum" | "Download complete" => {
                let layer = layer.or_default();
                let size = layer.total.unwrap_or(layer.have);
                (layer.have, layer.total) = (size, Some(size));
            }
            // The engine calls what broke off whole until it begins anew.
            retry if retry.starts_with("Retrying") => layer.or_default().have = 0,
            "Already exists" => _ = self.layers.remove(id),
            _ => {}
        }
    }

    /// Bytes that are here, and bytes in all once every layer's size is known.
    pub fn sum(&self) -> (u64, Option<u64>) {
        let have = self.layers.values().map(|l| l.have).sum();
        let total = self.layers.values().map(|l| l.total).sum::<Option<u64>>();
        (have, total.filter(|t| *t > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 26.1 writes them: one layer of 3 MB, one small, one that was there.
    const LINES: &[(&str, (u64, Option<u64>))] = &[
        (r#"{"status":"Pulling from wg-easy/wg-easy","id":"15"}"#, (0, None)),
        (r#"{"status":"Pulling fs layer","progressDetail":{},"id":"455dd0b98567"}"#, (0, None)),
        (r#"{"status":"Pulling fs layer","progressDetail":{},"id":"00467a326fcc"}"#, (0, None)),
        (r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a7984aa953a6"}"#, (0, None)),
        (r#"{"status":"Already exists","progressDetail":{},"id":"a7984aa953a6"}"#, (0, None)),
        (
            r#"{"status":"Downloading","progressDetail":{"current":32768,"total":3001170},"progress":"[>  ]  32.77kB/3.001MB","id":"455dd0b98567"}"#,
            (32768, None),
        ),
        (r#"{"status":"Verifying Checksum","progressDetail":{},"id":"00467a326fcc"}"#, (32768, Some(3001170))),
        (r#"{"status":"Download complete","progressDetail":{},"id":"455dd0b98567"}"#, (3001170, Some(3001170))),
        (
            r#"{"status":"Extracting","progressDetail":{"current":1,"total":9},"progress":"","id":"455dd0b98567"}"#,
            (3001170, Some(3001170)),
        ),
        (r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"455dd0b98567"}"#, (0, Some(3001170))),
        (r#"{"status":"Status: Downloaded newer image for wg-easy:15"}"#, (0, Some(3001170))),
    ];

    #[test]
    fn bytes_are_summed_over_the_layers() {
        let mut layers = Layers::default();
        for (line, wanted) in LINES {
            layers.take(&serde_json::from_str(line).unwrap());
            assert_eq!(layers.sum(), *wanted, "{line}");
        }
        assert_eq!(layers.error, None);
        let line = r#"{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}"#;
        layers.take(&serde_json::from_str(line).unwrap());
        assert_eq!(layers.error.as_deref(), Some("unexpected EOF"));
    }
}
