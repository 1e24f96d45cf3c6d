//! Files of a crate do not need each other in a circle, so that each can be read after those that it takes from.
//!
//! What a file needs is read from its `use` declarations and paths, through re-exports; tests, macros and methods are left out.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit::{self, Visit};

/// A name that a module has from elsewhere.
struct Import {
    path: Vec<String>,
    /// Its name here; `*` for all names of a module.
    name: String,
    is_public: bool,
}

/// A module, of a file or within one.
#[derive(Default)]
struct Module {
    file: String,
    /// The names of what it defines.
    defined: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths of several segments in the code.
    mentioned: Vec<Vec<String>>,
}

/// The modules of a crate by their paths.
type Modules = BTreeMap<Vec<String>, Module>;

/// Reads one file's modules.
struct Reader<'a> {
    modules: &'a mut Modules,
    file: &'a str,
    path: Vec<String>,
}

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        let file = self.file.to_string();
        self.modules.entry(self.path.clone()).or_insert_with(|| Module { file, ..Module::default() })
    }

    fn import(&mut self, tree: &syn::UseTree, path: &[String], is_public: bool) {
        let to = |ident: &syn::Ident| [path, &[ident.to_string()]].concat();
        let mut add = |path: Vec<String>, name: String| self.here().imports.push(Import { path, name, is_public });
        match tree {
            syn::UseTree::Path(tree) => self.import(&tree.tree, &to(&tree.ident), is_public),
            syn::UseTree::Group(tree) => tree.items.iter().for_each(|tree| self.import(tree, path, is_public)),
            syn::UseTree::Name(tree) if tree.ident == "self" => add(path.to_vec(), path.last().unwrap().clone()),
            syn::UseTree::Name(tree) => add(to(&tree.ident), tree.ident.to_string()),
            syn::UseTree::Rename(tree) => add(to(&tree.ident), tree.rename.to_string()),
            syn::UseTree::Glob(_) => add(path.to_vec(), "*".into()),
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let names_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|cfg| cfg == "test")
    };
    attributes.iter().any(names_test)
}

/// The name of an item, but for modules and imports.
fn name(item: &syn::Item) -> Option<String> {
    Some(match item {
        syn::Item::Const(item) => item.ident.to_string(),
        syn::Item::Enum(item) => item.ident.to_string(),
        syn::Item::Fn(item) => item.sig.ident.to_string(),
        syn::Item::Static(item) => item.ident.to_string(),
        syn::Item::Struct(item) => item.ident.to_string(),
        syn::Item::Trait(item) => item.ident.to_string(),
        syn::Item::Type(item) => item.ident.to_string(),
        syn::Item::Union(item) => item.ident.to_string(),
        syn::Item::Macro(item) => item.ident.as_ref()?.to_string(),
        _ => return None,
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.here().defined.extend(name(item));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) || item.content.is_none() {
            return;
        }
        self.path.push(item.ident.to_string());
        self.here();
        visit::visit_item_mod(self, item);
        self.path.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.import(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.here().mentioned.push(segments);
        }
        visit::visit_path(self, path);
    }
}

/// The modules of files, each with its path below `src` and its text.
fn modules(files: &[(String, String)]) -> Modules {
    let mut modules = Modules::new();
    for (file, text) in files {
        let mut path: Vec<String> = file.trim_end_matches(".rs").split('/').map(String::from).collect();
        path.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
        let mut reader = Reader { modules: &mut modules, file, path };
        reader.here();
        reader.visit_file(&syn::parse_file(text).unwrap());
    }
    modules
}

/// Aliases that are followed at most.
const DEPTH: usize = 16;

/// The module that a path leads to, or that defines what it names; none outside the crate, or where a macro defines it.
fn resolve<'m>(modules: &'m Modules, from: &[String], path: &[String], depth: usize) -> Option<&'m Vec<String>> {
    let deeper = depth.checked_sub(1)?;
    let mut at = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.to_vec(),
        first if modules.contains_key(&[from, &[first.to_string()]].concat()) => from.to_vec(),
        first => {
            let import = modules[from].imports.iter().find(|import| import.name == first)?;
            return resolve(modules, from, &[&import.path, &path[1..]].concat(), deeper);
        }
    };
    let mut rest = path;
    while let Some(word @ ("crate" | "self" | "super")) = rest.first().map(String::as_str) {
        if word == "super" {
            at.pop();
        }
        rest = &rest[1..];
    }
    while let Some(name) = rest.first() {
        let child = [at.as_slice(), std::slice::from_ref(name)].concat();
        if modules.contains_key(&child) {
            (at, rest) = (child, &rest[1..]);
            continue;
        }
        let module = modules.get(&at)?;
        if module.defined.contains(name) {
            break;
        }
        if let Some(import) = module.imports.iter().find(|import| import.name == *name) {
            return resolve(modules, &at, &[&import.path, &rest[1..]].concat(), deeper);
        }
        let globs = module.imports.iter().filter(|import| import.name == "*");
        return globs.filter_map(|glob| resolve(modules, &at, &[&glob.path, rest].concat(), deeper)).next();
    }
    modules.get_key_value(&at).map(|(path, _)| path)
}

