//! The header and the library say the same: every function of one is in the other.

use std::collections::BTreeSet;

fn names(text: &str, of_line: impl Fn(&str) -> bool) -> BTreeSet<String> {
    text.lines()
        .filter(|l| of_line(l))
        .filter_map(|l| {
            let at = l.find("dvs_").filter(|_| l.contains('('))?;
            let tail = l[at..].split('(').next()?;
            tail.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().map(str::to_string)
        })
        .collect()
}

#[test]
fn every_function_is_declared_and_defined() {
    let header = include_str!("../include/dvs.h");
    // A declaration may go over two lines.
    let header = header.replace(",\n", ", ");
    let declared = names(&header, |l| {
        let typed = ["int ", "int32_t ", "size_t ", "void ", "const char *"];
        typed.iter().any(|t| l.starts_with(t)) && l.ends_with(';')
    });
    let sources = [
        include_str!("../src/calls.rs"),
        include_str!("../src/system.rs"),
        include_str!("../src/cluster.rs"),
        include_str!("../src/handle.rs"),
        include_str!("../src/error.rs"),
    ];
    let defined: BTreeSet<String> = sources
        .iter()
        .flat_map(|s| {
            names(s, |l| {
                l.contains("extern \"C\" fn dvs_")
                    || l.starts_with("    dvs_") && (l.contains(": Dvs") || l.ends_with('('))
            })
        })
        .collect();
    assert_eq!(declared, defined);
}

#[test]
fn the_numbers_of_the_header_are_those_of_the_system() {
    let header = include_str!("../include/dvs.h");
    let value = |name: &str| {
        let line = header.lines().find_map(|l| l.strip_prefix("#define ")?.strip_prefix(name));
        let value = line.and_then(|l| l.split_whitespace().next()).unwrap_or_default();
        value.strip_prefix("0x").map_or(value.parse(), |hex| i32::from_str_radix(hex, 16)).ok()
    };
    assert_eq!(value("DVS_PROCS_DEFAULT "), Some(dvs::limits::PROCS_DEFAULT));
    assert_eq!(value("DVS_SYSPROCS_DEFAULT "), Some(dvs::limits::SYSPROCS_DEFAULT));
    assert_eq!(value("DVS_INLINE_BYTES "), Some(dvs::limits::INLINE_BYTES as i32));
    assert_eq!(value("DVS_ANY "), Some(dvs::Endpoint::ANY.raw()));
    assert_eq!(value("DVS_NONE "), Some(dvs::Endpoint::NONE.raw()));
    assert_eq!(value("DVS_SELF "), Some(dvs::Endpoint::SELF.raw()));
}
