//! From a selection to a ready environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aevatar_sandbox_contract::{PythonEnvironment, PythonVersion};

use super::cache::{Cache, create_directory, make_readable, read_json, remove_tree, write_json};
use super::discovery::Discovery;
use super::error::{EnvironmentError, UnsuitableInterpreter};
use super::fonts::{self, FontRecord, HostFonts};
use super::install::{self, InstallJob, Installer, PipInstaller};
use super::interpreter::Interpreter;
use super::libraries;
use super::named::{self, EnvironmentSummary, NamedRecord};
use super::plan::{EnvironmentSelection, Plan};
use super::progress::{PrepareProgress, PrepareStep};
use super::requirements::{DEFAULT_ENVIRONMENT, Requirements, default_lock};

/// File that makes a directory a ready environment.
pub(super) const MANIFEST: &str = "environment.json";
/// Data of the host that programs expect at the same path: time zones, locales.
const DATA: [&str; 2] = ["/usr/share/zoneinfo", "/usr/lib/locale"];

/// What of the process environment matters here; read once.
#[derive(Debug)]
struct UserEnvironment {
    search_path: OsString,
    home: Option<PathBuf>,
    data_home: Option<PathBuf>,
}

/// Makes Python environments in a cache directory, and finds them again.
///
/// Several managers, in one process or in many, may share a cache directory.
#[derive(Debug)]
pub struct PythonEnvironmentManager {
    cache: Cache,
    user: UserEnvironment,
    installer: Box<dyn Installer>,
    locks: fn(u8) -> Option<&'static str>,
}

/// What is in the cache for a plan.
enum State {
    Ready(PythonEnvironment),
    /// Installed; but libraries or fonts of the host have changed since.
    Stale {
        environment: PythonEnvironment,
        libraries: bool,
    },
    Absent,
}