/// The files that each file takes from. What a module hands on of those within it, it does not need itself.
fn needs(modules: &Modules) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, module) in modules {
        let of = needs.entry(&module.file).or_default();
        let imported = module.imports.iter().filter_map(|import| {
            let found = resolve(modules, path, &import.path, DEPTH)?;
            (!import.is_public || !found.starts_with(path)).then_some(found)
        });
        let mentioned = module.mentioned.iter().filter_map(|mentioned| resolve(modules, path, mentioned, DEPTH));
        of.extend(
            imported.chain(mentioned).map(|found| modules[found].file.as_str()).filter(|file| *file != module.file),
        );
    }
    needs
}

/// Circles of files: for each file that is on one, the shortest that begins there; each circle once.
fn circles(files: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let modules = modules(files);
    let needs = needs(&modules);
    let mut found: BTreeMap<BTreeSet<&str>, Vec<String>> = BTreeMap::new();
    for &start in needs.keys() {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut ways = std::collections::VecDeque::from([start]);
        while let Some(file) = ways.pop_front() {
            for &next in needs.get(file).into_iter().flatten() {
                if !before.contains_key(next) {
                    before.insert(next, file);
                    ways.push_back(next);
                }
            }
        }
        let Some(&last) = before.get(start) else { continue };
        let mut circle = vec![last];
        while circle[circle.len() - 1] != start {
            circle.push(before[circle[circle.len() - 1]]);
        }
        circle.reverse();
        found
            .entry(circle.iter().copied().collect())
            .or_insert_with(|| circle.iter().map(|file| file.to_string()).collect());
    }
    found.into_values().collect()
}

/// The Rust files below a folder, by their paths from it.
fn files(folder: &Path, below: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, below));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(below).unwrap().to_string_lossy().replace('\\', "/");
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn no_files_need_each_other_but_the_graph_and_its_operators() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut names: Vec<_> = std::fs::read_dir(&crates).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort_unstable();
    let mut wrong = String::new();
    for folder in names.iter().map(|path| path.join("src")).filter(|src| src.is_dir()) {
        let is_of = |name: &str| folder.parent().unwrap().ends_with(name);
        let is_allowed = |file: &String| is_of("ir") && (file == "graph.rs" || file.starts_with("ops/"));
        for circle in circles(&files(&folder, &folder)).iter().filter(|circle| !circle.iter().all(is_allowed)) {
            wrong += &format!("{}: {} -> {}\n", folder.display(), circle.join(" -> "), circle[0]);
        }
    }
    assert!(wrong.is_empty(), "files that need each other in a circle:\n{wrong}");
}

#[test]
fn circles_are_found() {
    let of = |texts: &[(&str, &str)]| {
        let files: Vec<_> = texts.iter().map(|&(name, text)| (name.to_string(), text.to_string())).collect();
        let found = circles(&files);
        found.into_iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let uses = ("b.rs", "use crate::a::A; pub struct B;");
    assert_eq!(of(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use super::b::B; pub struct A;"), uses]), ["a.rs b.rs"]);
    // Through a re-export, by a path in code, and from a module to the one that declares it.
    let hands_on = ("lib.rs", "mod a; mod b; pub use b::B;");
    assert_eq!(of(&[hands_on, ("a.rs", "pub struct A(crate::B);"), uses]), ["a.rs b.rs"]);
    let all = ("lib.rs", "mod a; mod b; pub use b::*;");
    assert_eq!(of(&[all, ("a.rs", "pub struct A(crate::B);"), uses]), ["a.rs b.rs"]);
    let declares = ("lib.rs", "mod b; pub struct A; fn f() { b::g(); }");
    assert_eq!(of(&[declares, ("b.rs", "use crate::A; pub fn g() {}")]), ["b.rs lib.rs"]);
    // Handing on what is within is no need, nor are tests.
    assert!(of(&[hands_on, ("a.rs", "pub struct A;"), uses]).is_empty());
    let tests = "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }";
    assert!(of(&[("lib.rs", "mod a; mod b;"), ("a.rs", tests), uses]).is_empty());
}
