//! What people read about a bundle.

use super::{Created, Manifest, Verified};

/// What `bundle verify` says, without a line end.
pub fn text(file: &str, verified: &Verified) -> String {
    format!("{file} is good: vouched for by {}\n{}", verified.voucher, rows(&verified.manifest))
}

/// What `bundle create` says, without a line end.
pub fn created_text(created: &Created) -> String {
    let next = if created.signed {
        "It is signed: hand over the public key, or the sha256 above, by a way that you trust."
    } else {
        "It is not signed: hand over the sha256 above by a way that you trust."
    };
    format!(
        "{}\n{}{:<12}{} bytes\n{:<12}{}\n{next}",
        created.file,
        rows(&created.manifest) + "\n",
        "size",
        created.size,
        "sha256",
        created.sha256
    )
}

fn rows(manifest: &Manifest) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "none".to_string() } else { items.join(", ") };
    let image = manifest.image.as_ref().map(|i| format!("{} ({})", i.reference, i.id));
    let modules = manifest.modules.iter().map(|m| m.release.clone()).collect();
    let packages = format!("{} in {}", manifest.packages(), list(manifest.repositories.clone()));
    let rows = [
        ("made", manifest.created.clone()),
        ("for", format!("Alpine {}, {}", manifest.alpine, manifest.arch)),
        ("kernels", list(manifest.kernels.clone())),
        ("modules", list(modules)),
        ("packages", packages),
        ("image", image.unwrap_or_else(|| "none".into())),
        ("members", format!("{}, {} bytes", manifest.members.len(), manifest.size())),
    ];
    rows.iter().map(|(key, value)| format!("{key:<12}{value}")).collect::<Vec<_>>().join("\n")
}