impl PythonEnvironmentManager {
    /// A manager of the environments below `cache_root`, which need not exist yet.
    pub fn new(cache_root: PathBuf) -> Self {
        let path = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            cache: Cache::new(cache_root),
            user: UserEnvironment {
                search_path: std::env::var_os("PATH").unwrap_or_default(),
                home: path("HOME"),
                data_home: path("XDG_DATA_HOME"),
            },
            installer: Box::new(PipInstaller),
            locks: default_lock,
        }
    }

    /// A manager with everything replaced that reaches out to the host.
    #[cfg(test)]
    pub(super) fn with_parts(
        cache_root: PathBuf,
        search_path: OsString,
        installer: Box<dyn Installer>,
        locks: fn(u8) -> Option<&'static str>,
    ) -> Self {
        let user = UserEnvironment { search_path, home: None, data_home: None };
        Self { cache: Cache::new(cache_root), user, installer, locks }
    }

    /// The user's cache: `$AEVATAR_SANDBOX_CACHE`, else `aevatar-sandbox` in `$XDG_CACHE_HOME` or `$HOME/.cache`.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::NoCacheDirectory`] if none of the three is set to an absolute path.
    pub fn user_cache() -> Result<PathBuf, EnvironmentError> {
        user_cache_from(&|variable| std::env::var_os(variable))
    }

    /// The selected environment, prepared on the first call.
    ///
    /// Once it is ready, this takes a millisecond or two, starts no process and needs no network. Otherwise it blocks
    /// until packages are downloaded and installed, or until another process that does so has finished.
    ///
    /// # Errors
    ///
    /// Any of [`EnvironmentError`]; nothing half-made is left to be taken for ready.
    pub fn prepare(
        &self,
        selection: &EnvironmentSelection,
        progress: &dyn PrepareProgress,
    ) -> Result<PythonEnvironment, EnvironmentError> {
        named::check_name(&selection.name)?;
        let plan = if selection.name == DEFAULT_ENVIRONMENT {
            self.plan_default(selection.python.as_deref())?
        } else {
            let record = NamedRecord::load(&self.cache, &selection.name)?;
            let python = selection.python.as_deref().or(record.python.as_deref());
            let interpreter = self.find_interpreter(python)?;
            Plan::new(&self.cache, &selection.name, record.requirements()?, interpreter)
        };
        let fonts = self.look_at_fonts();
        if let State::Ready(environment) = self.state(&plan, &fonts)? {
            return Ok(environment);
        }
        let prepared = self.make_ready(&plan, &fonts, progress);
        progress.end();
        prepared
    }

    /// What [`Self::prepare`] does with an environment that is not ready.
    fn make_ready(
        &self,
        plan: &Plan,
        fonts: &HostFonts,
        progress: &dyn PrepareProgress,
    ) -> Result<PythonEnvironment, EnvironmentError> {
        let _lock = self.cache.lock(&plan.key, || progress.step(PrepareStep::Waiting))?;
        // Another process may have finished it while this one waited.
        let State::Absent = self.state(plan, fonts)? else {
            return self.refresh(plan, fonts, progress);
        };
        let started = Instant::now();
        self.install(plan, progress)?;
        let environment = self.refresh(plan, fonts, progress)?;
        progress.finish(started.elapsed());
        Ok(environment)
    }

    /// Makes the environment `name` from a requirements file, or makes it anew if there is one of that name.
    ///
    /// The content of the file is stored with the environment. Only wheels are installed, because building a source
    /// distribution runs foreign code on the host. A sandbox that still runs in a former state of the environment
    /// loses its files: end it first.
    ///
    /// # Errors
    ///
    /// Any of [`EnvironmentError`]; a former environment of that name stays as it was.
    pub fn prepare_named(
        &self,
        name: &str,
        requirements: &Path,
        python: Option<PathBuf>,
        progress: &dyn PrepareProgress,
    ) -> Result<PythonEnvironment, EnvironmentError> {
        named::check_own_name(name)?;
        let (record, requirements) = NamedRecord::read(requirements, python)?;
        let interpreter = self.find_interpreter(record.python.as_deref())?;
        let plan = Plan::new(&self.cache, name, requirements, interpreter);
        let _lock = self.cache.lock(&plan.key, || progress.step(PrepareStep::Waiting))?;
        let started = Instant::now();
        self.install(&plan, progress)?;
        record.store(&self.cache, name)?;
        self.cache.retain(name, &plan.key)?;
        let environment = self.refresh(&plan, &self.look_at_fonts(), progress)?;
        progress.finish(started.elapsed());
        Ok(environment)
    }

    /// Every ready environment. Adds up the sizes of all files: tens of milliseconds for each.
    pub fn list(&self) -> Result<Vec<EnvironmentSummary>, EnvironmentError> {
        named::summaries(&self.cache)
    }

    /// Removes an environment, for every interpreter. Sandboxes that run in it lose its files: end them first.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::UnknownEnvironment`] if there is none of that name.
    pub fn remove(&self, name: &str) -> Result<(), EnvironmentError> {
        named::check_name(name)?;
        if !self.cache.of_name(name).is_dir() {
            return Err(EnvironmentError::UnknownEnvironment { name: name.to_owned() });
        }
        self.cache.remove(name)
    }

    /// The directory that holds the selected environment, for every interpreter it was prepared for. It need not
    /// exist.
    ///
    /// # Errors
    /// The name is none.
    pub fn path(&self, selection: &EnvironmentSelection) -> Result<PathBuf, EnvironmentError> {
        named::check_name(&selection.name)?;
        Ok(self.cache.of_name(&selection.name))
    }

    /// The version of the interpreter that an environment would be made with. Nothing is prepared.
    ///
    /// # Errors
    /// No interpreter fits.
    pub fn python_version(&self, selection: &EnvironmentSelection) -> Result<PythonVersion, EnvironmentError> {
        Ok(self.find_interpreter(selection.python.as_deref())?.version)
    }

    fn plan_default(&self, python: Option<&Path>) -> Result<Plan, EnvironmentError> {
        let interpreter = self.find_interpreter(python)?;
        let lock = (self.locks)(interpreter.version.minor).ok_or_else(|| EnvironmentError::UnsuitablePython {
            path: interpreter.executable().to_owned(),
            reason: UnsuitableInterpreter::Version(interpreter.version),
        })?;
        Ok(Plan::new(&self.cache, DEFAULT_ENVIRONMENT, Requirements::locked(lock), interpreter))
    }

    fn discovery(&self) -> Discovery<'_> {
        Discovery::new(&self.cache, self.user.search_path.clone())
    }

    fn find_interpreter(&self, python: Option<&Path>) -> Result<Interpreter, EnvironmentError> {
        self.discovery().find(python)
    }

    fn look_at_fonts(&self) -> HostFonts {
        HostFonts::look(self.user.home.as_deref(), self.user.data_home.as_deref())
    }

    fn state(&self, plan: &Plan, fonts: &HostFonts) -> Result<State, EnvironmentError> {
        let manifest = plan.directory.join(MANIFEST);
        let Some(mut environment) = read_json::<PythonEnvironment>(&manifest)? else {
            return Ok(State::Absent);
        };
        // An upgrade of the host replaces libfoo.so.1.2 by libfoo.so.1.3.
        let libraries = environment.libraries.iter().any(|(_, real)| !real.exists());
        if !libraries && let Some(record) = self.font_record(plan, fonts)? {
            show_fonts(&mut environment, plan, fonts, &record);
            return Ok(State::Ready(environment));
        }
        Ok(State::Stale { environment, libraries })
    }

    fn font_record(&self, plan: &Plan, fonts: &HostFonts) -> Result<Option<FontRecord>, EnvironmentError> {
        match fonts.record(&plan.directory)? {
            None if !plan.requirements.is_locked() => self.borrowed_fonts(plan, fonts).map(Some),
            own => Ok(own),
        }
    }

    /// Packages of a named environment are not run on the host, so it takes the font list that the default
    /// environment's matplotlib made, if both matplotlibs read the same kind of list. Without one, it goes without:
    /// matplotlib then makes its own list, in each sandbox.
    fn borrowed_fonts(&self, plan: &Plan, fonts: &HostFonts) -> Result<FontRecord, EnvironmentError> {
        let wanted = fonts::expected_list(&plan.directory.join("packages"));
        let mut families = FontRecord::default();
        for (_, lender) in self.cache.entries(DEFAULT_ENVIRONMENT)?.states {
            let Some(record) = fonts.record(&lender)? else { continue };
            families.fallbacks.clone_from(&record.fallbacks);
            let (Some(wanted), true) = (&wanted, wanted == record.list) else { continue };
            let (from, to) = (fonts.record_directory(&lender), fonts.record_directory(&plan.directory));
            create_directory(&to)?;
            let to = to.join(wanted);
            fs_err::copy(from.join(wanted), &to).map_err(|source| EnvironmentError::filesystem("copy", &to, source))?;
            fonts.store(&plan.directory, &record)?;
            return Ok(record);
        }
        Ok(families)
    }

    /// Installs into a staging directory and gives that its final name. The caller holds the lock on the key.
    fn install(&self, plan: &Plan, progress: &dyn PrepareProgress) -> Result<(), EnvironmentError> {
        self.cache.sweep(&plan.name, &plan.key)?;
        let version = plan.interpreter.version;
        progress.begin(&plan.name, version, plan.requirements.distribution_count());

        let staging = self.cache.staging(&plan.name, &plan.key)?;
        let packages = staging.path().join("packages");
        let scratch = staging.path().join("scratch");
        create_directory(&packages)?;
        create_directory(&scratch)?;
        let others = self.discovery().all();
        let job = InstallJob {
            interpreter: &plan.interpreter,
            requirements: &plan.requirements,
            target: &packages,
            scratch: &scratch,
            others: &others,
        };
        self.installer.install(&job, progress).map_err(|error| error.with_space_of(self.cache.root()))?;
        remove_tree(&scratch)?;

        progress.step(PrepareStep::Libraries);
        let description = &plan.interpreter.description;
        let libraries = find_libraries(plan, &packages)?;
        let environment = PythonEnvironment {
            name: plan.name.clone(),
            key: plan.key.clone(),
            python: version,
            interpreter: plan.interpreter.executable().to_owned(),
            standard_library: description.standard_library.clone(),
            hidden: description.hidden.clone(),
            libraries: libraries.pairs,
            needs_loader_cache: libraries.needs_loader_cache,
            packages: plan.directory.join("packages"),
            installed: install::installed(&packages)?,
            data: DATA.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect(),
            fonts: Vec::new(),
            font_fallbacks: Vec::new(),
            font_list: None,
        };
        write_json(&staging.path().join(MANIFEST), &environment)?;
        make_readable(staging.path())?;
        self.cache.publish(staging, &plan.name, &plan.key)?;
        // Once more: a pip that outlived its parent has ended by now.
        self.cache.sweep(&plan.name, &plan.key)
    }

    /// Brings what depends on the host up to date. The caller holds the lock on the key.
    fn refresh(
        &self,
        plan: &Plan,
        fonts: &HostFonts,
        progress: &dyn PrepareProgress,
    ) -> Result<PythonEnvironment, EnvironmentError> {
        let (mut environment, libraries_changed) = match self.state(plan, fonts)? {
            State::Ready(environment) => return Ok(environment),
            State::Stale { environment, libraries } => (environment, libraries),
            // Removed by another process in this very moment.
            State::Absent => return Err(EnvironmentError::UnknownEnvironment { name: plan.name.clone() }),
        };
        if libraries_changed {
            progress.step(PrepareStep::Libraries);
            let libraries = find_libraries(plan, &environment.packages)?;
            environment.libraries = libraries.pairs;
            environment.needs_loader_cache = libraries.needs_loader_cache;
            write_json(&plan.directory.join(MANIFEST), &environment)?;
        }
        let record = match self.font_record(plan, fonts)? {
            Some(record) => record,
            None => list_fonts(plan, fonts, &environment, progress)?,
        };
        show_fonts(&mut environment, plan, fonts, &record);
        Ok(environment)
    }
}

