//! The variables that `ARG` and `ENV` set, before the first `FROM` and in a stage.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::dockerfile::Argument;
use super::expand::{self, Binding, Budget, Unknown};
use crate::image::platform::Platform;

/// The variables at one place of a Dockerfile.
///
/// Memory: about 100 bytes a variable and its value, which copies share. A [`Budget`] bounds both, over all stages.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    values: HashMap<Rc<str>, Variable>,
    /// Whether there are others, of a base image.
    has_others: bool,
}

#[derive(Clone, Debug)]
struct Variable {
    /// `None` where the Dockerfile does not tell it.
    value: Option<Rc<str>>,
    is_environment: bool,
}

impl Variables {
    /// Those that a stage begins with: none on `scratch`, and those of its image that nobody knows.
    pub(super) fn of_base(is_image: bool) -> Self {
        let mut variables = Variables { values: HashMap::new(), has_others: is_image };
        // BuildKit sets it where an image does not, to a value that is its own affair.
        variables.insert("PATH", None, true);
        variables
    }

    /// Those of the lines before the first `FROM`: the predefined ones, then `ARG` in their order. Build arguments replace
    /// all of them.
    pub(super) fn global(
        arguments: &[Argument],
        given: &BTreeMap<String, String>,
        predefined: &[(&'static str, String)],
        escape: char,
        budget: &mut Budget,
    ) -> Result<Self, Unknown> {
        let mut variables = Variables { values: HashMap::new(), has_others: false };
        for (name, value) in predefined {
            let value = given.get(*name).unwrap_or(value);
            variables.insert(name, Some(value), false);
        }
        for argument in arguments {
            if let Some(value) = given.get(&argument.name) {
                budget.take(value.len())?;
                variables.insert(&argument.name, Some(value), false);
            } else if let Some(default) = &argument.default {
                let value = variables.expand(default, escape, budget);
                variables.set(&argument.name, value, false)?;
            }
        }
        Ok(variables)
    }

    /// What `ARG` does in a stage: a build argument counts, then the default, then what the variable is before the first
    /// `FROM`.
    pub(super) fn declare(
        &mut self,
        argument: &Argument,
        given: &BTreeMap<String, String>,
        global: &Variables,
        escape: char,
        budget: &mut Budget,
    ) -> Result<(), Unknown> {
        let value = match (given.get(&argument.name), &argument.default) {
            (Some(value), _) => {
                budget.take(value.len())?;
                Ok(value.clone())
            }
            (None, Some(default)) => self.expand(default, escape, budget),
            (None, None) => match global.values.get(argument.name.as_str()) {
                Some(variable) => {
                    let variable = Variable { is_environment: false, ..variable.clone() };
                    return self.put(&argument.name, variable);
                }
                // It stays what the base image has.
                None => return Ok(()),
            },
        };
        self.set(&argument.name, value, false)
    }

    /// What `ENV` does, all pairs of an instruction at once: none sees another's value.
    pub(super) fn set_environment(
        &mut self,
        pairs: Vec<(Result<String, Unknown>, Result<String, Unknown>)>,
    ) -> Result<(), Unknown> {
        for (name, value) in pairs {
            match name {
                Ok(name) => self.set(&name, value, true)?,
                Err(Unknown::TooLong) => return Err(Unknown::TooLong),
                // It may be any of them.
                Err(_) => self.forget(),
            }
        }
        Ok(())
    }

    /// Those of a stage that begins with the stage that has these at its end.
    ///
    /// BuildKit sets those of the image's config again there, among them what `ENV` said. So an argument keeps its value only if
    /// the base image has no variable of its name.
    pub(super) fn inherited(&self, budget: &mut Budget) -> Result<Self, Unknown> {
        budget.take(64 * self.values.len())?;
        let mut variables = self.clone();
        if self.has_others {
            for variable in variables.values.values_mut().filter(|variable| !variable.is_environment) {
                variable.value = None;
            }
        }
        Ok(variables)
    }

    /// Forgets all of them: they may have been set by something that is not known.
    pub(super) fn forget(&mut self) {
        self.values.clear();
        self.has_others = true;
    }

    /// The value of a word.
    pub(super) fn expand(&self, word: &str, escape: char, budget: &mut Budget) -> Result<String, Unknown> {
        expand::expand(word, escape, &|name| self.get(name), budget)
    }

    fn get(&self, name: &str) -> Binding<'_> {
        // Newer versions of BuildKit make a number of it that an image or a folder may decide.
        if name == "SOURCE_DATE_EPOCH" {
            return Binding::Unknown;
        }
        match self.values.get(name) {
            Some(Variable { value: Some(value), .. }) => Binding::Value(value),
            Some(Variable { value: None, .. }) => Binding::Unknown,
            None if self.has_others && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                Binding::Unknown
            }
            None => Binding::Unset,
        }
    }

    fn set(&mut self, name: &str, value: Result<String, Unknown>, is_environment: bool) -> Result<(), Unknown> {
        let value = match value {
            Ok(value) => Some(value.into()),
            Err(Unknown::TooLong) => return Err(Unknown::TooLong),
            Err(_) => None,
        };
        self.put(name, Variable { value, is_environment })
    }

