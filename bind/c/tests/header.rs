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
        include_str!("../src/handle.rs"),
        include_str!("../src/error.rs"),
    ];
    let defined: BTreeSet<String> = sources
        .iter()
        .flat_map(|s| {
            names(s, |l| {
                l.contains("extern \"C\" fn dvs_") || l.starts_with("    dvs_") && l.contains("(port")
            })
        })
        .collect();
    assert_eq!(declared, defined);
}