fn list_fonts(
    plan: &Plan,
    fonts: &HostFonts,
    environment: &PythonEnvironment,
    progress: &dyn PrepareProgress,
) -> Result<FontRecord, EnvironmentError> {
    if environment.packages.join("matplotlib").is_dir() {
        progress.step(PrepareStep::Fonts);
        match fonts.list(&environment.interpreter, &environment.packages, &plan.directory) {
            Ok(listed) => return Ok(listed),
            // Plots work without a list; they are slower, and some letters may be missing.
            Err(EnvironmentError::ProbeFailed { source, .. }) => {
                progress.warning(&format!("the host's fonts could not be listed: {source}"));
            }
            Err(error) => return Err(error),
        }
    }
    // Stored as well, so that a failure does not delay every later call until the fonts change.
    let record = FontRecord::default();
    fonts.store(&plan.directory, &record)?;
    Ok(record)
}

fn find_libraries(plan: &Plan, packages: &Path) -> Result<libraries::HostLibraries, EnvironmentError> {
    let description = &plan.interpreter.description;
    libraries::find(
        plan.interpreter.executable(),
        &description.extension_modules,
        packages,
        &description.standard_library,
    )
}

fn show_fonts(environment: &mut PythonEnvironment, plan: &Plan, fonts: &HostFonts, record: &FontRecord) {
    environment.fonts.clone_from(&fonts.directories);
    environment.font_fallbacks.clone_from(&record.fallbacks);
    let directory = fonts.record_directory(&plan.directory);
    environment.font_list = record.list.clone().map(|file| (file.clone(), directory.join(file)));
}

fn user_cache_from(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, EnvironmentError> {
    // The XDG specification wants relative paths to be ignored.
    let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = variable("AEVATAR_SANDBOX_CACHE").and_then(|cache| std::path::absolute(cache).ok());
    own.or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("aevatar-sandbox")))
        .or_else(|| path("HOME").map(|home| home.join(".cache/aevatar-sandbox")))
        .ok_or(EnvironmentError::NoCacheDirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_first_variable_says() {
        let with = |set: &[(&str, &str)]| {
            user_cache_from(&|name| set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into()))
        };
        let all = [("AEVATAR_SANDBOX_CACHE", "/a"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(with(&all).unwrap(), Path::new("/a"));
        assert_eq!(with(&all[1..]).unwrap(), Path::new("/x/aevatar-sandbox"));
        assert_eq!(with(&all[2..]).unwrap(), Path::new("/h/.cache/aevatar-sandbox"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "relative"), all[2]]).unwrap(), Path::new("/h/.cache/aevatar-sandbox"));
        assert!(matches!(with(&[]), Err(EnvironmentError::NoCacheDirectory)));
    }
}
