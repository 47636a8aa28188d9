//! The layer rule: which module of `src` may name which.
//!
//! Every path that begins with `crate` or `super` is resolved to the top-level module that it
//! reaches, through re-exports of `src/lib.rs` too, and held to the table below. Test modules are
//! held to it as well: a test that joins two layers belongs in `tests/`.

use super::paths::{Path, starting_with};
use super::rust::Source;
use super::tree::{Finding, Tree};

/// A module and what it may name besides itself and `base`.
struct Layer {
    name: &'static str,
    may_name: &'static [&'static str],
}

/// The table of docs/ARCHITECTURE.md, lowest first. `a::b` permits only that module of `a`.
const LAYERS: &[Layer] = &[
    Layer {
        name: "base",
        may_name: &[],
    },
    Layer {
        name: "frame",
        may_name: &[],
    },
    Layer {
        name: "io",
        may_name: &[],
    },
    Layer {
        name: "ingest",
        may_name: &["frame"],
    },
    Layer {
        name: "export",
        may_name: &["frame"],
    },
    Layer {
        name: "block",
        may_name: &["frame", "io::align", "io::buffer"],
    },
    Layer {
        name: "table",
        may_name: &[],
    },
    Layer {
        name: "volume",
        may_name: &["frame", "io", "block", "table"],
    },
    Layer {
        name: "writer",
        may_name: &["frame", "io", "block", "table", "volume"],
    },
    Layer {
        name: "reader",
        may_name: &["frame", "io", "block", "table", "volume"],
    },
    Layer {
        name: "player",
        may_name: &["frame"],
    },
    Layer {
        name: "manager",
        may_name: &["frame", "volume", "writer", "reader", "player"],
    },
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let exports = exports(tree);
    let files = tree
        .rust("src/")
        .filter(|(path, _)| *path != "src/lib.rs" && !path.starts_with("src/bin/"));
    files
        .flat_map(|(path, source)| check_file(path, source, &exports))
        .collect()
}

/// What `src/lib.rs` re-exports: the name that users see, and the module it comes from.
fn exports(tree: &Tree) -> Vec<(String, Vec<String>)> {
    let Some(source) = tree.file("src/lib.rs").and_then(|file| file.rust.as_ref()) else {
        return Vec::new();
    };
    let modules: Vec<&str> = LAYERS
        .iter()
        .map(|layer| layer.name)
        .chain(["crate"])
        .collect();
    let paths = starting_with(source, &modules);
    let absolute = |path: Path| {
        let skip = usize::from(path.names.first().is_some_and(|name| name == "crate"));
        (
            path.known_as,
            path.names.into_iter().skip(skip).collect::<Vec<_>>(),
        )
    };
    paths
        .into_iter()
        .map(absolute)
        .filter(|(_, names)| names.len() > 1)
        .collect()
}

fn check_file(path: &str, source: &Source, exports: &[(String, Vec<String>)]) -> Vec<Finding> {
    let module = module_of(path);
    let Some(layer) = LAYERS
        .iter()
        .find(|layer| module.first().is_some_and(|name| name == layer.name))
    else {
        return vec![Finding::new(
            path,
            0,
            "this module has no layer; give it one in docs/ARCHITECTURE.md and in tools/xtask/src/tidy/layers.rs",
        )];
    };
    let mut findings = Vec::new();
    for used in starting_with(source, &["crate", "super"]) {
        let target = resolve(
            &module,
            inline_modules(source, used.at),
            &used.names,
            exports,
        );
        if let Some(message) = objection(layer, &target) {
            findings.push(Finding::new(path, source.line_of(used.at), message));
        }
    }
    for at in source.code.match_indices("#[path").map(|found| found.0) {
        findings.push(Finding::new(
            path,
            source.line_of(at),
            "`#[path]` hides which layer a file is in; put the file where its module says",
        ));
    }
    findings
}

/// `src/io/ring.rs` is `io::ring`, `src/io/mod.rs` is `io`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let names = inner.split('/').filter(|name| *name != "mod");
    names.map(str::to_owned).collect()
}

/// How many `mod name { }` enclose the byte at `at`.
fn inline_modules(source: &Source, at: usize) -> usize {
    let opens = source.words("mod").take_while(|&open| open < at);
    let encloses = |open: &usize| {
        let brace_first = source
            .from(*open)
            .find(['{', ';'])
            .is_some_and(|i| source.from(open + i).starts_with('{'));
        brace_first && source.end_of_braces(*open) > at
    };
    opens.filter(encloses).count()
}

