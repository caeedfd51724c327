//! The code as text: which tests there are, and which of them have a meeting beside them.

use std::fs;
use std::path::{Path, PathBuf};

/// What compares a meeting beside a test with one that nothing is beside: [`Scene`](super::scene::Scene)'s own.
const COMPARES: [&str; 2] = ["scene.assert_undisturbed(", "scene.close("];

/// All the code there is, without its remarks.
pub struct Sources(Vec<Source>);

struct Source {
    path: PathBuf,
    code: String,
}

impl Sources {
    pub fn read() -> Self {
        let mut sources = Vec::new();
        let mut directories = vec![PathBuf::from("tests"), "src".into(), "web".into()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("node_modules") {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "js") {
                    let text = fs::read_to_string(&path).unwrap();
                    let code = text.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("//"));
                    sources.push(Source { path, code: code.collect() });
                }
            }
        }
        Self(sources)
    }

    pub fn contain(&self, words: &str) -> bool {
        self.0.iter().any(|source| source.code.contains(words))
    }

    /// Whether a test in `tests/` compares a meeting beside it: the test itself or a function of the same file that it calls. What is
    /// no test but a case of one has the meeting beside it that the test has.
    ///
    /// # Errors
    /// What is missing.
    pub fn beside_a_meeting(&self, name: &str) -> Result<(), String> {
        let of_tests = self.0.iter().filter(|source| source.path.parent() == Some(Path::new("tests")));
        let mut functions =
            of_tests.map(Source::functions).filter(|all| all.iter().any(|function| function.name == name));
        let Some(functions) = functions.next() else {
            return Err(format!("no test is called {name}"));
        };
        let named: Vec<_> =
            functions.iter().filter(|one| one.is_test && (one.name == name || one.calls(name))).collect();
        let compares = |test: &Function| {
            test.compares() || functions.iter().any(|other| other.compares() && test.calls(other.name))
        };
        match named.as_slice() {
            [] => Err(format!("no test calls {name}")),
            all if all.iter().any(|test| compares(test)) => Ok(()),
            _ => Err(format!("no meeting is beside {name}")),
        }
    }
}

/// A function that stands by itself.
struct Function<'a> {
    name: &'a str,
    body: &'a str,
    is_test: bool,
}

impl Source {
    fn functions(&self) -> Vec<Function<'_>> {
        // What is indented is a method, or stands in another function.
        let begins = self.code.match_indices("\nfn ").chain(self.code.match_indices("\nasync fn "));
        let function = |(at, begin): (usize, &str)| {
            let (name, rest) = self.code[at + begin.len()..].split_once(['(', '<'])?;
            let (body, _) = rest.split_once("\n}\n")?;
            let (_, attribute) = self.code[..at].rsplit_once('\n')?;
            Some(Function { name, body, is_test: attribute.starts_with("#[tokio::test") })
        };
        begins.filter_map(function).collect()
    }
}

impl Function<'_> {
    fn calls(&self, name: &str) -> bool {
        let is_part =
            |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == '.');
        self.body.match_indices(&format!("{name}(")).any(|(at, _)| !is_part(&self.body[..at]))
    }

    fn compares(&self) -> bool {
        COMPARES.iter().any(|words| self.body.contains(words))
    }
}
