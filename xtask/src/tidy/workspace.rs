//! What `cargo metadata` says about the workspace.

use super::text;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One crate of ours.
pub struct Member {
    /// Name of the package.
    pub name: String,
    /// Folder from the root, with `/`.
    pub folder: String,
    /// Root files of its targets, from the root.
    pub roots: Vec<String>,
    /// Packages it depends on, and whether only its tests do.
    pub arrows: Vec<(String, bool)>,
}

/// A package of somebody else.
pub struct Foreign {
    /// Name and version.
    pub name: String,
    /// Licence expression.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
}

/// Our crates and those they stand on.
pub struct Workspace {
    /// Our crates.
    pub members: Vec<Member>,
    /// All others in the lock file.
    pub foreign: Vec<Foreign>,
}

impl Workspace {
    /// Asks cargo; the lock file must be up to date.
    pub fn load(root: &Path) -> Result<Self, String> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked", "--quiet"])
            .current_dir(root)
            .output()
            .map_err(|e| format!("cargo metadata: {e}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let value: Value =
            serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
        Ok(Self::from_metadata(root, &value))
    }

    fn from_metadata(root: &Path, value: &Value) -> Self {
        let ids: Vec<&str> = list(&value["workspace_members"]).map(text).collect();
        let (ours, others): (Vec<_>, Vec<_>) =
            list(&value["packages"]).partition(|p| ids.contains(&text(&p["id"])));
        Workspace {
            members: ours.into_iter().map(|p| member(root, p)).collect(),
            foreign: others.into_iter().map(foreign).collect(),
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn relative(root: &Path, path: &str) -> String {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn member(root: &Path, package: &Value) -> Member {
    let manifest = relative(root, text(&package["manifest_path"]));
    Member {
        name: text(&package["name"]).to_owned(),
        folder: manifest.trim_end_matches("Cargo.toml").trim_end_matches('/').to_owned(),
        roots: list(&package["targets"]).map(|t| relative(root, text(&t["src_path"]))).collect(),
        arrows: list(&package["dependencies"])
            .map(|d| (text(&d["name"]).to_owned(), text(&d["kind"]) == "dev"))
            .collect(),
    }
}

fn foreign(package: &Value) -> Foreign {
    Foreign {
        name: format!("{} {}", text(&package["name"]), text(&package["version"])),
        licence: text(&package["license"]).to_owned(),
        source: text(&package["source"]).to_owned(),
    }
}