/// The path from the root of the crate; what leads to the root itself is empty.
fn resolve(
    module: &[String],
    inline: usize,
    names: &[String],
    exports: &[(String, Vec<String>)],
) -> Vec<String> {
    let supers = names.iter().take_while(|name| *name == "super").count();
    let mut target: Vec<String> = if supers == 0 {
        names.iter().skip(1).cloned().collect()
    } else {
        let kept = (module.len() + inline)
            .saturating_sub(supers)
            .min(module.len());
        module
            .iter()
            .take(kept)
            .chain(names.iter().skip(supers))
            .cloned()
            .collect()
    };
    if let Some((_, origin)) = exports
        .iter()
        .find(|(name, _)| target.first() == Some(name))
    {
        let rest = target.split_off(1);
        target = origin.iter().cloned().chain(rest).collect();
    }
    target
}

/// Why `layer` may not name `target`; none when it may.
fn objection(layer: &Layer, target: &[String]) -> Option<String> {
    // `pub(crate)` and `pub(super)` name no item.
    let first = target.first()?;
    if first == layer.name || first == "base" {
        return None;
    }
    let name = target.join("::");
    if !LAYERS.iter().any(|known| known.name == first) {
        return Some(format!(
            "`{name}` is no module of the table of layers; name things by the module that defines them"
        ));
    }
    let covers =
        |permitted: &&str| name == **permitted || name.starts_with(&format!("{permitted}::"));
    if layer.may_name.iter().any(covers) {
        return None;
    }
    let permitted = [&["base"], layer.may_name].concat().join(", ");
    Some(format!(
        "`{}` may not name `{name}`, only {permitted}; move the code up, or pass in what it needs",
        layer.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) = (
        "src/lib.rs",
        "pub mod io;\npub use base::error::Error;\npub use volume::{Volume, Options as VolumeOptions};",
    );

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[LIB, (path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[track_caller]
    fn permitted(path: &str, text: &str) {
        assert_eq!(findings(path, text), [""; 0]);
    }

    #[track_caller]
    fn refused(path: &str, text: &str) {
        assert_eq!(findings(path, text).len(), 1, "{text}");
    }

    #[test]
    fn layers_name_what_is_below_them() {
        permitted(
            "src/volume/mod.rs",
            "use crate::{block::header::Header, table::Table, io};",
        );
        permitted(
            "src/block/mod.rs",
            "use crate::frame::Frame;\nuse crate::io::buffer::AlignedBuffer;",
        );
        permitted(
            "src/reader/plan.rs",
            "use super::cache;\nuse crate::base::time::Timestamp;",
        );
        permitted("src/manager/mod.rs", "use crate::{writer, reader, player};");
    }

    #[test]
    fn siblings_and_layers_above_are_refused() {
        refused("src/frame/mod.rs", "use crate::io::Device;");
        refused("src/table/row.rs", "fn f(x: crate::frame::Frame) {}");
        refused("src/block/mod.rs", "use crate::io::ring::Ring;");
        refused("src/block/mod.rs", "use crate::io::{align::PAGE, Device};");
        refused("src/writer/mod.rs", "use crate::reader::Reader;");
        refused("src/player/mod.rs", "use crate::volume::Volume;");
        refused("src/base/time.rs", "use crate::frame;");
        refused("src/export/ebml.rs", "use crate::block::header;");
    }

    #[test]
    fn super_does_not_get_around_the_rule() {
        refused("src/frame/mod.rs", "use super::io::Device;");
        refused("src/frame/nal.rs", "use super::super::io::Device;");
        refused(
            "src/frame/nal.rs",
            "mod tests { use super::super::super::io::Device; }",
        );
        permitted(
            "src/frame/nal.rs",
            "mod tests { use super::super::gap::Gap; }",
        );
        permitted("src/frame/nal.rs", "use super::io_name;");
    }

    #[test]
    fn re_exports_do_not_get_around_the_rule() {
        refused("src/block/mod.rs", "use crate::Volume;");
        refused("src/block/mod.rs", "use crate::VolumeOptions;");
        permitted("src/block/mod.rs", "use crate::Error;");
        refused("src/block/mod.rs", "use crate::Unheard;");
    }

    #[test]
    fn tests_inside_a_layer_are_held_to_it() {
        refused(
            "src/frame/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::io::sim; }",
        );
    }

    #[test]
    fn visibility_is_no_dependency_and_comments_are_no_code() {
        permitted(
            "src/frame/mod.rs",
            "/// See [`crate::io`].\npub(crate) fn f() {} pub(super) fn g() {}",
        );
    }

    #[test]
    fn an_unknown_module_needs_a_layer_and_a_path_attribute_is_refused() {
        refused("src/helpers.rs", "");
        refused("src/frame/mod.rs", "#[path = \"../io/ring.rs\"]\nmod ring;");
    }
}