    fn put(&mut self, name: &str, mut variable: Variable) -> Result<(), Unknown> {
        // Whether an `ARG` replaces an `ENV` of its name depends on BuildKit's version.
        let is_environment = self.values.get(name).is_some_and(|variable| variable.is_environment);
        if is_environment && !variable.is_environment {
            variable = Variable { value: None, is_environment: true };
        }
        self.values.insert(name.into(), variable);
        Ok(())
    }

    fn insert(&mut self, name: &str, value: Option<&str>, is_environment: bool) {
        self.values.insert(name.into(), Variable { value: value.map(Rc::from), is_environment });
    }
}

/// The variables that BuildKit sets itself before the first `FROM` (`dockerfile2llb/convert.go`, `defaultArgs`).
pub(super) fn predefined(build: &Platform, target: &Platform, stage: &str) -> Vec<(&'static str, String)> {
    let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
    vec![
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", variant(build)),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", variant(target)),
        ("TARGETSTAGE", stage.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, default: Option<&str>) -> Argument {
        Argument { name: name.to_owned(), default: default.map(str::to_owned) }
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn value(variables: &Variables, word: &str) -> Option<String> {
        variables.expand(word, '\\', &mut Budget::new()).ok()
    }

    fn environment(variables: &mut Variables, name: &str, value: &str) {
        let value = variables.expand(value, '\\', &mut Budget::new());
        variables.set_environment(vec![(Ok(name.to_owned()), value)]).unwrap();
    }

    #[test]
    fn arguments_before_the_first_stage_see_those_before_them() {
        let arguments =
            [argument("A", Some("1")), argument("B", Some("$A-$TARGETARCH")), argument("C", None), argument("D", None)];
        let predefined = [("TARGETARCH", "arm64".to_owned())];
        let given = given(&[("A", "2"), ("D", "4"), ("E", "5")]);
        let global = Variables::global(&arguments, &given, &predefined, '\\', &mut Budget::new()).unwrap();
        assert_eq!(value(&global, "$A $B [$C] $D [$E]").as_deref(), Some("2 2-arm64 [] 4 []"));
    }

    #[test]
    fn a_stage_sees_what_it_declares() {
        let budget = &mut Budget::new();
        let given = given(&[("GIVEN", "g")]);
        let global =
            Variables::global(&[argument("A", Some("1")), argument("B", Some("2"))], &given, &[], '\\', budget)
                .unwrap();
        let mut stage = Variables::of_base(true);
        for argument in [
            argument("A", None),
            argument("C", Some("$A$A")),
            argument("GIVEN", Some("default")),
            argument("NONE", None),
        ] {
            stage.declare(&argument, &given, &global, '\\', budget).unwrap();
        }
        assert_eq!(value(&stage, "$A $C $GIVEN").as_deref(), Some("1 11 g"));
        // The base image may set these.
        for word in ["$B", "$NONE", "$PATH", "${HOME:-/root}"] {
            assert_eq!(value(&stage, word), None, "{word}");
        }
        environment(&mut stage, "B", "$C/x");
        environment(&mut stage, "B", "$B/y");
        assert_eq!(value(&stage, "$B").as_deref(), Some("11/x/y"));
    }

    #[test]
    fn a_stage_on_top_of_another_keeps_what_no_image_can_change() {
        let budget = &mut Budget::new();
        for (is_image, argument_value) in [(true, None), (false, Some("1"))] {
            let none = given(&[]);
            let global = Variables::global(&[], &none, &[], '\\', budget).unwrap();
            let mut stage = Variables::of_base(is_image);
            stage.declare(&argument("A", Some("1")), &none, &global, '\\', budget).unwrap();
            environment(&mut stage, "B", "$A");
            let stage = stage.inherited(budget).unwrap();
            assert_eq!(value(&stage, "$A").as_deref(), argument_value);
            assert_eq!(value(&stage, "$B").as_deref(), Some("1"));
        }
    }

    #[test]
    fn a_stage_without_an_image_has_no_others() {
        let mut stage = Variables::of_base(false);
        assert_eq!(value(&stage, "[$HOME]").as_deref(), Some("[]"));
        assert_eq!(value(&stage, "$PATH"), None);
        stage.forget();
        assert_eq!(value(&stage, "$HOME"), None);
    }

    #[test]
    fn an_argument_after_a_variable_of_its_name_is_left_open() {
        let budget = &mut Budget::new();
        let none = given(&[]);
        let global = Variables::global(&[], &none, &[], '\\', budget).unwrap();
        let mut stage = Variables::of_base(true);
        environment(&mut stage, "A", "1");
        stage.declare(&argument("A", Some("2")), &none, &global, '\\', budget).unwrap();
        assert_eq!(value(&stage, "$A"), None);
        // The other way round, the later one counts.
        stage.declare(&argument("B", Some("2")), &none, &global, '\\', budget).unwrap();
        environment(&mut stage, "B", "3");
        assert_eq!(value(&stage, "$B").as_deref(), Some("3"));
    }

    #[test]
    fn variables_that_double_each_other_end_soon() {
        let double = |index: usize| argument(&format!("A{}", index + 1), Some(&format!("$A{index}$A{index}")));
        let mut arguments = vec![argument("A0", Some("x"))];
        arguments.extend((0..1000).map(double));
        let result = Variables::global(&arguments, &given(&[]), &[], '\\', &mut Budget::new());
        assert!(matches!(result, Err(Unknown::TooLong)));
    }
}
