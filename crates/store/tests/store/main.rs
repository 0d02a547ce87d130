//! One suite of behaviours, over SQLite and over a real PostgreSQL server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test without the usual harness is not taken for one"
)]

mod data;
mod executions;
mod inheritance;
mod keys;
mod opening;
mod place;
mod postgres;
mod prune;

use std::{pin::Pin, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    place::{Kind, Place},
    postgres::Postgres,
};

type Behaviour = fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! behaviours {
    ($($module:ident::$name:ident,)*) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), (|place| Box::pin($module::$name(place))) as Behaviour),)*]
    };
}

fn main() -> ExitCode {
    if let Ok(location) = std::env::var(inheritance::CHILD) {
        return inheritance::child(&location);
    }
    let arguments = Arguments::from_args();
    let only_sqlite = arguments.filter.as_ref().is_some_and(|filter| filter.starts_with("sqlite::"));
    let is_needed = !arguments.list && !only_sqlite;
    // Ended when this function ends, whatever the tests did.
    let postgres = if is_needed { Postgres::start() } else { Err("not started: no test needs it".to_owned()) };
    let postgres = Arc::new(postgres);
    let both = behaviours![
        executions::what_waits_is_started_and_ended_once,
        executions::what_was_not_recorded_is_recorded_at_its_end,
        executions::of_two_ends_at_the_same_time_one_stands,
        executions::a_name_is_one_execution,
        executions::of_many_that_use_a_name_at_the_same_time_one_is_new,
        executions::names_may_have_any_characters,
        executions::what_belongs_to_somebody_else_is_not_there,
        executions::pages_are_listed_from_the_newest,
        executions::files_come_back_whatever_their_names,
        executions::all_characters_of_output_come_back,
        executions::events_of_all_kinds_come_back,
        executions::programs_are_kept_only_where_they_are_to_be,
        executions::a_cancellation_reaches_the_server_that_has_it,
        executions::statements_in_values_are_values,
        inheritance::what_a_killed_server_had_is_taken_over,
        inheritance::of_two_heirs_only_one_gets_an_execution,
        inheritance::what_was_let_go_is_taken_over_and_not_started,
        inheritance::a_server_that_lives_is_left_alone,
        inheritance::a_closed_store_is_a_dead_server,
        prune::what_is_old_goes,
        prune::the_oldest_go_until_the_rest_fits,
        prune::what_has_not_ended_stays,
        prune::a_name_is_free_when_its_execution_is_gone,
        keys::keys_are_kept_and_revoked,
        keys::a_key_is_there_once,
        opening::several_may_open_an_empty_database_at_the_same_time,
        opening::what_a_newer_program_used_is_refused,
        opening::a_changed_schema_is_refused,
    ];
    let only_sqlite = behaviours![
        prune::the_file_gets_smaller,
        opening::files_are_for_their_owner_only,
        opening::locks_of_dead_servers_are_removed,
        opening::a_folder_may_have_any_name,
        opening::a_database_of_version_1_is_read,
    ];
    let only_postgres = behaviours![
        inheritance::a_lost_session_is_made_again,
        inheritance::a_server_without_its_old_lock_is_a_new_one,
        opening::a_server_that_is_not_there_is_named,
        opening::the_password_is_not_shown,
    ];
    let on = |kind: Kind, behaviours: &[(&'static str, Behaviour)]| -> Vec<Trial> {
        let trial = |&(name, behaviour): &(&'static str, Behaviour)| {
            let postgres = Arc::clone(&postgres);
            Trial::test(format!("{kind}::{name}"), move || run(kind, &postgres, behaviour))
        };
        behaviours.iter().map(trial).collect()
    };
    let trials = [
        on(Kind::Sqlite, &both),
        on(Kind::Sqlite, &only_sqlite),
        on(Kind::Postgres, &both),
        on(Kind::Postgres, &only_postgres),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

fn run(kind: Kind, postgres: &Result<Postgres, String>, behaviour: Behaviour) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let place = match kind {
            Kind::Sqlite => Place::sqlite(),
            Kind::Postgres => Place::postgres(postgres.as_ref()?).await,
        };
        behaviour(place).await;
        Ok(())
    })
}
