//! An execution that is followed while it waits and runs: its state, what it uses now, and what happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    progress::Progress,
    result::{ExecutionId, ExecutionStatus, SandboxExecutionResult, TerminationReason, fractional_milliseconds},
};

/// Where an execution is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionState {
    /// Which execution.
    pub execution_id: ExecutionId,
    /// Where it is.
    pub status: ExecutionStatus,
    /// Whether it has ended.
    pub is_completed: bool,
    /// Why it ended; nothing before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<TerminationReason>,
    /// Its place among those that wait, of its own key and priority: 1 is the next. Nothing when it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// When it was asked for.
    pub queued_at: jiff::Timestamp,
    /// When the program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<jiff::Timestamp>,
    /// When it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<jiff::Timestamp>,
    /// From the request until now, or until the end.
    #[serde(rename = "elapsedMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub elapsed: Duration,
    /// How far the program is, by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it uses now; nothing before it runs, and where another server runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<LiveUsage>,
}

impl ExecutionState {
    /// One that waits, and has not waited yet.
    pub const fn waiting(execution_id: ExecutionId, queued_at: jiff::Timestamp) -> Self {
        Self {
            execution_id,
            status: ExecutionStatus::Pending,
            is_completed: false,
            reason: None,
            queue_position: None,
            queued_at,
            started_at: None,
            finished_at: None,
            elapsed: Duration::ZERO,
            progress: None,
            usage: None,
        }
    }
}

/// What a program uses while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveUsage {
    /// From the start of the program until now.
    #[serde(rename = "wallTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub wall_time: Duration,
    /// CPU time of all its processes.
    #[serde(rename = "cpuTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub cpu_time: Duration,
    /// Memory of all its processes; nothing when the host cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes written to stdout and stderr.
    pub output_bytes: u64,
}

/// One of the two streams of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutputPiece {
    /// Bytes of text of the same stream that came before it.
    pub offset: u64,
    /// The text; what is no UTF-8 is replaced by U+FFFD.
    pub text: String,
}

/// A part of the output of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutputPart {
    /// Which execution.
    pub execution_id: ExecutionId,
    /// Which stream.
    pub stream: OutputStream,
    /// Bytes of text that came before it. More than was asked for where those in between are no longer kept.
    pub offset: u64,
    /// The text; what is no UTF-8 is replaced by U+FFFD.
    pub text: String,
    /// Where to go on.
    pub next_offset: u64,
    /// Whether the execution has ended: nothing comes after this.
    pub is_completed: bool,
}

/// What came of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Cancellation {
    /// It was ended for that reason.
    Cancelled,
    /// It is being ended; on another server, for instance.
    Requested,
    /// It had ended already, or ended by itself meanwhile.
    AlreadyCompleted,
}

/// Something that happened to an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionEvent {
    /// Its number: 1 is the first of its execution, and no number is left out.
    pub id: u64,
    /// When.
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Occurrence,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "camelCase")]
pub enum Occurrence {
    /// It waits for its turn. Always the first.
    Queued(ExecutionState),
    /// The program has started.
    Started(ExecutionState),
    /// It wrote to stdout.
    Stdout(OutputPiece),
    /// It wrote to stderr.
    Stderr(OutputPiece),
    /// It told how far it is.
    Progress(Progress),
    /// What it uses.
    Usage(LiveUsage),
    /// Events that are no longer kept: what they were is not known any more.
    Lost(LostEvents),
    /// It has ended. Always the last.
    Result(Box<SandboxExecutionResult>),
}

impl Occurrence {
    /// Its name, as in a stream of events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Started(_) => "started",
            Self::Stdout(_) => "stdout",
            Self::Stderr(_) => "stderr",
            Self::Progress(_) => "progress",
            Self::Usage(_) => "usage",
            Self::Lost(_) => "lost",
            Self::Result(_) => "result",
        }
    }
}

/// Events that are no longer kept, as a reader who comes late is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LostEvents {
    /// How many.
    pub events: u64,
}
